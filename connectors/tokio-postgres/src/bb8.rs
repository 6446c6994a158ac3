//! Pools of bb8.
//!
//! If no connection can be opened, [`Pool::get`] waits for the pool's `connection_timeout` (30 s by default) and then only
//! reports `RunError::TimedOut`. bb8 gives a manager no way to end the wait or to pass on the
//! reason. To see the reason:
//!
//! - [`connect`] and [`connect_with`] open a first connection and return its error immediately.
//! - [`Pool::dedicated_connection`] opens a connection beside the pool, and returns the error immediately.
//! - Each failed connection is logged with `tracing`, at the level `WARN`, with all causes.
//! - [`Builder::error_sink`] gets the errors, as [`crate::Error`].
//!
//! Until the timeout the pool keeps trying to connect. [`Builder::retry_connection`] turns this off.
//!
//! bb8 replaces a connection after 30 minutes. If you set `max_lifetime`, keep it at 55 minutes or below for Aurora DSQL
//! ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes)).
//!
//! bb8 has a task of its own that closes old connections. The task ends up to 30 s after the pool was dropped.

use std::fmt;

use ::bb8::{Builder, ManageConnection, Pool};
use tokio_postgres::Client;

use crate::connector::drive;
use crate::first::PoolConnector;
use crate::{Error, Options};
use rds_iam_connector::ErrorChain;

/// Opens the connections of a pool, each with a valid token.
pub struct Manager(PoolConnector);

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

/// Opens a pool and a first connection. New connections always log in with a valid token.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no first connection.
pub async fn connect(url: &str) -> Result<Pool<Manager>, Error> {
    connect_with(crate::options(url)?, Pool::builder()).await
}

/// Opens a pool with settings of your own, and a first connection.
///
/// ```no_run
/// use bb8::Pool;
/// use rds_iam_tokio_postgres::{Error, bb8 as rds_bb8};
///
/// async fn pool(url: &str) -> Result<Pool<rds_bb8::Manager>, Error> {
///     let options = rds_iam_tokio_postgres::options(url)?;
///     rds_bb8::connect_with(options, Pool::builder().max_size(20)).await
/// }
/// ```
///
/// An attempt to connect fails after 30 s.
///
/// # Errors
///
/// - If the options ask for something that the connector does not do, or if there is no first connection.
/// - The error of the pool's `connection_customizer`.
pub async fn connect_with(
    options: Options,
    pool: Builder<Manager>,
) -> Result<Pool<Manager>, Error> {
    let manager = manager(options)?;
    manager.0.open_first(None).await?;
    // With `min_idle`, the pool takes the first connection here.
    let pool = pool.build(manager).await?;
    if pool.state().connections == 0 {
        let client = pool.dedicated_connection().await?;
        // A connection that has broken since is not added.
        let _ = pool.add(client);
    }
    Ok(pool)
}

/// Returns a manager for a pool that you build yourself. No connection is opened.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the options ask for something that the connector does not do.
pub fn manager(options: Options) -> Result<Manager, Error> {
    Ok(Manager(PoolConnector::new(options)?))
}

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = Error;

    async fn connect(&self) -> Result<Client, Error> {
        match self.0.connect().await {
            Ok(connected) => {
                let (client, _task) = drive(connected);
                Ok(client)
            }
            Err(error) => {
                // The pool reports a timeout only.
                tracing::warn!(error = %ErrorChain(&error), "no connection for the pool");
                Err(error)
            }
        }
    }

    async fn is_valid(&self, client: &mut Client) -> Result<(), Error> {
        client.check_connection().await.map_err(Error::Database)
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}
