//! The pools and clients of the connectors, and the pools of the examples of r2d2, as the tests use them.

use std::fmt::Display;
use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use ::bb8::PooledConnection;
use ::deadpool::managed;
use ::diesel_async::pooled_connection::deadpool as diesel_deadpool;
use ::diesel_async::{AsyncPgConnection, RunQueryDsl};
use anyhow::Context;
use diesel::prelude::*;
use diesel::sql_types::Text;
use mysql_async::prelude::Queryable;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rds_iam::{Login, TokenCache};
use rds_iam_pools::Session;
use rds_iam_sqlx::{mysql as sqlx_mysql, postgres as sqlx_postgres};
use rds_iam_tokio_postgres as pg;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::Row as _;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Runtime;

use crate::examples::*;
use crate::servers::{Engine, ODD_USER};

/// As many connections as a test opens at once.
pub const SIZE: usize = 50;

/// The server and user that a pool is to log in to, and with whose tokens.
#[derive(Clone)]
pub struct Target<'a> {
    pub cache: &'a TokenCache,
    pub host: &'a str,
    pub port: u16,
    pub user: &'a str,
    pub database: &'a str,
    /// The file of root certificates instead of the built-in ones.
    pub ca: Option<&'a str>,
}

impl Target<'_> {
    pub fn url(&self, engine: Engine) -> String {
        let (scheme, root_file) = match engine {
            Engine::Postgres => ("postgres", "sslrootcert"),
            Engine::MariaDb => ("mysql", "ssl-ca"),
        };
        let user = utf8_percent_encode(self.user, NON_ALPHANUMERIC);
        let (host, port, database) = (self.host, self.port, self.database);
        let ca = self.ca.map(|ca| format!("?{root_file}={ca}"));
        let ca = ca.unwrap_or_default();
        format!("{scheme}://{user}@{host}:{port}/{database}{ca}")
    }

    fn login(&self) -> anyhow::Result<Login> {
        Ok(Login::new(self.host, self.port, self.user)?)
    }

    fn roots(&self) -> Vec<CertificateDer<'static>> {
        match self.ca {
            Some(ca) => CertificateDer::pem_file_iter(ca)
                .and_then(Iterator::collect)
                .unwrap(),
            None => [rds_roots::RDS_ROOT_CERTS, rds_roots::AMAZON_ROOT_CERTS].concat(),
        }
    }
}

pub trait Pool: Sized + Sync {
    /// The example of the connector.
    const EXAMPLE: Option<&str> = None;
    const ENGINE: Engine;
    /// Whom it logs in.
    const USER: &str;
    /// How many parts of a task of the pool sleep by the cache's clock.
    const SLEEPS: usize = 0;
    type Connection: Send;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let options = (at.url(Self::ENGINE), at);
        Self::open_url(&options.0, options.1.cache, &options.1)
    }

    /// Opens the pool of a URL. Pools without a connector read `at` instead.
    fn open_url(url: &str, cache: &TokenCache, at: &Target<'_>) -> anyhow::Result<Self>;
    fn connection(&self) -> anyhow::Result<Self::Connection>;
    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session>;
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    &RUNTIME
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

pub struct SqlxPostgres(pub sqlx::PgPool);

impl Pool for SqlxPostgres {
    const EXAMPLE: Option<&str> = Some("sqlx_postgres");
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "pool_1";
    const SLEEPS: usize = 2;
    type Connection = PoolConnection<sqlx::Postgres>;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = sqlx_postgres::options(url)?.cache(cache.clone());
        let pool = PgPoolOptions::new().max_connections(SIZE as u32);
        Ok(SqlxPostgres(wait(sqlx_postgres::connect_with(
            options, pool,
        ))?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        wait(async {
            match self.0.acquire().await {
                Err(error) if is_sqlx_rejection(&error) => {
                    sqlx_postgres::refresh(&self.0).await?;
                    Ok(self.0.acquire().await?)
                }
                acquired => Ok(acquired?),
            }
        })
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        let row = wait(sqlx::query(Session::POSTGRES).fetch_one(&mut **connection))?;
        Ok(Session {
            user: row.try_get("user")?,
            tls: row.try_get("tls")?,
        })
    }
}

fn is_sqlx_rejection(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        // PAM and MariaDB, or Aurora DSQL.
        let code = error.code().unwrap_or_default();
        code == "28000" || code == "08006" && error.message().contains("access denied")
    })
}

