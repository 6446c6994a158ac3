use std::env;
use std::future::{Future, pending};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::StaticTimeSource;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::{self, Handle};
use tokio::time::{sleep, timeout};

use crate::cache::RegionSource;
use crate::credentials::{FETCH_LIMIT, error_of};
use crate::login::LoginParts;
use crate::{Error, Login, Token, TokenCache, TokenCacheBuilder, region};

/// A token for `user` at the database `host`:`port`, with the AWS SDK's default chain of credentials: the
/// environment, the profile, web identity, a container's or an instance's role.
///
/// Tokens and credentials are reused, by [`shared_cache`]. The token is signed for the region in the host's name,
/// else for the one that the environment, the profile or the instance names. Finding it costs no network where the
/// host, the environment or the profile names it.
///
/// Any async runtime will do: the SDK runs on a thread and a runtime of its own.
///
/// # Errors
///
/// Those of [`Login::new`] and of [`TokenCache::token`].
pub async fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    match shared_cache().fresh(&LoginParts { host, port, user }) {
        Some(token) => Ok(token),
        None => shared_cache().token(&Login::new(host, port, user)?).await,
    }
}

/// The process-wide cache behind [`token`], over the AWS SDK's default chain of credentials.
///
/// For logins with a region of their own, for [`invalidate`](TokenCache::invalidate), and for pools.
///
/// The chain is built anew for each fetch, so that a rewritten file is read again. A fetch is given up after 30 s.
pub fn shared_cache() -> &'static TokenCache {
    static CACHE: OnceLock<TokenCache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let chain = Arc::new(DefaultChain::default());
        let provider =
            SharedCredentialsProvider::from(chain.clone() as Arc<dyn ProvideCredentials>);
        TokenCacheBuilder::new(None)
            .provider_runs_on_its_own()
            .sleep_impl(chain.clone())
            .assemble(provider, chain)
    })
}

/// The provider, region, clock and sleep of an AWS configuration.
///
/// The provider's futures run wherever the cache is asked, so ask it on the runtime that the configuration was loaded
/// on.
impl From<&SdkConfig> for TokenCacheBuilder {
    fn from(config: &SdkConfig) -> TokenCacheBuilder {
        let mut builder = TokenCacheBuilder::new(config.credentials_provider());
        if let Some(region) = config.region().filter(|region| names_one(region)) {
            builder = builder.region(region.as_ref());
        }
        if let Some(clock) = config.time_source() {
            builder = builder.time_source(clock);
        }
        if let Some(sleep) = config.sleep_impl() {
            builder = builder.sleep_impl(sleep);
        }
        builder
    }
}

/// The SDK's default chain, on a thread of its own: a future of the SDK that is polled by another runtime than the
/// one it began on panics or hangs, and callers come and go with theirs.
#[derive(Debug, Default)]
struct DefaultChain {
    runtime: Mutex<Option<Handle>>,
    /// The first region that a login named. STS is asked there where the configuration names none.
    first_region: OnceLock<Region>,
    /// The region for logins that name none, once found.
    default_region: OnceLock<Region>,
    search: Mutex<Option<Search>>,
}

/// Shared, so that all who wait for the default region cost one search.
type Search = Shared<BoxFuture<'static, Result<Option<Region>, Error>>>;

impl RegionSource for DefaultChain {
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>> {
        async {
            if let Some(region) = login.region() {
                self.first_region
                    .get_or_init(|| Region::new(region.to_owned()));
                return Ok(Some(region.to_owned()));
            }
            let found = match self.default_region.get() {
                Some(region) => Some(region.clone()),
                None => self.search().await?,
            };
            Ok(found.map(|region| self.default_region.get_or_init(|| region).to_string()))
        }
        .boxed()
    }
}

impl DefaultChain {
    /// The search for the default region that is under way, or a new one: one that found nothing is not kept.
    fn search(&self) -> Search {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        // Polled, since nobody may have waited for it to the end.
        let found_nothing =
            |search: &Search| matches!(search.clone().now_or_never(), Some(Ok(None) | Err(_)));
        match &*search {
            Some(search) if !found_nothing(search) => search.clone(),
            _ => {
                let found = self.on_its_thread(find_default_region());
                search
                    .insert(async { found.await.map_err(error_of)? }.boxed().shared())
                    .clone()
            }
        }
    }

