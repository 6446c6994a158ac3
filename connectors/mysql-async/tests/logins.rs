//! Logins to a server of the test: what the server receives, and which error the caller gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, future};
use rds_iam::TokenCache;
use rds_iam_mysql_async::mysql_async::{self, DriverError, OptsBuilder};
use rds_iam_mysql_async::{Error, Options, connect_with};
use rustls::crypto::CryptoProvider;

const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";
/// The server sees the user only in the answer to the handshake, with the password.
const USER: &str = "user-marker";

const CLIENT_SSL: u32 = 0x800;

/// What the server does after accepting a connection.
#[derive(Clone, Copy)]
enum Script {
    /// Sends a handshake with or without the capability of TLS, and then something that is no TLS.
    Handshake { tls: bool },
    /// Rejects the login immediately.
    Reject,
    /// Sends nothing.
    Silence,
}

/// A server on the loopback address. Each entry is what a connection sent.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut bytes) = (stream.unwrap(), Vec::new());
                match script {
                    Script::Handshake { tls } => {
                        stream.write_all(&packet(&handshake(tls))).unwrap();
                        let mut start = [0; 1000];
                        let length = stream.read(&mut start).unwrap();
                        bytes.extend(&start[..length]);
                        // The client may have closed the connection.
                        let _ = stream.write_all(b"this is no TLS");
                    }
                    Script::Reject => {
                        let mut error = vec![0xff];
                        error.extend(1045_u16.to_le_bytes());
                        error.extend(b"#28000Access denied");
                        stream.write_all(&packet(&error)).unwrap();
                    }
                    Script::Silence => {}
                }
                let _ = stream.read_to_end(&mut bytes);
                all.lock().unwrap().push(bytes);
            }
        });
        Server { address, received }
    }

    /// What `count` connections have sent. The driver closes a connection in a task, so the runtime must not be blocked.
    async fn received(&self, count: usize) -> Vec<Vec<u8>> {
        for _ in 0..1000 {
            let received = self.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} connections did not arrive");
    }

    fn options(&self, cache: &TokenCache) -> Options {
        let driver = OptsBuilder::default().ip_or_hostname(HOST).user(Some(USER));
        Options::new(driver)
            .cache(cache.clone())
            .dial(&self.address.to_string())
    }
}

/// A packet of MySQL's protocol, the first of a connection.
fn packet(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[0], payload].concat()
}

fn handshake(tls: bool) -> Vec<u8> {
    const CLIENT_LONG_PASSWORD: u32 = 0x1;
    const CLIENT_PROTOCOL_41: u32 = 0x200;
    const CLIENT_SECURE_CONNECTION: u32 = 0x8000;
    const CLIENT_PLUGIN_AUTH: u32 = 0x80000;
    let capabilities = CLIENT_LONG_PASSWORD
        | CLIENT_PROTOCOL_41
        | CLIENT_SECURE_CONNECTION
        | CLIENT_PLUGIN_AUTH
        | if tls { CLIENT_SSL } else { 0 };
    let [low, low_2, high, high_2] = capabilities.to_le_bytes();
    let mut payload = b"\x0a8.0.40\0\x01\0\0\0saltsalt\0".to_vec();
    payload.extend([low, low_2, 45, 2, 0, high, high_2, 21]);
    payload.extend([0; 10]);
    payload.extend(b"saltsaltsalt\0mysql_clear_password\0");
    payload
}

/// Credentials, and how often they were fetched.
#[derive(Clone, Debug, Default)]
struct Provider(Arc<AtomicUsize>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let key = format!("key {number}");
        let credentials = Credentials::new(key, "secret", None, None, "test");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

fn cache() -> (TokenCache, Provider) {
    let provider = Provider::default();
    let cache = TokenCache::builder(provider.clone()).build().unwrap();
    (cache, provider)
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes
        .windows(part.len())
        .any(|bytes| bytes == part.as_bytes())
}

#[tokio::test]
async fn server_without_tls_gets_no_password() {
    let server = Server::start(Script::Handshake { tls: false });
    let error = connect_with(server.options(&cache().0)).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Tls(mysql_async::Error::Driver(
                DriverError::NoClientSslFlagFromServer
            ))
        ),
        "{error:?}"
    );
    assert_eq!(server.received(1).await, [b""]);
    // For TLS, the driver needs the crypto provider of the process.
    assert!(CryptoProvider::get_default().is_some());
}

#[tokio::test]
async fn server_with_broken_tls_gets_no_password() {
    let server = Server::start(Script::Handshake { tls: true });
    let error = connect_with(server.options(&cache().0)).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    let [received] = &server.received(1).await[..] else {
        panic!("more than a single connection")
    };
    assert!(contains(received, HOST), "the name to verify");
    for secret in [USER, "X-Amz", "connect"] {
        assert!(!contains(received, secret), "{secret}");
    }
}

#[tokio::test]
async fn rejected_login_is_tried_once_more_with_new_credentials() {
    let server = Server::start(Script::Reject);
    let (cache, provider) = cache();
    let error = connect_with(server.options(&cache)).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error:?}");
    assert_eq!(server.received(2).await.len(), 2);
    assert_eq!(provider.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn closed_port_is_an_error_of_the_database() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let received = Arc::default();
    let server = Server { address, received };
    let error = connect_with(server.options(&cache().0)).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
}

#[tokio::test]
async fn missing_region_is_an_error_of_the_token() {
    let server = Server::start(Script::Silence);
    let options = server.options(&cache().0);
    let options = options.driver(|options| options.ip_or_hostname("mydb.example.com"));
    let error = connect_with(options).await.unwrap_err();
    assert!(matches!(error, Error::Token(_)), "{error:?}");
}

#[cfg(feature = "deadpool")]
mod deadpool {
    use rds_iam_mysql_async::deadpool::{Pool, connect_with};

    use super::*;

    #[tokio::test]
    async fn pool_reports_why_its_first_connection_failed() {
        let server = Server::start(Script::Handshake { tls: false });
        let opened = connect_with(server.options(&cache().0), Pool::builder).await;
        assert!(matches!(opened, Err(Error::Tls(_))), "{opened:?}");
        assert_eq!(server.received(1).await, [b""]);
    }

    #[tokio::test]
    async fn timeout_of_the_pool_applies_to_the_first_connection() {
        let server = Server::start(Script::Silence);
        let pool = |manager| Pool::builder(manager).create_timeout(Some(Duration::from_millis(50)));
        let opened = connect_with(server.options(&cache().0), pool).await;
        assert!(matches!(opened, Err(Error::Database(_))), "{opened:?}");
    }
}

/// Tokio's clock moves to the time limit, because nothing else can happen.
#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_silent_server_ends_with_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let provider = Credentials::new("akid", "secret", None, None, "test");
    let cache = TokenCache::builder(provider).build().unwrap();
    let url = format!("mysql://{USER}@{HOST}/app");
    let options = rds_iam_mysql_async::options(&url).unwrap();
    let error = connect_with(options.cache(cache).dial(&address)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(
        format!("{error:?}").contains("has not answered for 30 s"),
        "{error:?}"
    );
}
