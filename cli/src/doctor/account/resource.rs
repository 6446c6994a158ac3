//! The instance, the cluster or the proxy that an endpoint leads to.

use std::error::Error;
use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_rds::types::{DbProxyStatus, IamAuthMode};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rds_iam::Service;

use super::super::input::Input;
use super::super::report::{Check, Finding};
use super::reason_not_answered;

pub const ENDPOINT: &str = "endpoint";

/// What the account says of an endpoint.
pub struct Resource {
    /// Such as `instance mydb, postgres 17.2`.
    text: String,
    status: String,
    pub arn: String,
    /// What a policy for logins names. `None` if a policy names the ARN, or if the identity may not look.
    pub id: Option<String>,
    /// What the account says of the endpoint's name and port.
    hosts: Vec<String>,
    port: Option<i32>,
    iam: IamAuthentication,
    /// The name and the value of CloudWatch's dimension, if CloudWatch counts the logins.
    pub dimension: Option<(&'static str, String)>,
}

enum IamAuthentication {
    On,
    /// With what to do.
    Off(String),
    Unknown,
}

impl IamAuthentication {
    fn of(is_on: bool, switch_on: impl FnOnce() -> String) -> IamAuthentication {
        match is_on {
            true => IamAuthentication::On,
            false => IamAuthentication::Off(switch_on()),
        }
    }
}

pub async fn examine(config: &SdkConfig, input: &Input) -> (Check, Option<Resource>) {
    let not_checked = |reason| (Check::not_checked(ENDPOINT, reason), None);
    let Some(endpoint) = EndpointName::of(input) else {
        let reason = "the host's name does not say which instance, cluster or proxy it is";
        return not_checked(reason.to_owned());
    };
    let resource = match endpoint.look_up(config).await {
        Ok(Some(resource)) => resource,
        Ok(None) => {
            let problem = format!(
                "there is no {endpoint} in {} in the account of the credentials",
                input.region
            );
            return (wrong_account(problem), None);
        }
        Err(reason) => return not_checked(reason),
    };
    let host = input.endpoint.login.host();
    if let Some(own) = resource.other_host(host) {
        let problem = format!(
            "the {endpoint} in the account of the credentials is another one, with the host {own}"
        );
        return (wrong_account(problem), None);
    }
    let check = match resource.finding(input) {
        Some(finding) => Check::wrong(ENDPOINT, finding.certain()),
        None => Check::ok(ENDPOINT, resource.to_string()),
    };
    (check, Some(resource))
}

fn wrong_account(problem: String) -> Check {
    let remedy = "use credentials of the account that owns the database, or correct the host";
    Check::wrong(ENDPOINT, Finding::new(problem, remedy))
}

impl Resource {
    /// The host of another resource that has the same identifier.
    fn other_host(&self, host: &str) -> Option<&str> {
        let is_own = self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        self.hosts.first().filter(|_| !is_own).map(String::as_str)
    }

    fn finding(&self, input: &Input) -> Option<Finding> {
        let Resource { text, status, .. } = self;
        if !is_available(status) {
            return Some(Finding::new(
                format!("the database is not available ({text}, {status})"),
                "start it, or wait until it is available",
            ));
        }
        let port = i32::from(input.endpoint.login.port());
        if let Some(own) = self.port.filter(|own| *own != port) {
            return Some(Finding::new(
                format!("the database has the port {own} and not {port} ({text})"),
                format!("write the port {own} into the URL"),
            ));
        }
        match &self.iam {
            IamAuthentication::Off(switch_on) => Some(Finding::new(
                format!("IAM authentication is off ({text}, {status})"),
                switch_on,
            )),
            IamAuthentication::On | IamAuthentication::Unknown => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.text, self.status)?;
        match self.iam {
            IamAuthentication::On => f.write_str(", IAM authentication is on"),
            IamAuthentication::Off(_) => f.write_str(", IAM authentication is off"),
            IamAuthentication::Unknown => Ok(()),
        }
    }
}

/// Whether a database with this status takes logins. Many statuses, such as `modifying`, are of a database at work ([RDS user
/// guide, *Viewing Amazon RDS DB instance
/// status*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html)). DSQL's are in capital letters.
fn is_available(status: &str) -> bool {
    const NOT_AVAILABLE: [&str; 12] = [
        "creating",
        "deleted",
        "deleting",
        "failed",
        "pending_delete",
        "pending_setup",
        "starting",
        "stopped",
        "stopping",
        "storage-full",
        "suspended",
        "suspending",
    ];
    let status = status.to_ascii_lowercase();
    !NOT_AVAILABLE.contains(&&*status)
        && !status.starts_with("inaccessible-")
        && !status.starts_with("incompatible-")
}

/// The kind and the identifier in the name of an endpoint.
enum EndpointName {
    Instance(String),
    Cluster(String),
    Proxy(String),
    ProxyEndpoint(String),
    Dsql(String),
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match self {
            EndpointName::Instance(id) => ("instance", id),
            EndpointName::Cluster(id) | EndpointName::Dsql(id) => ("cluster", id),
            EndpointName::Proxy(id) => ("proxy", id),
            EndpointName::ProxyEndpoint(id) => ("endpoint of a proxy", id),
        };
        write!(f, "{kind} {id}")
    }
}

