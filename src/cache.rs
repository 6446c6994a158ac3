use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, UnitWeighter};
#[cfg(feature = "rt-tokio")]
use tokio::sync::watch;

use crate::credentials::{CachedCredentials, CredentialsCache, Refresh};
use crate::error::ErrorChain;
use crate::fetch::FetchExecutor;
use crate::signer::LIFETIME;
use crate::{Error, Login, Signer, Token, region, signer};

/// Before a token's expiry, long enough for a login that is under way to be judged while it is still valid, and for
/// clocks that differ a little.
const DEFAULT_REFRESH_MARGIN: Duration = Duration::from_secs(60);

/// From here on a token would be renewed for the larger part of its life.
const REFRESH_MARGIN_LIMIT: Duration = Duration::from_secs(450);

const DEFAULT_CAPACITY: usize = 1024;

/// Regions come from callers, and there are more names of a region's shape than regions.
const MOST_SIGNERS: usize = 64;

/// How far a token's date may lie ahead of the clock before it is signed anew: servers refuse dates in the future.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Tokens of many logins, each reused until shortly before it expires, over one credentials provider.
///
/// Its rules are in the [crate's documentation](crate#the-rules-of-the-cache). Clones share one cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rds_iam::Error> {
/// use rds_iam::{Credentials, Login, TokenCache};
///
/// // Any provider will do: one of the AWS SDK's, one of your own, or fixed credentials.
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
    signing: Mutex<Signing>,
    #[cfg(feature = "rt-tokio")]
    executor: FetchExecutor,
    /// Wakes `keep_fresh`.
    #[cfg(feature = "rt-tokio")]
    rejected: watch::Sender<()>,
}

/// What knows the region of each login.
pub(crate) trait RegionSource: fmt::Debug + Send + Sync {
    /// The login's own region, else the one to sign for where the login has none.
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>>;
}

#[derive(Clone)]
struct CachedToken {
    token: Token,
    valid_from: SystemTime,
    fresh_until: SystemTime,
    /// The number of the fetch that brought the credentials.
    fetch: u64,
}

#[derive(Default)]
struct Signing {
    /// By region: a signer, and the number of the fetch that brought its credentials.
    signers: HashMap<String, (u64, Arc<Signer>)>,
    /// How many tokens have been rejected.
    rejections: u64,
}

impl TokenCache {
    /// A cache of tokens signed with the credentials of `provider`.
    pub fn builder(provider: impl ProvideCredentials + 'static) -> TokenCacheBuilder {
        TokenCacheBuilder::new(Some(SharedCredentialsProvider::new(provider)))
    }

    /// A token for `login` that is valid now. One that is no longer fresh is renewed first, if it can be.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegion`] where neither the login nor the cache names one. Where no token is usable and no
    /// credentials live: [`Error::CredentialsFailed`], [`Error::CredentialsExpired`], [`Error::FetchTimedOut`],
    /// [`Error::ProviderHangs`] or [`Error::TokioRequired`].
    /// [`Error::ClockOutOfRange`] where the clock stands before 1970 or after 9999. The process-wide cache has to find
    /// a region for some logins, which can fail too: [`Error::CredentialsFailed`], [`Error::InvalidRegion`].
    pub async fn token(&self, login: &Login) -> Result<Token, Error> {
        if let Some(token) = self.fresh(login) {
            return Ok(token);
        }
        // On the heap, so that the future of a hit is small.
        self.refresh(login).boxed().await
    }

