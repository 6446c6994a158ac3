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
//! - [`token`](fn@token) signs with the AWS SDK's default credentials, and reuses tokens and credentials.
//!   `blocking::token` does so for code without async (feature `blocking`).
//! - [`TokenCache`] does so with a credentials provider, a clock and settings of your own.
//! - [`Signer`] signs: no clock, no environment, no I/O, no async. It needs none of the default features.
//! - [`Login`] is whom a token is for. The database's own endpoint is what is signed; what is dialled to get there is
//!   not looked at.
//!
//! A token is sent as it is, so send it over TLS with the server's certificate and name verified, and nothing else.
//! The [examples](https://docs.rs/crate/rds-iam/latest/source/examples/) show how with each driver.
//!
//! # What the cache promises
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
//!    hand signed it, they are fetched anew, at most every 30 s; who has no usable token waits for that. If it fails,
//!    the kept ones sign.
//! 8. At most [`capacity`](TokenCacheBuilder::capacity) tokens are held; the least useful go first. Secrets are wiped
//!    from memory when dropped.
//! 9. It starts no task and no thread, and needs no runtime but the provider's own. (The process-wide cache has a
//!    thread for the AWS SDK, `blocking_token` uses one to renew.)
//! 10. `keep_fresh` (feature `rt-tokio`) hands a pool a valid token now and each new one before the last expires, for
//!     ever, through failures, suspends and refusals.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `aws-config` | yes | [`token`](fn@token) and [`shared_cache`], over the AWS SDK's default chain; brings `rt-tokio` |
//! | `url` | yes | [`Login::from_url`], [`Token::set_as_password`] |
//! | `rt-tokio` | with `aws-config` | waiting on tokio's timer |
//! | `blocking` | no | `blocking::token`, `TokenCache::blocking_token`; brings `rt-tokio` |

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
