use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;

use quick_cache::Equivalent;

use crate::encoding::percent_encode;
use crate::error::excerpt;
use crate::{Error, Service, endpoint, region};

/// More than any database allows: 63 bytes in PostgreSQL ([identifiers][postgres]), 32 characters in MySQL ([user
/// names][mysql]), 128 characters of up to 3 bytes in MariaDB ([identifier names][mariadb]).
///
/// [postgres]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
/// [mysql]: https://dev.mysql.com/doc/refman/8.4/en/user-names.html
/// [mariadb]: https://mariadb.com/docs/server/reference/sql-structure/sql-language-structure/identifier-names
const MAX_USER_LEN: usize = 512;

/// The end of every canonical request: the signed header, and SHA-256 of the empty payload.
const SIGNED_HEADERS_AND_PAYLOAD: &str =
    "\n\nhost\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The user of Aurora DSQL that logs in with an action of its own ([Aurora DSQL user guide, *Authentication and
/// authorization*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/authentication-authorization.html)).
const DSQL_ADMIN: &str = "admin";

/// A database's endpoint and user, validated and encoded once, to be signed many times.
///
/// Sign for the database's own host and port. Amazon RDS checks both in the signature, Aurora DSQL only the host. How you
/// reach the database (a tunnel, a CNAME, an IP address) does not matter. Nothing is resolved.
///
/// The host's name says which [`Service`] checks the token, Amazon RDS or Aurora DSQL, and in which region.
///
/// ```
/// use rds_iam::{Login, Service};
///
/// let login = Login::new("MyDB.abc123xyz.eu-central-1.rds.amazonaws.com", 5432, "app")?;
/// assert_eq!(login.host(), "mydb.abc123xyz.eu-central-1.rds.amazonaws.com");
/// assert_eq!(login.region(), Some("eu-central-1"));
/// assert_eq!(login.service(), Service::RdsDb);
///
/// let login = Login::new("abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws", 5432, "admin")?;
/// assert_eq!(login.service(), Service::Dsql);
/// # Ok::<(), rds_iam::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Login {
    host: String,
    port: u16,
    user: String,
    service: Service,
    host_region: Option<String>,
    /// The given region, if different from the host's.
    other_region: Option<String>,
    /// The token before the query: `host:port/?`, or `host/?` for DSQL
    token_start: String,
    /// The query's beginning: `Action=connect&DBUser=USER`, or `Action=DbConnect` for DSQL
    query_start: String,
    /// The canonical request after the query.
    canonical_request_end: String,
}

impl Login {
    /// Makes a login of `user` at the database `host`:`port`.
    ///
    /// - The host is a DNS name or an IP address, IPv6 with or without brackets. A DNS name has at most 253 bytes, in labels
    ///   of 1 to 63 letters, digits, `-` and `_`. The name is put into lower case and loses a trailing dot.
    /// - The user is case-sensitive. Do not URL-encode the user. For Amazon RDS the user is signed, byte for byte. For Aurora
    ///   DSQL the user only decides the action: `DbConnectAdmin` for `admin`, otherwise `DbConnect`. So all users of a cluster
    ///   except `admin` get the same token.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidHost`]. A URL, a `host:port` or a name with spaces is no host.
    /// - [`Error::InvalidPort`] for port 0.
    /// - [`Error::InvalidUser`] if the user is empty, has control characters or is longer than 512 bytes. No database
    ///   allows a longer name.
    pub fn new(host: &str, port: u16, user: &str) -> Result<Login, Error> {
        Login::with_default_service(Service::RdsDb, host, port, user)
    }

    /// Makes a login of `user` at an Aurora DSQL cluster whose endpoint has another form than `CLUSTER.dsql.REGION.on.aws`.
    ///
    /// For example in a partition for which AWS has published no endpoints. If the host's name has no region, also call
    /// [`with_region`](Login::with_region). For a CNAME or a tunnel, use [`new`](Login::new) with the cluster's own endpoint,
    /// because the cluster checks the host in the signature.
    ///
    /// # Errors
    ///
    /// As [`new`](Login::new), and [`Error::NotDsql`] if the host is an endpoint of Amazon RDS.
    pub fn for_dsql(host: &str, port: u16, user: &str) -> Result<Login, Error> {
        let login = Login::with_default_service(Service::Dsql, host, port, user)?;
        match login.service {
            Service::Dsql => Ok(login),
            Service::RdsDb => Err(Error::NotDsql { host: login.host }),
        }
    }