    async fn credentials(&self) -> provider::Result {
        let region = self.first_region.get().or(self.default_region.get());
        self.on_its_thread(fetch(region.cloned())).await?
    }

    /// The SDK bounds only connecting, so here all of its work is.
    fn on_its_thread<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, CredentialsError>> + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let runtime = self.runtime();
        async {
            let runtime = runtime.map_err(CredentialsError::provider_error)?;
            let bounded = runtime.spawn(async { timeout(FETCH_LIMIT, work).await });
            let in_time = bounded.await.map_err(CredentialsError::unhandled)?;
            in_time.map_err(|_| CredentialsError::provider_timed_out(FETCH_LIMIT))
        }
    }

    fn runtime(&self) -> io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        match &*runtime {
            Some(runtime) => Ok(runtime.clone()),
            None => Ok(runtime.insert(start_thread()?).clone()),
        }
    }
}

impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// On the thread too, so that whoever waits needs no timer of their own.
impl AsyncSleep for DefaultChain {
    fn sleep(&self, duration: Duration) -> Sleep {
        match self.runtime() {
            Ok(runtime) => {
                let _timer_of_that_runtime = runtime.enter();
                Sleep::new(sleep(duration))
            }
            Err(_) => Sleep::new(pending()),
        }
    }
}

/// Starts a thread that runs a runtime for as long as the process lives.
fn start_thread() -> io::Result<Handle> {
    let (report, started) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("rds-iam".to_owned())
        .spawn(move || {
            // Made there, since one that is dropped in a caller's runtime panics.
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    if report.send(Ok(runtime.handle().clone())).is_ok() {
                        runtime.block_on(pending())
                    }
                }
                Err(error) => drop(report.send(Err(error))),
            }
        })?;
    started.recv().map_err(io::Error::other)?
}

/// The SDK takes a setting that is set to nothing, as container set-ups do, for a region.
fn names_one(region: &Region) -> bool {
    !region.as_ref().is_empty()
}

/// The region of the environment, else of the profile.
async fn configured_region() -> Option<Region> {
    let in_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .filter_map(|variable| env::var(variable).ok())
        .map(Region::new)
        .find(names_one);
    match in_environment {
        Some(region) => Some(region),
        None => {
            let in_profile = ProfileFileRegionProvider::new().region().await;
            in_profile.filter(names_one)
        }
    }
}

/// The configured region, else that of the instance.
async fn find_default_region() -> Result<Option<Region>, Error> {
    let region = match configured_region().await {
        Some(region) => Some(region),
        None => ImdsRegionProvider::builder().build().region().await,
    };
    if let Some(region) = &region {
        region::validate(region.as_ref())?;
    }
    Ok(region)
}

/// Credentials of a chain that is built for this fetch alone: the SDK's profile provider never reads its file again,
/// and its IMDS provider answers a failure with the credentials that it handed out last.
async fn fetch(region: Option<Region>) -> provider::Result {
    let region = configured_region().await.or(region);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .load()
        .await;
    let not_loaded =
        || CredentialsError::not_loaded("the AWS configuration has no credentials provider");
    let provider = config.credentials_provider().ok_or_else(not_loaded)?;
    let credentials = provider.provide_credentials().await?;
    let now = config.time_source().unwrap_or_default().now();
    if may_be_stretched(&credentials, now) {
        return imds_provider_without_stretch().provide_credentials().await;
    }
    Ok(credentials)
}

/// How far at most the SDK's IMDS provider puts off the expiry of expired credentials, which IMDS hands out when it
/// cannot renew them. Databases go by the true expiry.
const IMDS_STRETCH: Duration = Duration::from_secs(900);

fn may_be_stretched(credentials: &Credentials, now: SystemTime) -> bool {
    let expires_soon = credentials
        .expiry()
        .and_then(|expiry| expiry.duration_since(now).ok())
        .is_some_and(|left| left <= IMDS_STRETCH);
    // Which provider they come from is in nothing public but their `Debug`.
    expires_soon && format!("{credentials:?}").contains("IMDSv2")
}

/// By a clock that stands at 1970, no credentials have expired, and their expiry is left as it is.
fn imds_provider_without_stretch() -> ImdsCredentialsProvider {
    let config = ProviderConfig::without_region().with_time_source(StaticTimeSource::from_secs(0));
    ImdsCredentialsProvider::builder()
        .configure(&config)
        .build()
}
