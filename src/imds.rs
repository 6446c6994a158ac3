//! A workaround for the SDK's IMDS provider, which extends the expiry of expired credentials.
//!
//! IMDS returns expired credentials when a refresh fails there. The SDK then reports an expiry of up to 15 minutes from
//! now. Databases reject such credentials.

use std::time::{Duration, SystemTime};

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials};
use aws_smithy_async::time::StaticTimeSource;

/// How far the SDK extends an expiry at most.
const MAX_EXTENSION: Duration = Duration::from_secs(900);

/// Returns `credentials` with their true expiry: fetches them again if the SDK may have extended the expiry.
pub(crate) async fn with_true_expiry(
    credentials: Credentials,
    now: SystemTime,
) -> provider::Result {
    if !may_be_extended(&credentials, now) {
        return Ok(credentials);
    }
    // With a clock at 1970 no credentials have expired, so the SDK extends nothing.
    let config = ProviderConfig::without_region().with_time_source(StaticTimeSource::from_secs(0));
    let provider = ImdsCredentialsProvider::builder()
        .configure(&config)
        .build();
    provider.provide_credentials().await
}

fn may_be_extended(credentials: &Credentials, now: SystemTime) -> bool {
    let expires_soon = credentials
        .expiry()
        .and_then(|expiry| expiry.duration_since(now).ok())
        .is_some_and(|left| left <= MAX_EXTENSION);
    // Only `Debug` shows the provider's name.
    expires_soon && format!("{credentials:?}").contains("IMDSv2")
}
