//! A pool of r2d2 at MySQL or MariaDB, without async: `r2d2_mysql [--ca FILE] [--for SECONDS] URL`
//!
//! The manager of the crate r2d2_mysql holds a fixed password, as does the driver's own pool.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use mysql::prelude::Queryable;
use mysql::{Conn, Error, OptsBuilder, SslOpts};
use r2d2::{ManageConnection, Pool};
use rds_iam::{Login, TokenCache};
use rds_iam_pools::{Args, LoginError, Session, log_in_blocking, serve_blocking};

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    ca: Option<&Path>,
    max_size: u32,
) -> Result<Pool<Manager>, r2d2::Error> {
    let tls = SslOpts::default().with_root_cert_path(ca.map(Path::to_owned));
    let options = OptsBuilder::default()
        .ip_or_hostname(Some(login.host()))
        .tcp_port(login.port())
        .user(Some(login.user()))
        .db_name(Some(database))
        // The token goes over the wire as it is, so only with verified TLS (without `ssl_opts` there is none), and
        // never by way of a local socket, which the driver does not secure.
        .enable_cleartext_plugin(true)
        .ssl_opts(tls)
        .prefer_socket(false);
    let manager = Manager {
        cache: cache.clone(),
        login: login.clone(),
        options,
    };
    Pool::builder()
        .max_size(max_size)
        // Opens connections as they are needed.
        .min_idle(Some(0))
        // For so long a caller waits and r2d2 tries again, whatever the reason.
        .connection_timeout(Duration::from_secs(10))
        .build(manager)
}

/// Asks the cache for a token whenever the pool opens a connection.
pub struct Manager {
    cache: TokenCache,
    login: Login,
    options: OptsBuilder,
}

impl ManageConnection for Manager {
    type Connection = Conn;
    type Error = LoginError<Error>;

    fn connect(&self) -> Result<Conn, LoginError<Error>> {
        log_in_blocking(&self.cache, &self.login, |token| {
            Conn::new(self.options.clone().pass(Some(token.as_str())))
        })
    }

    fn is_valid(&self, connection: &mut Conn) -> Result<(), LoginError<Error>> {
        connection.ping().map_err(LoginError::Driver)
    }

    /// `is_valid` finds out before a connection is handed out.
    fn has_broken(&self, _: &mut Conn) -> bool {
        false
    }
}

pub fn session(connection: &mut Conn) -> anyhow::Result<Session> {
    let user: Option<String> = connection.query_first(Session::MYSQL_USER)?;
    let tls: Option<(String, String)> = connection.query_first(Session::MYSQL_TLS)?;
    let (_, tls) = tls.context("no row")?;
    Ok(Session::mysql(&user.context("no row")?, tls))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    ensure!(
        args.dial.is_none(),
        "no --dial: mysql connects to the host whose certificate it verifies"
    );
    let cache = rds_iam::shared_cache();
    let pool = open(cache, &args.login, &args.database, args.ca.as_deref(), 10)?;
    serve_blocking(args.seconds, || session(&mut *pool.get()?))
}
