use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::time::StaticTimeSource;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::cache::DefaultRegion;
use crate::credentials::FETCH_LIMIT;
use crate::login::LoginParts;
use crate::{Error, Login, Token, TokenCache, TokenCacheBuilder};

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
        if let Some(region) = config.region() {
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
    thread: Mutex<Option<mpsc::UnboundedSender<Request>>>,
    /// The first region that a login named. STS is asked there where the configuration names none.
    first_region: OnceLock<Region>,
    /// The region for logins that name none, once found.
    default_region: OnceLock<Region>,
    search: Mutex<Option<Search>>,
}

/// Shared, so that all who wait for the default region cost one search.
type Search = Shared<BoxFuture<'static, Result<Option<Region>, Error>>>;

#[derive(Debug)]
enum Request {
    DefaultRegion(oneshot::Sender<Result<Option<Region>, CredentialsError>>),
    Credentials(Option<Region>, oneshot::Sender<provider::Result>),
}

impl DefaultRegion for DefaultChain {
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>> {
        async {
            if let Some(region) = login.region() {
                self.first_region
                    .get_or_init(|| Region::new(region.to_owned()));
                return Ok(Some(region.to_owned()));
            }
            let region = match self.default_region.get() {
                Some(region) => Some(region.clone()),
                None => self.search().await?,
            };
            Ok(region.map(|region| self.default_region.get_or_init(|| region).to_string()))
        }
        .boxed()
    }
}

impl DefaultChain {
    /// The search for the default region that is under way, or a new one: one that found nothing is not kept.
    fn search(&self) -> Search {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        match &*search {
            Some(search) if search.peek().is_none() => search.clone(),
            _ => {
                let answer = self.ask(Request::DefaultRegion);
                let new = async { Ok(answer?.await.map_err(CredentialsError::unhandled)??) };
                search.insert(new.boxed().shared()).clone()
            }
        }
    }

    async fn credentials(&self) -> provider::Result {
        let region = self
            .first_region
            .get()
            .or(self.default_region.get())
            .cloned();
        let answer = self.ask(|answer| Request::Credentials(region, answer))?;
        answer.await.map_err(CredentialsError::unhandled)?
    }

    /// Sends a request to the thread, which is started where it does not run.
    fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<oneshot::Receiver<T>, CredentialsError> {
        let (sender, receiver) = oneshot::channel();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = match &*thread {
            Some(requests) if !requests.is_closed() => requests,
            _ => thread.insert(start_thread().map_err(CredentialsError::provider_error)?),
        };
        requests
            .send(request(sender))
            .map_err(CredentialsError::unhandled)?;
        Ok(receiver)
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

fn start_thread() -> io::Result<mpsc::UnboundedSender<Request>> {
    let (sender, mut requests) = mpsc::unbounded_channel::<Request>();
    thread::Builder::new()
        .name("rds-iam".to_owned())
        .spawn(move || {
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(async {
                    while let Some(request) = requests.recv().await {
                        request.answer().await;
                    }
                }),
                // Ends the thread; the next request starts another.
                Err(error) => {
                    if let Some(request) = requests.blocking_recv() {
                        request.fail(CredentialsError::provider_error(error));
                    }
                }
            }
        })?;
    Ok(sender)
}

impl Request {
    /// Where nobody waits for the answer any more, there is none.
    async fn answer(self) {
        match self {
            Request::DefaultRegion(answer) if !answer.is_closed() => {
                let _ = answer.send(bounded(find_default_region()).await);
            }
            Request::Credentials(region, answer) if !answer.is_closed() => {
                let _ = answer.send(bounded(fetch(region)).await.flatten());
            }
            Request::DefaultRegion(_) | Request::Credentials(..) => {}
        }
    }

    fn fail(self, error: CredentialsError) {
        // Nobody may wait for it any more.
        let _ = match self {
            Request::DefaultRegion(answer) => answer.send(Err(error)).is_ok(),
            Request::Credentials(_, answer) => answer.send(Err(error)).is_ok(),
        };
    }
}

/// The SDK bounds only connecting, and a panic of its must not end the thread.
async fn bounded<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, CredentialsError> {
    let task = tokio::spawn(work);
    let abort = task.abort_handle();
    match timeout(FETCH_LIMIT, task).await {
        Ok(done) => done.map_err(CredentialsError::unhandled),
        Err(_) => {
            abort.abort();
            Err(CredentialsError::provider_timed_out(FETCH_LIMIT))
        }
    }
}

/// The region of the environment, else of the profile, else of the instance.
async fn find_default_region() -> Option<Region> {
    RegionProviderChain::default_provider().region().await
}

/// Credentials of a chain that is built for this fetch alone: the SDK's profile provider never reads its file again,
/// and its IMDS provider answers a failure with the credentials that it handed out last.
async fn fetch(region: Option<Region>) -> provider::Result {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(region);
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
    // Which provider they come from is in nothing but their `Debug`.
    expires_soon && format!("{credentials:?}").contains("IMDSv2")
}

/// By a clock that stands at 1970, no credentials have expired, and their expiry is left as it is.
fn imds_provider_without_stretch() -> ImdsCredentialsProvider {
    let config = ProviderConfig::without_region().with_time_source(StaticTimeSource::from_secs(0));
    ImdsCredentialsProvider::builder()
        .configure(&config)
        .build()
}
