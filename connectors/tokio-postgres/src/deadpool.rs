//! Pools of deadpool-postgres.
//!
//! [`connect`] and [`connect_with`] make the pool replace a connection to Aurora DSQL after 55 minutes
//! ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes)).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, PoolBuilder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};

use crate::connector::drive;
use crate::error::driver_error;
use crate::first::PoolConnector;
use crate::{Error, Options, managed};

/// Opens a pool and a first connection. New connections always log in with a valid token.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no first connection.
pub async fn connect(url: &str) -> Result<Pool, Error> {
    let pool = |manager| Pool::builder(manager).runtime(Runtime::Tokio1);
    connect_with(crate::options(url)?, pool).await
}

/// Opens a pool with settings of your own, and a first connection.
///
/// ```no_run
/// use deadpool_postgres::Pool;
/// use rds_iam_tokio_postgres::{Error, deadpool};
///
/// async fn pool(url: &str) -> Result<Pool, Error> {
///     let options = rds_iam_tokio_postgres::options(url)?;
///     deadpool::connect_with(options, |manager| Pool::builder(manager).max_size(20)).await
/// }
/// ```
///
/// The pool's timeout to create a connection applies to the first connection too.
///
/// # Errors
///
/// - If the options ask for something that the connector does not do, or if there is no first connection.
/// - [`Error::InvalidOptions`] if the pool has timeouts but no runtime.
/// - [`Error::Database`] if a hook of the pool fails.
pub async fn connect_with(
    options: Options,
    pool: impl FnOnce(Manager) -> PoolBuilder,
) -> Result<Pool, Error> {
    let connector = Arc::new(PoolConnector::new(options)?);
    let manager = manager_over(Arc::clone(&connector), ManagerConfig::default());
    managed::open(&connector, pool(manager)).await
}

/// Returns a manager for a pool that you build yourself. No connection is opened.
///
/// The pool keeps a connection for as long as the database does. For Aurora DSQL, add a hook that [replaces old
/// connections](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes).
///
/// The pool's errors are the driver's. If there is no token, or no built-in root certificate, the driver's error has
/// [`crate::Error`] as its cause.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the options ask for something that the connector does not do.
pub fn manager(options: Options) -> Result<Manager, Error> {
    manager_with(options, ManagerConfig::default())
}

/// Returns a manager with a recycling method of your own. No connection is opened.
///
/// # Errors
///
/// As [`manager`].
pub fn manager_with(options: Options, config: ManagerConfig) -> Result<Manager, Error> {
    Ok(manager_over(Arc::new(PoolConnector::new(options)?), config))
}

fn manager_over(connector: Arc<PoolConnector>, config: ManagerConfig) -> Manager {
    // The connector has the driver's settings.
    Manager::from_connect(Config::new(), WithToken(connector), config)
}

struct WithToken(Arc<PoolConnector>);

type Connecting<'a> = Pin<
    Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>,
>;

impl Connect for WithToken {
    fn connect(&self, _: &Config) -> Connecting<'_> {
        Box::pin(async {
            match self.0.connect().await {
                Ok(connected) => Ok(drive(connected)),
                Err(Error::Tls(error) | Error::Rejected(error) | Error::Database(error)) => {
                    Err(error)
                }
                Err(error) => Err(driver_error(io::Error::other(error)).await),
            }
        })
    }
}
