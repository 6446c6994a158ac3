//! sqlx pools for Amazon RDS and Aurora that log in with IAM, over verified TLS.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example() -> Result<(), rds_iam_sqlx::Error> {
//! let pool: sqlx::PgPool =
//!     rds_iam_sqlx::postgres::connect("postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The pool is sqlx's own, so it goes wherever a `PgPool` or a `MySqlPool` goes: sqlx's macros, SeaORM, axum's state. [`sqlx`]
//! is re-exported. First [set up IAM authentication](https://docs.rs/rds-iam/latest/rds_iam/guide/setup/) in AWS and in the
//! database.
//!
//! For Aurora DSQL, write the cluster's endpoint into the URL of PostgreSQL
//! ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/)).
//!
//! # What the pool keeps
//!
//! - **TLS is verified, always**: the chain and the name of the server's certificate. A URL or options that ask for less, a URL
//!   with a password, several hosts or a socket are errors, and nothing is sent.
//! - **Root certificates are built in**: the roots of RDS in the host's region, and Amazon's public roots for RDS Proxy and Aurora
//!   Serverless. For Aurora DSQL, Amazon's public roots alone. The crate [`rds_roots`] says which regions. For another region,
//!   or for other roots, name a file in the URL: `sslrootcert` (PostgreSQL) or `ssl-ca` (MySQL). sqlx also trusts Mozilla's list of
//!   authorities. If a crate of your program enables another TLS feature of sqlx (`tls-native-tls`,
//!   `tls-rustls-ring-native-roots`), sqlx also trusts the platform's list.
//! - **New connections keep working past fifteen minutes.** A task replaces the pool's token before the token expires, also
//!   while the source of the credentials is down, as long as a valid token can be had.
//! - **A pool recovers from rejected logins.** If the credentials were revoked, the database rejects the pool's token. sqlx
//!   reports this only to the caller who needs the connection. So the task logs in to test the token: once a minute if the pool
//!   opens a connection for the next caller, otherwise every 5 minutes. If the pool has no connection, the token is tested once,
//!   because a login would wake a database that pauses, and then the credentials are fetched again every 5 minutes. So a pool
//!   has a new token after a minute, or after 6 minutes if the pool has an idle connection, no connection or no room. To
//!   replace the token immediately, call [`postgres::refresh`] or [`mysql::refresh`].
//! - **The task ends when you close the pool**, or when the runtime ends. Close a pool that you no longer need. If you only drop
//!   the pool, its connections stay open and its task continues, because sqlx cannot tell that a pool was dropped.
//!
//! # Errors
//!
//! [`Error`] says whether the options, the token, the TLS or the database failed. `connect` opens a first connection, so a
//! wrong setting is reported there. Later the pool returns sqlx's own errors.
//!
//! # Options
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example(cache: rds_iam::TokenCache) -> Result<(), rds_iam_sqlx::Error> {
//! use rds_iam_sqlx::postgres;
//! use sqlx::postgres::PgPoolOptions;
//!
//! let options = postgres::options("postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/app")?
//!     .driver(|options| options.application_name("shop"))
//!     .cache(cache)
//!     .dial("localhost:15432");
//! let pool = postgres::connect_with(options, PgPoolOptions::new().max_connections(20)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | enables |
//! | --- | --- |
//! | `postgres` | [`postgres`]: PostgreSQL, Aurora PostgreSQL and Aurora DSQL |
//! | `mysql` | [`mysql`]: MySQL, MariaDB and Aurora MySQL |

// For the library alone: a test or an example may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod driver;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod refresher;
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
mod relay;

pub use rds_iam_connector::{InvalidOptions, Options};
pub use sqlx;

/// Why there is no connection. The cause is in `source()`, so print the whole chain.
pub type Error = rds_iam_connector::Error<sqlx::Error>;

// Checked at compile time: `connect` may run in a spawned task.
#[cfg(feature = "postgres")]
const _: fn() = || {
    fn sent_to_threads(_: impl Send) {}
    sent_to_threads(postgres::connect(""));
};

/// The README's examples, so that they are compiled.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;
