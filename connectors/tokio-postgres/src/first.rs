//! The first connection of a pool, opened before the pool asks for connections.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::connector::{Connected, Connector};
use crate::error::driver_error;
use crate::{Error, Options};

/// Opens the connections of a pool.
///
/// The first connection's error has a type, whatever the pool makes of errors.
pub(crate) struct PoolConnector {
    connector: Connector,
    /// Set from [`open_first`](PoolConnector::open_first) until the pool asks for a connection.
    first: Mutex<Option<Connected>>,
}

impl PoolConnector {
    pub(crate) fn new(options: Options) -> Result<PoolConnector, Error> {
        Ok(PoolConnector {
            connector: Connector::new(options)?,
            first: Mutex::new(None),
        })
    }

    /// How old a connection may be when the pool hands it out.
    #[cfg(any(feature = "deadpool", feature = "diesel-async"))]
    pub(crate) fn max_lifetime(&self) -> Option<Duration> {
        self.connector.endpoint().max_lifetime
    }

    /// Opens the first connection. The next [`connect`](PoolConnector::connect) returns this connection.
    pub(crate) async fn open_first(&self, timeout: Option<Duration>) -> Result<(), Error> {
        let connect = self.connector.connect();
        let connected = match timeout {
            Some(timeout) => match tokio::time::timeout(timeout, connect).await {
                Ok(connected) => connected?,
                Err(_) => {
                    let text = "the pool's timeout to create a connection has passed";
                    let error = io::Error::new(io::ErrorKind::TimedOut, text);
                    return Err(Error::Database(driver_error(error).await));
                }
            },
            None => connect.await?,
        };
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected);
        Ok(())
    }

    /// Opens a connection, or returns the first connection.
    pub(crate) async fn connect(&self) -> Result<Connected, Error> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match first {
            Some(first) => Ok(first),
            None => self.connector.connect().await,
        }
    }
}
