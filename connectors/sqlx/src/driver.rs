//! What PostgreSQL and MySQL have in common, and how they differ.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Mutex, Weak};

use futures_util::FutureExt;
use rds_iam::{LogInError, Token};
use rds_iam_connector::{Endpoint, InvalidOptions, Options, Protocol};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool};

use crate::Error;
use crate::refresher::Refresher;

pub(crate) type ConnectOptions<D> = <<D as Database>::Connection as Connection>::Options;

pub(crate) type Refreshers<D> = Mutex<Vec<Weak<Refresher<D>>>>;

/// What to verify.
#[derive(Clone)]
pub(crate) struct Tls {
    server_name: String,
    /// The root certificates in PEM.
    roots: String,
}

impl Tls {
    pub(crate) fn apply<D: Driver>(&self, options: ConnectOptions<D>) -> ConnectOptions<D> {
        D::with_tls(options, &self.server_name, self.roots.clone())
    }
}

pub(crate) trait Driver: Database {
    const PROTOCOL: Protocol;

    /// Rejects options that the connector cannot honour. Returns host, port and user.
    fn check(options: &ConnectOptions<Self>) -> Result<(String, u16, String), InvalidOptions>;

    /// Verified TLS with these roots, in PEM.
    fn with_tls(
        options: ConnectOptions<Self>,
        server_name: &str,
        roots: String,
    ) -> ConnectOptions<Self>;

    /// A socket in `directory` to connect to. Returns the options and the socket's name.
    fn with_socket(
        options: ConnectOptions<Self>,
        directory: &Path,
    ) -> (ConnectOptions<Self>, String);

    fn with_password(options: ConnectOptions<Self>, token: &str) -> ConnectOptions<Self>;

    fn is_rejection(error: &sqlx::Error) -> bool;

    /// The refreshers of this driver's pools, to find the refresher of a pool.
    fn refreshers() -> &'static Refreshers<Self>;
}

pub(crate) async fn connect<D: Driver>(
    options: Options<ConnectOptions<D>>,
    pool: PoolOptions<D>,
) -> Result<Pool<D>, Error>
where
    ConnectOptions<D>: Clone,
{
    let (host, port, user) = D::check(options.as_driver())?;
    let (options, endpoint) = options.into_endpoint(D::PROTOCOL, &host, port, &user)?;
    let tls = Tls {
        server_name: endpoint.server_name().to_owned(),
        roots: rds_roots::to_pem(endpoint.roots.certs()),
    };
    let options = tls.apply::<D>(options);
    let (options, relay) = dial::<D>(options, &endpoint)?;

    let open = |token: Token| {
        let options = D::with_password(options.clone(), token.as_str());
        let pool = without_panic(pool.clone().connect_with(options));
        async { Ok((pool.await?, token)) }
    };
    let (cache, login) = (&endpoint.cache, &endpoint.login);
    let is_tls = |error: &sqlx::Error| matches!(error, sqlx::Error::Tls(_));
    match cache.log_in(login, open, D::is_rejection).await {
        Ok((pool, token)) => {
            Refresher::start(pool.clone(), endpoint, tls, token, relay);
            Ok(pool)
        }
        Err(error) => {
            let error = with_cause(error, &relay);
            Err(Error::sort(error, &endpoint, D::is_rejection, is_tls))
        }
    }
}

#[cfg(unix)]
type Relay = Option<crate::relay::Relay>;

#[cfg(not(unix))]
type Relay = ();

/// sqlx panics at some malformed answers of a server.
pub(crate) async fn without_panic<T>(
    connecting: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let outcome = AssertUnwindSafe(connecting).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        let text = "the server's answer is malformed. Check that the address is a database's";
        Err(sqlx::Error::Protocol(text.to_owned()))
    })
}

/// If the dialled address cannot be reached, sqlx only sees the end of a local connection.
fn with_cause(error: LogInError<sqlx::Error>, relay: &Relay) -> LogInError<sqlx::Error> {
    #[cfg(unix)]
    if let LogInError::Connect(_) = error
        && let Some(cause) = relay.as_ref().and_then(crate::relay::Relay::take_error)
    {
        return LogInError::Connect(sqlx::Error::Io(cause));
    }
    let _ = relay;
    error
}

/// sqlx verifies the name of the host that it dials. So to dial another address, sqlx connects to a local socket.
#[cfg(unix)]
fn dial<D: Driver>(
    options: ConnectOptions<D>,
    endpoint: &Endpoint,
) -> Result<(ConnectOptions<D>, Relay), InvalidOptions> {
    let Some(address) = endpoint.dial.clone() else {
        return Ok((options, None));
    };
    let directory = crate::relay::private_directory()?;
    let (options, socket) = D::with_socket(options, directory.path());
    let relay = crate::relay::Relay::start(directory, &socket, address)?;
    Ok((options, Some(relay)))
}

#[cfg(not(unix))]
fn dial<D: Driver>(
    options: ConnectOptions<D>,
    endpoint: &Endpoint,
) -> Result<(ConnectOptions<D>, Relay), InvalidOptions> {
    match endpoint.dial {
        None => Ok((options, ())),
        Some(_) => Err(InvalidOptions::Driver {
            option: "dial",
            reason: "sqlx can dial another address on Unix only. Let the host's name lead there, in the file `hosts`",
        }),
    }
}