    /// Tells the cache that the database refused `refused`, so that the next call signs anew, with newly fetched
    /// credentials if it was these that signed it.
    ///
    /// Call it when the database refuses a login, then ask for a token and try once more. PostgreSQL says SQLSTATE
    /// `28000` (so does PAM, which RDS logs in through, and a `pg_hba.conf` without a matching entry, for a
    /// connection without TLS, say) or `28P01` ([PostgreSQL, Appendix
    /// A](https://www.postgresql.org/docs/current/errcodes-appendix.html)); MySQL and MariaDB say error 1045
    /// ([`ER_ACCESS_DENIED_ERROR`](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html)).
    ///
    /// ```no_run
    /// # use rds_iam::{Error, Login, Token, TokenCache};
    /// # async fn connect(token: &Token) -> Result<(), String> { Ok(()) }
    /// # fn is_refusal(error: &str) -> bool { true }
    /// # async fn example(cache: &TokenCache, login: &Login) -> Result<(), Box<dyn std::error::Error>> {
    /// let token = cache.token(login).await?;
    /// let connection = match connect(&token).await {
    ///     Err(error) if is_refusal(&error) => {
    ///         cache.invalidate(login, &token);
    ///         connect(&cache.token(login).await?).await
    ///     }
    ///     result => result,
    /// }?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Nothing happens where the cache holds another token for the login by now: the refusal came late. Refusals make
    /// the cache fetch credentials at most every 30 s, so a user who may not log in at all costs no more than that.
    pub fn invalidate(&self, login: &Login, rejected: &Token) {
        if self.drop_rejected(login, rejected) {
            tracing::info!(%login, "the database rejected the token");
        }
        // Also if the cache has another token by now: a pool may not have it yet.
        #[cfg(feature = "rt-tokio")]
        self.0.rejected.send_replace(());
    }

    fn drop_rejected(&self, login: &Login, rejected: &Token) -> bool {
        let mut signing = self.signing();
        let cached = self.0.tokens.peek(login);
        // The database may reject one token for many connections at once.
        let already_reported = cached.is_none();
        if cached.is_some_and(|cached| cached.token.as_str() != rejected.as_str()) {
            return false;
        }
        self.0.tokens.remove(login);
        signing.rejections += 1;
        self.0
            .credentials
            .report_rejection(already_reported, |credentials| {
                signer::has_signed(credentials, rejected)
            });
        true
    }

    /// The cached token of a login, if it is fresh.
    pub(crate) fn fresh<Q>(&self, login: &Q) -> Option<Token>
    where
        Q: Hash + Equivalent<Login> + ?Sized,
    {
        let cached = self.0.tokens.get(login)?;
        cached.is_fresh(self.0.clock.now()).then_some(cached.token)
    }

    pub(crate) async fn refresh(&self, login: &Login) -> Result<Token, Error> {
        let region = self.0.region_source.region_of(login).await?;
        let region = region.ok_or_else(|| Error::NoRegion {
            host: login.host().to_owned(),
        })?;
        loop {
            let rejections = self.signing().rejections;
            let before = self
                .cached(login)
                .filter(|it| it.is_valid(self.0.clock.now()));
            let refresh = self.0.credentials.join_or_start(before.is_some());
            let keeps_current = matches!(refresh, Refresh::InFlight);
            let mut failure = None;
            if let Refresh::Wait(fetch) = refresh {
                let started_after_rejection = fetch.started_after_rejection;
                failure = fetch.outcome().await.err();
                if !started_after_rejection {
                    continue;
                }
            }

            // The wait may have been long.
            let now = self.0.clock.now();
            let current = self.cached(login).or_else(|| {
                // It may have been evicted, but must not have been rejected.
                before.filter(|_| self.signing().rejections == rejections)
            });
            let current = current.filter(|it| it.is_valid(now));
            let token = match (self.0.credentials.valid(now), current) {
                (_, Some(current)) if keeps_current => current.token,
                (Some(credentials), _) => {
                    self.sign(login, &region, &credentials, now, rejections)?
                }
                (None, Some(current)) => current.token,
                (None, None) => match failure {
                    Some(error) => return Err(error),
                    // What was valid has expired meanwhile.
                    None => continue,
                },
            };
            if let Some(error) = failure {
                let valid_for = token.expires_at().duration_since(now).unwrap_or_default();
                let error = ErrorChain(&error);
                tracing::warn!(%login, %error, ?valid_for, "no new credentials; the token is still valid");
            }
            return Ok(token);
        }
    }

    fn cached(&self, login: &Login) -> Option<CachedToken> {
        self.0.tokens.peek(login)
    }

