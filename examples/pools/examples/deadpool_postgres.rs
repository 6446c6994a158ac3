//! A pool of deadpool-postgres: `deadpool_postgres [--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL`

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use deadpool_postgres::{BuildError, ConfigConnectImpl, Connect, Manager, ManagerConfig, Pool};
use rds_iam::{Login, TokenCache};
use rds_iam_pools::{Args, LoginError, Session, log_in, serve, tls};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    tls: MakeRustlsConnect,
    dial: Option<SocketAddr>,
    max_size: usize,
) -> Result<Pool, BuildError> {
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
    let connect = WithToken {
        cache: cache.clone(),
        login: login.clone(),
        connect: ConfigConnectImpl { tls },
    };
    let manager = Manager::from_connect(config, connect, ManagerConfig::default());
    Pool::builder(manager).max_size(max_size).build()
}

/// Asks the cache for a token whenever the pool opens a connection.
struct WithToken {
    cache: TokenCache,
    login: Login,
    connect: ConfigConnectImpl<MakeRustlsConnect>,
}

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for WithToken {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let connected = log_in(&self.cache, &self.login, |token| {
                let mut config = config.clone();
                config.password(token.as_str());
                self.connect.connect(&config)
            });
            match connected.await {
                Ok(connected) => Ok(connected),
                Err(LoginError::Driver(error)) => Err(error),
                Err(LoginError::NoToken(error)) => Err(driver_error(error).await),
            }
        })
    }
}

/// The driver's error type, which the pool wants, has no constructor. The driver itself makes one where a connection
/// fails, with the failure as its cause.
async fn driver_error(error: rds_iam::Error) -> Error {
    struct Fails(rds_iam::Error);

    impl AsyncRead for Fails {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other(self.0.clone())))
        }
    }

    let connection = tokio::io::join(Fails(error), tokio::io::sink());
    let connected = Config::new().user("").connect_raw(connection, NoTls).await;
    connected
        .err()
        .expect("what cannot be read does not connect")
}

pub async fn session(client: &Client) -> anyhow::Result<Session> {
    let row = client.query_one(Session::POSTGRES, &[]).await?;
    Ok(Session {
        user: row.try_get("user")?,
        tls: row.try_get("tls")?,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let cache = rds_iam::shared_cache();
    let tls = tls(&args.roots);
    let pool = open(cache, &args.login, &args.database, tls, args.dial, 10)?;
    serve(args.seconds, async || session(&*pool.get().await?).await).await
}
