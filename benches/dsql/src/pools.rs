//! The pools under measurement, and how each opens a new connection.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aurora_dsql_sqlx_connector::{DsqlConnectOptions, DsqlConnectOptionsBuilder, DsqlError};
use deadpool_postgres::{Object, PoolError};
use rds_iam::{SharedCredentialsProvider, TokenCache, rejection};
use rds_iam_sqlx::postgres;
use rds_iam_sqlx::sqlx::pool::PoolConnection;
use rds_iam_sqlx::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use rds_iam_sqlx::sqlx::{self, query};
use rds_iam_tokio_postgres::deadpool;

use crate::scenarios::Source;
use crate::server::{Server, USER};

#[derive(Clone, Copy, Debug)]
pub enum Connector {
    Aws,
    /// If the database rejects a login, the pool's user gives the pool a new token and tries once more.
    AwsWithRefresh,
    Sqlx,
    /// The pool has a connection, which is in use all the time.
    SqlxInUse,
    /// As `AwsWithRefresh`.
    SqlxWithRefresh,
    TokioPostgres,
}

pub const CONNECTORS: [Connector; 6] = [
    Connector::Aws,
    Connector::AwsWithRefresh,
    Connector::Sqlx,
    Connector::SqlxInUse,
    Connector::SqlxWithRefresh,
    Connector::TokioPostgres,
];

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Connector::Aws => "`aurora-dsql-sqlx-connector`",
            Connector::AwsWithRefresh => "`aurora-dsql-sqlx-connector` with a refresh",
            Connector::Sqlx => "`rds-iam-sqlx`",
            Connector::SqlxInUse => "`rds-iam-sqlx`, a connection in use",
            Connector::SqlxWithRefresh => "`rds-iam-sqlx` with a refresh",
            Connector::TokioPostgres => "`rds-iam-tokio-postgres`",
        })
    }
}

pub enum Pool {
    Sqlx {
        pool: PgPool,
        refresh: Refresh,
        _in_use: Option<PoolConnection<Postgres>>,
    },
    TokioPostgres(deadpool_postgres::Pool),
}

/// What the pool's user does if the database rejects a login.
pub enum Refresh {
    None,
    Aws(Box<DsqlConnectOptions>),
    RdsIam,
}

impl Pool {
    pub async fn open(
        connector: Connector,
        server: &Server,
        source: Source,
    ) -> anyhow::Result<Pool> {
        let settings = PgPoolOptions::new().acquire_timeout(Duration::from_secs(5));
        match connector {
            Connector::Aws | Connector::AwsWithRefresh => {
                let options = aws_options(server, source)?;
                Ok(Pool::Sqlx {
                    pool: aurora_dsql_sqlx_connector::pool::connect_with(&options, settings)
                        .await?,
                    refresh: match connector {
                        Connector::AwsWithRefresh => Refresh::Aws(Box::new(options)),
                        _ => Refresh::None,
                    },
                    _in_use: None,
                })
            }
            Connector::Sqlx | Connector::SqlxInUse | Connector::SqlxWithRefresh => {
                let options = postgres::options(&url(server))?.cache(cache(source)?);
                let pool = postgres::connect_with(options, settings).await?;
                Ok(Pool::Sqlx {
                    refresh: match connector {
                        Connector::SqlxWithRefresh => Refresh::RdsIam,
                        _ => Refresh::None,
                    },
                    _in_use: match connector {
                        Connector::SqlxInUse => Some(pool.acquire().await?),
                        _ => None,
                    },
                    pool,
                })
            }
            Connector::TokioPostgres => {
                let options = rds_iam_tokio_postgres::options(&url(server))?.cache(cache(source)?);
                let pool = deadpool::connect_with(options, deadpool_postgres::Pool::builder);
                Ok(Pool::TokioPostgres(pool.await?))
            }
        }
    }

    /// Opens a connection, uses it and closes it, so that the next connection is new again.
    pub async fn open_connection(&self) -> Result<(), Failure> {
        let (pool, refresh) = match self {
            Pool::Sqlx { pool, refresh, .. } => (pool, refresh),
            Pool::TokioPostgres(pool) => return open_with_tokio_postgres(pool).await,
        };
        let failure = match open_with_sqlx(pool).await {
            Err(failure) if failure.is_rejection => failure,
            outcome => return outcome,
        };
        match refresh {
            Refresh::None => return Err(failure),
            Refresh::Aws(options) => {
                pool.set_connect_options(options.authenticated_pg_options().await?)
            }
            Refresh::RdsIam => postgres::refresh(pool).await?,
        }
        open_with_sqlx(pool).await
    }
}

fn aws_options(server: &Server, source: Source) -> anyhow::Result<DsqlConnectOptions> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(USER)
        .database(&server.database)
        .ssl_root_cert(&server.ca);
    let options = DsqlConnectOptionsBuilder::default()
        .pg_connect_options(options)
        .credentials_provider(SharedCredentialsProvider::new(source))
        .build()?;
    Ok(options)
}

fn url(server: &Server) -> String {
    let Server {
        host,
        port,
        database,
        ca,
        ..
    } = server;
    format!("postgres://{USER}@{host}:{port}/{database}?sslrootcert={ca}")
}

fn cache(source: Source) -> Result<TokenCache, rds_iam::Error> {
    TokenCache::builder(source).build()
}

async fn open_with_sqlx(pool: &PgPool) -> Result<(), Failure> {
    let mut connection = pool.acquire().await?;
    query("SELECT 1").execute(&mut *connection).await?;
    Ok(connection.close().await?)
}

async fn open_with_tokio_postgres(pool: &deadpool_postgres::Pool) -> Result<(), Failure> {
    // Out of the pool, so that the connection is closed when it is dropped.
    let client = Object::take(pool.get().await?);
    let answer = client.simple_query("SELECT 1").await;
    answer.map_err(PoolError::from)?;
    Ok(())
}

/// Why there is no new connection.
pub struct Failure {
    /// The database rejected the login.
    pub is_rejection: bool,
    /// The error with its causes.
    pub text: String,
}

impl Failure {
    fn new(is_rejection: bool, error: impl StdError + Send + Sync + 'static) -> Failure {
        Failure {
            is_rejection,
            text: format!("{:#}", anyhow::Error::new(error)),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        let is_rejection = error.as_database_error().is_some_and(|error| {
            rejection::is_postgres_rejection(&error.code().unwrap_or_default(), error.message())
        });
        Failure::new(is_rejection, error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Failure {
        let reported = match &error {
            PoolError::Backend(error) => error.as_db_error(),
            _ => None,
        };
        let is_rejection = reported.is_some_and(|error| {
            rejection::is_postgres_rejection(error.code().code(), error.message())
        });
        Failure::new(is_rejection, error)
    }
}

// There is no token for a refresh.

impl From<DsqlError> for Failure {
    fn from(error: DsqlError) -> Failure {
        Failure::new(false, error)
    }
}

impl From<rds_iam_sqlx::Error> for Failure {
    fn from(error: rds_iam_sqlx::Error) -> Failure {
        Failure::new(false, error)
    }
}
