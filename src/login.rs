use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use quick_cache::Equivalent;

use crate::Error;
use crate::error::excerpt;
use crate::region;

/// More than any database allows: 63 bytes in PostgreSQL ([identifiers][postgres]), 32 characters in MySQL ([user
/// names][mysql]), 128 characters of up to 3 bytes in MariaDB ([identifier names][mariadb]).
///
/// [postgres]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
/// [mysql]: https://dev.mysql.com/doc/refman/8.4/en/user-names.html
/// [mariadb]: https://mariadb.com/docs/server/reference/sql-structure/sql-language-structure/identifier-names
const MAX_USER_LEN: usize = 512;

/// How every canonical request ends: the one signed header, and SHA-256 of the empty payload.
const SIGNED_HEADERS_AND_PAYLOAD: &str =
    "\n\nhost\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What SigV4 leaves as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// `text` with every byte outside `A-Z a-z 0-9 - _ . ~` as `%XX` in upper case, as SigV4 encodes a value.
pub(crate) fn percent_encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// Who logs in where: a database's endpoint and user, validated and encoded once, to be signed many times.
///
/// The host and port are those that the database itself has, since its server checks them in the signature. What a
/// program dials to get there (a tunnel, a CNAME, an address) is not part of a login, and nothing is resolved here.
///
/// ```
/// use rds_iam::Login;
///
/// let login = Login::new("MyDB.abc123xyz.eu-central-1.rds.amazonaws.com", 5432, "app")?;
/// assert_eq!(login.host(), "mydb.abc123xyz.eu-central-1.rds.amazonaws.com");
/// assert_eq!(login.region(), Some("eu-central-1"));
/// # Ok::<(), rds_iam::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Login {
    host: String,
    port: u16,
    user: String,
    host_region: Option<String>,
    /// The region given, where it is another than the host's.
    other_region: Option<String>,
    /// The token before its query: `host:port/?`
    token_start: String,
    /// The query's beginning, which is the login's: `Action=connect&DBUser=USER`
    query_start: String,
    /// The canonical request from after its query on.
    canonical_request_end: String,
}

impl Login {
    /// A login of `user` at the database `host`:`port`.
    ///
    /// The host is a DNS name (dot-separated labels of 1 to 63 letters, digits, `-` and `_`, at most 253 bytes), put
    /// into lower case and without one trailing dot, or an IP address, IPv6 with or without its brackets. The user is
    /// taken as it is, byte for byte: it is case-sensitive, and not URL-encoded.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidHost`], which a URL, a `host:port` or a name with spaces is too; [`Error::InvalidPort`] for
    /// port 0; [`Error::InvalidUser`] where the user is empty or has control characters.
    pub fn new(host: &str, port: u16, user: &str) -> Result<Login, Error> {
        let host = normalize_host(host)?;
        if port == 0 {
            return Err(Error::InvalidPort);
        }
        validate_user(user)?;
        Ok(Login {
            host_region: region::in_host(&host).map(str::to_owned),
            other_region: None,
            token_start: format!("{host}:{port}/?"),
            query_start: format!("Action=connect&DBUser={}", percent_encode(user)),
            canonical_request_end: format!("\nhost:{host}:{port}{SIGNED_HEADERS_AND_PAYLOAD}"),
            host,
            port,
            user: user.to_owned(),
        })
    }

    /// The login that a connection URL names: `postgres://USER@HOST:PORT/…`, `postgresql://`, `mysql://` or
    /// `mariadb://`.
    ///
    /// The user is percent-decoded. A port that is not given is 5432 for PostgreSQL and 3306 for MySQL and MariaDB. A
    /// password in the URL is ignored, and never shown.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`] where the scheme is another, the host or user is missing or the user is not UTF-8, or
    /// where the URL's query names a `host`, `port` or `user` too, since drivers differ in which of the two they
    /// take; else as [`Login::new`].
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
        Login::new(host, url.port().unwrap_or(default_port), &user)
    }

    /// The same login, signed for `region` instead of the one that the host's name holds.
    ///
    /// For hosts whose name holds none, such as Aurora's global endpoint. Any name with a region's shape will do; there
    /// is no list.
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

    /// The database's host as it is signed and sent: in lower case, without a trailing dot, IPv6 in brackets.
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

    /// The region given with [`with_region`](Login::with_region), else the one in the host's name, else `None`.
    pub fn region(&self) -> Option<&str> {
        self.other_region.as_deref().or(self.host_region.as_deref())
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

/// Of what a login is made from; all else follows from it.
impl PartialEq for Login {
    #[inline]
    fn eq(&self, other: &Login) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.user == other.user
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

/// What a login is made from. It hashes as the login does, so that one can be looked up without being made.
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

/// Equal to the login that [`Login::new`] makes from parts that need no normalizing.
impl Equivalent<Login> for LoginParts<'_> {
    fn equivalent(&self, login: &Login) -> bool {
        self.host == login.host
            && self.port == login.port
            && self.user == login.user
            && login.other_region.is_none()
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
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(is_allowed) {
        return invalid("it has other characters than letters, digits, `-`, `_` and dots");
    }
    if name.len() > 253 {
        return invalid("it is longer than 253 bytes");
    }
    if !name.split('.').all(|label| (1..=63).contains(&label.len())) {
        return invalid("a part between its dots is empty or longer than 63 bytes");
    }
    Ok(name.to_ascii_lowercase())
}

/// The form in which a [`Login`] has `host`, if that is another.
#[cfg(feature = "aws-config")]
pub(crate) fn normalized_name(host: &str) -> Option<String> {
    let is_normalized = !host.ends_with('.') && !host.bytes().any(|b| b.is_ascii_uppercase());
    let normalize = || host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!is_normalized).then(normalize)
}

/// Strips possible secrets from a URL or `USER:PASSWORD` that was given as a host. Returns `…` for a DSN.
fn without_secrets(host: &str) -> String {
    let (scheme, rest) = match host.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), host),
    };
    let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let shown = rest.split(['?', '#']).next().unwrap_or_default();
    // The `@` may be part of a secret, and a `=` stand before one.
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