    /// Signs a token and caches it, unless the cached one is better.
    fn sign(
        &self,
        login: &Login,
        region: &str,
        credentials: &CachedCredentials,
        now: SystemTime,
        rejections: u64,
    ) -> Result<Token, Error> {
        let token = self.signer(region, credentials, now)?.sign(login, now)?;
        let new = CachedToken {
            valid_from: now - CLOCK_TOLERANCE,
            fresh_until: token.expires_at() - self.0.refresh_margin,
            fetch: credentials.fetch.number,
            token,
        };
        let signing = self.signing();
        // The credentials may be those that the database rejected after this call had begun.
        if signing.rejections != rejections {
            return Ok(new.token);
        }
        // Another call may have been faster.
        if let Some(current) = self.cached(login)
            && current.is_valid(now)
            && (current.fetch > new.fetch || current.token.expires_at() >= new.token.expires_at())
        {
            return Ok(current.token);
        }
        self.0.tokens.insert(login.clone(), new.clone());
        Ok(new.token)
    }

    fn signer(
        &self,
        region: &str,
        cached: &CachedCredentials,
        now: SystemTime,
    ) -> Result<Arc<Signer>, Error> {
        let fetch = cached.fetch.number;
        let mut signing = self.signing();
        match signing.signers.get(region) {
            Some((of, signer)) if *of == fetch && signer.is_of_the_day_of(now) => {
                Ok(signer.clone())
            }
            _ => {
                let signer = Arc::new(Signer::new(&cached.credentials, region, now)?);
                // Those of former credentials would keep their secrets in memory.
                signing.signers.retain(|_, (of, _)| *of == fetch);
                if signing.signers.len() >= MOST_SIGNERS {
                    signing.signers.clear();
                }
                signing
                    .signers
                    .insert(region.to_owned(), (fetch, signer.clone()));
                Ok(signer)
            }
        }
    }

