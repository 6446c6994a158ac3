use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use time::OffsetDateTime;

/// An error of this crate. Each variant needs a different reaction.
///
/// `Display` says in one line what is wrong and what to do, and shows no secret. The cause is in
/// [`source()`](std::error::Error::source), so print the whole chain when you report an error to a person. Cloning is cheap,
/// because several callers may get the same failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host is neither a DNS name nor an IP address.
    #[error(
        "invalid host {host:?}: {reason}. Give the database's endpoint alone, such as mydb.abc123xyz.us-east-1.rds.amazonaws.com"
    )]
    InvalidHost {
        /// The given host, shortened, without the parts of a URL that may hold a secret.
        host: String,
        /// What is wrong with the host.
        reason: &'static str,
    },

    /// The host is an endpoint of Amazon RDS, and the login is for Aurora DSQL.
    #[error(
        "the host {host} is an endpoint of Amazon RDS, not of Aurora DSQL. Leave out `for_dsql`, or give the cluster's endpoint"
    )]
    NotDsql {
        /// The host of the login.
        host: String,
    },

    /// The port is 0. No server listens at port 0.
    #[error("invalid port 0. Give the database's port, such as 5432 or 3306")]
    InvalidPort,

    /// The user is empty, has control characters or is longer than 512 bytes.
    #[error("invalid user {user:?}: {reason}. Give the name of a database user")]
    InvalidUser {
        /// The given user, shortened.
        user: String,
        /// What is wrong with the user.
        reason: &'static str,
    },

    /// The region does not have a region's shape.
    #[error(
        "invalid region {region:?}. Give a region such as us-east-1, in lower case, without a zone's letter"
    )]
    InvalidRegion {
        /// The given region, shortened.
        region: String,
    },

    /// No [`Login`](crate::Login) can be read from a connection URL, or no password can be written into it.
    #[error(
        "invalid URL: {reason}. Give a URL such as postgres://USER@HOST:PORT/DATABASE or mysql://USER@HOST:PORT/DATABASE"
    )]
    InvalidUrl {
        /// What is wrong with the URL. The URL may hold a password and is not shown.
        reason: &'static str,
    },

    /// Nothing names a region. A region is never guessed.
    #[error(
        "no region for {host}: the name holds none, and none is configured. Set AWS_REGION or the profile's `region` for `rds_iam::token`, or use `Login::with_region` or `TokenCacheBuilder::region`"
    )]
    NoRegion {
        /// The host of the login.
        host: String,
    },

    /// The AWS configuration has no credentials provider.
    #[error(
        "the AWS configuration has no credentials provider. Load it with credentials, or give `TokenCache::builder` a provider"
    )]
    NoCredentialsProvider,

    /// The credentials provider failed.
    #[error(
        "no AWS credentials: the provider failed. Check the environment, the profile or the role that should provide them"
    )]
    CredentialsFailed {
        /// The provider's own error. `source()` returns it as the SDK's [`CredentialsError`].
        source: SharedCredentialsError,
    },

    /// The credentials had expired before they could sign.
    #[error(
        "the AWS credentials expired at {}. Log in to AWS again, or fix the source of the credentials",
        Rfc3339(*.expired_at)
    )]
    CredentialsExpired {
        /// When the credentials expired.
        expired_at: SystemTime,
    },

    /// The credentials provider did not answer in time.
    #[error(
        "no AWS credentials: the provider has not answered for {} s. Check that its source can be reached; the next call tries again",
        .after.as_secs()
    )]
    FetchTimedOut {
        /// How long the fetch took.
        after: Duration,
    },

    /// Fetches have timed out and still hang, so no new fetch starts.
    #[error(
        "no AWS credentials: {fetches} fetches have timed out and not ended. Find out why the credentials provider does not return"
    )]
    ProviderHangs {
        /// How many fetches hang.
        fetches: usize,
    },

    /// The credentials provider needs a tokio runtime, and runs without tokio.
    #[error(
        "the credentials provider or `sleep_impl` needs a tokio runtime with I/O and timers. Enable the feature `rt-tokio` of rds-iam, or give `TokenCacheBuilder::spawn_with` such a runtime"
    )]
    TokioRequired,

    /// No cache can be built with a setting.
    #[error("invalid setting {setting}: {reason}")]
    InvalidSetting {
        /// The method of [`TokenCacheBuilder`](crate::TokenCacheBuilder) that was called.
        setting: &'static str,
        /// What is wrong with the setting, and what to do.
        reason: &'static str,
    },

    /// SigV4 has no form for the date.
    #[error("the clock is out of range. Set this machine's clock to a year from 1970 to 9999")]
    ClockOutOfRange {
        /// The time of the clock.
        now: SystemTime,
    },
}

/// A [`CredentialsError`], shared by all callers who waited for the fetch.
///
/// This type dereferences to the SDK's error and is not an error itself. So [`source()`](std::error::Error::source) returns the
/// SDK's own type, and a downcast succeeds.
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

/// An error and all causes in a single line, for a log.
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

/// Shortens a given value for an error: enough to find the mistake, never more than a line.
pub(crate) fn excerpt(given: &str) -> String {
    const MAX_CHARS: usize = 100;
    let mut excerpt: String = given.chars().take(MAX_CHARS).collect();
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
