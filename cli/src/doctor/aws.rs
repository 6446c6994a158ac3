//! The credentials, whose they are, and AWS's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::ProvideErrorMetadata;
use rds_iam::Credentials;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;

use super::input::Input;
use super::report::Check;
use super::{Group, one_line};

const CREDENTIALS_LIMIT: Duration = Duration::from_secs(5);
const STS_LIMIT: Duration = Duration::from_secs(4);

/// Databases and AWS tolerate a little. Beyond this, tokens are dated in the future or are short-lived.
const TOLERATED_SKEW: Duration = Duration::from_secs(60);

/// The configuration of the SDK with valid credentials, and whose they are.
#[cfg_attr(
    not(feature = "account"),
    expect(dead_code, reason = "only the checks of the account read all fields")
)]
pub struct Aws {
    pub config: SdkConfig,
    pub credentials: Credentials,
    /// The identity's ARN.
    pub identity: Option<String>,
}

pub async fn examine(input: &Input) -> Group<Aws> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(input.region.clone()))
        .load();
    let credentials = timeout(CREDENTIALS_LIMIT, async {
        let config = config.await;
        let credentials = match config.credentials_provider() {
            Some(provider) => provider
                .provide_credentials()
                .await
                .map_err(|error| one_line(&error)),
            None => Err("the AWS configuration has no credentials provider".to_owned()),
        };
        (config, credentials)
    });
    const REMEDY: &str =
        "set AWS_PROFILE or the AWS_… keys, log in to AWS again, or give this machine a role";
    let not_checked = |name| Check::not_checked(name, "there are no credentials");
    let missing = |problem: String| {
        let checks = vec![
            Check::wrong("credentials", problem, REMEDY),
            not_checked("identity"),
            not_checked("clock"),
        ];
        (checks, None)
    };
    let (config, credentials) = match credentials.await {
        Ok((config, Ok(credentials))) => (config, credentials),
        Ok((_, Err(error))) => return missing(format!("there are no AWS credentials ({error})")),
        Err(_) => {
            let seconds = CREDENTIALS_LIMIT.as_secs();
            return missing(format!(
                "the source of the AWS credentials has not answered for {seconds} s"
            ));
        }
    };
    let (check, is_valid) = credentials_check(&credentials);
    let mut checks = vec![check];
    if !is_valid {
        checks.extend([not_checked("identity"), not_checked("clock")]);
        return (checks, None);
    }
    let config = config
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .build();
    let (identity, [identity_check, clock]) = identity_and_clock(&config).await;
    checks.extend([identity_check, clock]);
    let aws = Aws {
        config,
        credentials,
        identity,
    };
    (checks, Some(aws))
}

fn credentials_check(credentials: &Credentials) -> (Check, bool) {
    let mut text = format!(
        "{} from {}",
        credentials.access_key_id(),
        source(credentials)
    );
    text += match credentials.session_token() {
        Some(_) => ", with a session token",
        None => ", without a session token",
    };
    let Some(expiry) = credentials.expiry() else {
        return (Check::ok("credentials", text + ", without an expiry"), true);
    };
    match expiry.duration_since(now()) {
        Ok(left) if !left.is_zero() => {
            text += &format!(", valid for {} min", left.as_secs() / 60);
            (Check::ok("credentials", text), true)
        }
        _ => {
            let problem = format!("the AWS credentials have expired ({text})");
            (
                Check::wrong(
                    "credentials",
                    problem,
                    "log in to AWS again, or fix their source",
                ),
                false,
            )
        }
    }
}

/// Which part of the SDK's default chain has the credentials.
fn source(credentials: &Credentials) -> &'static str {
    use AwsCredentialFeature as Feature;

    let features = credentials.get_property::<Vec<Feature>>();
    // The first provider of a chain of providers, such as the profile of an assumed role.
    match features.and_then(|features| features.first()) {
        Some(Feature::CredentialsEnvVars) => "the environment",
        Some(Feature::CredentialsEnvVarsStsWebIdToken) => {
            "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"
        }
        Some(Feature::CredentialsProfileSso | Feature::CredentialsSso) => "SSO",
        Some(Feature::CredentialsProfileProcess | Feature::CredentialsProcess) => {
            "a process of the profile"
        }
        Some(Feature::CredentialsHttp) => "the container's endpoint",
        Some(Feature::CredentialsImds) => "the instance's role (IMDS)",
        Some(
            Feature::CredentialsProfile
            | Feature::CredentialsProfileSourceProfile
            | Feature::CredentialsProfileNamedProvider
            | Feature::CredentialsProfileStsWebIdToken
            | Feature::CredentialsProfileLogin,
        ) => "the profile",
        Some(Feature::CredentialsStsAssumeRole) => "an assumed role",
        _ => "the SDK's default chain",
    }
}

/// `sts:GetCallerIdentity` needs no permission, and its answer has AWS's time.
async fn identity_and_clock(config: &SdkConfig) -> (Option<String>, [Check; 2]) {
    let date = Date::default();
    let limits = TimeoutConfig::builder()
        .operation_timeout(STS_LIMIT)
        .build();
    let config = aws_sdk_sts::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(limits)
        .interceptor(date.clone())
        .build();
    let client = aws_sdk_sts::Client::from_conf(config);
    let answer = client.get_caller_identity().send().await;
    let arn = answer
        .as_ref()
        .ok()
        .and_then(|identity| identity.arn())
        .map(str::to_owned);
    let identity = match &answer {
        Ok(identity) => Check::ok(
            "identity",
            identity.arn().unwrap_or("without an ARN").to_owned(),
        ),
        Err(error) => match error.code() {
            Some(code) => {
                let (problem, remedy) = match code {
                    "InvalidClientTokenId" => (
                        "AWS does not know the access key or the session token",
                        "create a new key, or log in to AWS again",
                    ),
                    "ExpiredToken" | "ExpiredTokenException" => (
                        "AWS says that the session token has expired",
                        "log in to AWS again",
                    ),
                    "SignatureDoesNotMatch" => (
                        "AWS says that the signature is wrong",
                        "correct the secret access key, and the clock if it is wrong",
                    ),
                    _ => ("AWS rejects the credentials", "read AWS's answer"),
                };
                Check::wrong("identity", format!("{problem} ({code})"), remedy)
            }
            None => Check::not_checked(
                "identity",
                format!("STS cannot be asked: {}", one_line(error)),
            ),
        },
    };
    (arn, [identity, clock(date.skew())])
}

fn clock(skew: Option<Skew>) -> Check {
    let Some(skew) = skew else {
        return Check::not_checked("clock", "AWS has not told its time");
    };
    let (seconds, direction) = match skew {
        Skew::Ahead(skew) => (skew, "ahead of"),
        Skew::Behind(skew) => (skew, "behind"),
    };
    let text = format!(
        "this machine's clock is {} s {direction} AWS's",
        seconds.as_secs()
    );
    match seconds <= TOLERATED_SKEW {
        true => Check::ok("clock", text),
        false => Check::wrong("clock", text, "run NTP on this machine"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

/// Compares the header `Date` of each answer with this machine's clock.
#[derive(Clone, Debug, Default)]
struct Date(Arc<Mutex<Option<Skew>>>);

impl Date {
    fn skew(&self) -> Option<Skew> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_sts::error::BoxError> {
        let date = context
            .response()
            .and_then(|response| response.headers().get("date"));
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        if let Some(date) = date {
            let skew = match now().duration_since(SystemTime::from(date)) {
                Ok(ahead) => Skew::Ahead(ahead),
                Err(behind) => Skew::Behind(behind.duration()),
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the doctor compares the real time"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}
