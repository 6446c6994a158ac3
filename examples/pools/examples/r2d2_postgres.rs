//! A pool of r2d2 at PostgreSQL, without async: `r2d2_postgres [--ca FILE] [--dial HOST:PORT] [--for SECONDS] URL`
//!
//! The manager of the crate r2d2_postgres holds a fixed password.

use std::net::SocketAddr;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, Config, Error};
use r2d2::{ManageConnection, Pool};
use rds_iam::{Login, TokenCache};
use rds_iam_pools::{Args, LoginError, Session, log_in_blocking, serve_blocking, tls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub fn open(
    cache: &TokenCache,
    login: &Login,
    database: &str,
    tls: MakeRustlsConnect,
    dial: Option<SocketAddr>,
    max_size: u32,
) -> Result<Pool<Manager>, r2d2::Error> {
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
    let manager = Manager {
        cache: cache.clone(),
        login: login.clone(),
        config,
        tls,
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
    config: Config,
    tls: MakeRustlsConnect,
}

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = LoginError<Error>;

    fn connect(&self) -> Result<Client, LoginError<Error>> {
        log_in_blocking(&self.cache, &self.login, |token| {
            let mut config = self.config.clone();
            config.password(token.as_str());
            config.connect(self.tls.clone())
        })
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), LoginError<Error>> {
        client.batch_execute("").map_err(LoginError::Driver)
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
    let tls = tls(&args.roots);
    let pool = open(cache, &args.login, &args.database, tls, args.dial, 10)?;
    serve_blocking(args.seconds, || session(&mut *pool.get()?))
}
