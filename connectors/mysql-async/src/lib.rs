//! mysql_async connections and pools for Amazon RDS and Aurora that log in with IAM, over verified TLS.
//!
//! ```no_run
//! # async fn example() -> Result<(), rds_iam_mysql_async::Error> {
//! let connection: mysql_async::Conn =
//!     rds_iam_mysql_async::connect("mysql://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The connection is mysql_async's own. [`mysql_async`] is re-exported, so you need no second dependency. First [set up IAM
//! authentication](https://docs.rs/rds-iam/latest/rds_iam/guide/setup/) in AWS and in the database.
//!
//! For a pool, enable the feature `deadpool`:
//!
//! ```no_run
//! # #[cfg(feature = "deadpool")]
//! # async fn example() -> Result<(), rds_iam_mysql_async::Error> {
//! let pool: rds_iam_mysql_async::deadpool::Pool = rds_iam_mysql_async::deadpool::connect(
//!     "mysql://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app",
//! )
//! .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What each connection keeps
//!
//! - **TLS is verified, always**: the chain and the name of the server's certificate. A URL or options that ask for less, a
//!   password, several hosts or a socket are errors, and nothing is sent.
//! - **Root certificates are built in**: the roots of RDS in the host's region, and Amazon's public roots, which RDS Proxy
//!   and Aurora Serverless use. For another region, or for other roots, name a file in the URL with `ssl-ca`, or use
//!   [`Options::roots`]. Unlike mysql_async, the connector does not trust Mozilla's list of authorities.
//! - **New connections keep working past fifteen minutes.** Each connection asks the cache for a token, and the cache
//!   refreshes the token before it expires. An open connection outlives its token.
//! - **Rejected logins are tried once more**, with a token from newly fetched credentials. So credentials that were revoked
//!   cost a single rejection.
//! - **No attempt hangs.** An attempt to connect, with TLS and the login, fails after 30 s.
//!
//! Aurora DSQL speaks the protocol of PostgreSQL, so a DSQL cluster is an error that names the connectors for PostgreSQL.
//!
//! mysql_async's own `Pool` is not offered, because it logs in with the same password for ever. A deadpool pool logs in
//! with a new token.
//!
//! # Errors
//!
//! [`Error`] says whether the options, the token, the TLS or the database failed, and has mysql_async's own error as its
//! `source()`. Print the whole chain.
//!
//! # Options
//!
//! ```no_run
//! # async fn example(cache: rds_iam::TokenCache) -> Result<(), rds_iam_mysql_async::Error> {
//! let options = rds_iam_mysql_async::options("mysql://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app")?
//!     .driver(|options| options.init(vec!["SET time_zone = '+00:00'"]))
//!     .cache(cache)
//!     .dial("localhost:13306");
//! let connection = rds_iam_mysql_async::connect_with(options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A URL may have these parameters. All other parameters are errors:
//!
//! | parameter | value |
//! | --- | --- |
//! | `ssl-mode` | `VERIFY_IDENTITY` |
//! | `ssl-ca` | a file of root certificates in PEM, to trust instead of the built-in roots |
//! | `client_found_rows`, `compression`, `max_allowed_packet`, `stmt_cache_size`, `tcp_keepalive`, `tcp_nodelay`, `wait_timeout` | as in mysql_async |
//! | `require_ssl`, `verify_ca`, `verify_identity`, `secure_auth`, `enable_cleartext_plugin` | `true`, the default here |
//! | `prefer_socket` | `false`, the default here |
//!
//! # Secrets
//!
//! mysql_async keeps a connection's password, so `Debug` of a `Conn` and of `Conn::opts` shows the token. `Debug` of a pool
//! shows its idle connections. A token is valid for fifteen minutes. The types of this crate show no token.
//!
//! # The crypto provider
//!
//! mysql_async takes the process-wide crypto provider of rustls. If the process has installed none, the first connection
//! installs aws-lc-rs. To use another provider, call `rustls::crypto::CryptoProvider::install_default` before.
//!
//! # Features
//!
//! | feature | enables |
//! | --- | --- |
#![cfg_attr(
    feature = "deadpool",
    doc = "| `deadpool` | [`deadpool`]: a pool of connections |"
)]
#![cfg_attr(
    not(feature = "deadpool"),
    doc = "| `deadpool` | `deadpool`: a pool of connections |"
)]
// For the library alone: a test or an example may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod connector;
#[cfg(feature = "deadpool")]
pub mod deadpool;
mod url;

use ::mysql_async::{Conn, OptsBuilder};

pub use mysql_async;
pub use rds_iam_connector::InvalidOptions;

use crate::connector::Connector;

/// mysql_async's own options, and the settings of the connector.
///
/// ```
/// use rds_iam_mysql_async::{Options, mysql_async::OptsBuilder};
///
/// let options = Options::new(
///     OptsBuilder::default()
///         .ip_or_hostname("mydb.abc123xyz.us-east-1.rds.amazonaws.com")
///         .user(Some("app"))
///         .db_name(Some("app")),
/// );
/// ```
///
/// These options of mysql_async are errors:
///
/// - `pass`, because the token takes the password's place
/// - `socket`, and mysql_async's default host `127.0.0.1`
/// - in `ssl_opts`: root certificates (use [`roots`](rds_iam_connector::Options::roots)), and everything with the prefix
///   `danger_`
/// - `secure_auth(false)`
/// - `pool_opts` and `conn_ttl`, because they are for mysql_async's own pool
///
/// A client identity in `ssl_opts` is kept. `enable_cleartext_plugin` is always on, and `prefer_socket` is always off.
pub type Options = rds_iam_connector::Options<OptsBuilder>;

/// Why there is no connection. The cause is in `source()`, so print the whole chain.
pub type Error = rds_iam_connector::Error<::mysql_async::Error>;

/// Why a setting of mysql_async's own pool is invalid.
const OWN_POOL: &str = "it is for mysql_async's own pool, which would send the same token for ever. Remove it, and set the size and timeouts of your pool instead";

/// Connects to the database in a URL, as [`options`] reads it.
///
/// # Errors
///
/// [`Error`] says whether the URL, the token, the TLS or the database failed.
pub async fn connect(url: &str) -> Result<Conn, Error> {
    connect_with(options(url)?).await
}

/// Reads a URL: `mysql://USER@HOST:PORT/DATABASE` or `mariadb://…`. The port is 3306 if the URL names none.
///
/// [The crate's documentation](crate#options) lists the parameters.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the URL asks for something that the connector does not do. Nothing is ignored.
pub fn options(url: &str) -> Result<Options, Error> {
    let (opts, parts) = url::read(url)?;
    let driver = OptsBuilder::from_opts(opts)
        .ip_or_hostname(parts.login.host())
        .tcp_port(parts.login.port())
        .user(Some(parts.login.user()));
    Ok(Options::from_url_parts(driver, parts))
}

/// Connects with mysql_async's own options.
///
/// Each call reads the root certificates again, and its TLS session is not resumed by the next call. For many connections
/// use a pool.
///
/// # Errors
///
/// [`Error`] says whether the options, the token, the TLS or the database failed.
pub async fn connect_with(options: Options) -> Result<Conn, Error> {
    Connector::new(options)?.connect().await
}
