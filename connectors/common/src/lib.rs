//! What the connectors of [`rds-iam`](rds_iam) share. Use a connector instead: `rds-iam-sqlx`, `rds-iam-tokio-postgres` or
//! `rds-iam-mysql-async`.
//!
//! - [`Options`]: the driver's own options, and the settings of a connector.
//! - [`Endpoint`]: a database to log in to, checked. A connector turns options into an endpoint.
//! - [`UrlParameters`]: the check of a connection URL.
//! - [`Error`]: whether the token, the TLS or the database failed.

// For the library alone: a test may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod endpoint;
mod error;
mod options;
mod roots;
mod url;

pub use endpoint::{Address, CONNECT_TIMEOUT, Endpoint, Protocol, server_name};
pub use error::{Error, ErrorChain, InvalidOptions};
pub use options::Options;
pub use roots::Roots;
pub use url::{UrlParameters, UrlParts};
