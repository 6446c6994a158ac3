//! A server that says no to TLS, and servers that break the handshake.

use std::error::Error as _;
use std::future::Future;

use rds_iam::{Credentials, TokenCache};
use rds_iam_tokio_postgres::{Error, Options, connect_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Serves each connection with `serve`. The listener stays open as long as the task runs.
async fn server<F: Future<Output = Vec<u8>> + Send + 'static>(
    serve: fn(TcpStream) -> F,
) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let received = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });
    (address, received)
}

/// Answers `N` to the request for TLS, then returns everything that the client sends.
async fn say_no(mut stream: TcpStream) -> Vec<u8> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, SSL_REQUEST);
    stream.write_all(b"N").await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    received
}

/// Answers `S` to the request for TLS and then sends no TLS.
async fn break_handshake(mut stream: TcpStream) -> Vec<u8> {
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream.write_all(b"Snonsense").await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    received
}

/// Returns what the client sends first, and ends.
async fn read_once(mut stream: TcpStream) -> Vec<u8> {
    let mut received = vec![0; 4096];
    let length = stream.read(&mut received).await.unwrap();
    received.truncate(length);
    received
}

fn options(dial: &str) -> Options {
    let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "S3CRET", None, None, "test");
    let url = "postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app";
    rds_iam_tokio_postgres::options(url)
        .unwrap()
        .cache(TokenCache::builder(credentials).build().unwrap())
        .dial(dial)
}

