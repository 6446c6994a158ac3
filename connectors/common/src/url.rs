use std::collections::HashSet;
use std::path::PathBuf;

use rds_iam::Login;
use url::Url;

use crate::InvalidOptions;

/// The parameters of a connection URL that a connector accepts.
#[derive(Clone, Copy, Debug)]
pub struct UrlParameters {
    /// The schemes of the database, such as `postgres`.
    pub schemes: &'static [&'static str],
    /// The names of the TLS mode, such as `sslmode`.
    pub tls_mode: &'static [&'static str],
    /// The TLS mode that verifies chain and name, such as `verify-full`.
    pub verified: &'static str,
    /// The names of the file of root certificates, such as `sslrootcert`.
    pub root_file: &'static [&'static str],
    /// The parameters that the driver reads and that leave the connection's safety alone.
    pub driver: &'static [&'static str],
}

/// A connection URL, checked.
#[derive(Clone, Debug)]
pub struct UrlParts {
    /// The URL for the driver, without the parameters that the connector reads.
    pub url: Url,
    /// The login in the URL.
    pub login: Login,
    /// The file of root certificates in the URL.
    pub root_file: Option<PathBuf>,
}

impl UrlParameters {
    /// The parameters of PostgreSQL's URLs.
    pub const fn postgres(driver: &'static [&'static str]) -> UrlParameters {
        UrlParameters {
            schemes: &["postgres", "postgresql"],
            tls_mode: &["sslmode", "ssl-mode"],
            verified: "verify-full",
            root_file: &["sslrootcert", "ssl-root-cert", "ssl-ca"],
            driver,
        }
    }

    /// The parameters of MySQL's and MariaDB's URLs.
    pub const fn mysql(driver: &'static [&'static str]) -> UrlParameters {
        UrlParameters {
            schemes: &["mysql", "mariadb"],
            tls_mode: &["ssl-mode", "sslmode", "ssl_mode"],
            verified: "VERIFY_IDENTITY",
            root_file: &["ssl-ca", "sslca", "ssl_ca"],
            driver,
        }
    }

    /// Reads a connection URL.
    ///
    /// # Errors
    ///
    /// If the URL asks for anything that the connector cannot do: unverified TLS, a password, several hosts, a socket, an
    /// unknown parameter. No error shows the URL.
    pub fn read(&self, given: &str) -> Result<UrlParts, InvalidOptions> {
        let reject = |reason| Err(InvalidOptions::Url { reason });
        let hosts = hosts(given);
        if hosts.contains(',') {
            return reject(
                "it names several hosts. Give a single host, because a token is for a single host",
            );
        }
        if hosts.starts_with('/') || hosts.to_ascii_lowercase().starts_with("%2f") {
            return reject(SOCKET);
        }
        let Ok(mut url) = Url::parse(given) else {
            return reject(
                "it cannot be read as a URL. Percent-encode the user and the database, and check the host and the port",
            );
        };
        if !self.schemes.contains(&url.scheme()) {
            return Err(InvalidOptions::Scheme {
                schemes: self.schemes,
            });
        }
        if url.password().is_some() {
            return reject(
                "it has a password. Remove the password, because the token takes its place",
            );
        }
        if url.fragment().is_some() {
            return reject("it has a `#`. Write `%23` for a `#` in a name");
        }
        // Before an error shows a parameter's name: in `USER:12?SECRET@HOST`, a part of the password is the name.
        if url.username().is_empty() {
            Login::from_url(&url)?;
        }
        let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut root_file = None;
        let mut for_driver = Vec::new();
        let mut names = HashSet::new();
        for (name, value) in parameters {
            if self.tls_mode.contains(&&*name) {
                if !value.eq_ignore_ascii_case(self.verified) {
                    return Err(InvalidOptions::TlsMode {
                        name,
                        verified: self.verified,
                    });
                }
            } else if self.root_file.contains(&&*name) {
                if root_file.replace(PathBuf::from(value)).is_some() {
                    return Err(InvalidOptions::Parameter {
                        name,
                        reason: "the URL names two files of root certificates. Name a single file",
                    });
                }
            } else if name == "password" {
                return reject(
                    "it has a password. Remove the password, because the token takes its place",
                );
            } else if name == "socket" {
                return reject(SOCKET);
            } else if matches!(&*name, "host" | "port" | "user" | "hostaddr") {
                return Err(InvalidOptions::Parameter {
                    name,
                    reason: "the host, port and user stand before the `?`. Remove it, and use `dial` to connect to another address",
                });
            } else if self.driver.contains(&&*name)
                || name.starts_with("options[") && self.driver.contains(&"options[")
            {
                if !names.insert(name.clone()) {
                    return Err(InvalidOptions::Parameter {
                        name: shown(&name),
                        reason: "the URL has it twice. Give it once",
                    });
                }
                for_driver.push((name, value));
            } else {
                return Err(InvalidOptions::Parameter {
                    name: shown(&name),
                    reason: "it is unknown, and no parameter is ignored. Remove it",
                });
            }
        }
        url.set_query(None);
        if !for_driver.is_empty() {
            url.query_pairs_mut().extend_pairs(for_driver);
        }
        Ok(UrlParts {
            login: Login::from_url(&url)?,
            url,
            root_file,
        })
    }
}

/// A parameter's name for an error. A part of a password may be taken for a name, if the password is not encoded.
fn shown(name: &str) -> String {
    let is_shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '[' | ']' | '.');
    match name.len() <= 100 && name.chars().all(is_shown) {
        true => name.to_owned(),
        false => "…".to_owned(),
    }
}

const SOCKET: &str = "it names a local socket. Give the database's host, because RDS has no socket, and a socket has no TLS";

/// The part of a URL that names hosts and ports.
fn hosts(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    // After an empty authority there may be a path: `postgres:///run/postgresql`.
    if hosts.is_empty() && authority.is_empty() {
        return "";
    }
    hosts
}
