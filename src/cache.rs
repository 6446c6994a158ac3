use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
#[cfg(feature = "rt-tokio")]
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
#[cfg(feature = "rt-tokio")]
use aws_smithy_async::rt::sleep::{Sleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, UnitWeighter};

#[cfg(feature = "rt-tokio")]
use tokio::{runtime::Handle, sync::Notify};

use crate::credentials::{Caller, CredentialsKeeper, Kept};
use crate::error::Chain;
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
/// What it promises is in the [crate's documentation](crate#what-the-cache-promises). Clones share one cache.
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
    credentials: Arc<CredentialsKeeper>,
    region_source: Arc<dyn RegionSource>,
    clock: SharedTimeSource,
    refresh_margin: Duration,
    tokens: Cache<Login, Held>,
    signing: Mutex<Signing>,
    #[cfg(feature = "rt-tokio")]
    sleep: Option<SharedAsyncSleep>,
    #[cfg(feature = "rt-tokio")]
    invalidated: Notify,
}

/// What knows the region of each login.
pub(crate) trait RegionSource: fmt::Debug + Send + Sync {
    /// The login's own region, else the one to sign for where the login has none.
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>>;
}

/// A token and when it is handed out.
#[derive(Clone)]
struct Held {
    token: Token,
    usable_from: SystemTime,
    fresh_until: SystemTime,
}

