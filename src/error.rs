use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use time::OffsetDateTime;

/// What went wrong, one variant for each thing that a caller can act on.
///
/// `Display` says in one line what is wrong and what to do, and shows nothing secret. A cause stays in
/// [`source()`](std::error::Error::source): print the whole chain when you report an error to a person. Cloning is
/// cheap, since several callers can be told of one failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host is neither a DNS name nor an IP address.
    #[error(
        "invalid host {host:?}: {reason}; give the database's endpoint alone, as in mydb.abc123xyz.us-east-1.rds.amazonaws.com"
    )]
    InvalidHost {
        /// The host as given, shortened, and without the parts of a URL that may hold a secret.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Port 0, at which no server listens.
    #[error("invalid port 0: give the port that the database listens on, such as 5432 or 3306")]
    InvalidPort,

    /// The user is empty or has control characters.
    #[error("invalid user {user:?}: {reason}; give the name of a database user")]
    InvalidUser {
        /// The user as given, shortened.
        user: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The region does not have a region's shape.
    #[error(
        "invalid region {region:?}: a region looks like us-east-1, in lower case, without a zone's letter"
    )]
    InvalidRegion {
        /// The region as given, shortened.
        region: String,
    },

    /// A connection URL that no [`Login`](crate::Login) can be read from or no password be written into.
    #[error(
        "invalid URL: {reason}; it looks like postgres://USER@HOST:PORT/DATABASE or mysql://USER@HOST:PORT/DATABASE"
    )]
    InvalidUrl {
        /// What is wrong with it. The URL itself may hold a password and is not shown.
        reason: &'static str,
    },

    /// Nothing names a region, and none is ever guessed.
    #[error(
        "no region for {host}: its name holds none and none is configured; give `Login::with_region`, `TokenCacheBuilder::region` or, for `rds_iam::token`, AWS_REGION or the profile's `region`"
    )]
    NoRegion {
        /// The host of the login that was asked for.
        host: String,
    },

    /// The AWS configuration was made without a credentials provider.
    #[error(
        "no credentials provider: the AWS configuration was made without one; load it with credentials, or give `TokenCache::builder` a provider"
    )]
    NoCredentialsProvider,

    /// The credentials provider failed.
    #[error(
        "no AWS credentials: the provider failed; check the environment, the profile or the role that should provide them"
    )]
    CredentialsFailed {
        /// The provider's own error, which `source()` gives as the SDK's [`CredentialsError`].
        source: SharedCredentialsError,
    },

    /// The credentials had expired when they should sign.
    #[error("the AWS credentials expired at {}; sign with newer ones", Rfc3339(*.expired_at))]
    CredentialsExpired {
        /// When they expired.
        expired_at: SystemTime,
    },

    /// The credentials provider has not answered in time.
    #[error("no AWS credentials: the provider has not answered for {} s; the next call tries anew", .after.as_secs())]
    FetchTimedOut {
        /// How long it was waited for, since the fetch began.
        after: Duration,
    },

    /// So many fetches have timed out and still hang that no other one is started.
    #[error(
        "no AWS credentials: {fetches} fetches have timed out and still block their threads; find out why the credentials provider does not return"
    )]
    ProviderHangs {
        /// How many of them hang.
        fetches: usize,
    },

    /// The credentials provider needs a tokio runtime, and runs without one.
    #[error(
        "the credentials provider needs a tokio runtime with I/O and timers; enable the feature `rt-tokio` of rds-iam, or give `TokenCacheBuilder::spawn_with` such a runtime"
    )]
    TokioRequired,

    /// A setting that no cache can be built with.
    #[error("invalid setting {setting}: {reason}")]
    InvalidSetting {
        /// The method of [`TokenCacheBuilder`](crate::TokenCacheBuilder) that it was given to.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A date that SigV4 has no form for.
    #[error(
        "the clock is out of range: SigV4 dates lie between the years 1970 and 9999; set this machine's clock"
    )]
    ClockOutOfRange {
        /// What the clock said.
        now: SystemTime,
    },
}

/// A [`CredentialsError`] that several callers can be told of.
///
/// It dereferences to the SDK's error and is not an error itself, so that
/// [`source()`](std::error::Error::source) gives the SDK's own type and a downcast finds it.
#[derive(Clone, Debug)]
pub struct SharedCredentialsError(Arc<CredentialsError>);

impl Deref for SharedCredentialsError {
    type Target = CredentialsError;

    fn deref(&self) -> &CredentialsError {
        &self.0
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Error {
        Error::CredentialsFailed {
            source: SharedCredentialsError(Arc::new(error)),
        }
    }
}

/// An error and its causes in one line, for a log.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a dyn std::error::Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// As much of a value that the caller gave as an error repeats: enough to find the mistake, never more than a line.
pub(crate) fn excerpt(given: &str) -> String {
    const LONGEST: usize = 100;
    let mut excerpt: String = given.chars().take(LONGEST).collect();
    if excerpt.len() < given.len() {
        excerpt.push('…');
    }
    excerpt
}

/// A time in the form of RFC 3339, to the second.
struct Rfc3339(SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_1970 = self
            .0
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let utc = i64::try_from(since_1970).map(OffsetDateTime::from_unix_timestamp);
        let Ok(Ok(utc)) = utc else {
            return f.write_str("a time beyond the year 9999");
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            utc.year(),
            u8::from(utc.month()),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second()
        )
    }
}
