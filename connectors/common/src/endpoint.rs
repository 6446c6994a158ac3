use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rds_iam::{Login, Service, TokenCache};

use crate::{InvalidOptions, Roots};

/// The time limit of an attempt to connect, with TLS and the login. As sqlx's pool waits by default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// When a pool replaces a connection to Aurora DSQL. DSQL closes a connection after 60 minutes ([Aurora DSQL user guide,
/// *Cluster quotas and database limits*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html)). The
/// margin is as long as the longest transaction, 5 minutes.
const DSQL_MAX_LIFETIME: Duration = Duration::from_secs(55 * 60);

/// The protocol of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL, Aurora PostgreSQL and Aurora DSQL.
    Postgres,
    /// MySQL, MariaDB and Aurora MySQL.
    MySql,
}

/// A database to log in to: which tokens, which login, which roots, and where to connect.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The cache that the tokens are from.
    pub cache: TokenCache,
    /// The database's own host and port, and the user.
    pub login: Login,
    /// The trusted root certificates.
    pub roots: Roots,
    /// Where to connect, if not to the database's own host and port.
    pub dial: Option<Address>,
    /// How old a connection may be when a pool hands out the connection. `None` if the database closes no old connections.
    pub max_lifetime: Option<Duration>,
}

pub(crate) fn max_lifetime(service: Service) -> Option<Duration> {
    (service == Service::Dsql).then_some(DSQL_MAX_LIFETIME)
}

impl Endpoint {
    /// The name in the server's certificate. An IPv6 address has no brackets.
    pub fn server_name(&self) -> &str {
        server_name(&self.login)
    }

    /// Where to connect.
    pub fn address(&self) -> Address {
        self.dial.clone().unwrap_or_else(|| Address {
            host: self.server_name().to_owned(),
            port: self.login.port(),
        })
    }
}

/// The name in the certificate of a login's server. An IPv6 address has no brackets.
pub fn server_name(login: &Login) -> &str {
    let host = login.host();
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    address.unwrap_or(host)
}

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Reads `HOST:PORT`. An IPv6 address has brackets.
impl FromStr for Address {
    type Err = InvalidOptions;

    fn from_str(given: &str) -> Result<Address, InvalidOptions> {
        // Marks of a URL, which may hold a secret.
        let is_not_in_host =
            |c: char| matches!(c, '/' | '@' | '?' | '#') || c.is_whitespace() || c.is_control();
        let invalid = || InvalidOptions::Dial {
            address: match given.contains(is_not_in_host) {
                true => "…".to_owned(),
                false => given.chars().take(100).collect(),
            },
        };
        let (host, port) = given.rsplit_once(':').ok_or_else(invalid)?;
        let brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = brackets.unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0);
        let is_host = !host.is_empty()
            && brackets.is_some() == host.contains(':')
            && !host.contains(is_not_in_host);
        match port {
            Some(port) if is_host => Ok(Address {
                host: host.to_owned(),
                port,
            }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.host {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}