    fn signing(&self) -> MutexGuard<'_, Signing> {
        // No change is left half done by a panic.
        self.0
            .signing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedToken {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.valid_from <= now && now < self.fresh_until
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.valid_from <= now && now < self.token.expires_at()
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

/// Settings of a [`TokenCache`].
#[must_use]
pub struct TokenCacheBuilder {
    provider: Option<SharedCredentialsProvider>,
    region: Option<String>,
    refresh_margin: Duration,
    capacity: usize,
    clock: SharedTimeSource,
    executor: FetchExecutor,
}

impl TokenCacheBuilder {
    pub(crate) fn new(provider: Option<SharedCredentialsProvider>) -> TokenCacheBuilder {
        TokenCacheBuilder {
            provider,
            region: None,
            refresh_margin: DEFAULT_REFRESH_MARGIN,
            capacity: DEFAULT_CAPACITY,
            clock: SharedTimeSource::default(),
            executor: FetchExecutor::default(),
        }
    }

    /// The region to sign for where neither the login nor its host names one. Without it, such logins are an error.
    pub fn region(self, region: &str) -> Self {
        TokenCacheBuilder {
            region: Some(region.to_owned()),
            ..self
        }
    }

    /// How long before its expiry a token is renewed: 60 s unless set here, less than 450 s.
    pub fn refresh_margin(self, margin: Duration) -> Self {
        TokenCacheBuilder {
            refresh_margin: margin,
            ..self
        }
    }

    /// How many logins' tokens are held at most: 1024 unless set here. The least useful go first.
    pub fn capacity(self, logins: usize) -> Self {
        TokenCacheBuilder {
            capacity: logins,
            ..self
        }
    }

    /// The clock to judge by: the system's unless set here. It must be the wall clock, since the servers judge by it,
    /// and it must not call the cache.
    pub fn time_source(self, clock: impl TimeSource + 'static) -> Self {
        TokenCacheBuilder {
            clock: SharedTimeSource::new(clock),
            ..self
        }
    }

    /// The sleep that ends a fetch after 30 s, and that `keep_fresh` pauses with.
    ///
    /// By default a fetch has a thread that waits for 30 s by the system's monotonic clock, and `keep_fresh` pauses with
    /// the timer of the crate's tokio runtime. A sleep that is given is made inside this runtime if the feature `rt-tokio`
    /// is enabled, so that of tokio works for every caller.
    pub fn sleep_impl(mut self, sleep: impl AsyncSleep + 'static) -> Self {
        self.executor.sleep = Some(SharedAsyncSleep::new(sleep));
        self
    }

    /// Runs fetches with `spawn` instead of threads of the crate: on a runtime of your own, say.
    ///
    /// ```
    /// # use rds_iam::{AsyncSleep, Credentials, TokenCache, TokenCacheBuilder};
    /// # fn example(sleep: impl AsyncSleep + 'static) -> TokenCacheBuilder {
    /// # let provider = Credentials::new("akid", "secret", None, None, "example");
    /// let runtime = tokio::runtime::Handle::current();
    /// TokenCache::builder(provider)
    ///     .spawn_with(move |fetch| drop(runtime.spawn(fetch)))
    ///     .sleep_impl(sleep)
    /// # }
    /// ```
    ///
    /// Each fetch spawns two futures: one calls the provider, the other sleeps for 30 s with
    /// [`sleep_impl`](TokenCacheBuilder::sleep_impl), which has to be set too, and then ends the fetch. A provider that
    /// blocks its thread must leave another thread for the second. If the runtime drops the futures, the fetch has
    /// failed.
    pub fn spawn_with(
        mut self,
        spawn: impl Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    ) -> Self {
        self.executor.spawn_with = Some(Arc::new(spawn));
        self
    }

    /// The cache.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for a refresh margin of 450 s or more, for a capacity of 0, and for
    /// [`spawn_with`](TokenCacheBuilder::spawn_with) without [`sleep_impl`](TokenCacheBuilder::sleep_impl);
    /// [`Error::InvalidRegion`]; [`Error::NoCredentialsProvider`] where the builder was made from an `SdkConfig`
    /// without one.
    pub fn build(self) -> Result<TokenCache, Error> {
        if self.refresh_margin >= REFRESH_MARGIN_LIMIT {
            return Err(Error::InvalidSetting {
                setting: "refresh_margin",
                reason: "it is 450 s or more, and tokens live for 900 s at most; give a shorter one",
            });
        }
        if self.capacity == 0 {
            return Err(Error::InvalidSetting {
                setting: "capacity",
                reason: "it is 0; give the number of logins to hold tokens for",
            });
        }
        if self.executor.spawn_with.is_some() && self.executor.sleep.is_none() {
            return Err(Error::InvalidSetting {
                setting: "spawn_with",
                reason: "nothing ends a fetch that takes too long; give `sleep_impl` too",
            });
        }
        if let Some(region) = &self.region {
            region::validate(region)?;
        }
        let provider = self.provider.clone().ok_or(Error::NoCredentialsProvider)?;
        let region = Arc::new(GivenRegion(self.region.clone()));
        Ok(self.assemble(provider, region))
    }

    /// The cache that these settings, which are valid ones, make.
    pub(crate) fn assemble(
        self,
        provider: SharedCredentialsProvider,
        region_source: Arc<dyn RegionSource>,
    ) -> TokenCache {
        TokenCache(Arc::new(Shared {
            #[cfg(feature = "rt-tokio")]
            executor: self.executor.clone(),
            #[cfg(feature = "rt-tokio")]
            rejected: watch::Sender::default(),
            credentials: CredentialsCache::new(
                provider,
                self.clock.clone(),
                self.executor,
                LIFETIME + self.refresh_margin,
            ),
            region_source,
            clock: self.clock,
            refresh_margin: self.refresh_margin,
            tokens: bounded(self.capacity),
            signing: Mutex::default(),
        }))
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("region", &self.region)
            .field("refresh_margin", &self.refresh_margin)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct GivenRegion(Option<String>);

impl RegionSource for GivenRegion {
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>> {
        let region = login.region().or(self.0.as_deref()).map(str::to_owned);
        std::future::ready(Ok(region)).boxed()
    }
}

fn bounded<V: Clone>(capacity: usize) -> Cache<Login, V> {
    let expected = capacity.min(DEFAULT_CAPACITY);
    let cache = Cache::with(
        expected,
        capacity as u64,
        UnitWeighter,
        DefaultHashBuilder::default(),
        DefaultLifecycle::default(),
    );
    // Its shards share the capacity out in equal parts and round them up.
    let shards = cache.num_shards() as u64;
    cache.set_capacity(capacity as u64 / shards * shards);
    cache
}

#[cfg(feature = "rt-tokio")]
mod keep_fresh {
    use std::convert::Infallible;
    use std::hash::{BuildHasher, RandomState};
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::future::{Either, select};

    use super::TokenCache;
    use crate::error::ErrorChain;
    use crate::{Login, Token};

    /// Between two looks at the wall clock: timers may stop while the machine is suspended.
    const MAX_PAUSE: Duration = Duration::from_secs(60);

    const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
    const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

    impl TokenCache {
        /// Calls `apply` with a valid token now and with each new one before the last expires, for ever: what a
        /// pool that holds a fixed password needs.
        ///
        /// ```no_run
        /// # use rds_iam::{Login, TokenCache};
        /// # fn set_password_of_the_pool(password: &str) {}
        /// # fn example(cache: TokenCache, login: Login) {
        /// tokio::spawn(async move {
        ///     cache.keep_fresh(&login, |token| set_password_of_the_pool(token.as_str())).await
        /// });
        /// # }
        /// ```
        ///
        /// A token is refreshed when it is no longer fresh, so the refresh margin has to be long enough for a login. If
        /// that fails, it is tried again after 1 s, then after twice as long each time, up to 30 s, and at the latest
        /// when half of the token's remaining time has passed. The wall clock is read once a minute at least, so that a
        /// suspend is noticed. After [`invalidate`](TokenCache::invalidate) a rejected token is replaced at once, if a
        /// valid one can be had. Drop the future to end it.
        ///
        /// It needs no runtime. It pauses with the cache's [`sleep_impl`](crate::TokenCacheBuilder::sleep_impl).
        pub async fn keep_fresh(&self, login: &Login, mut apply: impl FnMut(&Token)) -> Infallible {
            // Before the token is asked for, so that no rejection of it is missed.
            let mut rejected = self.0.rejected.subscribe();
            let mut applied: Option<Token> = None;
            let mut backoff = Backoff::default();
            loop {
                let refreshed = self.token(login).await;
                if let Ok(token) = &refreshed
                    && is_other(token, applied.as_ref())
                {
                    apply(token);
                    applied = Some(token.clone());
                    backoff = Backoff::default();
                }
                let duration = match &refreshed {
                    Ok(token) => {
                        let now = self.0.clock.now();
                        let left = token.expires_at().duration_since(now).unwrap_or_default();
                        match left.saturating_sub(self.0.refresh_margin) {
                            Duration::ZERO => backoff.next_before_expiry(left),
                            fresh_for => fresh_for,
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%login, error = %ErrorChain(error), "no token to keep fresh");
                        backoff.next()
                    }
                };
                let mut pause = self.0.executor.sleep(duration.min(MAX_PAUSE));
                let is_replaced = || self.is_replaced(login, applied.as_ref(), refreshed.is_ok());
                // A rejection of another login's token must not cut the pause short.
                while let Either::Left(_) = select(pin!(rejected.changed()), &mut pause).await
                    && !is_replaced()
                {}
            }
        }

        /// Whether the cache has another token than `applied`, or has dropped it because the database rejected it.
        /// That none could be had is no news.
        fn is_replaced(&self, login: &Login, applied: Option<&Token>, was_valid: bool) -> bool {
            let now = self.0.clock.now();
            match self.cached(login).filter(|cached| cached.is_valid(now)) {
                Some(cached) => is_other(&cached.token, applied),
                None => was_valid,
            }
        }
    }

    fn is_other(token: &Token, applied: Option<&Token>) -> bool {
        applied.is_none_or(|applied| applied.as_str() != token.as_str())
    }

    /// How long to wait before each try after a failed one.
    struct Backoff(Duration);

    impl Default for Backoff {
        fn default() -> Backoff {
            Backoff(MIN_RETRY_DELAY)
        }
    }

    impl Backoff {
        fn next(&mut self) -> Duration {
            let delay = self.0;
            self.0 = MAX_RETRY_DELAY.min(2 * delay);
            // Up to a quarter less, by chance, so that many programs do not all try in one moment.
            let chance = RandomState::new().hash_one(()) as u8;
            delay - delay / 4 * u32::from(chance) / 255
        }

        /// Never beyond the expiry of a token that is valid for `left`, and with time for more tries before it.
        fn next_before_expiry(&mut self, left: Duration) -> Duration {
            let half = MIN_RETRY_DELAY.max(left / 2);
            self.next().min(half).min(left)
        }
    }
}
