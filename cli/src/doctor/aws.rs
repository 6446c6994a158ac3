//! The credentials, whose they are, and AWS's clock.

use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::ProvideErrorMetadata;
use rds_iam::Credentials;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;

use super::input::Input;
use super::report::{Check, Finding};
use super::{on_own_thread, one_line};

const IDENTITY: &str = "identity";

const CREDENTIALS_LIMIT: Duration = Duration::from_secs(5);
const STS_LIMIT: Duration = Duration::from_secs(4);

/// Beyond this, AWS rejects signatures ([IAM user guide, *Elements of an AWS API request
/// signature*](https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html)).
const TOLERATED_SKEW: Duration = Duration::from_secs(300);

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

pub const CHECKS: [&str; 3] = ["credentials", "identity", "clock"];

pub async fn examine(input: &Input, checks: &mut Vec<Check>) -> Option<Aws> {
    let (config, credentials, text) = match credentials(input).await {
        Ok(found) => found,
        Err(finding) => {
            checks.push(Check::wrong("credentials", finding));
            return None;
        }
    };
    checks.push(Check::ok("credentials", text));
    let (identity, [identity_check, clock]) = identity_and_clock(&config).await;
    checks.extend([identity_check, clock]);
    Some(Aws {
        config,
        credentials,
        identity,
    })
}

/// Returns valid credentials, and what they are.
async fn credentials(input: &Input) -> Result<(SdkConfig, Credentials, String), Finding> {
    let found = on_own_thread(async {
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let provider = config.credentials_provider();
        let credentials = match provider {
            Some(provider) => provider.provide_credentials().await,
            None => Err(CredentialsError::not_loaded("there is no provider")),
        };
        (config, credentials)
    });
    let found = timeout(CREDENTIALS_LIMIT, found);
    const REMEDY: &str =
        "set AWS_PROFILE or the AWS_… keys, log in to AWS again, or give this machine a role";
    let (config, credentials) = match found.await {
        Ok(Some((config, Ok(credentials)))) => (config, credentials),
        Ok(Some((_, Err(error)))) => {
            let profile = env::var("AWS_PROFILE").map(|name| format!(" with AWS_PROFILE={name}"));
            let problem = format!(
                "there are no AWS credentials{} ({})",
                profile.unwrap_or_default(),
                without_output(&error)
            );
            return Err(Finding::new(problem, REMEDY));
        }
        Ok(None) | Err(_) => {
            let problem = format!(
                "the source of the AWS credentials has not answered for {} s",
                CREDENTIALS_LIMIT.as_secs()
            );
            return Err(Finding::new(problem, REMEDY));
        }
    };
    if !has_form_of_aws(&credentials) {
        return Err(Finding::new(
            "the access key id or another part of the AWS credentials has characters that AWS does not use",
            "correct the AWS_… keys or the profile: look for a swapped key, a space or the end of a line",
        ));
    }
    let session_token = match credentials.session_token() {
        Some(_) => "with a session token",
        None => "without a session token",
    };
    let text = format!(
        "{} from {}, {session_token}",
        credentials.access_key_id(),
        source(&credentials)
    );
    let expiry = match credentials.expiry() {
        None => "without an expiry".to_owned(),
        Some(expiry) => match expiry.duration_since(now()) {
            Ok(left) if !left.is_zero() => format!("valid for {} min", left.as_secs() / 60),
            _ => {
                return Err(Finding::new(
                    format!("the AWS credentials have expired ({text})"),
                    "log in to AWS again, or fix the source of the credentials",
                ));
            }
        },
    };
    // The credentials may be from another region, and the account's checks are about the database's region.
    let config = config
        .into_builder()
        .region(Region::new(input.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .build();
    Ok((config, credentials, format!("{text}, {expiry}")))
}

/// A swapped secret key must not be shown as an id, and the SDK panics at a control character in the id.
fn has_form_of_aws(credentials: &Credentials) -> bool {
    let secrets = [
        Some(credentials.secret_access_key()),
        credentials.session_token(),
    ];
    let mut secrets = secrets.into_iter().flatten();
    credentials
        .access_key_id()
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && secrets.all(|secret| secret.chars().all(|c| c.is_ascii_graphic()))
}

/// Leaves out what a `credential_process` has printed, because it may be a secret.
fn without_output(error: &CredentialsError) -> String {
    const PROCESS: &str = "external process";
    let text = one_line(error);
    match text.split_once(PROCESS) {
        Some((before, _)) => format!("{before}{PROCESS}"),
        None => text,
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
        Ok(identity) => Check::ok(IDENTITY, identity.arn().unwrap_or("without an ARN")),
        Err(error) => match error.code() {
            Some(code) => rejected_identity(code, date.skew()),
            None => Check::not_checked(
                IDENTITY,
                format!("STS cannot be asked: {}", one_line(error)),
            ),
        },
    };
    (arn, [identity, clock(date.skew())])
}

/// What STS says of the credentials, or of the request.
fn rejected_identity(code: &str, skew: Option<Skew>) -> Check {
    // AWS answers a request of a wrong clock with several codes.
    if skew.is_some_and(|skew| !skew.is_tolerated()) {
        let reason = format!("AWS answers {code}, and this machine's clock is wrong");
        return Check::not_checked(IDENTITY, reason);
    }
    let (problem, remedy) = match code {
        "InvalidClientTokenId" | "UnrecognizedClientException" => (
            "AWS does not know the access key or the session token",
            "log in to AWS again, create a new key, or enable the database's region for the account",
        ),
        "ExpiredToken" | "ExpiredTokenException" => (
            "AWS says that the session token has expired",
            "log in to AWS again",
        ),
        "SignatureDoesNotMatch" => (
            "AWS says that the signature is wrong",
            "correct the secret access key",
        ),
        _ => return Check::not_checked(IDENTITY, format!("AWS answers {code}")),
    };
    let finding = Finding::new(format!("{problem} ({code})"), remedy);
    Check::wrong(IDENTITY, finding)
}

fn clock(skew: Option<Skew>) -> Check {
    const CLOCK: &str = "clock";
    let Some(skew) = skew else {
        return Check::not_checked(CLOCK, "AWS's answer has no date");
    };
    let text = format!(
        "this machine's clock is {} s {} AWS's",
        skew.seconds,
        if skew.is_ahead { "ahead of" } else { "behind" }
    );
    match skew.is_tolerated() {
        true => Check::ok(CLOCK, text),
        false => Check::wrong(CLOCK, Finding::new(text, "run NTP on this machine")),
    }
}

/// The difference of this machine's clock from AWS's.
#[derive(Clone, Copy, Debug)]
struct Skew {
    is_ahead: bool,
    seconds: u64,
}

impl Skew {
    fn since(aws: SystemTime) -> Skew {
        let (is_ahead, difference) = match now().duration_since(aws) {
            Ok(ahead) => (true, ahead),
            Err(behind) => (false, behind.duration()),
        };
        Skew {
            is_ahead,
            seconds: difference.as_secs(),
        }
    }

    fn is_tolerated(self) -> bool {
        self.seconds <= TOLERATED_SKEW.as_secs()
    }
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
            let skew = Skew::since(date.into());
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
