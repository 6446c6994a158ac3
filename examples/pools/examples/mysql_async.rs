//! A pool of mysql_async's connections, by deadpool: `mysql_async [--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL`
//!
//! mysql_async's own pool holds a fixed password.

use std::net::SocketAddr;

use anyhow::Context;
use deadpool::managed::{self, BuildError, Metrics, RecycleResult};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, SslOpts};
use rds_iam::{Login, TokenCache};
use rds_iam_pools::{Args, LoginError, Session, log_in, serve};
use rustls::pki_types::CertificateDer;

pub type Pool = managed::Pool<Manager>;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    roots: &[CertificateDer<'static>],
    dial: Option<SocketAddr>,
    max_size: usize,
) -> Result<Pool, BuildError> {
    let tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots.iter().map(|root| root.to_vec().into()).collect())
        // The name that the server's certificate must have, whatever is dialled.
        .with_danger_tls_hostname_override(Some(login.host().to_owned()));
    let (host, port) = match dial {
        Some(dial) => (dial.ip().to_string(), dial.port()),
        None => (login.host().to_owned(), login.port()),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port)
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
    Pool::builder(manager).max_size(max_size).build()
}

/// Asks the cache for a token whenever the pool opens a connection.
pub struct Manager {
    cache: TokenCache,
    login: Login,
    options: OptsBuilder,
}

impl managed::Manager for Manager {
    type Type = Conn;
    type Error = LoginError<Error>;

    async fn create(&self) -> Result<Conn, LoginError<Error>> {
        log_in(&self.cache, &self.login, |token| {
            Conn::new(self.options.clone().pass(Some(token.as_str())))
        })
        .await
    }

    async fn recycle(
        &self,
        connection: &mut Conn,
        _: &Metrics,
    ) -> RecycleResult<LoginError<Error>> {
        // Not `change_user`, which would log in again, with the token of the first login.
        connection.reset().await.map_err(LoginError::Driver)?;
        Ok(())
    }
}

pub async fn session(connection: &mut Conn) -> anyhow::Result<Session> {
    let user: Option<String> = connection.query_first(Session::MYSQL_USER).await?;
    let tls: Option<(String, String)> = connection.query_first(Session::MYSQL_TLS).await?;
    let (_, tls) = tls.context("no row")?;
    Ok(Session::mysql(&user.context("no row")?, tls))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let cache = rds_iam::shared_cache();
    let roots = &args.roots;
    let pool = open(cache, &args.login, &args.database, roots, args.dial, 10)?;
    serve(args.seconds, async || {
        session(&mut *pool.get().await?).await
    })
    .await
}
