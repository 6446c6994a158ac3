//! Shared by the examples of r2d2: the arguments, the loop of queries, and errors as text.

/// The README's connection, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use percent_encoding::percent_decode_str;
use rds_iam::Login;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::NamedTempFile;
use url::Url;

pub use tempfile::TempPath;

/// The arguments of each example: `[--ca FILE] [--for SECONDS] URL`
pub struct Args {
    pub login: Login,
    pub database: String,
    /// The trusted root certificates: of the file, or built in.
    pub roots: Vec<CertificateDer<'static>>,
    /// How long to serve. For ever by default.
    pub seconds: Option<u64>,
}

impl Args {
    pub fn parse() -> anyhow::Result<Args> {
        const USAGE: &str = "usage: [--ca FILE] [--for SECONDS] URL";
        let (mut roots, mut seconds, mut url) = (None, None, None);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match &*arg {
                "--ca" => roots = Some(read_roots(&args.next().context(USAGE)?)?),
                "--for" => {
                    let given = args.next().and_then(|given| given.parse().ok());
                    seconds = Some(given.context(USAGE)?);
                }
                _ if url.is_none() && !arg.starts_with('-') => url = Some(arg),
                _ => bail!(USAGE),
            }
        }
        let url: Url = url.context(USAGE)?.parse().context("the URL is invalid")?;
        let database = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8();
        Ok(Args {
            login: Login::from_url(&url)?,
            database: database
                .context("the database's name is not UTF-8")?
                .into_owned(),
            roots: roots.unwrap_or_else(built_in_roots),
            seconds,
        })
    }
}

fn read_roots(file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("the root certificates in {file:?} cannot be read"))
}

/// The roots of RDS in all regions, and the roots of RDS Proxy, Aurora Serverless and Aurora DSQL.
fn built_in_roots() -> Vec<CertificateDer<'static>> {
    [rds_roots::RDS_ROOT_CERTS, rds_roots::AMAZON_ROOT_CERTS].concat()
}

/// Writes root certificates to a file for a driver that reads a file. The file is removed when the path is dropped.
pub fn root_file(roots: &[CertificateDer<'static>]) -> io::Result<TempPath> {
    let mut file = NamedTempFile::new()?;
    file.write_all(rds_roots::to_pem(roots).as_bytes())?;
    Ok(file.into_temp_path())
}

/// An error whose text has all causes, because r2d2 keeps only the text.
#[derive(Debug)]
pub struct AllCauses<E>(pub E);

impl<E: Error> fmt::Display for AllCauses<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Without a source, because the text has the causes.
impl<E: Error> Error for AllCauses<E> {}

/// The user of a connection, and the version of TLS.
pub struct Session {
    pub user: String,
    pub tls: String,
}

impl Session {
    /// The session in PostgreSQL, in the columns `user` and `tls`.
    pub const POSTGRES: &str = "SELECT current_user::text AS user, version AS tls \
         FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    /// The user in MySQL and MariaDB.
    pub const MYSQL_USER: &str = "SELECT CURRENT_USER()";
    /// The version of TLS in MySQL and MariaDB, in the second column.
    pub const MYSQL_TLS: &str = "SHOW SESSION STATUS LIKE 'Ssl_version'";

    /// The session from the answers of MySQL and MariaDB. The name of a user there ends in `@` and the allowed hosts.
    pub fn mysql(user: &str, tls: String) -> Session {
        let user = user.rsplit_once('@').map_or(user, |(user, _hosts)| user);
        Session {
            user: user.to_owned(),
            tls,
        }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logged in as {} over {}", self.user, self.tls)
    }
}

/// Prints the session of the first query, then queries once a second.
pub fn serve_blocking(
    seconds: Option<u64>,
    query: impl Fn() -> anyhow::Result<Session>,
) -> anyhow::Result<()> {
    println!("{}", query()?);
    for _ in 0..seconds.unwrap_or(u64::MAX) {
        thread::sleep(Duration::from_secs(1));
        query()?;
    }
    Ok(())
}
