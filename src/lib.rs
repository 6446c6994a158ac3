//! Log in to Amazon RDS, Aurora and Aurora DSQL with IAM: a token in place of a password.
//!
//! RDS for MySQL, MariaDB and PostgreSQL, Aurora and Aurora DSQL accept a *token* as a password: a SigV4 presigned URL, valid for 15
//! minutes, accepted over TLS only ([Amazon RDS user
//! guide](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html), [Aurora DSQL user
//! guide](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/authentication-authorization.html)). This crate signs tokens
//! locally from AWS credentials, and reuses each token until shortly before it expires.
//!
//! ```no_run
//! # async fn connect() -> Result<(), rds_iam::Error> {
//! let token = rds_iam::token("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 5432, "app").await?;
//! let password = token.as_str();
//! # Ok(())
//! # }
//! ```
//!
//! [`token`](fn@token) signs with the AWS SDK's default credentials, for the region in the host's name, on any async
//! runtime. Ask for a token for each new connection. `blocking::token` is the same for code without async (feature `blocking`).
//! [The guide](guide::setup) says what to set up in AWS and in the database. For Aurora DSQL, pass the cluster's endpoint:
//! the host's name tells the service ([guide](guide::dsql)).
//!
//! # Connect
//!
//! A connector opens a pool or a connection in a single line, over verified TLS:
//!
//! | you use | crate |
//! | --- | --- |
//! | sqlx, SeaORM | [`rds-iam-sqlx`](https://docs.rs/rds-iam-sqlx) |
//! | tokio-postgres, deadpool-postgres, bb8, diesel-async | [`rds-iam-tokio-postgres`](https://docs.rs/rds-iam-tokio-postgres) |
//! | mysql_async | [`rds-iam-mysql-async`](https://docs.rs/rds-iam-mysql-async) |
//!
//! Without a connector, connect with [`TokenCache::log_in`]. If the database rejects the token, `log_in` tries once more with
//! a new token:
//!
//! ```no_run
//! use mysql_async::{Conn, Error, OptsBuilder};
//! use rds_iam::{LogInError, Login, Token, rejection};
//!
//! /// `options` have the login's host, port and user, and verified TLS.
//! async fn connect(login: &Login, options: &OptsBuilder) -> Result<Conn, LogInError<Error>> {
//!     let connect = |token: Token| Conn::new(options.clone().pass(Some(token.as_str())));
//!     let is_rejection = |error: &Error| {
//!         matches!(error, Error::Server(error) if error.code == rejection::ER_ACCESS_DENIED_ERROR)
//!     };
//!     rds_iam::shared_cache().log_in(login, connect, is_rejection).await
//! }
//! ```
//!
//! Whoever reads a token can log in. So send a token over TLS only, and verify the server's certificate and name. The crate
//! [`rds-roots`](https://docs.rs/rds-roots) has the root certificates. A pool that holds a fixed password gets each new token
//! from [`TokenCache::keep_fresh`]. [The guide](guide::pools) has each driver's way to insist on TLS, and the traps. The
//! [examples](https://docs.rs/crate/rds-iam/latest/source/examples/) are whole programs.
//!
//! Sign for the database's own endpoint. How you reach the database (a tunnel, an IP address) does not matter.
//!
//! # The rules of the cache
//!
//! [`token`](fn@token) asks the [`TokenCache`] of the whole process, [`shared_cache`]. A token is **fresh** until
//! [`refresh_margin`](TokenCacheBuilder::refresh_margin) (60 s by default) before the expiry, then **valid** until the
//! expiry, then **expired**. Credentials are **valid** until they expire.
//!
//! | the cached token is | valid credentials are cached | what `token` does |
//! | --- | --- | --- |
//! | fresh | – | returns the token immediately; holds no lock across an await and does not call the provider |
//! | valid or expired, or there is none | yes, and no fetch is due | signs a new token immediately |
//! | valid | yes or no, and a fetch is due | the first caller starts a fetch and waits; all other callers get the valid token immediately |
//! | valid | no, and no fetch is due | returns the valid token immediately |
//! | expired, or there is none | yes, and a fetch is due | the first caller starts a fetch and waits; all other callers get a token signed with the cached credentials (rule 6 has an exception) |
//! | expired, or there is none | no | all callers wait for the same fetch; if the fetch fails, each caller gets the error |
//!
//! 1. **One fetch at a time** serves all logins. Unless [`spawn_with`](TokenCacheBuilder::spawn_with) is set, a fetch runs on
//!    a thread of this crate, so a fetch makes progress whatever happens to the callers and their runtimes. Callers only
//!    wait for the outcome. A panic of the provider is a failed fetch. A fetch times out after 30 s, even if the thread
//!    hangs. A change of the wall clock does not end a fetch. While 4 fetches of a
//!    cache, or 64 of the process, have timed out and still hang, no new fetch starts. A provider must not wait for a token
//!    of the same cache, because such a fetch waits for itself.
//! 2. **If a fetch fails**, the cached credentials sign while they are valid. Otherwise the cached token is returned while
//!    valid. The clock after the wait counts. The next fetch starts 5 s later at the earliest. If neither is valid, the error
//!    is returned, and the next call starts a new fetch.
//! 3. **A fetch is due** if the cached credentials expire within 900 s plus the margin, so that tokens get their full
//!    lifetime. If the provider only has short-lived credentials, a fetch starts every 30 s at most, or sooner if the
//!    credentials are about to expire: when the time left is half of the time since the last fetch. Credentials without an
//!    expiry are fetched again after 900 s, when a token is refreshed, so that rotated keys are noticed. A provider that
//!    returns expired credentials has failed.
//! 4. **If a refresh would not give a later expiry**, the cached token is kept.
//! 5. **The wall clock decides**, because the database judges by the wall clock. After a suspend, a token that is no longer fresh is refreshed. If the
//!    clock was set back to more than 60 s before a token was signed, the token is signed again.
//! 6. **[`invalidate`](TokenCache::invalidate)** reports that the database rejected a token. The token is dropped, unless
//!    the cache already has a newer token. If the cached credentials signed the token, the next call without a fresh token
//!    fetches new credentials, every 30 s at most. Callers without a valid token wait for this fetch. If the fetch fails, the
//!    cached credentials sign. A fetch that was in flight before the rejection does not count.
//! 7. **Memory is bounded** by [`capacity`](TokenCacheBuilder::capacity) (1024 logins). The least useful tokens are
//!    evicted first. Secrets are wiped from memory when they are dropped.
//! 8. **No runtime is needed**: callers may use any async runtime or none. A fetch uses two threads, the first for the
//!    provider and the second for the time limit. With the feature `rt-tokio` this crate keeps two tokio runtimes for the
//!    process, each with a single thread: for the I/O and tasks of all providers, and for timers. Tasks of a provider must
//!    not block. Without the feature, providers run without a runtime. [`spawn_with`](TokenCacheBuilder::spawn_with) moves
//!    fetches to a runtime of yours. A forked child starts threads of its own. Do not fork while another thread uses a
//!    cache, because the child's copy of a held lock is never released.
//! 9. **`keep_fresh`** (feature `rt-tokio`) passes a valid token to a pool now, and each new token before the last token
//!    expires, through failures, suspends and rejections. A failed try is repeated after about 1 s, doubling up to 30 s. The
//!    wall clock is checked at least once a minute.
//!
//! # A cache of your own
//!
//! Build a cache over the credentials of an [`SdkConfig`], such as the credentials of a role, with
//! `TokenCacheBuilder::from(&config).build()`. Or build a cache over any provider, with any clock:
//!
//! ```
//! use std::time::{Duration, SystemTime, UNIX_EPOCH};
//!
//! use rds_iam::provider::future;
//! use rds_iam::{Credentials, Login, ProvideCredentials, TimeSource, TokenCache};
//!
//! #[derive(Debug)]
//! struct Vault;
//!
//! impl ProvideCredentials for Vault {
//!     fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
//!     where
//!         Self: 'a,
//!     {
//!         // A real provider says when the credentials expire. No token is valid for longer.
//!         let expiry = None;
//!         future::ProvideCredentials::ready(Ok(Credentials::new(
//!             "akid", "secret", None, expiry, "vault",
//!         )))
//!     }
//! }
//!
//! /// For tests. The default is the system's clock.
//! #[derive(Debug)]
//! struct Noon;
//!
//! impl TimeSource for Noon {
//!     fn now(&self) -> SystemTime {
//!         UNIX_EPOCH + Duration::from_secs(1_724_673_600)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rds_iam::Error> {
//! let cache = TokenCache::builder(Vault).time_source(Noon).build()?;
//! let login = Login::new("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 3306, "app")?;
//! let token = cache.token(&login).await?;
//! assert!(token.as_str().contains("&X-Amz-Date=20240826T120000Z&"));
//! # Ok(())
//! # }
//! ```
//!
//! # In other crates
//!
//! Without default features the crate pulls in no HTTP client, no TLS and no C, and [`TokenCache`] and [`Signer`] are
//! still there. A `Signer` only signs: no clock, no environment, no I/O, no async.
//!
//! The crate re-exports the names of the AWS SDK that callers need. The crates of these names are part of the public interface:
//! `aws-credential-types` and `aws-smithy-async`, with the feature `aws-config` also `aws-types`, with `url` also `url`.
//!
//! # Errors
//!
//! Each error says in a single line what is wrong and what to do. The cause is in [`source()`](std::error::Error::source).
//!
//! | [`Error`] | when | what to do |
//! | --- | --- | --- |
//! | [`InvalidHost`](Error::InvalidHost), [`InvalidPort`](Error::InvalidPort), [`InvalidUser`](Error::InvalidUser), [`InvalidUrl`](Error::InvalidUrl) | you make a `Login`, or write a token into a URL | give the database's endpoint, port and user; the error names the wrong value |
//! | [`NotDsql`](Error::NotDsql) | you call [`Login::for_dsql`] with an endpoint of Amazon RDS | call [`Login::new`], or give the cluster's endpoint |
//! | [`InvalidRegion`](Error::InvalidRegion) | you give a region, or the process-wide cache finds a region | give the region's name, not a zone's |
//! | [`NoRegion`](Error::NoRegion) | neither the host's name nor the configuration names a region | [`Login::with_region`], [`TokenCacheBuilder::region`], `AWS_REGION`, or the profile's `region` |
//! | [`NoCredentialsProvider`](Error::NoCredentialsProvider) | an `SdkConfig` has no provider | load the configuration with credentials, or use [`TokenCache::builder`] |
//! | [`CredentialsFailed`](Error::CredentialsFailed) | the provider failed, and neither a token nor credentials are valid | read the cause; the next call tries again |
//! | [`CredentialsExpired`](Error::CredentialsExpired) | the provider only has expired credentials | log in again, or fix the source of the credentials |
//! | [`FetchTimedOut`](Error::FetchTimedOut) | the provider has not answered for 30 s | check the provider's source; the next call tries again |
//! | [`ProviderHangs`](Error::ProviderHangs) | 4 fetches of the cache, or 64 of the process, have timed out and not ended | find out why the provider does not return |
//! | [`TokioRequired`](Error::TokioRequired) | the provider needs tokio, and runs without tokio | enable the feature `rt-tokio`, or give [`spawn_with`](TokenCacheBuilder::spawn_with) a tokio runtime |
//! | [`ClockOutOfRange`](Error::ClockOutOfRange) | the clock is before 1970 or after 9999 | set the clock |
//! | [`InvalidSetting`](Error::InvalidSetting) | you build a cache | the error names the setting |
//!
//! A rejected login is the driver's error, so the crate has no error for this. [`TokenCache::log_in`] returns the second
//! rejection as [`LogInError::Connect`]. Without `log_in`, report the token with [`TokenCache::invalidate`] and try once more.
//! If the second try is rejected too, [the guide](guide::rejected) lists the causes.
//!
//! # Features
//!
//! | feature | default | enables |
//! | --- | --- | --- |
//! | `aws-config` | yes | [`token`](fn@token) and [`shared_cache`], over the AWS SDK's default chain; pulls in `rt-tokio` |
//! | `url` | yes | [`Login::from_url`], [`Token::set_as_password`] |
//! | `rt-tokio` | with `aws-config` or `blocking` | providers run inside a tokio runtime of this crate; [`TokenCache::keep_fresh`] |
//! | `blocking` | no | `TokenCache::blocking_token` and `TokenCache::blocking_log_in`, with `aws-config` also `blocking::token`; pulls in `rt-tokio` |
//!
//! The minimum Rust version is 1.94.1, because the AWS SDK's crates require this version.