pub struct SqlxMySql(pub sqlx::MySqlPool);

impl Pool for SqlxMySql {
    const EXAMPLE: Option<&str> = Some("sqlx_mysql");
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = "pool_2";
    const SLEEPS: usize = 2;
    type Connection = PoolConnection<sqlx::MySql>;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = sqlx_mysql::options(url)?.cache(cache.clone());
        let pool = MySqlPoolOptions::new().max_connections(SIZE as u32);
        Ok(SqlxMySql(wait(sqlx_mysql::connect_with(options, pool))?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        wait(async {
            match self.0.acquire().await {
                Err(error) if is_sqlx_rejection(&error) => {
                    sqlx_mysql::refresh(&self.0).await?;
                    Ok(self.0.acquire().await?)
                }
                acquired => Ok(acquired?),
            }
        })
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        let user = sqlx::query_scalar(Session::MYSQL_USER).fetch_one(&mut **connection);
        let user: String = wait(user)?;
        let tls = wait(sqlx::query(Session::MYSQL_TLS).fetch_one(&mut **connection))?;
        Ok(Session::mysql(&user, tls.try_get(1)?))
    }
}

/// Each connection is a client of its own.
pub struct TokioPostgres(pg::Options);

impl Pool for TokioPostgres {
    const EXAMPLE: Option<&str> = Some("tokio_postgres");
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "pool_3";
    type Connection = tokio_postgres::Client;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        Ok(TokioPostgres(pg::options(url)?.cache(cache.clone())))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(wait(pg::connect_with(self.0.clone()))?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        postgres_session(connection)
    }
}

fn postgres_session(client: &tokio_postgres::Client) -> anyhow::Result<Session> {
    let row = wait(client.query_one(Session::POSTGRES, &[]))?;
    Ok(Session {
        user: row.try_get("user")?,
        tls: row.try_get("tls")?,
    })
}

pub struct DeadpoolPostgres(pub deadpool_postgres::Pool);

impl Pool for DeadpoolPostgres {
    const EXAMPLE: Option<&str> = Some("deadpool_postgres");
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = ODD_USER;
    type Connection = deadpool_postgres::Client;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = pg::options(url)?.cache(cache.clone());
        let pool = pg::deadpool::connect_with(options, |manager| {
            deadpool_postgres::Pool::builder(manager).max_size(SIZE)
        });
        Ok(DeadpoolPostgres(wait(pool)?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(wait(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        postgres_session(connection)
    }
}

pub struct Bb8Postgres(pub bb8::Pool<pg::bb8::Manager>);

impl Pool for Bb8Postgres {
    const EXAMPLE: Option<&str> = Some("bb8_postgres");
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "pool_4";
    type Connection = PooledConnection<'static, pg::bb8::Manager>;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = pg::options(url)?.cache(cache.clone());
        // bb8 retries for so long, whatever the reason.
        let builder = bb8::Pool::builder()
            .max_size(SIZE as u32)
            .connection_timeout(Duration::from_secs(15));
        Ok(Bb8Postgres(wait(pg::bb8::connect_with(options, builder))?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        wait(async {
            match self.0.get_owned().await {
                Ok(connection) => Ok(connection),
                // bb8 tells the reason only for a connection outside of the pool.
                Err(error) => match self.0.dedicated_connection().await {
                    Ok(_) => Err(error.into()),
                    Err(reason) => Err(reason.into()),
                },
            }
        })
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        postgres_session(connection)
    }
}

pub struct DieselAsync(pub diesel_deadpool::Pool<AsyncPgConnection>);

impl Pool for DieselAsync {
    const EXAMPLE: Option<&str> = Some("diesel_async");
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "pool_5";
    type Connection = diesel_deadpool::Object<AsyncPgConnection>;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = pg::options(url)?.cache(cache.clone());
        let pool = pg::diesel_async::connect_with(options, |manager| {
            diesel_deadpool::Pool::builder(manager).max_size(SIZE)
        });
        Ok(DieselAsync(wait(pool)?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(wait(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            user: String,
            #[diesel(sql_type = Text)]
            tls: String,
        }
        let query = diesel::sql_query(Session::POSTGRES);
        let Row { user, tls } = wait(query.get_result(connection))?;
        Ok(Session { user, tls })
    }
}

/// Each connection is a connection of its own.
pub struct MySqlAsync(rds_iam_mysql_async::Options);

impl Pool for MySqlAsync {
    const EXAMPLE: Option<&str> = Some("mysql_async");
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = "pool_6";
    type Connection = mysql_async::Conn;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = rds_iam_mysql_async::options(url)?;
        Ok(MySqlAsync(options.cache(cache.clone())))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(wait(rds_iam_mysql_async::connect_with(self.0.clone()))?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        mysql_session(connection)
    }
}

fn mysql_session(connection: &mut mysql_async::Conn) -> anyhow::Result<Session> {
    let user: Option<String> = wait(connection.query_first(Session::MYSQL_USER))?;
    let tls: Option<(String, String)> = wait(connection.query_first(Session::MYSQL_TLS))?;
    let (_, tls) = tls.context("no row")?;
    Ok(Session::mysql(&user.context("no row")?, tls))
}

pub struct DeadpoolMySql(pub rds_iam_mysql_async::deadpool::Pool);

impl Pool for DeadpoolMySql {
    const EXAMPLE: Option<&str> = Some("deadpool_mysql");
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = ODD_USER;
    type Connection = managed::Object<rds_iam_mysql_async::deadpool::Manager>;

    fn open_url(url: &str, cache: &TokenCache, _: &Target<'_>) -> anyhow::Result<Self> {
        let options = rds_iam_mysql_async::options(url)?.cache(cache.clone());
        let pool = rds_iam_mysql_async::deadpool::connect_with(options, |manager| {
            managed::Pool::builder(manager).max_size(SIZE)
        });
        Ok(DeadpoolMySql(wait(pool)?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(wait(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        mysql_session(connection)
    }
}

pub struct R2d2Postgres(r2d2::Pool<r2d2_postgres::Manager>);

impl Pool for R2d2Postgres {
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "pool_7";
    type Connection = r2d2::PooledConnection<r2d2_postgres::Manager>;

    fn open_url(_: &str, cache: &TokenCache, at: &Target<'_>) -> anyhow::Result<Self> {
        let (login, roots) = (at.login()?, at.roots());
        let pool = r2d2_postgres::open(cache, &login, at.database, &roots, SIZE as u32)?;
        Ok(R2d2Postgres(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(self.0.get()?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        r2d2_postgres::session(connection)
    }
}

pub struct R2d2MySql(r2d2::Pool<r2d2_mysql::Manager>);

impl Pool for R2d2MySql {
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = "pool_8";
    type Connection = r2d2::PooledConnection<r2d2_mysql::Manager>;

    fn open_url(_: &str, cache: &TokenCache, at: &Target<'_>) -> anyhow::Result<Self> {
        let (login, roots) = (at.login()?, at.roots());
        let pool = r2d2_mysql::open(cache, &login, at.database, &roots, SIZE as u32)?;
        Ok(R2d2MySql(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(self.0.get()?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        r2d2_mysql::session(connection)
    }
}

/// An error and its causes in one line.
pub fn chain(error: &anyhow::Error) -> impl Display {
    format!("{error:#}")
}
