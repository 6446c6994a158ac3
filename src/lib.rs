//! Passwords for Amazon RDS with IAM database authentication, signed locally from AWS credentials.
//!
//! RDS for MySQL, MariaDB and PostgreSQL and Aurora let a user in with a *token* in place of a password: a SigV4
//! presigned URL, valid for 15 minutes, taken over TLS only
//! ([Amazon RDS user guide](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)).
//! This crate makes it.
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
//! runtime. Ask it for each new connection: a token is handed out until shortly before it expires. `blocking::token`
//! is the same for code without async (feature `blocking`). [The guide](guide::setup) tells what has to be set up in
//! AWS and in the database.
//!
//! # A connection
//!
//! A token is sent as it is, so send it over TLS with the server's certificate and name verified, and nothing else.
//! With tokio-postgres:
//!
//! ```no_run
//! use tokio_postgres::config::SslMode;
//! use tokio_postgres_rustls::MakeRustlsConnect;
//!
//! /// `roots` are those of Amazon's `global-bundle.pem`.
//! async fn connect(
//!     roots: rustls::RootCertStore,
//! ) -> Result<tokio_postgres::Client, Box<dyn std::error::Error>> {
//!     let tls = rustls::ClientConfig::builder()
//!         .with_root_certificates(roots)
//!         .with_no_client_auth();
//!
//!     let (host, port, user) = ("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 5432, "app");
//!     let token = rds_iam::token(host, port, user).await?;
//!     let (client, connection) = tokio_postgres::Config::new()
//!         .host(host)
//!         .port(port)
//!         .user(user)
//!         .password(token.as_str())
//!         // By default it goes on in plain text where the server says that it has no TLS.
//!         .ssl_mode(SslMode::Require)
//!         .connect(MakeRustlsConnect::new(tls))
//!         .await?;
//!     tokio::spawn(connection);
//!     Ok(client)
//! }
//! ```
//!
//! The [examples](https://docs.rs/crate/rds-iam/latest/source/examples/) are whole programs, for MySQL too. Pools that
//! hold a fixed password get each new token from [`TokenCache::keep_fresh`]; [the guide](guide::pools) shows it, and
//! each driver's way to insist on TLS.
//!
//! What is signed is the database's own endpoint, a [`Login`]. What is dialled to get there (a tunnel, an address) is
//! not looked at.
//!
//! # The rules of the cache
//!
//! [`token`](fn@token) asks one [`TokenCache`] that the whole process shares, [`shared_cache`]. A token is **fresh** until
//! [`refresh_margin`](TokenCacheBuilder::refresh_margin) (60 s by default) before it expires, then **valid** until it
//! expires, then **expired**. Credentials are **valid** until they expire.
//!
//! | the cached token is | valid credentials are cached | what `token` does |
//! | --- | --- | --- |
//! | fresh | – | returns the token immediately; holds no lock across an await and does not call the provider |
//! | valid or expired | yes, and no fetch is due | signs a new token immediately |
//! | valid | a fetch is due | the first caller starts the fetch and waits for it; all others get the valid token immediately |
//! | expired, or there is none | yes, and a fetch is due | the first caller starts the fetch and waits for it; all others get a token signed with the cached credentials |
//! | expired, or there is none | no | all callers wait for one fetch; if it fails, each of them gets its error |
//!
//! 1. **One fetch at a time** serves all logins. It runs on a thread of this crate, so it makes progress whatever happens
//!    to its callers and their runtimes. Callers only wait for its outcome. A panic of the provider is a failed fetch. A
//!    fetch times out after 30 s, even if its thread hangs, and no step of the clock ends it. While 4 fetches have timed
//!    out and still hang, no new one starts.
//! 2. **If a fetch fails**, the cached token is returned while it is valid, by the clock after the wait, and the cached
//!    credentials sign while they are valid. The next fetch starts 5 s later at the earliest. If there is neither, the
//!    next call starts a new fetch.
//! 3. **A fetch is due** if the cached credentials expire within 900 s plus the margin, so that tokens get their full
//!    lifetime. If the provider only has short-lived credentials, it is called every 30 s at most, or sooner when they
//!    are about to expire: when a third of the time that they had left at the last fetch remains. Credentials without an
//!    expiry are fetched again after 900 s, when a token is refreshed, so that rotated keys are noticed. A provider that
//!    returns expired credentials has failed.
//! 4. **If a refresh would not give a later expiry**, the cached token is kept.
//! 5. **The wall clock decides**, because the database judges by it. After a suspend, the token is refreshed. If the
//!    clock was set back to more than 60 s before a token was signed, the token is signed again.
//! 6. **[`invalidate`](TokenCache::invalidate)** reports that the database rejected a token. The token is dropped, unless
//!    the cache already has another. If the cached credentials signed it, they are fetched again, every 30 s at most.
//!    Callers without a valid token wait for this fetch. If it fails, the cached credentials sign. A fetch that was in
//!    flight before the rejection does not count.
//! 7. **Memory is bounded** by [`capacity`](TokenCacheBuilder::capacity) (1024 logins). The least useful tokens are
//!    evicted first. Secrets are wiped from memory when they are dropped.
//! 8. **No runtime is needed**: callers may use any async runtime or none. A fetch uses two threads while it lasts, one
//!    for the provider and one for the time limit. With the feature `rt-tokio` all providers run inside one tokio runtime
//!    with two threads, which this crate keeps for the process. Without it they run without a runtime.
//!    [`spawn_with`](TokenCacheBuilder::spawn_with) moves fetches to a runtime of yours. A forked child starts threads
//!    and a runtime of its own.
//! 9. **`keep_fresh`** (feature `rt-tokio`) passes a valid token to a pool now, and each new token before the last one
//!    expires, through failures, suspends and rejections. It tries again after 1 s, doubling up to 30 s, and checks the
//!    wall clock at least once a minute.
//!
//! # A cache of your own
//!
//! A cache is built over the credentials of an [`SdkConfig`], such as those of another role,
//! `TokenCacheBuilder::from(&config).build()`, or over any provider, and by any clock:
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
//!         // A real one asks for them, and says when they expire: no token outlives its credentials.
//!         let expiry = None;
//!         future::ProvideCredentials::ready(Ok(Credentials::new(
//!             "akid", "secret", None, expiry, "vault",
//!         )))
//!     }
//! }
//!
//! /// For tests. Without it, the system's.
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
//! Without default features nothing is brought in that a crate with credentials of its own does not need: no HTTP
//! client, no TLS, no C. [`TokenCache`] and [`Signer`] are there. A `Signer` signs, and nothing else: no clock, no
//! environment, no I/O, no async.
//!
//! Names of the AWS SDK that a caller needs are re-exported. Their crates are in the public interface:
//! `aws-credential-types` and `aws-smithy-async`, with the feature `aws-config` also `aws-types`, with `url` also `url`.
//!
//! # Errors
//!
//! Each says in one line what is wrong and what to do. Causes are in [`source()`](std::error::Error::source).
//!
//! | [`Error`] | when | what to do |
//! | --- | --- | --- |
//! | [`InvalidHost`](Error::InvalidHost), [`InvalidPort`](Error::InvalidPort), [`InvalidUser`](Error::InvalidUser), [`InvalidUrl`](Error::InvalidUrl) | a `Login` is made, or a token written into a URL | give the database's endpoint, port and user; each names what is wrong |
//! | [`InvalidRegion`](Error::InvalidRegion) | a region is given, or found for the process-wide cache | give its name, not a zone's |
//! | [`NoRegion`](Error::NoRegion) | neither the host's name nor the configuration names one | [`Login::with_region`], [`TokenCacheBuilder::region`], `AWS_REGION`, or the profile's `region` |
//! | [`NoCredentialsProvider`](Error::NoCredentialsProvider) | an `SdkConfig` was made without one | load it with credentials, or use [`TokenCache::builder`] |
//! | [`CredentialsFailed`](Error::CredentialsFailed) | the provider failed, and no token is usable | its cause tells why; the next call tries anew |
//! | [`CredentialsExpired`](Error::CredentialsExpired) | the provider has no others | log in again, or mend what renews them |
//! | [`FetchTimedOut`](Error::FetchTimedOut) | the provider has not answered for 30 s | the next call tries anew |
//! | [`ProviderHangs`](Error::ProviderHangs) | 4 fetches have timed out and still block their threads | find out why the provider does not return |
//! | [`TokioRequired`](Error::TokioRequired) | the provider needs tokio, and runs without it | enable the feature `rt-tokio`, or give [`spawn_with`](TokenCacheBuilder::spawn_with) a tokio runtime |
//! | [`ClockOutOfRange`](Error::ClockOutOfRange) | the clock stands before 1970 or after 9999 | set it |
//! | [`InvalidSetting`](Error::InvalidSetting) | a cache is built | it names the setting |
//!
//! That a database refuses a token is no error of this crate. Tell the cache with [`TokenCache::invalidate`] and try
//! once more; where that is refused too, [the guide](guide::refused) lists the causes.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `aws-config` | yes | [`token`](fn@token) and [`shared_cache`], over the AWS SDK's default chain; brings `rt-tokio` |
//! | `url` | yes | [`Login::from_url`], [`Token::set_as_password`] |
//! | `rt-tokio` | with `aws-config` | providers run inside a tokio runtime of this crate; [`TokenCache::keep_fresh`] |
//! | `blocking` | no | `TokenCache::blocking_token`, with `aws-config` also `blocking::token`; brings `rt-tokio` |
//!
//! Rust 1.94.1 is the oldest that builds it.

#![cfg_attr(docsrs, feature(doc_cfg))]
// For the library alone: a test or an example may end itself where the library must not.
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
mod error;
mod fetch;
mod login;
mod region;
mod runtime;
mod signer;
mod token;

/// What has to be in place around the crate.
#[cfg(doc)]
pub mod guide {
    // The first definition of a link is the one that counts.
    #[doc = "[refused]: refused"]
    #[doc = include_str!("../docs/setup.md")]
    pub mod setup {}

    #[doc = "[switch-on]: setup#1-switch-it-on"]
    #[doc = "[policy]: setup#2-allow-rds-dbconnect"]
    #[doc = "[user]: setup#3-create-the-database-user"]
    #[doc = "[pools]: pools"]
    #[doc = "[limits]: pools#where-a-token-does-not-fit"]
    #[doc = include_str!("../docs/refused.md")]
    pub mod refused {}

    #[doc = include_str!("../docs/pools.md")]
    pub mod pools {}
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
pub use login::Login;
pub use signer::Signer;
pub use token::Token;
