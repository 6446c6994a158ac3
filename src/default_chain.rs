use std::env;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
use aws_smithy_async::time::StaticTimeSource;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::cache::RegionSource;
use crate::fetch::{FetchExecutor, InFlight};
use crate::login::LoginParts;
use crate::{Error, Login, Token, TokenCache, TokenCacheBuilder, login, region};

/// A token for `user` at the database `host`:`port`, with the AWS SDK's default chain of credentials: the
/// environment, the profile, web identity, a container's or an instance's role.
///
/// Tokens and credentials are reused, by [`shared_cache`]. The token is signed for the region in the host's name,
/// else for the one that the environment, the profile or the instance names. Finding it costs no network where the
/// host, the environment or the profile names it.
///
/// Any async runtime will do: the SDK runs on threads of this crate and in their runtime.
///
/// # Errors
///
/// Those of [`Login::new`] and of [`TokenCache::token`].
pub async fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    match fresh(host, port, user) {
        Some(token) => Ok(token),
        None => shared_cache().token(&Login::new(host, port, user)?).await,
    }
}

/// The cached token, if it is fresh, without making a `Login`.
pub(crate) fn fresh(host: &str, port: u16, user: &str) -> Option<Token> {
    let fresh = |host: &str| shared_cache().fresh(&LoginParts { host, port, user });
    fresh(host).or_else(|| fresh(&login::normalized_name(host)?))
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
        TokenCacheBuilder::new(None).assemble(provider, chain)
    })
}

/// The provider, region, clock and sleep of an AWS configuration.
///
/// The provider runs in the crate's runtime, whichever runtime the configuration was loaded on.
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

/// The SDK's default chain, and the region for logins that name none.
#[derive(Debug, Default)]
struct DefaultChain {
    /// The first region that a login named. STS is asked there if the configuration names none.
    first_region: OnceLock<Region>,
    /// The region for logins that name none, once found.
    default_region: OnceLock<Region>,
    search: Mutex<Option<InFlight<Option<Region>>>>,
    executor: FetchExecutor,
}

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
                None => self.join_or_start_search().outcome().await?,
            };
            Ok(found.map(|region| self.default_region.get_or_init(|| region).to_string()))
        }
        .boxed()
    }
}

impl DefaultChain {
    /// The search for the default region: one for all callers.
    fn join_or_start_search(&self) -> InFlight<Option<Region>> {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(search) = search.as_ref().filter(|search| !search.has_ended()) {
            return search.clone();
        }
        let (outcome, in_flight) = InFlight::new();
        self.executor.run(find_default_region(), move |found| {
            outcome.send_replace(Some(found));
        });
        search.insert(in_flight).clone()
    }
}

/// The chain is built for each fetch: the SDK's profile provider never reads its file again, and its IMDS provider answers
/// a failure with the credentials that it returned last.
impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let region = self.first_region.get().or(self.default_region.get());
        future::ProvideCredentials::new(fetch(region.cloned()))
    }
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
