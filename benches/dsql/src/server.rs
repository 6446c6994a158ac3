//! The server `dsql` of `tests/rds`, and the keys that it knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context;
use serde_json::{Value, json};

use crate::scenarios::SECRET;

/// No other test program moves the server's clock for this user.
pub const USER: &str = "iam_user";

#[derive(Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub database: String,
    /// The file of the root certificate.
    pub ca: String,
    state: PathBuf,
}

impl Server {
    /// The running server.
    pub fn running() -> anyhow::Result<Server> {
        let directory = env::var_os("RDS_IAM_TEST_SERVERS")
            .context("RDS_IAM_TEST_SERVERS names no servers. See tests/rds/README.md")?;
        let description = read_json(&Path::new(&directory).join("servers.json"))?;
        let server = &description["servers"]["dsql"];
        let text = |value: &Value| {
            let text = value.as_str().context("servers.json has no such text")?;
            anyhow::Ok(text.to_owned())
        };
        let port = server["port"]
            .as_u64()
            .context("servers.json has no port")?;
        Ok(Server {
            host: text(&server["host"])?,
            port: port.try_into()?,
            database: text(&description["database"])?,
            ca: text(&server["ca"])?,
            state: text(&description["state"])?.into(),
        })
    }

    /// Adds and removes keys, if the file of keys differs: `keys` says for each id whether the server knows the key.
    ///
    /// Other test programs edit the file too, and can undo a change. So call this function again and again.
    pub fn apply_keys(&self, keys: &BTreeMap<String, bool>) -> anyhow::Result<()> {
        let file = self.state.join("keys.json");
        let mut content = read_json(&file)?;
        let entries = content
            .as_object_mut()
            .context("keys.json is not an object")?;
        let mut changes = Vec::new();
        for (id, is_known) in keys {
            if entries.contains_key(id) == *is_known {
                continue;
            }
            if *is_known {
                let key = json!({ "access_key_id": id, "secret_access_key": SECRET, "session_token": null });
                entries.insert(id.clone(), key);
                changes.push(format!("+{id}"));
            } else {
                entries.remove(id);
                changes.push(format!("-{id}"));
            }
        }
        if !changes.is_empty() {
            // No login reads an incomplete file.
            let new = self.state.join("keys.json.outages");
            fs::write(&new, content.to_string())?;
            fs::rename(&new, &file)?;
            eprintln!("keys: {}", changes.join(" "));
        }
        Ok(())
    }
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(serde_json::from_str(&text)?)
}
