//! A pool of r2d2 at MySQL or MariaDB, without async: `r2d2_mysql [--ca FILE] [--for SECONDS] URL`
//!
//! The manager of the crate r2d2_mysql has a fixed password, as does the driver's own pool.

use std::time::Duration;

use anyhow::Context;
use mysql::prelude::Queryable;
use mysql::{Conn, Error, OptsBuilder, SslOpts};
use r2d2::{ManageConnection, Pool};
use rds_iam::{LogInError, Login, TokenCache, rejection};
use rds_iam_pools::{AllCauses, Args, Session, TempPath, root_file, serve_blocking};
use rustls::pki_types::CertificateDer;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    roots: &[CertificateDer<'static>],
    max_size: u32,
) -> anyhow::Result<Pool<Manager>> {
    // The driver trusts Mozilla's list of authorities too.
    let root_file = root_file(roots)?;
    let options = OptsBuilder::default()
        .ip_or_hostname(Some(login.host()))
        .tcp_port(login.port())
        .user(Some(login.user()))
        .db_name(Some(database))
        // RDS asks for the token itself, so the token must be inside TLS. Without `ssl_opts` there is no TLS.
        .enable_cleartext_plugin(true)
        .ssl_opts(SslOpts::default().with_root_cert_path(Some(root_file.to_path_buf())))
        // At a loopback address the driver would switch to a local socket. A socket has no TLS.
        .prefer_socket(false);
    let manager = Manager {
        cache: cache.clone(),
        login: login.clone(),
        options,
        _root_file: root_file,
    };
    let pool = Pool::builder()
        .max_size(max_size)
        // Opens connections when they are needed.
        .min_idle(Some(0))
        // For so long a caller waits and r2d2 tries again, whatever the reason.
        .connection_timeout(Duration::from_secs(10))
        .build(manager)?;
    Ok(pool)
}

/// Asks the cache for a token when the pool opens a connection.
pub struct Manager {
    cache: TokenCache,
    login: Login,
    options: OptsBuilder,
    /// The driver reads the file for each connection.
    _root_file: TempPath,
}

impl ManageConnection for Manager {
    type Connection = Conn;
    type Error = AllCauses<LogInError<Error>>;

    fn connect(&self) -> Result<Conn, Self::Error> {
        let connect =
            |token: rds_iam::Token| Conn::new(self.options.clone().pass(Some(token.as_str())));
        let is_rejection = |error: &Error| matches!(error, Error::MySqlError(error) if error.code == rejection::ER_ACCESS_DENIED_ERROR);
        let connected = self
            .cache
            .blocking_log_in(&self.login, connect, is_rejection);
        connected.map_err(AllCauses)
    }

    fn is_valid(&self, connection: &mut Conn) -> Result<(), Self::Error> {
        let answered = connection.ping();
        answered.map_err(|error| AllCauses(LogInError::Connect(error)))
    }

    /// `is_valid` checks each connection before the pool hands out the connection.
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
    let cache = rds_iam::shared_cache();
    let pool = open(cache, &args.login, &args.database, &args.roots, 10)?;
    serve_blocking(args.seconds, || session(&mut *pool.get()?))
}
