//! Pools of diesel-async, of its feature `deadpool`.
//!
//! [`connect`] and [`connect_with`] make the pool replace a connection to Aurora DSQL after 55 minutes
//! ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes)).
//!
//! The pool's errors keep only the text of an error. The text has all causes in a single line.

use std::sync::Arc;

use ::diesel_async::AsyncPgConnection;
use ::diesel_async::pooled_connection::deadpool::{Pool, PoolBuilder};
use ::diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel::ConnectionError;

use crate::first::PoolConnector;
use crate::{Error, Options, managed};
use rds_iam_connector::ErrorChain;

/// Opens a pool and a first connection. New connections always log in with a valid token.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no first connection.
pub async fn connect(url: &str) -> Result<Pool<AsyncPgConnection>, Error> {
    connect_with(crate::options(url)?, Pool::builder).await
}

/// Opens a pool with settings of your own, and a first connection.
///
/// ```no_run
/// use diesel_async::AsyncPgConnection;
/// use diesel_async::pooled_connection::deadpool::Pool;
/// use rds_iam_tokio_postgres::{Error, diesel_async as rds_diesel};
///
/// async fn pool(url: &str) -> Result<Pool<AsyncPgConnection>, Error> {
///     let options = rds_iam_tokio_postgres::options(url)?;
///     rds_diesel::connect_with(options, |manager| Pool::builder(manager).max_size(20)).await
/// }
/// ```
///
/// The pool's timeout to create a connection applies to the first connection too.
///
/// # Errors
///
/// - If the options ask for something that the connector does not do, or if there is no first connection.
/// - [`Error::InvalidOptions`] if the pool has timeouts but no runtime.
/// - [`Error::Database`] if diesel's own setup of the connection or a hook of the pool fails.
pub async fn connect_with(
    options: Options,
    pool: impl FnOnce(AsyncDieselConnectionManager<AsyncPgConnection>) -> PoolBuilder<AsyncPgConnection>,
) -> Result<Pool<AsyncPgConnection>, Error> {
    let connector = Arc::new(PoolConnector::new(options)?);
    let manager = manager_over(Arc::clone(&connector), ManagerConfig::default());
    managed::open(&connector, pool(manager)).await
}

/// Returns a manager for a pool that you build yourself. No connection is opened.
///
/// The pool keeps a connection for as long as the database does. For Aurora DSQL, add a hook that [replaces old
/// connections](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes).
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the options ask for something that the connector does not do.
pub fn manager(options: Options) -> Result<AsyncDieselConnectionManager<AsyncPgConnection>, Error> {
    manager_with(options, ManagerConfig::default())
}

/// Returns a manager with a recycling method of your own. `custom_setup` is replaced. No connection is opened.
///
/// # Errors
///
/// As [`manager`].
pub fn manager_with(
    options: Options,
    config: ManagerConfig<AsyncPgConnection>,
) -> Result<AsyncDieselConnectionManager<AsyncPgConnection>, Error> {
    Ok(manager_over(Arc::new(PoolConnector::new(options)?), config))
}

fn manager_over(
    connector: Arc<PoolConnector>,
    mut config: ManagerConfig<AsyncPgConnection>,
) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    config.custom_setup = Box::new(move |_url| {
        let connector = Arc::clone(&connector);
        Box::pin(async move {
            let (client, connection) = connector
                .connect()
                .await
                .map_err(|error| ConnectionError::BadConnection(ErrorChain(&error).to_string()))?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        })
    });
    AsyncDieselConnectionManager::new_with_config("", config)
}
