//! A local socket that leads to the dialled address. TLS is between sqlx and the database, so the relay sees no token.

use std::io;

use rds_iam_connector::{Address, InvalidOptions};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Ends when dropped.
pub(crate) struct Relay {
    accepting: JoinHandle<()>,
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
        Ok(Relay {
            accepting: tokio::spawn(accept(listener, address)),
            _directory: directory,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, address: Address) {
    loop {
        match listener.accept().await {
            Ok((local, _)) => {
                tokio::spawn(relay(local, address.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "no connection to the dialled address");
                // Out of files, for example: do not spin.
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

async fn relay(mut local: UnixStream, address: Address) {
    let connected = TcpStream::connect((&*address.host, address.port)).await;
    let outcome = match connected {
        Ok(mut remote) => {
            // As sqlx does for its own connections.
            let _ = remote.set_nodelay(true);
            tokio::io::copy_bidirectional(&mut local, &mut remote)
                .await
                .map(|_| ())
        }
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::warn!(%address, %error, "the connection to the dialled address failed");
    }
}
