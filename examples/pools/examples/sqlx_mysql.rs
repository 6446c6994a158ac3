//! A pool of sqlx at MySQL or MariaDB: `sqlx_mysql [--ca FILE] [--for SECONDS] URL`

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use rds_iam::{Login, Token, TokenCache};
use rds_iam_pools::{Args, Rejection, Session, serve};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::pool::PoolConnection;
use sqlx::{MySql, Row};

/// A `MySqlPool` whose password is kept fresh until it is closed.
#[derive(Clone)]
pub struct Pool {
    pub pool: MySqlPool,
    cache: TokenCache,
    login: Login,
    /// The pool's password.
    current: Arc<Mutex<Token>>,
}

pub async fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    ca: Option<&Path>,
    max_connections: u32,
) -> Result<Pool, rds_iam::Error> {
    let token = cache.token(login).await?;
    let mut options = MySqlConnectOptions::new()
        .host(login.host())
        .port(login.port())
        .username(login.user())
        .password(token.as_str())
        .database(database)
        // The token goes over the wire as it is, and with `Preferred`, the default, in plain text as well when the
        // server says no to TLS.
        .enable_cleartext_plugin(true)
        .ssl_mode(MySqlSslMode::VerifyIdentity);
    if let Some(ca) = ca {
        options = options.ssl_ca(ca);
    }
    let pool = Pool {
        pool: MySqlPoolOptions::new()
            .max_connections(max_connections)
            .connect_lazy_with(options),
        cache: cache.clone(),
        login: login.clone(),
        current: Arc::new(Mutex::new(token)),
    };
    tokio::spawn({
        let pool = pool.clone();
        async move {
            let keep_fresh = pool
                .cache
                .keep_fresh(&pool.login, |token| pool.apply(token));
            pool.pool.close_event().do_until(keep_fresh).await
        }
    });
    Ok(pool)
}

impl Pool {
    /// Returns a connection. If the database rejects the pool's token, the credentials may have been revoked, so a new
    /// token is tried once.
    pub async fn acquire(&self) -> anyhow::Result<PoolConnection<MySql>> {
        let current = self.current.lock().unwrap().clone();
        match self.pool.acquire().await {
            Err(error) if error.is_rejection() => {
                self.cache.invalidate(&self.login, &current);
                self.apply(&self.cache.token(&self.login).await?);
                Ok(self.pool.acquire().await?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn apply(&self, token: &Token) {
        let mut current = self.current.lock().unwrap();
        let options = MySqlConnectOptions::clone(&self.pool.connect_options());
        self.pool
            .set_connect_options(options.password(token.as_str()));
        *current = token.clone();
    }
}

pub async fn session(connection: &mut PoolConnection<MySql>) -> anyhow::Result<Session> {
    let user: String = sqlx::query_scalar(Session::MYSQL_USER)
        .fetch_one(&mut **connection)
        .await?;
    let tls = sqlx::query(Session::MYSQL_TLS)
        .fetch_one(&mut **connection)
        .await?;
    Ok(Session::mysql(&user, tls.try_get(1)?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    ensure!(
        args.dial.is_none(),
        "no --dial: sqlx connects to the host whose certificate it verifies"
    );
    let cache = rds_iam::shared_cache();
    let pool = open(cache, &args.login, &args.database, args.ca.as_deref(), 10).await?;
    serve(args.seconds, async || {
        session(&mut pool.acquire().await?).await
    })
    .await?;
    pool.pool.close().await;
    Ok(())
}
