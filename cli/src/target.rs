//! The database that a URL names.

use anyhow::bail;
use percent_encoding::percent_decode_str;
use rds_iam::Login;
use rds_iam_connector::{Endpoint, InvalidOptions, Options, Protocol, UrlParameters, UrlParts};
use url::Url;

use crate::args::DatabaseArgs;
use crate::libpq;

/// The parameters of MySQL's URLs that the clients' option file can hold.
const MYSQL_PARAMETERS: UrlParameters = UrlParameters::mysql(&["charset", "ssl-cert", "ssl-key"]);

/// The schemes of both protocols, for an error.
const SCHEMES: &[&str] = &["postgres", "postgresql", "mysql", "mariadb"];

/// A database in a URL, checked by the connectors' rules.
#[derive(Debug)]
pub struct Target {
    pub protocol: Protocol,
    pub login: Login,
    /// The database's name, if the URL has one.
    pub database: Option<String>,
    /// The URL's parameters for the clients, decoded.
    pub parameters: Vec<(String, String)>,
    pub parts: UrlParts,
}

impl Target {
    /// Reads a URL. Every parameter must have a meaning for the clients of the database.
    pub fn read(url: &str) -> anyhow::Result<Target> {
        let protocol = protocol(url)?;
        Target::new(protocol, parameters(protocol).read(url)?)
    }

    /// Reads a URL for another program. Parameters besides the login, the database and the TLS are not looked at.
    pub fn read_login(url: &str) -> anyhow::Result<Target> {
        let protocol = protocol(url)?;
        let parameters = parameters(protocol);
        let Ok(mut parsed) = Url::parse(url) else {
            return Target::new(protocol, parameters.read(url)?);
        };
        let is_read = |name: &str| {
            matches!(
                name,
                "host" | "hostaddr" | "password" | "port" | "socket" | "user"
            ) || parameters.tls_mode.contains(&name)
                || parameters.root_file.contains(&name)
                || (protocol == Protocol::Postgres && name == libpq::DBNAME)
        };
        let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
        parsed.set_query(None);
        for (name, value) in pairs.iter().filter(|(name, _)| is_read(name)) {
            parsed.query_pairs_mut().append_pair(name, value);
        }
        Target::new(protocol, parameters.read(parsed.as_str())?)
    }

    /// Checks the options besides the URL, and the file of root certificates.
    pub fn endpoint(&self, args: &DatabaseArgs, region: Option<&str>) -> anyhow::Result<Endpoint> {
        let mut parts = self.parts.clone();
        if let Some(file) = &args.ca
            && parts.root_file.replace(file.into()).is_some()
        {
            bail!("the URL and --ca both name a file of root certificates. Remove either");
        }
        let mut options = Options::from_url_parts((), parts);
        if let Some(region) = region {
            options = options.region(region);
        }
        if let Some(address) = &args.dial {
            options = options.dial(address);
        }
        let login = &self.login;
        let ((), endpoint) =
            options.into_endpoint(self.protocol, login.host(), login.port(), login.user())?;
        Ok(endpoint)
    }

    fn new(protocol: Protocol, parts: UrlParts) -> anyhow::Result<Target> {
        let login = parts.login.clone();
        let mut database = database(&parts.url)?;
        let mut parameters: Vec<_> = parts.url.query_pairs().into_owned().collect();
        if let Some(i) = parameters
            .iter()
            .position(|(name, _)| name == libpq::DBNAME)
        {
            let (name, value) = parameters.remove(i);
            if database.replace(value).is_some() {
                let reason = "the URL's path names a database too. Name a single database";
                return Err(InvalidOptions::Parameter { name, reason }.into());
            }
        }
        // A control character would end a line of an option file.
        let mut values = parameters.iter().map(|(_, value)| value).chain(&database);
        if values.any(|value| value.chars().any(char::is_control)) {
            return Err(invalid(
                "the database's name or a parameter has control characters. Remove them",
            ));
        }
        if protocol == Protocol::Postgres && database.as_deref().is_some_and(is_conninfo) {
            return Err(invalid(
                "some clients would read the database's name as connection parameters. Give a name without `=` and `://`",
            ));
        }
        Ok(Target {
            protocol,
            login,
            database,
            parameters,
            parts,
        })
    }
}

/// Whether pgbench and others would read the name of a database as connection parameters. The parameters may name another
/// host, which would get the token.
fn is_conninfo(database: &str) -> bool {
    database.contains('=') || database.contains("://")
}

fn invalid(reason: &'static str) -> anyhow::Error {
    InvalidOptions::Url { reason }.into()
}

/// Returns the protocol that the scheme of a URL names.
fn protocol(url: &str) -> Result<Protocol, InvalidOptions> {
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(InvalidOptions::Url {
            reason: "it cannot be read as a URL. Give a URL such as postgres://USER@HOST:PORT/DATABASE",
        });
    };
    let scheme = scheme.to_ascii_lowercase();
    [Protocol::Postgres, Protocol::MySql]
        .into_iter()
        .find(|protocol| parameters(*protocol).schemes.contains(&&*scheme))
        .ok_or(InvalidOptions::Scheme { schemes: SCHEMES })
}

/// Returns the parameters that the URLs of a protocol may have.
pub fn parameters(protocol: Protocol) -> UrlParameters {
    match protocol {
        Protocol::Postgres => libpq::PARAMETERS,
        Protocol::MySql => MYSQL_PARAMETERS,
    }
}

/// Returns the database's name in the path of a URL.
fn database(url: &Url) -> anyhow::Result<Option<String>> {
    let path = url.path().strip_prefix('/').unwrap_or_default();
    if path.contains('/') {
        return Err(invalid(
            "its path has more than the database's name. Write `%2F` for a `/` in the name",
        ));
    }
    let Ok(name) = percent_decode_str(path).decode_utf8() else {
        return Err(invalid("the database's name is not UTF-8"));
    };
    Ok((!name.is_empty()).then(|| name.into_owned()))
}
