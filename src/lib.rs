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
//! # What the cache promises
//!
//! [`token`](fn@token) asks one [`TokenCache`] that the whole process shares, [`shared_cache`]. Each cache keeps this
//! contract:
//!
//! 1. A token is *fresh* while more than the refresh margin (60 s unless set) of its life is left. It is returned at
//!    once: no lock is held across an await, no provider called.
//! 2. A token is *usable* until it expires. One that is no longer fresh is renewed, and the caller that starts a
//!    fetch of credentials for that waits for it. Others that find a fetch under way poll it once, so that an
//!    abandoned one gets on too, and get the usable token at once. Where a renewal fails, the usable token is
//!    returned, if it still is usable by the clock read after the wait; after that no fetch starts for 5 s. A renewal
//!    that would not live longer returns the token in hand.
//! 3. Where no token is usable, live credentials sign one, and 2. holds for their renewal. Only where none live do
//!    callers wait, all for one fetch. If it fails, all of them are told why, and the next call starts anew.
//! 4. One fetch at a time serves all logins, driven by whoever polls it. A caller that is dropped, or polls once and
//!    never again, holds nobody up. A panic of the provider is a failed fetch. A fetch is given up after 30 s: the
//!    next call starts another, and where there is a timer ([`sleep_impl`](TokenCacheBuilder::sleep_impl)) those who
//!    wait get an error.
//! 5. Credentials are kept, and renewed when they would expire within a token's lifetime (900 s) and the margin, so
//!    that tokens live as long as they can: at most every 30 s where the provider has none that live longer. Those
//!    without an expiry are fetched again after 900 s, when a token is renewed, to notice that keys were rotated.
//!    Where a fetch fails, the kept ones sign while they live. A provider that answers with expired ones has failed.
//! 6. The wall clock decides, since the servers judge by it: after a suspend a token is renewed, and where the clock
//!    has been set back to more than 60 s before a token was signed, it is signed anew.
//! 7. [`invalidate`](TokenCache::invalidate) drops a token that the database refused, and where the credentials at
//!    hand signed it, they are fetched anew, at most every 30 s. Callers without a usable token wait for that fetch; if it
//!    fails, the kept ones sign.
//! 8. At most [`capacity`](TokenCacheBuilder::capacity) tokens are held; the least useful go first. Secrets are wiped
//!    from memory when dropped.
//! 9. It starts no task and no thread, and needs no runtime but the provider's own. (The process-wide cache has a
//!    thread for the AWS SDK, `blocking_token` uses one to renew.)
//! 10. `keep_fresh` (feature `rt-tokio`) hands a pool a valid token now and each new one before the last expires, for
//!     ever, through failures, suspends and refusals.
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
//! | `rt-tokio` | with `aws-config` | [`TokenCache::keep_fresh`], waiting on tokio's timer |
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
mod login;
mod region;
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
