//! A pool of diesel-async at PostgreSQL: `diesel_async [--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL`

use std::net::SocketAddr;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::pooled_connection::deadpool::{BuildError, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use rds_iam::{Login, TokenCache};
use rds_iam_pools::{Args, Session, log_in, serve, tls};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    tls: MakeRustlsConnect,
    dial: Option<SocketAddr>,
    max_size: usize,
) -> Result<Pool<AsyncPgConnection>, BuildError> {
    let mut config = Config::new();
    config
        // The name that the server's certificate must have, whatever is dialled.
        .host(login.host())
        .port(dial.map_or(login.port(), |dial| dial.port()))
        .user(login.user())
        .dbname(database)
        // Without this, the driver goes on in plain text when the server says no to TLS, and the token with it.
        .ssl_mode(SslMode::Require);
    if let Some(dial) = dial {
        config.hostaddr(dial.ip());
    }
    let (cache, login) = (cache.clone(), login.clone());
    let mut manager_config = ManagerConfig::default();
    // Called whenever the pool opens a connection.
    manager_config.custom_setup = Box::new(move |_url| {
        let (cache, login) = (cache.clone(), login.clone());
        let (config, tls) = (config.clone(), tls.clone());
        async move {
            let (client, connection) = log_in(&cache, &login, |token| {
                let (mut config, tls) = (config.clone(), tls.clone());
                config.password(token.as_str());
                async move { config.connect(tls).await }
            })
            .await
            .map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config("", manager_config);
    Pool::builder(manager).max_size(max_size).build()
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    user: String,
    #[diesel(sql_type = Text)]
    tls: String,
}

pub async fn session(connection: &mut AsyncPgConnection) -> anyhow::Result<Session> {
    let Row { user, tls } = diesel::sql_query(Session::POSTGRES)
        .get_result(connection)
        .await?;
    Ok(Session { user, tls })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let cache = rds_iam::shared_cache();
    let tls = tls(&args.roots);
    let pool = open(cache, &args.login, &args.database, tls, args.dial, 10)?;
    serve(args.seconds, async || {
        session(&mut *pool.get().await?).await
    })
    .await
}
