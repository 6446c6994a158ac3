//! tokio-postgres clients and pools for Amazon RDS and Aurora that log in with IAM, over verified TLS.
//!
//! ```no_run
//! # async fn example() -> Result<(), rds_iam_tokio_postgres::Error> {
//! let client: tokio_postgres::Client =
//!     rds_iam_tokio_postgres::connect("postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A pool is one line too: `deadpool::connect(url)`, `bb8::connect(url)` or `diesel_async::connect(url)`. Client and pools are
//! the driver's own types, and [`tokio_postgres`] is re-exported. First [set up IAM authentication](https://docs.rs/rds-iam/latest/rds_iam/guide/setup) in AWS and in the database.
//!
//! For Aurora DSQL, write the cluster's endpoint into the URL ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql)).
//!
//! # What a connection keeps
//!
//! - **TLS is verified, always**: the chain and the name of the server's certificate. A URL or options that ask for less, a
//!   password, several hosts or a socket are errors, and nothing is sent.
//! - **Root certificates are built in**: the roots of RDS in the host's region, and Amazon's public roots for RDS Proxy and Aurora
//!   Serverless. For Aurora DSQL, Amazon's public roots alone.
//!   [`Error::NoRoots`](rds_iam_connector::Error::NoRoots) names a region without built-in roots.
//!   To trust other roots, name a file in the URL's `sslrootcert`, or call [`Options::roots`](rds_iam_connector::Options::roots).
//! - **New connections keep working past fifteen minutes.** Each login asks a [`TokenCache`](rds_iam::TokenCache) for a token.
//!   The cache refreshes the token before it expires. While the source of the credentials is down, logins keep working
//!   until the token expires.
//! - **Rejected logins heal.** If the database rejects a token, the login is tried once more, with a token from newly fetched
//!   credentials. Rejections make the cache fetch credentials every 30 s at most.
//! - **No attempt hangs.** An attempt to connect, with TLS and the login, fails after 30 s. The driver's own `connect_timeout`
//!   is for the TCP connection to each address only.
//! - **The first server that answers decides.** If the host's name has several addresses, an address without a server is
//!   skipped. The driver alone would also try the next address after a rejected login, and report the last error.
//! - **No task is left behind.** The only task of this crate drives a connection, and ends when the client is dropped.
//!
//! # Errors
//!
//! [`Error`] says whether the options, the token, the TLS or the database failed. The driver's own error is its source.
//! `connect` opens a first connection, so a wrong setting is reported there. Later a pool returns errors of its own type.
//!
//! # Options
//!
//! ```no_run
//! # async fn example(cache: rds_iam::TokenCache) -> Result<(), rds_iam_tokio_postgres::Error> {
//! let url = "postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app?connect_timeout=5";
//! let options = rds_iam_tokio_postgres::options(url)?
//!     .driver(|mut config| {
//!         config.application_name("shop");
//!         config
//!     })
//!     .cache(cache)
//!     .dial("localhost:15432");
//! let client = rds_iam_tokio_postgres::connect_with(options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Use the feature's `connect_with` for a pool.
//!
//! # Features
//!
//! | feature | enables |
//! | --- | --- |
//! | `deadpool` | `deadpool`: pools of deadpool-postgres |
//! | `bb8` | `bb8`: pools of bb8 |
//! | `diesel-async` | `diesel_async`: pools of diesel-async |

// For the library alone: a test or an example may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[cfg(feature = "bb8")]
pub mod bb8;
mod connector;
#[cfg(feature = "deadpool")]
pub mod deadpool;
#[cfg(feature = "diesel-async")]
pub mod diesel_async;
mod error;
#[cfg(any(feature = "bb8", feature = "deadpool", feature = "diesel-async"))]
mod first;
#[cfg(any(feature = "deadpool", feature = "diesel-async"))]
mod managed;

use tokio_postgres::{Client, Config};

pub use ::tokio_postgres;
pub use rds_iam_connector::InvalidOptions;
use rds_iam_connector::UrlParameters;

use crate::connector::Connector;

/// The driver's own settings, and the settings of the connector.
///
/// The driver's settings name a single host, the user, and neither a password nor a `hostaddr`. The port is 5432 by default.
/// `ssl_mode` is `Require` or `Prefer`: `Prefer` is the driver's default, and the connector raises it to `Require`.
/// `channel_binding` cannot be `Require`, because RDS asks for the token as a password.
///
/// ```
/// use rds_iam_tokio_postgres::Options;
///
/// let mut config = tokio_postgres::Config::new();
/// config
///     .host("mydb.abc123xyz.us-east-1.rds.amazonaws.com")
///     .user("app")
///     .dbname("app");
/// let options = Options::new(config).dial("localhost:15432");
/// ```
pub type Options = rds_iam_connector::Options<Config>;

/// Why there is no connection. The cause is in `source()`, so print the whole chain.
pub type Error = rds_iam_connector::Error<tokio_postgres::Error>;

const PARAMETERS: UrlParameters = UrlParameters::postgres(&[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
]);

/// Connects to the database in a URL.
///
/// A spawned task drives the connection and ends when the client is dropped. If the connection fails, the task logs the
/// error with `tracing`, at the level `WARN`.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no connection.
///
/// # Panics
///
/// Outside a tokio runtime with I/O.
pub async fn connect(url: &str) -> Result<Client, Error> {
    connect_with(options(url)?).await
}

/// Connects with settings of your own. Otherwise as [`connect`].
///
/// # Errors
///
/// If the options ask for something that the connector does not do, or if there is no connection.
///
/// # Panics
///
/// Outside a tokio runtime with I/O.
pub async fn connect_with(options: Options) -> Result<Client, Error> {
    let connected = Connector::new(options)?.connect().await?;
    let (client, _task) = connector::drive(connected);
    Ok(client)
}

/// Reads a URL: `postgres://USER@HOST:PORT/DATABASE`. The port is 5432 if the URL names none.
///
/// The URL's parameters mean what they mean to the driver. `sslrootcert` names a file of root certificates to trust instead of
/// the built-in ones. `sslmode` may only be `verify-full`.
///
/// # Errors
///
/// [`Error::InvalidOptions`](rds_iam_connector::Error::InvalidOptions) if the URL asks for something that the connector does
/// not do. Nothing is ignored.
pub fn options(url: &str) -> Result<Options, Error> {
    Ok(read(url)?)
}

fn read(url: &str) -> Result<Options, InvalidOptions> {
    // To the driver, a `+` in a parameter is no space.
    let mut parts = match url.split_once('?') {
        Some((start, query)) => {
            PARAMETERS.read(&format!("{start}?{}", query.replace('+', "%2B")))?
        }
        None => PARAMETERS.read(url)?,
    };
    let query = parts.url.query().map(|query| query.replace('+', "%20"));
    parts.url.set_query(query.as_deref());
    let mut config: Config =
        parts
            .url
            .as_str()
            .parse()
            .map_err(|error: tokio_postgres::Error| InvalidOptions::DriverUrl {
                source: error.into(),
            })?;
    config.user(parts.login.user());
    connector::check(&config)?;
    Ok(Options::from_url_parts(config, parts))
}
