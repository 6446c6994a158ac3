//! Pools of deadpool.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rds_iam_mysql_async::deadpool;
//! use rds_iam_mysql_async::mysql_async::prelude::Queryable;
//!
//! let url = "mysql://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app";
//! let options = rds_iam_mysql_async::options(url)?;
//! let pool = deadpool::connect_with(options, |manager| {
//!     deadpool::Pool::builder(manager).max_size(20)
//! })
//! .await?;
//! let mut connection = pool.get().await?;
//! let sum: Option<u64> = connection.query_first("SELECT 1 + 1").await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use ::deadpool::Runtime;
use mysql_async::Conn;

pub use ::deadpool::managed;
use managed::{HookError, Metrics, PoolBuilder, PoolError, RecycleError, RecycleResult};

use crate::connector::{Connector, invalid};
use crate::{Error, Options};

/// A pool whose new connections always have a valid token.
pub type Pool = managed::Pool<Manager>;

/// Opens connections for a [`Pool`], each with a valid token.
///
/// A returned connection is reset before it is used again: open transactions, session variables and prepared statements
/// are gone. The connection is closed instead if a query was cancelled on it, or if the server cannot reset (MySQL before
/// 5.7.3, MariaDB before 10.2.4).
pub struct Manager(Connector);

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = &self.0.endpoint().login;
        f.debug_struct("Manager")
            .field("host", &login.host())
            .field("port", &login.port())
            .field("user", &login.user())
            .finish_non_exhaustive()
    }
}

impl managed::Manager for Manager {
    type Type = Conn;
    type Error = Error;

    async fn create(&self) -> Result<Conn, Error> {
        self.0.connect().await
    }

    async fn recycle(&self, connection: &mut Conn, _: &Metrics) -> RecycleResult<Error> {
        // After a cancelled query, the server's answer to the query would be taken for the answer to the reset.
        if connection.is_disconnected() {
            return Err(RecycleError::message("a query was cancelled"));
        }
        // Not `change_user`. It would log in again, with the token of the first login.
        match connection.reset().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RecycleError::message("the server cannot reset")),
            Err(error) => Err(Error::Database(error).into()),
        }
    }
}

/// Opens a pool for the database in a URL, as [`options`](crate::options) reads it.
///
/// The pool has deadpool's default size. The first connection is opened immediately and stays in the pool, so a wrong
/// setting is reported here.
///
/// # Errors
///
/// [`Error`] says whether the URL, the token, the TLS or the database failed.
pub async fn connect(url: &str) -> Result<Pool, Error> {
    connect_with(crate::options(url)?, Pool::builder).await
}

/// Opens a pool with mysql_async's own options, and with deadpool's own for the pool.
///
/// `pool` makes the builder of the pool. Timeouts need no `runtime`, because the connector sets tokio.
///
/// # Errors
///
/// [`Error`] says whether the options, the token, the TLS or the database failed. If the pool's `create` timeout passes, or a
/// hook of the pool fails, the error is [`Error::Database`].
pub async fn connect_with(
    options: Options,
    pool: impl FnOnce(Manager) -> PoolBuilder<Manager>,
) -> Result<Pool, Error> {
    let pool = pool(manager(options)?).runtime(Runtime::Tokio1).build();
    let pool = pool.map_err(|_| invalid("timeouts", "deadpool needs a runtime for timeouts"))?;
    if pool.status().max_size == 0 {
        return Err(invalid(
            "max_size",
            "a pool without connections waits for ever. Give at least 1",
        ))?;
    }
    match pool.get().await {
        Ok(_returned_when_dropped) => Ok(pool),
        Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
            Err(error)
        }
        Err(error) => Err(Error::Database(mysql_async::Error::Other(error.into()))),
    }
}

/// Makes a manager, for a pool that you build yourself. Nothing is opened.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the options ask for something that the connector does not do.
pub fn manager(options: Options) -> Result<Manager, Error> {
    Ok(Manager(Connector::new(options)?))
}
