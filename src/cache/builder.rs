//! The settings of a cache.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};

use super::entry::{DEFAULT_CAPACITY, bounded};
use super::{Shared, TokenCache};
use crate::credentials::CredentialsCache;
use crate::fetch::FetchExecutor;
use crate::region_source::{GivenRegion, RegionSource};
use crate::signer::LIFETIME;
use crate::{Error, region};

/// Long enough for a login in flight, and for small differences between clocks.
const DEFAULT_REFRESH_MARGIN: Duration = Duration::from_secs(60);

/// With a longer margin, a token would be fresh for less than half of its lifetime.
const MAX_REFRESH_MARGIN: Duration = Duration::from_secs(450);

/// A `keep_fresh` that falls behind by more rejections checks its token as if each rejection were its own.
#[cfg(feature = "rt-tokio")]
const MAX_QUEUED_REJECTIONS: usize = 64;

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

    /// Sets the region for logins without a region. By default such logins are an error.
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Sets how long before the expiry a token is refreshed: less than 450 s, 60 s by default.
    pub fn refresh_margin(mut self, margin: Duration) -> Self {
        self.refresh_margin = margin;
        self
    }

    /// Sets for how many logins a token is cached at most, 1024 by default. The least useful tokens are evicted first.
    pub fn capacity(mut self, logins: usize) -> Self {
        self.capacity = logins;
        self
    }

    /// Sets the clock, the system's by default.
    ///
    /// The clock must be the wall clock, because the database judges by the wall clock. The clock must not call the cache.
    pub fn time_source(mut self, clock: impl TimeSource + 'static) -> Self {
        self.clock = SharedTimeSource::new(clock);
        self
    }

    /// Sets the sleep of a fetch's time limit of 30 s, and of the pauses of `keep_fresh`.
    ///
    /// By default a thread waits for a fetch by the system's monotonic clock, and `keep_fresh` pauses with the crate's
    /// timers. With the feature `rt-tokio` the sleep runs inside the crate's runtime for timers, so tokio's sleep works for
    /// every caller.
    pub fn sleep_impl(mut self, sleep: impl AsyncSleep + 'static) -> Self {
        self.executor.sleep = Some(SharedAsyncSleep::new(sleep));
        self
    }

    /// Runs fetches with `spawn` instead of on threads of this crate: on a runtime of your own, for example.
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
    /// Each fetch spawns two futures. The first calls the provider. The second sleeps with
    /// [`sleep_impl`](TokenCacheBuilder::sleep_impl), which you have to set too, and ends the fetch after 30 s. So the
    /// runtime has to run both:
    ///
    /// - If a provider may block a thread, the runtime needs a second thread for the time limit.
    /// - `blocking_token` waits for ever if the caller blocks the runtime's only thread.
    /// - If the runtime drops the futures, the fetch has failed. If the runtime never polls the futures, the fetch never
    ///   ends.
    /// - A panic of `spawn` is a panic of the caller.
    ///
    /// `keep_fresh` spawns each pause too.
    pub fn spawn_with(
        mut self,
        spawn: impl Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    ) -> Self {
        self.executor.spawn_with = Some(Arc::new(spawn));
        self
    }

    /// Builds the cache.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidSetting`] for a refresh margin of 450 s or more, for a capacity of 0, and for
    ///   [`spawn_with`](TokenCacheBuilder::spawn_with) without [`sleep_impl`](TokenCacheBuilder::sleep_impl).
    /// - [`Error::InvalidRegion`].
    /// - [`Error::NoCredentialsProvider`] if the builder was made from an `SdkConfig` without a provider.
    pub fn build(self) -> Result<TokenCache, Error> {
        let invalid = |setting, reason| Err(Error::InvalidSetting { setting, reason });
        if self.refresh_margin >= MAX_REFRESH_MARGIN {
            return invalid(
                "refresh_margin",
                "it must be less than 450 s. Give a shorter margin",
            );
        }
        if self.capacity == 0 {
            return invalid("capacity", "it is 0. Give the number of logins");
        }
        if self.executor.spawn_with.is_some() && self.executor.sleep.is_none() {
            return invalid(
                "spawn_with",
                "nothing ends a fetch that takes too long. Give `sleep_impl` too",
            );
        }
        if let Some(region) = &self.region {
            region::validate(region)?;
        }
        let provider = self.provider.clone().ok_or(Error::NoCredentialsProvider)?;
        let region = Arc::new(GivenRegion(self.region.clone()));
        Ok(self.assemble(provider, region))
    }

    /// Makes the cache. The settings are valid.
    pub(crate) fn assemble(
        self,
        provider: SharedCredentialsProvider,
        region_source: Arc<dyn RegionSource>,
    ) -> TokenCache {
        TokenCache(Arc::new(Shared {
            #[cfg(feature = "rt-tokio")]
            executor: self.executor.clone(),
            #[cfg(feature = "rt-tokio")]
            rejected: tokio::sync::broadcast::Sender::new(MAX_QUEUED_REJECTIONS),
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
            rejections: Mutex::default(),
        }))
    }

    #[cfg(feature = "aws-config")]
    pub(crate) fn executor(&self) -> FetchExecutor {
        self.executor.clone()
    }
}

/// The provider, region and clock of an AWS configuration.
///
/// The provider runs in the crate's runtime, whichever runtime the configuration was loaded in. The configuration's sleep
/// is not used, because the time limit of a fetch must not depend on a runtime. Set
/// [`sleep_impl`](TokenCacheBuilder::sleep_impl) to choose the sleep.
#[cfg(feature = "aws-config")]
impl From<&crate::SdkConfig> for TokenCacheBuilder {
    fn from(config: &crate::SdkConfig) -> TokenCacheBuilder {
        let mut builder = TokenCacheBuilder::new(config.credentials_provider());
        let region = config.region();
        if let Some(region) = region.filter(|it| crate::region_source::names_a_region(it)) {
            builder = builder.region(region.as_ref());
        }
        if let Some(clock) = config.time_source() {
            builder = builder.time_source(clock);
        }
        builder
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
