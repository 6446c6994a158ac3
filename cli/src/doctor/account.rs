//! What the account says of the database, the policy and recent logins, as far as the identity may look.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use aws_sdk_rds::types::{DbProxyStatus, IamAuthMode};
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rds_iam::Service;
use serde_json::json;

use super::aws::{Aws, now};
use super::input::Input;
use super::report::{Check, Finding, Outcome};

/// For each request.
const LIMIT: Duration = Duration::from_secs(3);
/// CloudWatch counts logins per minute, and a minute late.
const METRICS_PERIOD: Duration = Duration::from_secs(900);

pub async fn examine(input: &Input, aws: &Aws) -> Vec<Check> {
    let config = aws
        .config
        .clone()
        .into_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
        .build();
    let kind = Kind::of(input);
    let (database, metrics) =
        tokio::join!(database(&config, input, &kind), metrics(&config, &kind));
    let (endpoint, database) = database;
    let policy = policy(&config, input, aws.identity.as_deref(), database.as_ref()).await;
    vec![endpoint, policy, metrics]
}

/// What an endpoint of RDS belongs to, by the form of its name.
enum Kind {
    Instance(String),
    Cluster(String),
    Proxy(String),
    Dsql,
    Unknown,
}

impl Kind {
    /// `ID.RANDOM.…`, `ID.cluster-RANDOM.…`, `ID.cluster-ro-RANDOM.…` or `ID.proxy-RANDOM.…`
    fn of(input: &Input) -> Kind {
        let host = input.endpoint.login.host();
        let mut labels = host.split('.');
        let (Some(id), Some(second)) = (labels.next(), labels.next()) else {
            return Kind::Unknown;
        };
        let id = id.to_owned();
        match input.endpoint.login.service() {
            Service::Dsql => Kind::Dsql,
            // The custom endpoints of a cluster and of a proxy have names of their own.
            _ if second.starts_with("cluster-custom-") || second == "endpoint" => Kind::Unknown,
            _ if second.starts_with("cluster-") => Kind::Cluster(id),
            _ if second.starts_with("proxy-") => Kind::Proxy(id),
            _ if input.name_has_region => Kind::Instance(id),
            _ => Kind::Unknown,
        }
    }
}

/// The database's ARN, and the resource that a policy for logins names.
struct Database {
    arn: String,
    resource_id: String,
    is_iam_enabled: bool,
    text: String,
}

async fn database(config: &SdkConfig, input: &Input, kind: &Kind) -> (Check, Option<Database>) {
    const NAME: &str = "endpoint";
    let rds = aws_sdk_rds::Client::new(config);
    let (what, id, found) = match kind {
        Kind::Instance(id) => ("instance", id, instance(&rds, id).await),
        Kind::Cluster(id) => ("cluster", id, cluster(&rds, id).await),
        Kind::Proxy(id) => ("proxy", id, proxy(&rds, id).await),
        Kind::Dsql => {
            return (
                Check::not_checked(NAME, "Aurora DSQL always has IAM authentication"),
                None,
            );
        }
        Kind::Unknown => {
            let reason = "the host's name does not say which instance, cluster or proxy it is";
            return (Check::not_checked(NAME, reason), None);
        }
    };
    let database = match found {
        Ok(Some(database)) => database,
        Ok(None) => {
            let problem = format!(
                "there is no {what} {id} in {} in the account of the credentials",
                input.region
            );
            let remedy =
                "use credentials of the account that owns the database, or correct the host";
            return (Check::wrong(NAME, problem, remedy), None);
        }
        Err(reason) => return (Check::not_checked(NAME, reason), None),
    };
    if !database.is_iam_enabled {
        let problem = format!("IAM authentication is off ({})", database.text);
        let remedy = match kind {
            Kind::Proxy(_) => "set IAMAuth to REQUIRED in the proxy's authentication".to_owned(),
            Kind::Cluster(_) => format!(
                "switch it on: aws rds modify-db-cluster --db-cluster-identifier {id} --enable-iam-database-authentication --apply-immediately"
            ),
            _ => format!(
                "switch it on: aws rds modify-db-instance --db-instance-identifier {id} --enable-iam-database-authentication --apply-immediately"
            ),
        };
        return (Check::wrong(NAME, problem, remedy), Some(database));
    }
    (
        Check::ok(NAME, format!("{}, IAM authentication is on", database.text)),
        Some(database),
    )
}

type Found = Result<Option<Database>, String>;

