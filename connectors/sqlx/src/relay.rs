//! A local socket that leads to the dialled address. TLS is between sqlx and the database, so the relay sees no token.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_iam_connector::{Address, InvalidOptions};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Ends when dropped, with its connections.
pub(crate) struct Relay {
    accepting: JoinHandle<()>,
    last_error: Arc<Mutex<Option<io::Error>>>,
    _directory: TempDir,
}

/// A directory that only this user can enter.
pub(crate) fn private_directory() -> Result<TempDir, InvalidOptions> {
    tempfile::Builder::new()
        .prefix("rds-iam-")
        .tempdir()
        .map_err(no_socket)
}

fn no_socket(source: io::Error) -> InvalidOptions {
    InvalidOptions::DialSocket { source }
}

impl Relay {
    /// Listens at `socket` in the directory.
    pub(crate) fn start(
        directory: TempDir,
        socket: &str,
        address: Address,
    ) -> Result<Relay, InvalidOptions> {
        let listener = UnixListener::bind(directory.path().join(socket)).map_err(no_socket)?;
        let last_error = Arc::new(Mutex::new(None));
        Ok(Relay {
            accepting: tokio::spawn(accept(listener, address, Arc::clone(&last_error))),
            last_error,
            _directory: directory,
        })
    }

    /// Why the dialled address could not be reached.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        lock(&self.last_error).take()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: UnixListener,
    address: Address,
    last_error: Arc<Mutex<Option<io::Error>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((local, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn(relay(local, address.clone(), Arc::clone(&last_error)));
            }
            Err(error) => {
                tracing::warn!(%error, "no connection to the dialled address");
                // Out of files, for example: do not spin.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn relay(mut local: UnixStream, address: Address, last_error: Arc<Mutex<Option<io::Error>>>) {
    match TcpStream::connect((&*address.host, address.port)).await {
        Ok(mut remote) => {
            // As sqlx does for its own connections.
            let _ = remote.set_nodelay(true);
            // sqlx sees that the connection has broken.
            let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        }
        Err(error) => {
            tracing::warn!(%address, %error, "no connection to the dialled address");
            *lock(&last_error) = Some(error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
