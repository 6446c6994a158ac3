use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rds_iam::LogInError;
use rustls::CertificateError;
use rustls::pki_types::pem;

use crate::Endpoint;

/// What is wrong with a URL or with options. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// The host, port, user or region is invalid, or the URL names none.
    #[error(transparent)]
    Login(#[from] rds_iam::Error),

    /// The URL asks for something that no connector does.
    #[error("invalid URL: {reason}")]
    Url {
        /// What is wrong with the URL, and what to do. The URL may hold a secret and is not shown.
        reason: &'static str,
    },

    /// The URL is for another database.
    #[error("invalid URL: its scheme is wrong. Give a URL with one of these schemes: {}", .schemes.join(", "))]
    Scheme {
        /// The schemes of the connector's database.
        schemes: &'static [&'static str],
    },

    /// The host is a cluster of Aurora DSQL, and the connector is for MySQL.
    #[error(
        "the host is a cluster of Aurora DSQL, which speaks the protocol of PostgreSQL. Use `rds_iam_sqlx::postgres` or `rds_iam_tokio_postgres`"
    )]
    DsqlOverMySql,

    /// The URL asks for less than verified TLS.
    #[error(
        "the URL's `{name}` asks for less than verified TLS. Remove it, or write `{name}={verified}`"
    )]
    TlsMode {
        /// The parameter.
        name: String,
        /// The only accepted value.
        verified: &'static str,
    },

    /// The connector cannot honour a parameter of the URL.
    #[error("invalid parameter `{name}` in the URL: {reason}")]
    Parameter {
        /// The parameter, shortened.
        name: String,
        /// What is wrong with the parameter.
        reason: &'static str,
    },

    /// The driver's own options ask for something that the connector does not do.
    #[error("invalid option `{option}`: {reason}")]
    Driver {
        /// The driver's name of the option.
        option: &'static str,
        /// What is wrong with the option, and what to do.
        reason: &'static str,
    },

    /// The driver cannot read the URL.
    #[error("the driver cannot read the URL")]
    DriverUrl {
        /// The driver's own error.
        source: Box<dyn StdError + Send + Sync>,
    },

    /// The address to dial is no `HOST:PORT`.
    #[error("invalid address to dial {address:?}. Give HOST:PORT, such as localhost:15432")]
    Dial {
        /// The given address, shortened.
        address: String,
    },

    /// No local socket can be made that leads to the address to dial.
    #[error(
        "no local socket that leads to the address to dial. Check the directory for temporary files"
    )]
    DialSocket {
        /// The system's error.
        source: io::Error,
    },

    /// The file of root certificates cannot be read.
    #[error("the root certificates in {file:?} cannot be read. Give a file in PEM")]
    RootFile {
        /// The file.
        file: PathBuf,
        /// The error of reading or of the PEM.
        source: pem::Error,
    },

    /// The file has no certificates.
    #[error("{file:?} has no root certificates. Give a file in PEM")]
    EmptyRootFile {
        /// The file.
        file: PathBuf,
    },

    /// A given root certificate is not a certificate.
    #[error("a given root certificate is invalid. Give certificates in DER, or a file in PEM")]
    InvalidRoot(#[from] rustls::Error),

    /// No root certificates were given.
    #[error(
        "no root certificates were given. Give at least one, or leave the setting out to use the built-in roots"
    )]
    NoRoots,
}

/// Why there is no connection: options, token, TLS or database. The cause is in `source()`, so print the whole chain.
///
/// `E` is the driver's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E: StdError + 'static> {
    /// The URL or the options are invalid. Nothing was sent.
    #[error("the URL or the options are invalid")]
    InvalidOptions(#[from] InvalidOptions),

    /// There is no token.
    #[error("no token to log in with")]
    Token(#[source] rds_iam::Error),

    /// The server has no TLS, or its certificate cannot be verified, or TLS broke later. No token is sent before TLS is
    /// verified.
    #[error("no verified TLS connection to the database")]
    Tls(#[source] E),

    /// The server's certificate has a root that is not built in.
    #[error(
        "no built-in root certificates for the region {region}. Download AWS's bundle for this region, and name the file in the URL with `sslrootcert` (PostgreSQL) or `ssl-ca` (MySQL): https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html"
    )]
    NoRoots {
        /// The region in the host's name.
        region: String,
        /// The driver's own error.
        source: E,
    },

    /// The database rejected two tokens.
    #[error(
        "the database rejected the token. See https://docs.rs/rds-iam/latest/rds_iam/guide/rejected"
    )]
    Rejected(#[source] E),

    /// The database cannot be reached, or reported another error.
    #[error("the database cannot be reached, or reported an error")]
    Database(#[source] E),
}

impl<E: StdError + 'static> Error<E> {
    /// Sorts an error of [`TokenCache::log_in`](rds_iam::TokenCache::log_in). For connectors.
    #[doc(hidden)]
    pub fn sort(
        error: LogInError<E>,
        endpoint: &Endpoint,
        is_rejection: impl Fn(&E) -> bool,
        is_tls: impl Fn(&E) -> bool,
    ) -> Error<E> {
        let error = match error {
            LogInError::Token(error) => return Error::Token(error),
            LogInError::Connect(error) => error,
        };
        // A pool may have wrapped the error of the cache in the driver's.
        if let Some(error) = find_cause::<rds_iam::Error>(&error) {
            return Error::Token(error.clone());
        }
        let tls = find_cause::<rustls::Error>(&error);
        match endpoint.roots.missing_region() {
            Some(region) if tls.is_some_and(is_unknown_issuer) => Error::NoRoots {
                region: region.to_owned(),
                source: error,
            },
            _ if tls.is_some() || is_tls(&error) => Error::Tls(error),
            _ if is_rejection(&error) => Error::Rejected(error),
            _ => Error::Database(error),
        }
    }
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// Finds an error of the type `T` among an error and its causes.
fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<T>() {
            return Some(error);
        }
        // An `io::Error` does not return its payload as its source.
        let payload = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match payload {
            Some(payload) => Some(payload as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// An error and all causes in a single line, for a log or a pool that keeps text only. For connectors.
#[doc(hidden)]
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a dyn StdError);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut error = Some(self.0);
        let mut separator = "";
        while let Some(cause) = error {
            // The database's errors have their details in further lines.
            let text = cause.to_string().replace('\n', ", ");
            write!(f, "{separator}{text}")?;
            separator = ": ";
            error = cause.source();
        }
        Ok(())
    }
}
