//! The real servers of `tests/rds`, and logins to them.
#![allow(
    dead_code,
    reason = "each test binary that includes this module uses a part of it"
)]

use std::fs;
use std::path::{Path, PathBuf};

use mysql_async::prelude::Queryable;
use mysql_async::{OptsBuilder, SslOpts};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// A user name with characters that URLs and tokens must encode.
pub const ODD_USER: &str = "we/ird us+er@x%é";
/// The access keys of the servers, named by the length of their session tokens.
pub const KEYS: [&str; 3] = ["long-term", "session-1600", "session-4000"];

/// The name of the server that behaves like Aurora DSQL. The server is PostgreSQL.
pub const DSQL: &str = "dsql";

#[derive(Clone, Copy, Debug)]
pub enum Engine {
    Postgres,
    MariaDb,
}

pub const ENGINES: [Engine; 2] = [Engine::Postgres, Engine::MariaDb];

impl Engine {
    /// The example program for this engine.
    pub fn example(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mysql",
        }
    }

    /// The name of the server with TLS, with a certificate like an RDS instance's.
    ///
    /// The record of received passwords uses the same names.
    pub fn server(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mariadb",
        }
    }

    /// The name of the server with TLS, with a certificate under a public root, like an RDS Proxy's.
    pub fn public_server(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres-public",
            Engine::MariaDb => "mariadb-public",
        }
    }

    pub fn server_without_tls(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres-without-tls",
            Engine::MariaDb => "mariadb-without-tls",
        }
    }
}

pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

/// The running servers. `tests/rds/README.md` describes them.
pub struct Servers {
    description: Value,
}

impl Servers {
    pub fn running() -> Servers {
        let directory = std::env::var_os("RDS_IAM_TEST_SERVERS")
            .expect("RDS_IAM_TEST_SERVERS names no servers: run scripts/test");
        Servers {
            description: read_json(&Path::new(&directory).join("servers.json")),
        }
    }

    /// The host name of all servers except the public ones.
    pub fn host(&self) -> &str {
        self.text("host")
    }

    /// The host name of the public servers.
    pub fn public_host(&self) -> &str {
        self.text("public_host")
    }

    /// A second name of the server `dsql`, also in its certificate and in the tokens that it accepts.
    pub fn dsql_private_link_host(&self) -> &str {
        self.text("dsql_private_link_host")
    }

    /// A name to dial, with two addresses. A server listens at one of them.
    pub fn dialled_name(&self) -> &str {
        self.text("dialled_name")
    }

    /// A second name in the certificate of [`Engine::server`], in a region that has no built-in roots.
    pub fn host_without_roots(&self) -> &str {
        self.text("host_without_roots")
    }

    /// A name of the same servers that no certificate contains.
    pub fn unverified_host(&self) -> &str {
        self.text("unverified_host")
    }

    pub fn region(&self) -> &str {
        self.text("region")
    }

    /// The file of the root of [`Engine::server`], similar to the root of RDS for a region.
    pub fn ca(&self) -> &str {
        self.text("ca")
    }

    /// The file of the root of [`Engine::public_server`], similar to Amazon's public root.
    pub fn public_ca(&self) -> &str {
        self.text("public_ca")
    }

    /// The file with both roots.
    pub fn all_cas(&self) -> &str {
        self.text("all_cas")
    }

    /// The file of a CA without any signature.
    pub fn other_ca(&self) -> &str {
        self.text("other_ca")
    }

    pub fn database(&self) -> &str {
        self.text("database")
    }

    pub fn port(&self, engine: Engine) -> u16 {
        self.port_of(engine.server())
    }

    pub fn port_without_tls(&self, engine: Engine) -> u16 {
        self.port_of(engine.server_without_tls())
    }

    /// The host name of `server`, also in the tokens that it accepts.
    pub fn host_of(&self, server: &str) -> &str {
        self.text_of(server, "host")
    }

    pub fn port_of(&self, server: &str) -> u16 {
        let port = self.description["servers"][server]["port"].as_u64();
        port.and_then(|port| port.try_into().ok())
            .expect("servers.json has the port")
    }

    /// The file of the root of `server`, which must have TLS.
    pub fn ca_of(&self, server: &str) -> &str {
        self.text_of(server, "ca")
    }

