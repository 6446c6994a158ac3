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
//! - [`token`] signs with the AWS SDK's default credentials.
//! - [`Signer`] signs with credentials of your own: no clock, no environment, no I/O, no async. It needs none of the
//!   default features.
//! - [`Login`] is whom a token is for. The database's own endpoint is what is signed; what is dialled to get there is
//!   not looked at.
//!
//! A token is sent as it is, so send it over TLS with the server's certificate and name verified, and nothing else. The
//! [examples](https://docs.rs/crate/rds-iam/latest/source/examples/) show how with each driver.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `aws-config` | yes | [`token`], over the AWS SDK's default chain; brings `rt-tokio` |
//! | `url` | yes | [`Login::from_url`], [`Token::set_as_password`] |
//! | `rt-tokio` | with `aws-config` | sleeping on a tokio runtime |

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

#[cfg(feature = "aws-config")]
mod default_chain;
mod error;
mod login;
mod region;
mod signer;
mod token;

pub use aws_credential_types::Credentials;
#[cfg(feature = "aws-config")]
pub use default_chain::token;
pub use error::{Error, SharedCredentialsError};
pub use login::Login;
pub use signer::Signer;
pub use token::Token;