async fn instance(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let answer = rds
        .describe_db_instances()
        .db_instance_identifier(id)
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return missing_or(&error, "DBInstanceNotFound", "rds:DescribeDBInstances"),
    };
    Ok(answer.db_instances().first().map(|instance| Database {
        arn: instance.db_instance_arn().unwrap_or_default().to_owned(),
        resource_id: instance.dbi_resource_id().unwrap_or_default().to_owned(),
        is_iam_enabled: instance.iam_database_authentication_enabled() == Some(true),
        text: format!(
            "instance {id}, {} {}, {}",
            instance.engine().unwrap_or_default(),
            instance.engine_version().unwrap_or_default(),
            instance.db_instance_status().unwrap_or("without a status"),
        ),
    }))
}

async fn cluster(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let answer = rds
        .describe_db_clusters()
        .db_cluster_identifier(id)
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return missing_or(&error, "DBClusterNotFoundFault", "rds:DescribeDBClusters");
        }
    };
    Ok(answer.db_clusters().first().map(|cluster| Database {
        arn: cluster.db_cluster_arn().unwrap_or_default().to_owned(),
        resource_id: cluster
            .db_cluster_resource_id()
            .unwrap_or_default()
            .to_owned(),
        is_iam_enabled: cluster.iam_database_authentication_enabled() == Some(true),
        text: format!(
            "cluster {id}, {} {}, {}",
            cluster.engine().unwrap_or_default(),
            cluster.engine_version().unwrap_or_default(),
            cluster.status().unwrap_or("without a status"),
        ),
    }))
}

async fn proxy(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let answer = rds.describe_db_proxies().db_proxy_name(id).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return missing_or(&error, "DBProxyNotFoundFault", "rds:DescribeDBProxies"),
    };
    Ok(answer.db_proxies().first().map(|proxy| {
        let arn = proxy.db_proxy_arn().unwrap_or_default();
        let is_enabled = |mode: Option<&IamAuthMode>| matches!(mode, Some(mode) if *mode != IamAuthMode::Disabled);
        Database {
            arn: arn.to_owned(),
            // `arn:…:db-proxy:prx-…`
            resource_id: arn.rsplit(':').next().unwrap_or_default().to_owned(),
            is_iam_enabled: proxy.auth().iter().any(|auth| is_enabled(auth.iam_auth()))
                || proxy.default_auth_scheme() == Some("IAM_AUTH"),
            text: format!(
                "proxy {id}, {}",
                proxy.status().map_or("without a status", DbProxyStatus::as_str)
            ),
        }
    }))
}