    pub fn key(&self, name: &str) -> Key {
        let key = &read_json(&self.state().join("keys.json"))[name];
        let text = |field: &str| key[field].as_str().map(str::to_owned);
        Key {
            access_key_id: text("access_key_id").expect("a key has its id"),
            secret_access_key: text("secret_access_key").expect("a key has its secret"),
            session_token: text("session_token"),
        }
    }

    /// For each password received by `server` from `user`: `accepted`, or the reason of the rejection.
    pub fn received(&self, server: &str, user: &str) -> Vec<String> {
        let records = fs::read_to_string(self.state().join("received.jsonl")).unwrap_or_default();
        records
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a record in JSON"))
            .filter(|record| record["server"] == server && record["user"] == user)
            .map(|record| {
                let reason = record["reason"]
                    .as_str()
                    .filter(|reason| !reason.is_empty());
                reason.unwrap_or("accepted").to_owned()
            })
            .collect()
    }

    /// Sets the servers' clock for `user` ahead by `seconds`.
    pub fn move_clock(&self, user: &str, seconds: i64) {
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        let offsets = self.state().join("clock-offsets");
        let new = offsets.join(format!("{hex}.new"));
        fs::write(&new, seconds.to_string()).expect("a clock offset is written");
        fs::rename(&new, offsets.join(hex)).expect("a clock offset takes effect");
    }

    /// Logs in to [`Engine::server`] over verified TLS. Returns the user's name from the server.
    pub fn log_in(&self, engine: Engine, user: &str, password: &str) -> anyhow::Result<String> {
        self.log_in_to(engine, engine.server(), user, password)
    }

    /// Logs in to `server`, which must have TLS, and trusts only its root. Returns the user's name from the server.
    pub fn log_in_to(
        &self,
        engine: Engine,
        server: &str,
        user: &str,
        password: &str,
    ) -> anyhow::Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match engine {
                Engine::Postgres => self.log_in_to_postgres(server, user, password).await,
                Engine::MariaDb => self.log_in_to_mariadb(server, user, password).await,
            }
        })
    }

    async fn log_in_to_postgres(
        &self,
        server: &str,
        user: &str,
        password: &str,
    ) -> anyhow::Result<String> {
        let (host, port) = (self.host_of(server), self.port_of(server));
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(self.ca_of(server))? {
            roots.add(root?)?;
        }
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls =
            MakeTlsConnect::<TcpStream>::make_tls_connect(&mut MakeRustlsConnect::new(tls), host)?;
        let stream = TcpStream::connect((host, port)).await?;
        let (client, connection) = tokio_postgres::Config::new()
            .user(user)
            .password(password)
            .dbname(self.database())
            .ssl_mode(SslMode::Require)
            .connect_raw(stream, tls)
            .await?;
        tokio::spawn(connection);
        Ok(client.query_one("SELECT current_user", &[]).await?.get(0))
    }

    async fn log_in_to_mariadb(
        &self,
        server: &str,
        user: &str,
        password: &str,
    ) -> anyhow::Result<String> {
        let tls = SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(vec![PathBuf::from(self.ca_of(server)).into()]);
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host_of(server))
            .tcp_port(self.port_of(server))
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(self.database()))
            .enable_cleartext_plugin(true)
            .ssl_opts(tls)
            .prefer_socket(false);
        let mut connection = mysql_async::Conn::new(options).await?;
        let user: Option<String> = connection.query_first("SELECT USER()").await?;
        connection.disconnect().await?;
        let user = user.expect("USER() has a value");
        let (user, _from_where) = user.rsplit_once('@').expect("USER() has a host");
        Ok(user.to_owned())
    }

    fn state(&self) -> PathBuf {
        self.text("state").into()
    }

    fn text(&self, field: &str) -> &str {
        self.description[field]
            .as_str()
            .expect("servers.json has the field")
    }

    fn text_of(&self, server: &str, field: &str) -> &str {
        self.description["servers"][server][field]
            .as_str()
            .expect("servers.json has the field of the server")
    }
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}: run scripts/test", path.display()));
    serde_json::from_str(&text).expect("a file in JSON")
}
