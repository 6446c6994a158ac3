//! What the account says of the database, the policy and recent logins, as far as the identity may look.

mod metrics;
mod policy;
mod resource;

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::aws::Aws;
use super::input::Input;
use super::one_line;
use super::report::Check;

pub const CHECKS: [&str; 3] = [resource::ENDPOINT, policy::POLICY, metrics::METRICS];

/// For each request.
const LIMIT: Duration = Duration::from_secs(3);

pub async fn examine(input: &Input, aws: &Aws, checks: &mut Vec<Check>) -> Option<()> {
    let config = aws
        .config
        .clone()
        .into_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
        .build();
    let (check, resource) = resource::examine(&config, input).await;
    checks.push(check);
    let resource = resource.as_ref();
    let (policy, counts) = tokio::join!(
        policy::examine(&config, input, aws.identity.as_deref(), resource),
        metrics::count_rejections(&config, resource),
    );
    let metrics = metrics::check(counts, policy.is_ok());
    checks.extend([policy, metrics]);
    Some(())
}

/// Why AWS does not answer a request that needs a permission.
fn reason_not_answered(
    error: &(impl ProvideErrorMetadata + Error + 'static),
    permission: &str,
) -> String {
    match error.code() {
        Some("AccessDenied" | "AccessDeniedException") => {
            format!("the identity has no permission {permission}")
        }
        Some(code) => format!("AWS answers {code} to {permission}"),
        None => format!("no answer from AWS to {permission} ({})", one_line(error)),
    }
}
