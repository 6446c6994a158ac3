use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_async::time::{SystemTimeSource, TimeSource};

use crate::{Error, Login, Signer, Token};

/// A token for `user` at the database `host`:`port`, with the AWS SDK's default chain of credentials: the environment,
/// the profile, web identity, a container's or an instance's role.
///
/// The token is signed for the region in the host's name, else for the one that the environment, the profile or the
/// instance names. Finding it costs no network where the host, the environment or the profile names it.
///
/// It needs a tokio runtime with its timers and I/O enabled, as the AWS SDK does.
///
/// # Errors
///
/// Those of [`Login::new`]; [`Error::NoRegion`] where nothing names one; [`Error::CredentialsFailed`] where the chain
/// provides no credentials, [`Error::CredentialsExpired`] where it provides expired ones.
pub async fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    let login = Login::new(host, port, user)?;
    let config = load(login.region()).await;
    let region = login
        .region()
        .or_else(|| config.region().map(Region::as_ref))
        .ok_or_else(|| Error::NoRegion {
            host: login.host().to_owned(),
        })?;
    let credentials = config
        .credentials_provider()
        .ok_or(Error::NoCredentialsProvider)?
        .provide_credentials()
        .await?;
    let now = now();
    Signer::new(&credentials, region, now)?.sign(&login, now)
}

/// The default configuration, with `host_region` for a chain that would have to ask the instance for its region.
async fn load(host_region: Option<&str>) -> SdkConfig {
    let region = match host_region {
        Some(region) => RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::new(region.to_owned())),
        None => RegionProviderChain::default_provider(),
    };
    aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .load()
        .await
}

/// The one place that reads the clock.
#[expect(clippy::disallowed_methods, reason = "the front door knows the time")]
fn now() -> std::time::SystemTime {
    SystemTimeSource::new().now()
}