/// No such resource, or the reason why AWS does not tell.
type Found = Result<Option<Resource>, String>;

impl EndpointName {
    /// `ID.RANDOM.…`, `ID.cluster-RANDOM.…`, `ID.cluster-ro-RANDOM.…`, `ID.proxy-RANDOM.…` or
    /// `ID.endpoint.proxy-RANDOM.…`
    fn of(input: &Input) -> Option<EndpointName> {
        let login = &input.endpoint.login;
        let mut labels = login.host().split('.');
        let (id, second) = (labels.next()?.to_owned(), labels.next()?);
        Some(match login.service() {
            Service::Dsql => EndpointName::Dsql(id),
            _ if !input.is_endpoint || second.starts_with("global-") => return None,
            // A token cannot be made for a custom endpoint.
            _ if second.starts_with("cluster-custom-") => return None,
            _ if second.starts_with("cluster-") => EndpointName::Cluster(id),
            _ if second.starts_with("proxy-") => EndpointName::Proxy(id),
            _ if second == "endpoint" => EndpointName::ProxyEndpoint(id),
            _ => EndpointName::Instance(id),
        })
    }

    async fn look_up(&self, config: &SdkConfig) -> Found {
        let rds = aws_sdk_rds::Client::new(config);
        match self {
            EndpointName::Instance(id) => instance(&rds, id).await,
            EndpointName::Cluster(id) => cluster(&rds, id).await,
            EndpointName::Proxy(id) => proxy(&rds, id).await,
            EndpointName::ProxyEndpoint(id) => proxy_of_endpoint(&rds, id).await,
            EndpointName::Dsql(id) => dsql_cluster(config, id).await,
        }
    }
}

async fn instance(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let request = rds.describe_db_instances().db_instance_identifier(id);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return none_if_not_found(&error, "rds:DescribeDBInstances"),
    };
    let Some(instance) = answer.db_instances().first() else {
        return Ok(None);
    };
    let is_on = instance.iam_database_authentication_enabled() == Some(true);
    let mut resource = Resource {
        text: format!(
            "instance {id}, {} {}",
            instance.engine().unwrap_or_default(),
            instance.engine_version().unwrap_or_default()
        ),
        status: instance
            .db_instance_status()
            .unwrap_or("without a status")
            .to_owned(),
        arn: instance.db_instance_arn().unwrap_or_default().to_owned(),
        id: instance.dbi_resource_id().map(str::to_owned),
        hosts: strings([instance.endpoint().and_then(|endpoint| endpoint.address())]),
        port: instance.endpoint().and_then(|endpoint| endpoint.port()),
        iam: IamAuthentication::of(is_on, || switch_on("instance", id)),
        dimension: Some(("DBInstanceIdentifier", id.to_owned())),
    };
    // An instance of a cluster has the settings of the cluster, and a policy names the cluster.
    if let Some(id) = instance.db_cluster_identifier() {
        (resource.iam, resource.id) = match cluster(rds, id).await {
            Ok(Some(cluster)) => {
                if !is_available(&cluster.status) {
                    (resource.text, resource.status) = (cluster.text, cluster.status);
                }
                (cluster.iam, cluster.id)
            }
            _ => (IamAuthentication::Unknown, None),
        };
    }
    Ok(Some(resource))
}