    /// Makes a login for the service in the host's name, or for `default_service`.
    fn with_default_service(
        default_service: Service,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<Login, Error> {
        let host = normalize_host(host)?;
        if port == 0 {
            return Err(Error::InvalidPort);
        }
        validate_user(user)?;
        let (host_service, host_region) = endpoint::parse(&host).unzip();
        let service = host_service.unwrap_or(default_service);
        let (authority, query_start) = match service {
            Service::RdsDb => (
                format!("{host}:{port}"),
                format!("Action=connect&DBUser={}", percent_encode(user)),
            ),
            Service::Dsql if user == DSQL_ADMIN => (host.clone(), "Action=DbConnectAdmin".into()),
            Service::Dsql => (host.clone(), "Action=DbConnect".into()),
        };
        Ok(Login {
            service,
            host_region: host_region.map(str::to_owned),
            other_region: None,
            token_start: format!("{authority}/?"),
            query_start,
            canonical_request_end: format!("\nhost:{authority}{SIGNED_HEADERS_AND_PAYLOAD}"),
            host,
            port,
            user: user.to_owned(),
        })
    }

    /// Reads a login from a connection URL: `postgres://USER@HOST:PORT/…`, `postgresql://`, `mysql://` or `mariadb://`.
    ///
    /// The user is percent-decoded. The default port is 5432 for PostgreSQL, and 3306 for MySQL and MariaDB. A password in
    /// the URL is ignored, and never shown.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidUrl`] if the scheme is none of these, if the host or the user is missing, or if the user is not UTF-8.
    /// - [`Error::InvalidUrl`] if the scheme is MySQL's or MariaDB's, and the host is a cluster of Aurora DSQL.
    /// - [`Error::InvalidUrl`] if the URL's query names a `host`, `port` or `user` too, because drivers do not agree on
    ///   the value to use.
    /// - Otherwise as [`Login::new`].
    #[cfg(feature = "url")]
    pub fn from_url(url: &url::Url) -> Result<Login, Error> {
        let invalid = |reason| Error::InvalidUrl { reason };
        let default_port = match url.scheme() {
            "postgres" | "postgresql" => 5432,
            "mysql" | "mariadb" => 3306,
            _ => {
                return Err(invalid(
                    "its scheme is not postgres, postgresql, mysql or mariadb",
                ));
            }
        };
        if url
            .query_pairs()
            .any(|(name, _)| matches!(&*name, "host" | "port" | "user"))
        {
            return Err(invalid(
                "the host, port and user stand before the `?`, not after it",
            ));
        }
        let host = url.host_str().ok_or_else(|| invalid("it names no host"))?;
        let user = percent_encoding::percent_decode_str(url.username())
            .decode_utf8()
            .map_err(|_| invalid("its user is not UTF-8"))?;
        if user.is_empty() {
            return Err(invalid("it names no user"));
        }
        let login = Login::new(host, url.port().unwrap_or(default_port), &user)?;
        if login.service == Service::Dsql && matches!(url.scheme(), "mysql" | "mariadb") {
            return Err(invalid(
                "its host is a cluster of Aurora DSQL, which speaks the protocol of PostgreSQL",
            ));
        }
        Ok(login)
    }

    /// Returns the same login, signed for `region` instead of the region in the host's name.
    ///
    /// For hosts without a region in the name, such as Aurora's global endpoint. Any name with a region's shape is
    /// accepted, because there is no list of regions.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRegion`].
    pub fn with_region(self, region: &str) -> Result<Login, Error> {
        region::validate(region)?;
        let is_other = self.host_region.as_deref() != Some(region);
        Ok(Login {
            other_region: is_other.then(|| region.to_owned()),
            ..self
        })
    }

    /// The database's host in the signature: in lower case, without a trailing dot, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The database's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database user, not encoded.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The service that checks the token.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The region given with [`with_region`](Login::with_region), or the region in the host's name.
    pub fn region(&self) -> Option<&str> {
        self.other_region.as_deref().or(self.host_region.as_deref())
    }

    /// Whether [`new`](Login::new) makes this login: neither the service nor the region was given.
    fn follows_from_parts(&self) -> bool {
        // A host with a service in its name has a region too.
        let is_service_of_host = self.service == Service::RdsDb || self.host_region.is_some();
        is_service_of_host && self.other_region.is_none()
    }

    pub(crate) fn token_start(&self) -> &str {
        &self.token_start
    }

    pub(crate) fn query_start(&self) -> &str {
        &self.query_start
    }

    pub(crate) fn canonical_request_end(&self) -> &str {
        &self.canonical_request_end
    }
}

/// Compares the values that a login is made from. The other fields follow from these values.
impl PartialEq for Login {
    #[inline]
    fn eq(&self, other: &Login) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.user == other.user
            && self.service == other.service
            && self.other_region == other.other_region
    }
}

