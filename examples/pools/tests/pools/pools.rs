//! The pools of the examples, as the tests use them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use ::deadpool::managed;
use ::diesel_async::AsyncPgConnection;
use ::diesel_async::pooled_connection::deadpool;
use rds_iam::{Login, TokenCache};
use rds_iam_pools::Session;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Runtime;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::examples::*;
use crate::servers::{Engine, ODD_USER};

/// As many connections as a test opens at once.
pub const SIZE: usize = 50;

/// The server and user that a pool is to log in to, and with whose tokens.
pub struct Target<'a> {
    pub cache: &'a TokenCache,
    pub login: Login,
    pub database: &'a str,
    pub ca: &'a str,
}

impl Target<'_> {
    fn ca(&self) -> Option<&Path> {
        Some(Path::new(self.ca))
    }

    fn tls(&self) -> MakeRustlsConnect {
        rds_iam_pools::tls(&self.roots())
    }

    fn roots(&self) -> Vec<CertificateDer<'static>> {
        let roots = CertificateDer::pem_file_iter(self.ca).unwrap();
        roots.collect::<Result<_, _>>().unwrap()
    }
}

pub trait Pool: Sized + Sync {
    const EXAMPLE: &str;
    const ENGINE: Engine;
    /// Whom it logs in.
    const USER: &str;
    /// Whether `keep_fresh` refreshes the pool's password.
    const IS_KEPT_FRESH: bool = false;
    /// Whether it can connect elsewhere than to the host whose certificate it verifies.
    const DIALS: bool = true;
    type Connection: Send;

    fn open(at: Target<'_>) -> anyhow::Result<Self>;
    fn connection(&self) -> anyhow::Result<Self::Connection>;
    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session>;
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    &RUNTIME
}

/// Nothing is dialled but the database's own endpoint.
const DIAL: Option<SocketAddr> = None;

pub struct SqlxPostgres(pub sqlx_postgres::Pool);

impl Pool for SqlxPostgres {
    const EXAMPLE: &str = "sqlx_postgres";
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "iam_user";
    const IS_KEPT_FRESH: bool = true;
    const DIALS: bool = false;
    type Connection = sqlx::pool::PoolConnection<sqlx::Postgres>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let pool = sqlx_postgres::open(at.cache, &at.login, at.database, at.ca(), SIZE as u32);
        Ok(SqlxPostgres(runtime().block_on(pool)?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        runtime().block_on(self.0.acquire())
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        runtime().block_on(sqlx_postgres::session(connection))
    }
}

pub struct SqlxMySql(pub sqlx_mysql::Pool);

impl Pool for SqlxMySql {
    const EXAMPLE: &str = "sqlx_mysql";
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = "iam_user";
    const IS_KEPT_FRESH: bool = true;
    const DIALS: bool = false;
    type Connection = sqlx::pool::PoolConnection<sqlx::MySql>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let pool = sqlx_mysql::open(at.cache, &at.login, at.database, at.ca(), SIZE as u32);
        Ok(SqlxMySql(runtime().block_on(pool)?))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        runtime().block_on(self.0.acquire())
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        runtime().block_on(sqlx_mysql::session(connection))
    }
}

pub struct DeadpoolPostgres(::deadpool_postgres::Pool);

impl Pool for DeadpoolPostgres {
    const EXAMPLE: &str = "deadpool_postgres";
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = ODD_USER;
    type Connection = ::deadpool_postgres::Client;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let (cache, login, tls) = (at.cache, &at.login, at.tls());
        let pool = deadpool_postgres::open(cache, login, at.database, tls, DIAL, SIZE)?;
        Ok(DeadpoolPostgres(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(runtime().block_on(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        runtime().block_on(deadpool_postgres::session(connection))
    }
}

pub struct DieselAsync(deadpool::Pool<AsyncPgConnection>);

impl Pool for DieselAsync {
    const EXAMPLE: &str = "diesel_async";
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "other_user";
    type Connection = deadpool::Object<AsyncPgConnection>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let (cache, login, tls) = (at.cache, &at.login, at.tls());
        let pool = diesel_async::open(cache, login, at.database, tls, DIAL, SIZE)?;
        Ok(DieselAsync(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(runtime().block_on(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        runtime().block_on(diesel_async::session(connection))
    }
}

pub struct MySqlAsync(mysql_async::Pool);

impl Pool for MySqlAsync {
    const EXAMPLE: &str = "mysql_async";
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = ODD_USER;
    type Connection = managed::Object<mysql_async::Manager>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let (cache, login, roots) = (at.cache, &at.login, at.roots());
        let pool = mysql_async::open(cache, login, at.database, &roots, DIAL, SIZE)?;
        Ok(MySqlAsync(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(runtime().block_on(self.0.get())?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        runtime().block_on(mysql_async::session(connection))
    }
}

pub struct R2d2Postgres(r2d2::Pool<r2d2_postgres::Manager>);

impl Pool for R2d2Postgres {
    const EXAMPLE: &str = "r2d2_postgres";
    const ENGINE: Engine = Engine::Postgres;
    const USER: &str = "clock_user";
    type Connection = r2d2::PooledConnection<r2d2_postgres::Manager>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let (cache, login, tls) = (at.cache, &at.login, at.tls());
        let pool = r2d2_postgres::open(cache, login, at.database, tls, DIAL, SIZE as u32)?;
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
    const EXAMPLE: &str = "r2d2_mysql";
    const ENGINE: Engine = Engine::MariaDb;
    const USER: &str = "clock_user";
    const DIALS: bool = false;
    type Connection = r2d2::PooledConnection<r2d2_mysql::Manager>;

    fn open(at: Target<'_>) -> anyhow::Result<Self> {
        let pool = r2d2_mysql::open(at.cache, &at.login, at.database, at.ca(), SIZE as u32)?;
        Ok(R2d2MySql(pool))
    }

    fn connection(&self) -> anyhow::Result<Self::Connection> {
        Ok(self.0.get()?)
    }

    fn session(connection: &mut Self::Connection) -> anyhow::Result<Session> {
        r2d2_mysql::session(connection)
    }
}