async fn cluster(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let request = rds.describe_db_clusters().db_cluster_identifier(id);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return none_if_not_found(&error, "rds:DescribeDBClusters"),
    };
    Ok(answer.db_clusters().first().map(|cluster| {
        let is_on = cluster.iam_database_authentication_enabled() == Some(true);
        Resource {
            text: format!(
                "cluster {id}, {} {}",
                cluster.engine().unwrap_or_default(),
                cluster.engine_version().unwrap_or_default()
            ),
            status: cluster.status().unwrap_or("without a status").to_owned(),
            arn: cluster.db_cluster_arn().unwrap_or_default().to_owned(),
            id: cluster.db_cluster_resource_id().map(str::to_owned),
            hosts: strings([cluster.endpoint(), cluster.reader_endpoint()]),
            port: cluster.port(),
            iam: IamAuthentication::of(is_on, || switch_on("cluster", id)),
            dimension: Some(("DBClusterIdentifier", id.to_owned())),
        }
    }))
}

fn strings<const N: usize>(found: [Option<&str>; N]) -> Vec<String> {
    found.into_iter().flatten().map(str::to_owned).collect()
}

fn switch_on(kind: &str, id: &str) -> String {
    format!(
        "switch it on: aws rds modify-db-{kind} --db-{kind}-identifier {id} --enable-iam-database-authentication --apply-immediately"
    )
}

async fn proxy(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let answer = match rds.describe_db_proxies().db_proxy_name(id).send().await {
        Ok(answer) => answer,
        Err(error) => return none_if_not_found(&error, "rds:DescribeDBProxies"),
    };
    Ok(answer.db_proxies().first().map(|proxy| {
        let arn = proxy.db_proxy_arn().unwrap_or_default();
        let is_enabled =
            |mode: Option<&IamAuthMode>| mode.is_some_and(|mode| *mode != IamAuthMode::Disabled);
        let is_on = proxy.auth().iter().any(|auth| is_enabled(auth.iam_auth()))
            || proxy.default_auth_scheme() == Some("IAM_AUTH");
        let status = proxy.status().map(DbProxyStatus::as_str);
        Resource {
            text: format!("proxy {id}, {}", proxy.engine_family().unwrap_or_default()),
            status: status.unwrap_or("without a status").to_owned(),
            arn: arn.to_owned(),
            // `arn:…:db-proxy:prx-…`
            id: arn.rsplit(':').next().map(str::to_owned),
            hosts: Vec::new(),
            port: None,
            iam: IamAuthentication::of(is_on, || {
                "set IAMAuth to REQUIRED in the proxy's authentication".to_owned()
            }),
            dimension: None,
        }
    }))
}

async fn proxy_of_endpoint(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let request = rds.describe_db_proxy_endpoints().db_proxy_endpoint_name(id);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return none_if_not_found(&error, "rds:DescribeDBProxyEndpoints"),
    };
    let endpoint = answer.db_proxy_endpoints().first();
    match endpoint.and_then(|endpoint| endpoint.db_proxy_name()) {
        Some(name) => proxy(rds, name).await,
        None => Ok(None),
    }
}

/// Aurora DSQL always has IAM authentication.
async fn dsql_cluster(config: &SdkConfig, id: &str) -> Found {
    let dsql = aws_sdk_dsql::Client::new(config);
    let cluster = match dsql.get_cluster().identifier(id).send().await {
        Ok(cluster) => cluster,
        Err(error) => return none_if_not_found(&error, "dsql:GetCluster"),
    };
    Ok(Some(Resource {
        text: format!("cluster {id}"),
        status: cluster.status().as_str().to_owned(),
        arn: cluster.arn().to_owned(),
        id: None,
        hosts: Vec::new(),
        port: None,
        iam: IamAuthentication::On,
        dimension: None,
    }))
}

/// No such resource, or the reason why AWS does not tell.
fn none_if_not_found(
    error: &(impl ProvideErrorMetadata + Error + 'static),
    permission: &str,
) -> Found {
    match error.code() {
        Some(code) if code.contains("NotFound") => Ok(None),
        _ => Err(reason_not_answered(error, permission)),
    }
}