/// No such resource, or the reason why AWS does not tell.
fn missing_or(
    error: &(impl ProvideErrorMetadata + std::error::Error + 'static),
    not_found: &str,
    permission: &str,
) -> Found {
    match error.code() {
        Some(code) if code == not_found || code == not_found.trim_end_matches("Fault") => Ok(None),
        _ => Err(why_not(error, permission)),
    }
}

fn why_not(
    error: &(impl ProvideErrorMetadata + std::error::Error + 'static),
    permission: &str,
) -> String {
    match error.code() {
        Some("AccessDenied" | "AccessDeniedException") => {
            format!("the identity may not {permission}")
        }
        Some(code) => format!("AWS answers {code} to {permission}"),
        None => format!(
            "AWS cannot be asked for {permission}: {}",
            super::one_line(error)
        ),
    }
}

/// Whether the identity's policies allow the login, by `iam:SimulatePrincipalPolicy`.
async fn policy(
    config: &SdkConfig,
    input: &Input,
    identity: Option<&str>,
    database: Option<&Database>,
) -> Check {
    const NAME: &str = "policy";
    let Some(identity) = identity.and_then(Arn::read) else {
        return Check::not_checked(NAME, "the identity is not known");
    };
    let (action, resource) = match (input.endpoint.login.service(), database) {
        (Service::Dsql, _) => {
            let action = match input.endpoint.login.user() {
                "admin" => "dsql:DbConnectAdmin",
                _ => "dsql:DbConnect",
            };
            let id = input
                .endpoint
                .login
                .host()
                .split('.')
                .next()
                .unwrap_or_default();
            let (partition, account) = (identity.partition, identity.account);
            (
                action,
                format!(
                    "arn:{partition}:dsql:{}:{account}:cluster/{id}",
                    input.region
                ),
            )
        }
        (_, Some(database)) => {
            let Some(arn) = Arn::read(&database.arn) else {
                return Check::not_checked(NAME, "the database's ARN is not known");
            };
            let (partition, account) = (arn.partition, arn.account);
            let (resource_id, user) = (&database.resource_id, input.endpoint.login.user());
            (
                "rds-db:connect",
                format!(
                    "arn:{partition}:rds-db:{}:{account}:dbuser:{resource_id}/{user}",
                    input.region
                ),
            )
        }
        (_, None) => return Check::not_checked(NAME, "the database's resource id is not known"),
    };
    let iam = aws_sdk_iam::Client::new(config);
    let Some(principal) = identity.principal(&iam).await else {
        return Check::not_checked(
            NAME,
            "the policies of this kind of identity cannot be simulated",
        );
    };
    let answer = iam
        .simulate_principal_policy()
        .policy_source_arn(&principal)
        .action_names(action)
        .resource_arns(&resource)
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let reason = why_not(&error, "iam:SimulatePrincipalPolicy");
            return Check::not_checked(
                NAME,
                format!("{reason}; the policy must allow {action} on {resource}"),
            );
        }
    };
    let decision = answer
        .evaluation_results()
        .first()
        .map(|result| result.eval_decision());
    match decision {
        Some(PolicyEvaluationDecisionType::Allowed) => {
            Check::ok(NAME, format!("{principal} may {action} on {resource}"))
        }
        Some(PolicyEvaluationDecisionType::ExplicitDeny) => Check::wrong(
            NAME,
            format!("a policy denies {principal} {action} on {resource}"),
            "remove the statement with the effect Deny",
        ),
        Some(_) => {
            let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
            Check::wrong(
                NAME,
                format!("the policies do not allow {principal} {action} on {resource}"),
                format!("add the statement {statement}"),
            )
        }
        None => Check::not_checked(NAME, "iam:SimulatePrincipalPolicy has no result"),
    }
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`
struct Arn<'a> {
    arn: &'a str,
    partition: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn read(arn: &'a str) -> Option<Arn<'a>> {
        let mut parts = arn.splitn(6, ':');
        let (_arn, partition, _service, _region) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Arn {
            arn,
            partition,
            account: parts.next()?,
            resource: parts.next()?,
        })
    }

    /// The user or the role whose policies count. A session's ARN lacks the role's path.
    async fn principal(&self, iam: &aws_sdk_iam::Client) -> Option<String> {
        if self.resource.starts_with("user/") {
            return Some(self.arn.to_owned());
        }
        let session = self.resource.strip_prefix("assumed-role/")?;
        let (role, _) = session.split_once('/')?;
        let answer = iam.get_role().role_name(role).send().await;
        let arn = answer
            .ok()
            .and_then(|answer| Some(answer.role()?.arn().to_owned()));
        Some(
            arn.unwrap_or_else(|| {
                format!("arn:{}:iam::{}:role/{role}", self.partition, self.account)
            }),
        )
    }
}

/// CloudWatch's counts of rejected logins separate an invalid token from a missing permission and from throttling.
async fn metrics(config: &SdkConfig, kind: &Kind) -> Check {
    const NAME: &str = "metrics";
    let (dimension, id) = match kind {
        Kind::Instance(id) => ("DBInstanceIdentifier", id),
        Kind::Cluster(id) => ("DBClusterIdentifier", id),
        _ => {
            return Check::not_checked(
                NAME,
                "CloudWatch counts the logins of instances and clusters only",
            );
        }
    };
    let client = aws_sdk_cloudwatch::Client::new(config);
    let dimension = Dimension::builder().name(dimension).value(id).build();
    let count = async |metric: &str| {
        let end = DateTime::from(now());
        let answer = client
            .get_metric_statistics()
            .namespace("AWS/RDS")
            .metric_name(format!("IamDbAuthConnectionFailure{metric}"))
            .dimensions(dimension.clone())
            .start_time(DateTime::from(now() - METRICS_PERIOD))
            .end_time(end)
            .period(i32::try_from(METRICS_PERIOD.as_secs()).unwrap_or(i32::MAX))
            .statistics(Statistic::Sum)
            .send()
            .await;
        let answer = answer.map_err(|error| why_not(&error, "cloudwatch:GetMetricStatistics"))?;
        Ok::<f64, String>(
            answer
                .datapoints()
                .iter()
                .filter_map(|point| point.sum())
                .sum(),
        )
    };
    let counts = tokio::try_join!(
        count("InvalidToken"),
        count("InsufficientPermissions"),
        count("Throttling")
    );
    let (invalid, permission, throttled) = match counts {
        Ok(counts) => counts,
        Err(reason) => return Check::not_checked(NAME, reason),
    };
    let text = format!(
        "rejected in {} min: {invalid} tokens as invalid, {permission} without permission, {throttled} throttled",
        METRICS_PERIOD.as_secs() / 60
    );
    let finding = if throttled > 0.0 {
        Finding::new(
            format!("AWS throttles the logins ({text})"),
            "use a pool, and open fewer than 200 connections per second",
        )
    } else if permission > 0.0 {
        Finding::new(
            format!("AWS rejects logins without permission ({text})"),
            "allow rds-db:connect for the database's resource id and the user",
        )
    } else if invalid > 0.0 {
        Finding::new(
            format!("AWS rejects tokens as invalid ({text})"),
            "compare the host, port, user and region of the token with the database's, and correct the clock",
        )
    } else {
        return Check::ok(NAME, text);
    };
    Check {
        name: NAME,
        outcome: Outcome::Wrong(finding),
    }
}
