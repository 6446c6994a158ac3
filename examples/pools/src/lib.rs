//! Shared by the examples of pools: the arguments, the loop of queries, verified TLS, and the rule for rejected logins.

#[path = "../../args/mod.rs"]
mod args;
mod log_in;

/// The README's connection, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rds_iam::Login;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use log_in::{LoginError, Rejection, log_in, log_in_blocking};

/// The arguments of each example: `[--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL`
pub struct Args {
    pub login: Login,
    pub database: String,
    /// The file of `--ca`, for drivers that read it themselves.
    pub ca: Option<PathBuf>,
    /// The trusted root certificates: of the file or the platform, and Amazon's public roots.
    pub roots: Vec<CertificateDer<'static>>,
    /// The address to dial instead of the database's own endpoint, for a tunnel.
    pub dial: Option<SocketAddr>,
    /// How long to serve, for ever by default.
    pub seconds: Option<u64>,
}

impl Args {
    pub fn parse() -> anyhow::Result<Args> {
        const USAGE: &str = "usage: [--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL";
        let mut args: Vec<_> = std::env::args_os().skip(1).collect();
        let mut seconds = None;
        if let Some(at) = args.iter().position(|arg| arg == "--for") {
            let given = args.drain(at..args.len().min(at + 2)).nth(1);
            let given = given.as_ref().and_then(|given| given.to_str());
            seconds = Some(given.and_then(|given| given.parse().ok()).context(USAGE)?);
        }
        let args = args::Args::parse_from(args.into_iter(), USAGE)?;
        let dial = match &args.dial {
            Some(dial) => Some(resolve(dial).with_context(|| format!("no address from {dial:?}"))?),
            None => None,
        };
        Ok(Args {
            login: Login::from_url(&args.url)?,
            database: args.database()?,
            roots: args.roots()?,
            ca: args.ca,
            dial,
            seconds,
        })
    }
}

fn resolve(dial: &str) -> anyhow::Result<SocketAddr> {
    dial.to_socket_addrs()?.next().context("the name has none")
}

/// The user of a connection, and the version of TLS.
pub struct Session {
    pub user: String,
    pub tls: String,
}

impl Session {
    /// The session in PostgreSQL, in the columns `user` and `tls`.
    pub const POSTGRES: &str = "SELECT current_user::text AS user, version AS tls \
         FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    /// The user and the version of TLS in MySQL and MariaDB. The version is in the second column.
    pub const MYSQL_USER: &str = "SELECT CURRENT_USER()";
    pub const MYSQL_TLS: &str = "SHOW SESSION STATUS LIKE 'Ssl_version'";

    /// The session of the answers of MySQL and MariaDB. Their users end in `@` and the allowed hosts.
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

const PAUSE: Duration = Duration::from_secs(1);

/// Prints the session of the first query, then queries once a second.
pub async fn serve(
    seconds: Option<u64>,
    query: impl AsyncFn() -> anyhow::Result<Session>,
) -> anyhow::Result<()> {
    println!("{}", query().await?);
    for _ in 0..seconds.unwrap_or(u64::MAX) {
        tokio::time::sleep(PAUSE).await;
        query().await?;
    }
    Ok(())
}

/// [`serve`] without async.
pub fn serve_blocking(
    seconds: Option<u64>,
    query: impl Fn() -> anyhow::Result<Session>,
) -> anyhow::Result<()> {
    println!("{}", query()?);
    for _ in 0..seconds.unwrap_or(u64::MAX) {
        thread::sleep(PAUSE);
        query()?;
    }
    Ok(())
}

/// TLS for tokio-postgres and the pools over it. Trusts `roots` only.
pub fn tls(roots: &[CertificateDer<'static>]) -> MakeRustlsConnect {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}
