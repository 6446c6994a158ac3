//! What the pools of deadpool-postgres and of diesel-async have in common.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use ::deadpool::managed::{Hook, HookError, Manager, Object, Pool, PoolBuilder};
use rds_iam_connector::InvalidOptions;

use crate::Error;
use crate::error::driver_error;
use crate::first::PoolConnector;

/// Builds a pool over `connector`, and opens the first connection.
pub(crate) async fn open<M, W>(
    connector: &PoolConnector,
    mut pool: PoolBuilder<M, W>,
) -> Result<Pool<M, W>, Error>
where
    M: Manager<Error: StdError + Send + Sync + 'static> + 'static,
    W: From<Object<M>> + Send,
{
    if let Some(max_lifetime) = connector.max_lifetime() {
        pool = pool.pre_recycle(replace_after(max_lifetime));
    }
    let pool = pool.build().map_err(|_| InvalidOptions::Driver {
        option: "runtime",
        reason: "the pool's timeouts need a runtime. Set `Runtime::Tokio1`, of `deadpool` or `deadpool_postgres`",
    })?;
    let mut timeouts = pool.timeouts();
    connector.open_first(timeouts.create).await?;
    // The pool is empty, so a wait could not end.
    timeouts.wait = Some(Duration::ZERO);
    match pool.timeout_get(&timeouts).await {
        Ok(_back_to_the_pool) => Ok(pool),
        Err(error) => Err(Error::Database(driver_error(io::Error::other(error)).await)),
    }
}

/// Replaces a connection that is `max_lifetime` old, so that the pool hands out no connection that the database is about to
/// close.
fn replace_after<M: Manager>(max_lifetime: Duration) -> Hook<M> {
    Hook::sync_fn(move |_, metrics| match metrics.age() < max_lifetime {
        true => Ok(()),
        false => Err(HookError::message("the connection is too old")),
    })
}
