//! A pool of r2d2 at PostgreSQL, without async: `r2d2_postgres [--ca FILE] [--for SECONDS] URL`
//!
//! The manager of the crate r2d2_postgres has a fixed password.

use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, Config, Error};
use r2d2::{ManageConnection, Pool};
use rds_iam::{LogInError, Login, TokenCache, rejection};
use rds_iam_pools::{AllCauses, Args, Session, serve_blocking};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    roots: &[CertificateDer<'static>],
    max_size: u32,
) -> anyhow::Result<Pool<Manager>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    let mut config = Config::new();
    config
        .host(login.host())
        .port(login.port())
        .user(login.user())
        .dbname(database)
        // By default the driver continues in plain text if the server has no TLS, and sends the token.
        .ssl_mode(SslMode::Require);
    let manager = Manager {
        cache: cache.clone(),
        login: login.clone(),
        config,
        tls: MakeRustlsConnect::new(tls),
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
    config: Config,
    tls: MakeRustlsConnect,
}

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = AllCauses<LogInError<Error>>;

    fn connect(&self) -> Result<Client, Self::Error> {
        let connect = |token: rds_iam::Token| {
            let mut config = self.config.clone();
            config.password(token.as_str()).connect(self.tls.clone())
        };
        let is_rejection = |error: &Error| {
            let error = error.as_db_error();
            error.is_some_and(|error| {
                rejection::is_postgres_rejection(error.code().code(), error.message())
            })
        };
        let connected = self
            .cache
            .blocking_log_in(&self.login, connect, is_rejection);
        connected.map_err(AllCauses)
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), Self::Error> {
        let answered = client.batch_execute("");
        answered.map_err(|error| AllCauses(LogInError::Connect(error)))
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}

pub fn session(client: &mut Client) -> anyhow::Result<Session> {
    let row = client.query_one(Session::POSTGRES, &[])?;
    Ok(Session {
        user: row.try_get("user")?,
        tls: row.try_get("tls")?,
    })
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let cache = rds_iam::shared_cache();
    let pool = open(cache, &args.login, &args.database, &args.roots, 10)?;
    serve_blocking(args.seconds, || session(&mut *pool.get()?))
}
