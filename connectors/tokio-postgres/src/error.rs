//! Errors in the forms that the driver and the pools want.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_postgres::{Config, NoTls};

/// An error of the driver with a cause.
///
/// The driver's error has no constructor. The driver makes an error if a stream fails, so a stream fails with the cause.
pub(crate) async fn driver_error(cause: io::Error) -> tokio_postgres::Error {
    let mut stream = tokio::io::join(FailingRead(Some(cause)), tokio::io::sink());
    loop {
        // Fails at the first read. A loop, because the compiler cannot know.
        let connected = Config::new().user("").connect_raw(&mut stream, NoTls).await;
        if let Err(error) = connected {
            return error;
        }
    }
}

/// Fails with the cause, then is at its end.
struct FailingRead(Option<io::Error>);

impl AsyncRead for FailingRead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.take().map_or(Ok(()), Err))
    }
}
