//! Cached tokens.

mod builder;
mod entry;
#[cfg(feature = "rt-tokio")]
mod keep_fresh;
mod refresh;

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::time::SharedTimeSource;
use futures_util::FutureExt;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;

pub use builder::TokenCacheBuilder;
use entry::{CachedToken, Freshness};

use crate::credentials::CredentialsCache;
use crate::region_source::RegionSource;
use crate::{Error, Login, Token, signer};

/// Tokens of many logins, signed with the credentials of a single provider, and reused until shortly before they expire.
///
/// The [crate's documentation](crate#the-rules-of-the-cache) has the rules. Clones share one cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rds_iam::Error> {
/// use rds_iam::{Credentials, Login, TokenCache};
///
/// // Any provider will do: a provider of the AWS SDK, your own, or fixed credentials.
/// let provider = Credentials::new("akid", "secret", None, None, "example");
/// let cache = TokenCache::builder(provider).region("eu-central-1").build()?;
///
/// let login = Login::new("db.internal.example.com", 5432, "app")?;
/// let token = cache.token(&login).await?;
/// assert_eq!(cache.token(&login).await?.as_str(), token.as_str());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenCache(Arc<Shared>);

struct Shared {
    credentials: Arc<CredentialsCache>,
    region_source: Arc<dyn RegionSource>,
    clock: SharedTimeSource,
    refresh_margin: Duration,
    tokens: Cache<Login, CachedToken>,
    /// How many tokens the database has rejected. Locked while a token is inserted or dropped.
    rejections: Mutex<u64>,
    #[cfg(feature = "rt-tokio")]
    executor: crate::fetch::FetchExecutor,
    /// Wakes `keep_fresh` with the login of a rejected token.
    #[cfg(feature = "rt-tokio")]
    rejected: tokio::sync::broadcast::Sender<Arc<Login>>,
}

impl TokenCache {
    /// Returns a builder for a cache over the credentials of `provider`.
    pub fn builder(provider: impl ProvideCredentials + 'static) -> TokenCacheBuilder {
        TokenCacheBuilder::new(Some(SharedCredentialsProvider::new(provider)))
    }

    /// Returns a token for `login` that is valid now. A token that is no longer fresh is refreshed first, if possible.
    ///
    /// # Errors
    ///
    /// - [`Error::NoRegion`] if neither the login nor the cache names a region.
    /// - If no token and no credentials are valid: [`Error::CredentialsFailed`], [`Error::CredentialsExpired`],
    ///   [`Error::FetchTimedOut`], [`Error::ProviderHangs`] or [`Error::TokioRequired`].
    /// - [`Error::ClockOutOfRange`] if the clock is before 1970 or after 9999.
    /// - The process-wide cache has to find a region for some logins. If the search fails: [`Error::CredentialsFailed`],
    ///   [`Error::FetchTimedOut`], [`Error::ProviderHangs`] or [`Error::InvalidRegion`].
    pub async fn token(&self, login: &Login) -> Result<Token, Error> {
        if let Some(token) = self.fresh(login) {
            return Ok(token);
        }
        // On the heap, so that the future of a hit is small.
        self.refresh(login).boxed().await
    }

    /// Reports that the database rejected a token. The next call signs a new token, with newly fetched credentials if the
    /// cached credentials signed the rejected token.
    ///
    /// Call this method when the database rejects a login. Then ask for a token and try once more. The database reports:
    ///
    /// - PostgreSQL: SQLSTATE `28000` or `28P01` ([PostgreSQL, Appendix
    ///   A](https://www.postgresql.org/docs/current/errcodes-appendix.html)). RDS checks tokens through PAM, which reports
    ///   `28000`. A `pg_hba.conf` without a matching entry reports `28000` too, for a connection without TLS for example.
    /// - Aurora DSQL: the messages of [`is_postgres_rejection`](crate::rejection::is_postgres_rejection).
    /// - MySQL and MariaDB: error 1045
    ///   ([`ER_ACCESS_DENIED_ERROR`](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html)).
    ///
    /// ```no_run
    /// # use rds_iam::{Error, Login, Token, TokenCache};
    /// # async fn connect(token: &Token) -> Result<(), String> { Ok(()) }
    /// # fn is_rejection(error: &str) -> bool { true }
    /// # async fn example(cache: &TokenCache, login: &Login) -> Result<(), Box<dyn std::error::Error>> {
    /// let token = cache.token(login).await?;
    /// let connection = match connect(&token).await {
    ///     Err(error) if is_rejection(&error) => {
    ///         cache.invalidate(login, &token);
    ///         connect(&cache.token(login).await?).await
    ///     }
    ///     result => result,
    /// }?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the cache already has a newer token for the login, the rejection came late and the newer token is kept. A
    /// `keep_fresh` with the rejected token then gets the newer token immediately. Rejections make the cache fetch
    /// credentials every 30 s at most, so a user without permission costs two fetches a minute.
    pub fn invalidate(&self, login: &Login, rejected: &Token) {
        if self.drop_rejected(login, rejected) {
            tracing::info!(%login, "the token was reported as rejected");
        }
        // Without a `keep_fresh` nobody receives it.
        #[cfg(feature = "rt-tokio")]
        let _ = self.0.rejected.send(Arc::new(login.clone()));
    }

    /// Drops the rejected token, and reports it to the credentials cache. Returns `false` if another token is cached (rule
    /// 6).
    fn drop_rejected(&self, login: &Login, rejected: &Token) -> bool {
        let mut rejections = self.lock_rejections();
        let cached = self.cached(login);
        // The database may reject the same token for many connections at once.
        let already_reported = cached.is_none();
        if cached.is_some_and(|cached| cached.token.as_str() != rejected.as_str()) {
            return false;
        }
        self.0.tokens.remove(login);
        *rejections += 1;
        self.0
            .credentials
            .report_rejection(already_reported, |credentials| {
                signer::has_signed(credentials, rejected)
            });
        true
    }

    /// Returns the cached token of a login, if fresh.
    pub(crate) fn fresh<Q>(&self, login: &Q) -> Option<Token>
    where
        Q: Hash + Equivalent<Login> + ?Sized,
    {
        let cached = self.0.tokens.get(login)?;
        let freshness = cached.freshness(self.0.clock.now());
        (freshness == Freshness::Fresh).then_some(cached.token)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("logins", &self.0.tokens.len())
            .field("refresh_margin", &self.0.refresh_margin)
            .finish_non_exhaustive()
    }
}