#[derive(Default)]
struct Signing {
    /// By region: a signer, and the number of the fetch that brought its credentials.
    signers: HashMap<String, (u64, Arc<Signer>)>,
    /// How many tokens have been refused.
    refusals: u64,
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
    /// credentials live: [`Error::CredentialsFailed`], [`Error::CredentialsExpired`] or [`Error::FetchTimedOut`].
    /// [`Error::ClockOutOfRange`] where the clock stands before 1970 or after 9999. The process-wide cache has to find
    /// a region for some logins, which can fail too: [`Error::CredentialsFailed`], [`Error::InvalidRegion`].
    pub async fn token(&self, login: &Login) -> Result<Token, Error> {
        if let Some(token) = self.fresh(login) {
            return Ok(token);
        }
        // On the heap, so that the future of a hit is small.
        self.renew(login, Caller::Async).boxed().await
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
    pub fn invalidate(&self, login: &Login, refused: &Token) {
        if !self.drop_refused(login, refused) {
            return;
        }
        tracing::info!(%login, "the database refused the token");
        #[cfg(feature = "rt-tokio")]
        self.0.invalidated.notify_waiters();
    }

    fn drop_refused(&self, login: &Login, refused: &Token) -> bool {
        let mut signing = self.signing();
        let held = self.0.tokens.peek(login);
        // One token may be refused to many connections at once.
        let is_told_again = held.is_none();
        if held.is_some_and(|held| held.token.as_str() != refused.as_str()) {
            return false;
        }
        self.0.tokens.remove(login);
        signing.refusals += 1;
        self.0.credentials.refuse(is_told_again, |credentials| {
            signer::has_signed(credentials, refused)
        });
        true
    }

    /// The token held for a login, where it need not be renewed yet.
    pub(crate) fn fresh<Q>(&self, login: &Q) -> Option<Token>
    where
        Q: Hash + Equivalent<Login> + ?Sized,
    {
        let held = self.0.tokens.get(login)?;
        held.is_fresh(self.0.clock.now()).then_some(held.token)
    }

    pub(crate) async fn renew(&self, login: &Login, caller: Caller) -> Result<Token, Error> {
        let region = self.0.region_source.region_of(login).await?;
        let region = region.ok_or_else(|| Error::NoRegion {
            host: login.host().to_owned(),
        })?;
        loop {
            let refusals = self.signing().refusals;
            let in_hand = usable(self.0.tokens.peek(login), self.0.clock.now());
            let outcome = match self.0.credentials.renew(in_hand.is_some(), caller) {
                None => None,
                Some(under_way) if under_way.is_waited_for => {
                    let settles_refusal = under_way.settles_refusal();
                    let outcome = self.0.credentials.wait(under_way).await;
                    if !settles_refusal {
                        continue;
                    }
                    Some(outcome)
                }
                Some(under_way) => match (under_way.poll_once(), &in_hand) {
                    (None, Some(held)) => return Ok(held.token.clone()),
                    (outcome, _) => outcome,
                },
            };

            let now = self.0.clock.now();
            let in_hand = usable(self.held_or(in_hand, login, refusals), now);
            let token = match (self.0.credentials.live(now), in_hand, &outcome) {
                (Some(kept), in_hand, _) => {
                    self.sign(login, &region, &kept, in_hand, now, refusals)?
                }
                (None, Some(held), _) => held.token,
                // Another fetch has taken the place of the one that brought them.
                (None, None, Some(Ok(kept))) => {
                    Signer::new(&kept.credentials, &region, now)?.sign(login, now)?
                }
                (None, None, Some(Err(error))) => return Err(error.clone()),
                // What there was to make do with has expired in this moment.
                (None, None, None) => continue,
            };
            if let Some(Err(error)) = outcome {
                let serves_for = token.expires_at().duration_since(now).unwrap_or_default();
                let error = Chain(&error);
                tracing::warn!(%login, %error, ?serves_for, "no new credentials; the token still serves");
            }
            return Ok(token);
        }
    }

    /// The token held now, else `before`: it may have had to make room since, but not if it was refused.
    fn held_or(&self, before: Option<Held>, login: &Login, refusals: u64) -> Option<Held> {
        let held = self.0.tokens.peek(login);
        held.or_else(|| before.filter(|_| self.signing().refusals == refusals))
    }

    /// The token in hand, or a new one where that would live longer.
    fn sign(
        &self,
        login: &Login,
        region: &str,
        kept: &Kept,
        in_hand: Option<Held>,
        now: SystemTime,
        refusals: u64,
    ) -> Result<Token, Error> {
        let signer = self.signer(region, kept, now)?;
        let would_expire_at = signer.expires_at(now)?;
        if let Some(held) = in_hand.filter(|held| held.token.expires_at() >= would_expire_at) {
            return Ok(held.token);
        }
        let token = signer.sign(login, now)?;
        let held = Held {
            token: token.clone(),
            usable_from: now - CLOCK_TOLERANCE,
            fresh_until: token.expires_at() - self.0.refresh_margin,
        };
        let signing = self.signing();
        // A token that was begun before a refusal may be of the refused credentials.
        if signing.refusals == refusals {
            self.0.tokens.insert(login.clone(), held);
        }
        Ok(token)
    }

    fn signer(&self, region: &str, kept: &Kept, now: SystemTime) -> Result<Arc<Signer>, Error> {
        let mut signing = self.signing();
        match signing.signers.get(region) {
            Some((fetch, signer)) if *fetch == kept.fetch && signer.is_of_the_day_of(now) => {
                Ok(signer.clone())
            }
            _ => {
                let signer = Arc::new(Signer::new(&kept.credentials, region, now)?);
                // Those of former credentials would keep their secrets in memory.
                signing.signers.retain(|_, (fetch, _)| *fetch == kept.fetch);
                if signing.signers.len() >= MOST_SIGNERS {
                    signing.signers.clear();
                }
                signing
                    .signers
                    .insert(region.to_owned(), (kept.fetch, signer.clone()));
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

fn usable(held: Option<Held>, now: SystemTime) -> Option<Held> {
    held.filter(|held| held.is_usable(now))
}

impl Held {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.usable_from <= now && now < self.fresh_until
    }

    fn is_usable(&self, now: SystemTime) -> bool {
        self.usable_from <= now && now < self.token.expires_at()
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
    sleep: Option<SharedAsyncSleep>,
    provider_runs_on_its_own: bool,
}

impl TokenCacheBuilder {
    pub(crate) fn new(provider: Option<SharedCredentialsProvider>) -> TokenCacheBuilder {
        TokenCacheBuilder {
            provider,
            region: None,
            refresh_margin: DEFAULT_REFRESH_MARGIN,
            capacity: DEFAULT_CAPACITY,
            clock: SharedTimeSource::default(),
            sleep: default_sleep(),
            provider_runs_on_its_own: false,
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

    /// What gives up a fetch that takes too long, and what `keep_fresh` sleeps with.
    ///
    /// With the feature `rt-tokio` it is tokio's timer unless set here, which needs a tokio runtime with its timers
    /// on. Where there is none, a caller waits for as long as the provider takes, though a call after 30 s starts
    /// another fetch. That a runtime has its timers off shows only in a panic of tokio's, which is caught: set a sleep
    /// there, in a program that aborts on panics above all.
    pub fn sleep_impl(self, sleep: impl AsyncSleep + 'static) -> Self {
        TokenCacheBuilder {
            sleep: Some(SharedAsyncSleep::new(sleep)),
            ..self
        }
    }

    /// The provider's futures get on whichever runtime stands still.
    #[cfg(feature = "aws-config")]
    pub(crate) fn provider_runs_on_its_own(self) -> Self {
        TokenCacheBuilder {
            provider_runs_on_its_own: true,
            ..self
        }
    }

    /// The cache.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for a refresh margin of 450 s or more and for a capacity of 0;
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
            sleep: self.sleep.clone(),
            #[cfg(feature = "rt-tokio")]
            invalidated: Notify::new(),
            credentials: CredentialsKeeper::new(
                provider,
                self.clock.clone(),
                self.sleep,
                LIFETIME + self.refresh_margin,
                self.provider_runs_on_its_own,
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

#[cfg(feature = "rt-tokio")]
fn default_sleep() -> Option<SharedAsyncSleep> {
    /// Tokio's timer panics where no tokio runtime runs, or one without timers. Nothing wakes there.
    #[derive(Debug)]
    struct TokioSleepIfThereIs;

    impl AsyncSleep for TokioSleepIfThereIs {
        fn sleep(&self, duration: Duration) -> Sleep {
            let sleep = Handle::try_current()
                .ok()
                .and_then(|_| catch_unwind(|| TokioSleep::new().sleep(duration)).ok());
            sleep.unwrap_or_else(|| Sleep::new(std::future::pending()))
        }
    }

    Some(SharedAsyncSleep::new(TokioSleepIfThereIs))
}

#[cfg(not(feature = "rt-tokio"))]
fn default_sleep() -> Option<SharedAsyncSleep> {
    None
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

    use aws_smithy_async::rt::sleep::AsyncSleep;
    use futures_util::future::select;
    use tokio::sync::futures::Notified;

    use super::TokenCache;
    use crate::error::Chain;
    use crate::{Login, Token};

    /// How long `keep_fresh` does not look at the wall clock at most: timers may stand still while the machine
    /// sleeps.
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(30);

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
        /// A token is renewed when it is no longer fresh, so the refresh margin has to be long enough for a login.
        /// Where that fails, it is tried again after 1 s, then after twice as long each time, up to 30 s. The wall
        /// clock is looked at once a minute at least, so that a suspend is noticed, and
        /// [`invalidate`](TokenCache::invalidate) renews at once. Drop the future to end it.
        ///
        /// It sleeps with the cache's [`sleep_impl`](crate::TokenCacheBuilder::sleep_impl), tokio's timer unless set. A
        /// sleep that never ends, such as that of tokio outside of its runtime, leaves it with its first token.
        pub async fn keep_fresh(&self, login: &Login, mut apply: impl FnMut(&Token)) -> Infallible {
            let mut applied: Option<Token> = None;
            let mut retry_delays = RetryDelays::default();
            loop {
                // Before the token is asked for, so that no refusal of it is missed.
                let invalidated = self.0.invalidated.notified();
                let (fresh_for, longest_pause) = match self.token(login).await {
                    Ok(token) => {
                        if applied
                            .as_ref()
                            .is_none_or(|applied| applied.as_str() != token.as_str())
                        {
                            apply(&token);
                            applied = Some(token.clone());
                            retry_delays = RetryDelays::default();
                        }
                        let left = token
                            .expires_at()
                            .duration_since(self.0.clock.now())
                            .unwrap_or_default();
                        (
                            left.saturating_sub(self.0.refresh_margin),
                            left.min(LONGEST_PAUSE),
                        )
                    }
                    Err(error) => {
                        tracing::warn!(%login, error = %Chain(&error), "no token to keep fresh");
                        (Duration::ZERO, LONGEST_PAUSE)
                    }
                };
                let pause = if fresh_for.is_zero() {
                    retry_delays.next()
                } else {
                    fresh_for
                };
                self.pause(pause.min(longest_pause), invalidated).await;
            }
        }

        async fn pause(&self, duration: Duration, invalidated: Notified<'_>) {
            match &self.0.sleep {
                Some(sleep) => drop(select(pin!(invalidated), sleep.sleep(duration)).await),
                None => invalidated.await,
            }
        }
    }

    /// How long to wait before each try after a failed one.
    struct RetryDelays(Duration);

    impl Default for RetryDelays {
        fn default() -> RetryDelays {
            RetryDelays(Duration::from_secs(1))
        }
    }

    impl RetryDelays {
        fn next(&mut self) -> Duration {
            let delay = self.0;
            self.0 = LONGEST_RETRY_DELAY.min(2 * delay);
            // Up to a quarter less, by chance, so that many programs do not all try in one moment.
            let chance = RandomState::new().hash_one(()) as u8;
            delay - delay / 4 * u32::from(chance) / 255
        }
    }
}
