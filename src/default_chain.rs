//! The process-wide cache behind `rds_iam::token`, over the AWS SDK's default credential chain.

use std::sync::{Arc, OnceLock};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};

use crate::login::LoginParts;
use crate::region_source::{DefaultRegion, configured_region};
use crate::{Error, Login, Token, TokenCache, TokenCacheBuilder, imds, login};

/// A token for `user` at the database `host`:`port`, signed with the AWS SDK's default credentials.
///
/// The credentials come from the SDK's default chain: the environment, the profile, web identity, a container's role or
/// an instance's role. Tokens and credentials are cached by [`shared_cache`].
///
/// The host is an endpoint of Amazon RDS, or of a cluster of Aurora DSQL. The token is signed for the region in the host's name. If the name holds none, the region of the environment, the
/// profile or the instance is used, in this order. Only the instance's region costs a request.
///
/// Any async runtime will do, because the SDK runs on threads of this crate.
///
/// # Errors
///
/// The errors of [`Login::new`] and of [`TokenCache::token`].
pub async fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    match fresh(host, port, user) {
        Some(token) => Ok(token),
        None => shared_cache().token(&Login::new(host, port, user)?).await,
    }
}

/// Returns the cached token, if fresh, without the cost of a `Login`.
pub(crate) fn fresh(host: &str, port: u16, user: &str) -> Option<Token> {
    let fresh = |host: &str| shared_cache().fresh(&LoginParts { host, port, user });
    fresh(host).or_else(|| fresh(&login::normalized_name(host)?))
}

/// The process-wide cache behind [`token`], over the AWS SDK's default credential chain.
///
/// Use this cache for logins with a region of their own, for [`invalidate`](TokenCache::invalidate), and for pools.
///
/// The chain is built again for each fetch, so a rewritten file is read again.
pub fn shared_cache() -> &'static TokenCache {
    static CACHE: OnceLock<TokenCache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let builder = TokenCacheBuilder::new(None);
        let region = Arc::new(DefaultRegion::new(builder.executor()));
        let provider = SharedCredentialsProvider::new(DefaultChain(region.clone()));
        builder.assemble(provider, region)
    })
}

#[derive(Debug)]
struct DefaultChain(Arc<DefaultRegion>);

impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl DefaultChain {
    /// Builds the chain for this fetch alone. The SDK's profile provider never reads the file again, and the SDK's IMDS
    /// provider answers a failure with the last credentials.
    async fn load(&self) -> provider::Result {
        let region = configured_region().await.or(self.0.for_sts());
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .load()
            .await;
        let not_loaded =
            || CredentialsError::not_loaded("the AWS configuration has no credentials provider");
        let provider = config.credentials_provider().ok_or_else(not_loaded)?;
        let credentials = provider.provide_credentials().await?;
        let now = config.time_source().unwrap_or_default().now();
        imds::with_true_expiry(credentials, now).await
    }
}