#![cfg_attr(docsrs, feature(doc_cfg))]
// For the library alone: a test or an example may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[cfg(all(feature = "blocking", feature = "aws-config"))]
pub mod blocking;
#[cfg(all(feature = "blocking", not(feature = "aws-config")))]
mod blocking;
mod cache;
mod credentials;
#[cfg(feature = "aws-config")]
mod default_chain;
mod encoding;
mod endpoint;
mod error;
mod fetch;
#[cfg(feature = "aws-config")]
mod imds;
mod log_in;
mod login;
mod region;
mod region_source;
mod runtime;
mod service;
mod signer;
mod token;

/// Guides: setup, which crate you need, Aurora DSQL, and what to do if the database rejects a token.
#[cfg(doc)]
pub mod guide {
    // These definitions come first, so they win over the guide's own links.
    #[doc = "[rejected]: rejected"]
    #[doc = "[dsql]: dsql"]
    #[doc = "[pools]: pools"]
    #[doc = "[rate]: pools#stay-below-200-new-connections-per-second"]
    #[doc = "[limits]: pools#where-a-token-does-not-fit"]
    #[doc = include_str!("../docs/setup.md")]
    pub mod setup {}

    #[doc = "[switch-on]: setup#1-switch-it-on"]
    #[doc = "[policy]: setup#2-allow-rds-dbconnect"]
    #[doc = "[user]: setup#3-create-the-database-user"]
    #[doc = "[pools]: pools"]
    #[doc = "[limits]: pools#where-a-token-does-not-fit"]
    #[doc = "[dsql-policy]: dsql#1-allow-dsqldbconnect"]
    #[doc = "[dsql-role]: dsql#2-create-the-database-role"]
    #[doc = include_str!("../docs/rejected.md")]
    pub mod rejected {}

    #[doc = "[roots]: setup#trust-the-right-root-certificates"]
    #[doc = "[dsql]: dsql"]
    #[doc = include_str!("../docs/pools.md")]
    pub mod pools {}

    #[doc = "[credentials]: setup#5-give-the-program-credentials"]
    #[doc = "[pools]: pools"]
    #[doc = "[rejected-by-dsql]: rejected#aurora-dsql"]
    #[doc = include_str!("../docs/dsql.md")]
    pub mod dsql {}
}

#[cfg(feature = "aws-config")]
pub use aws_config::SdkConfig;
pub use aws_credential_types::Credentials;
#[doc(no_inline)]
pub use aws_credential_types::provider;
pub use aws_credential_types::provider::error::CredentialsError;
pub use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
pub use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
pub use aws_smithy_async::time::TimeSource;
pub use cache::{TokenCache, TokenCacheBuilder};
#[cfg(feature = "aws-config")]
pub use default_chain::{shared_cache, token};
pub use error::{Error, SharedCredentialsError};
pub use log_in::{LogInError, rejection};
pub use login::Login;
pub use service::Service;
pub use signer::Signer;
pub use token::Token;
