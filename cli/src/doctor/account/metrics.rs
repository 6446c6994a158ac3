//! CloudWatch's counts of rejected logins, which separate an invalid token from a missing permission and from throttling.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use aws_smithy_types::DateTime;

use super::super::aws::now;
use super::super::report::{Check, Finding};
use super::reason_not_answered;
use super::resource::Resource;

pub const METRICS: &str = "metrics";

/// CloudWatch counts logins per minute, and a minute late.
const PERIOD: Duration = Duration::from_secs(900);

/// How many logins of all programs were rejected.
pub struct Counts {
    invalid: f64,
    permission: f64,
    throttled: f64,
}

pub async fn count_rejections(
    config: &SdkConfig,
    resource: Option<&Resource>,
) -> Result<Counts, String> {
    let resource = resource.ok_or("the resource of the endpoint is not known")?;
    let (name, value) = resource
        .dimension
        .as_ref()
        .ok_or("CloudWatch counts the logins of instances and clusters of RDS only")?;
    let dimension = Dimension::builder().name(*name).value(value).build();
    let cloudwatch = aws_sdk_cloudwatch::Client::new(config);
    let (invalid, permission, throttled) = tokio::try_join!(
        count(&cloudwatch, &dimension, "InvalidToken"),
        count(&cloudwatch, &dimension, "InsufficientPermissions"),
        count(&cloudwatch, &dimension, "Throttling"),
    )?;
    Ok(Counts {
        invalid,
        permission,
        throttled,
    })
}

/// If the policies allow the login, rejections without permission are another program's.
pub fn check(counts: Result<Counts, String>, is_allowed: bool) -> Check {
    let Counts {
        invalid,
        permission,
        throttled,
    } = match counts {
        Ok(counts) => counts,
        Err(reason) => return Check::not_checked(METRICS, reason),
    };
    let text = format!(
        "rejected in {} min: {invalid} tokens as invalid, {permission} without permission, {throttled} throttled",
        PERIOD.as_secs() / 60
    );
    let (problem, remedy) = if throttled > 0.0 {
        (
            "AWS throttles logins",
            "use a pool, and open fewer than 200 connections per second",
        )
    } else if permission > 0.0 && !is_allowed {
        (
            "AWS rejects logins without permission",
            "allow rds-db:connect for the database's resource id and the user, unless those are another program's logins",
        )
    } else if invalid > 0.0 {
        (
            "AWS rejects tokens as invalid",
            "compare the host, port, user and region of the token with the database's, unless those are another program's tokens",
        )
    } else {
        return Check::ok(METRICS, text);
    };
    Check::wrong(METRICS, Finding::new(format!("{problem} ({text})"), remedy))
}

async fn count(
    cloudwatch: &aws_sdk_cloudwatch::Client,
    dimension: &Dimension,
    failure: &str,
) -> Result<f64, String> {
    let now = now();
    let request = cloudwatch
        .get_metric_statistics()
        .namespace("AWS/RDS")
        .metric_name(format!("IamDbAuthConnectionFailure{failure}"))
        .dimensions(dimension.clone())
        .start_time(DateTime::from(now - PERIOD))
        .end_time(DateTime::from(now))
        .period(i32::try_from(PERIOD.as_secs()).unwrap_or(i32::MAX))
        .statistics(Statistic::Sum);
    let answer = request
        .send()
        .await
        .map_err(|error| reason_not_answered(&error, "cloudwatch:GetMetricStatistics"))?;
    Ok(answer
        .datapoints()
        .iter()
        .filter_map(|point| point.sum())
        .sum())
}
