//! A pool of sqlx at PostgreSQL: `sqlx_postgres [--ca FILE] [--for SECONDS] URL`

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use rds_iam::{Login, Token, TokenCache};
use rds_iam_pools::{Args, Rejection, Session, serve};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Postgres, Row};

/// A `PgPool` whose password is kept fresh until it is closed.
#[derive(Clone)]
pub struct Pool {
    pub pool: PgPool,
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
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(login.host())
        .port(login.port())
        .username(login.user())
        .password(token.as_str())
        .database(database)
        // `Prefer`, the default, goes on in plain text when the server says no to TLS, and the token with it.
        .ssl_mode(PgSslMode::VerifyFull);
    if let Some(ca) = ca {
        options = options.ssl_root_cert(ca);
    }
    let pool = Pool {
        pool: PgPoolOptions::new()
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
    pub async fn acquire(&self) -> anyhow::Result<PoolConnection<Postgres>> {
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
        let options = PgConnectOptions::clone(&self.pool.connect_options());
        self.pool
            .set_connect_options(options.password(token.as_str()));
        *current = token.clone();
    }
}

pub async fn session(connection: &mut PoolConnection<Postgres>) -> anyhow::Result<Session> {
    let row = sqlx::query(Session::POSTGRES)
        .fetch_one(&mut **connection)
        .await?;
    Ok(Session {
        user: row.try_get("user")?,
        tls: row.try_get("tls")?,
    })
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