impl Eq for Login {}

impl Hash for Login {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        LoginParts::of(self).hash(state);
    }
}

/// The values that a login is made from. They have the same hash as the login, so a look-up needs no login.
#[derive(Hash)]
pub(crate) struct LoginParts<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
}

impl<'a> LoginParts<'a> {
    fn of(login: &'a Login) -> LoginParts<'a> {
        LoginParts {
            host: &login.host,
            port: login.port,
            user: &login.user,
        }
    }
}

/// Equal to the login that [`Login::new`] makes, if the host is normalized.
impl Equivalent<Login> for LoginParts<'_> {
    fn equivalent(&self, login: &Login) -> bool {
        self.host == login.host
            && self.port == login.port
            && self.user == login.user
            && login.follows_from_parts()
    }
}

/// `user@host:port`, with the user's invisible characters and backslashes escaped, for a log.
impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.user.chars() {
            match c {
                '\'' | '"' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        write!(f, "@{}:{}", self.host, self.port)
    }
}

fn normalize_host(given: &str) -> Result<String, Error> {
    let address = given
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = address.unwrap_or(given).parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let name = given.strip_suffix('.').unwrap_or(given);
    let invalid = |reason| {
        Err(Error::InvalidHost {
            host: excerpt(&without_secrets(given)),
            reason,
        })
    };
    if name.is_empty() {
        return invalid("it is empty");
    }
    if name.len() > 253 {
        return invalid("it is longer than 253 bytes");
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(is_allowed) {
        return invalid("it has characters other than letters, digits, `-`, `_` and dots");
    }
    if !name.split('.').all(|label| (1..=63).contains(&label.len())) {
        return invalid("a part between its dots is empty or longer than 63 bytes");
    }
    Ok(name.to_ascii_lowercase())
}

/// Returns the normalized form of `host`, if different.
#[cfg(feature = "aws-config")]
pub(crate) fn normalized_name(host: &str) -> Option<String> {
    let is_normalized = !host.ends_with('.') && !host.bytes().any(|b| b.is_ascii_uppercase());
    let normalize = || host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!is_normalized).then(normalize)
}

/// Strips possible secrets from a URL or `USER:PASSWORD` in place of a host. Returns `…` for a DSN.
fn without_secrets(host: &str) -> String {
    let (scheme, rest) = match host.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), host),
    };
    let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let shown = rest.split(['?', '#']).next().unwrap_or_default();
    // The `@` may be part of a secret, and a secret may follow a `=`.
    if user.contains(['?', '#']) || shown.contains('=') {
        return "…".to_owned();
    }
    match shown.split_once(':') {
        Some((host, rest)) if !is_like_ipv6(shown) && rest.parse::<u16>().is_err() => {
            format!("{scheme}{host}:…")
        }
        _ => format!("{scheme}{shown}"),
    }
}

fn is_like_ipv6(host: &str) -> bool {
    let address = host.split('%').next().unwrap_or_default();
    let is_part = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b'[' | b']');
    address.matches(':').count() > 1 && address.bytes().all(is_part)
}

fn validate_user(user: &str) -> Result<(), Error> {
    let reason = if user.is_empty() {
        "it is empty"
    } else if user.len() > MAX_USER_LEN {
        "it is longer than 512 bytes"
    } else if user.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    Err(Error::InvalidUser {
        user: excerpt(user),
        reason,
    })
}