#[tokio::test]
async fn a_server_without_tls_receives_no_token() {
    let (address, received) = server(say_no).await;
    let error = connect_with(options(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    // The driver's text is all that tells TLS from other failures.
    let source = error.source().unwrap();
    assert!(source.is::<tokio_postgres::Error>(), "{source:?}");
    assert_eq!(source.to_string(), "error performing TLS handshake");
    assert_eq!(received.await.unwrap(), b"");
}

#[tokio::test]
async fn a_broken_handshake_is_an_error_of_tls() {
    let (address, received) = server(break_handshake).await;
    let error = connect_with(options(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    let received = received.await.unwrap();
    assert!(!contains_token(&received));
}

#[tokio::test]
async fn direct_tls_names_the_protocol() {
    let (address, received) = server(read_once).await;
    let direct = options(&address).driver(|mut config| {
        config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
        config
    });
    let error = connect_with(direct).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    let hello = received.await.unwrap();
    let has = |part: &[u8]| hello.windows(part.len()).any(|window| window == part);
    assert!(has(b"\x0apostgresql"), "no ALPN");
    // The name of the endpoint, not of the dialled address.
    assert!(has(b"mydb.abc123xyz.us-east-1.rds.amazonaws.com"), "no SNI");
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = connect_with(options(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    let error = connect_with(options("nowhere.invalid:5432"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
}

fn contains_token(received: &[u8]) -> bool {
    String::from_utf8_lossy(received).contains("X-Amz-Signature")
}

/// The pools' first connection has a typed error, and no pool waits.
mod pools {
    use super::*;

    #[cfg(feature = "deadpool")]
    #[tokio::test]
    async fn deadpool_reports_the_first_error() {
        use deadpool_postgres::Pool;
        use rds_iam_tokio_postgres::deadpool;

        let (address, received) = server(say_no).await;
        let error = deadpool::connect_with(options(&address), Pool::builder).await;
        assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
        assert_eq!(received.await.unwrap(), b"");
    }

    #[cfg(feature = "bb8")]
    #[tokio::test]
    async fn bb8_reports_the_first_error() {
        use rds_iam_tokio_postgres::bb8;

        let (address, received) = server(say_no).await;
        let error = bb8::connect_with(options(&address), ::bb8::Pool::builder().min_idle(2)).await;
        assert!(matches!(error, Err(Error::Tls(_))), "{error:?}");
        assert_eq!(received.await.unwrap(), b"");
    }

    #[cfg(feature = "diesel-async")]
    #[tokio::test]
    async fn diesel_async_reports_the_first_error() {
        use ::diesel_async::pooled_connection::deadpool::Pool;
        use rds_iam_tokio_postgres::diesel_async;

        let (address, received) = server(say_no).await;
        let error = diesel_async::connect_with(options(&address), Pool::builder).await;
        let error = error.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
        assert_eq!(received.await.unwrap(), b"");
    }

    fn without_credentials() -> Options {
        use rds_iam::provider::error::CredentialsError;
        use rds_iam::provider::{ProvideCredentials, future};

        #[derive(Debug)]
        struct Nothing;
        impl ProvideCredentials for Nothing {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none here")))
            }
        }
        options("127.0.0.1:1").cache(TokenCache::builder(Nothing).build().unwrap())
    }

    #[tokio::test]
    async fn without_credentials_there_is_no_token() {
        let error = connect_with(without_credentials()).await.unwrap_err();
        assert!(matches!(error, Error::Token(_)), "{error:?}");
        assert!(error.source().unwrap().is::<rds_iam::Error>());
    }

    #[cfg(feature = "deadpool")]
    #[tokio::test]
    async fn deadpool_reports_why_there_is_no_token() {
        use deadpool_postgres::{Pool, PoolError};
        use rds_iam_tokio_postgres::deadpool;

        let error = deadpool::connect_with(without_credentials(), Pool::builder).await;
        assert!(matches!(error, Err(Error::Token(_))), "{error:?}");
        let manager = deadpool::manager(without_credentials()).unwrap();
        let pool = Pool::builder(manager).build().unwrap();
        let PoolError::Backend(error) = pool.get().await.map(|_| ()).unwrap_err() else {
            panic!("not the driver's error");
        };
        let io = error.source().unwrap();
        let io: &std::io::Error = io.downcast_ref().unwrap();
        let cause: &Error = io.get_ref().unwrap().downcast_ref().unwrap();
        assert!(matches!(cause, Error::Token(_)), "{cause:?}");
        assert!(io.source().unwrap().is::<rds_iam::Error>());
    }

    #[cfg(feature = "bb8")]
    #[tokio::test]
    async fn bb8_reports_why_there_is_no_token() {
        use rds_iam_tokio_postgres::bb8;

        let error = bb8::connect_with(without_credentials(), ::bb8::Pool::builder()).await;
        assert!(matches!(error, Err(Error::Token(_))), "{error:?}");
        let manager = bb8::manager(without_credentials()).unwrap();
        assert_eq!(format!("{manager:?}"), "Manager { .. }");
        let pool = ::bb8::Pool::builder().build_unchecked(manager);
        let error = pool.dedicated_connection().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Token(_)), "{error:?}");
    }

    #[cfg(feature = "diesel-async")]
    #[tokio::test]
    async fn diesel_async_reports_why_there_is_no_token() {
        use ::diesel_async::pooled_connection::deadpool::Pool;
        use rds_iam_tokio_postgres::diesel_async;

        let error = diesel_async::connect_with(without_credentials(), Pool::builder).await;
        let error = error.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Token(_)), "{error:?}");
        let manager = diesel_async::manager(without_credentials()).unwrap();
        let pool = Pool::builder(manager).build().unwrap();
        let error = pool.get().await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no token to log in with: "), "{error}");
        assert!(error.contains("none here"), "{error}");
    }

    #[cfg(feature = "deadpool")]
    #[tokio::test]
    async fn the_timeout_to_create_a_connection_is_kept() {
        use std::time::Duration;

        use deadpool_postgres::{Pool, Runtime};
        use rds_iam_tokio_postgres::deadpool;

        // Accepts and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let builder = |manager| {
            Pool::builder(manager)
                .create_timeout(Some(Duration::from_millis(50)))
                .runtime(Runtime::Tokio1)
        };
        let error = deadpool::connect_with(options(&address), builder).await;
        assert!(matches!(error, Err(Error::Database(_))), "{error:?}");
        let no_runtime =
            |manager| Pool::builder(manager).create_timeout(Some(Duration::from_millis(50)));
        let error = deadpool::connect_with(options(&address), no_runtime).await;
        assert!(matches!(error, Err(Error::InvalidOptions(_))), "{error:?}");
    }
}

/// Tokio's clock moves to the time limit, because nothing else can happen.
#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_silent_server_ends_with_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = connect_with(options(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    let cause = format!("{:?}", error.source().unwrap());
    assert!(cause.contains("has not answered for 30 s"), "{cause}");
}
