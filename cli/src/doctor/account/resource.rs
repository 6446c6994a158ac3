//! The instance, the cluster or the proxy that an endpoint leads to.

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_rds::types::{DbProxyStatus, IamAuthMode};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rds_iam::Service;

use super::super::input::Input;
use super::super::report::{Check, Finding};
use super::why_not;

pub const ENDPOINT: &str = "endpoint";

/// What the account says of an endpoint.
pub struct Resource {
    /// Such as `instance mydb, postgres 17.2`.
    text: String,
    status: String,
    pub arn: String,
    /// What a policy for logins names. `None` if a policy names the ARN, or if the identity may not look.
    pub id: Option<String>,
    port: Option<i32>,
    /// How to switch on IAM authentication, if it is off.
    switch_on: Option<String>,
    /// The name and the value of CloudWatch's dimension, if CloudWatch counts the logins.
    pub dimension: Option<(&'static str, String)>,
}

pub async fn examine(config: &SdkConfig, input: &Input) -> (Check, Option<Resource>) {
    let not_checked = |reason| (Check::not_checked(ENDPOINT, reason), None);
    let Some(endpoint) = Endpoint::of(input) else {
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
            let remedy =
                "use credentials of the account that owns the database, or correct the host";
            return (Check::wrong(ENDPOINT, Finding::new(problem, remedy)), None);
        }
        Err(reason) => return not_checked(reason),
    };
    let check = match resource.finding(input) {
        Some(finding) => Check::wrong(ENDPOINT, finding.certain()),
        None => Check::ok(
            ENDPOINT,
            format!(
                "{}, {}, IAM authentication is on",
                resource.text, resource.status
            ),
        ),
    };
    (check, Some(resource))
}

impl Resource {
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
        let switch_on = self.switch_on.as_ref()?;
        Some(Finding::new(
            format!("IAM authentication is off ({text}, {status})"),
            switch_on,
        ))
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
enum Endpoint {
    Instance(String),
    Cluster(String),
    CustomCluster(String),
    Proxy(String),
    CustomProxy(String),
    Dsql(String),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, id) = match self {
            Endpoint::Instance(id) => ("instance", id),
            Endpoint::Cluster(id) | Endpoint::Dsql(id) => ("cluster", id),
            Endpoint::CustomCluster(id) => ("custom endpoint of a cluster", id),
            Endpoint::Proxy(id) => ("proxy", id),
            Endpoint::CustomProxy(id) => ("endpoint of a proxy", id),
        };
        write!(f, "{kind} {id}")
    }
}

/// No such resource, or the reason why AWS does not tell.
type Found = Result<Option<Resource>, String>;

impl Endpoint {
    /// `ID.RANDOM.…`, `ID.cluster-RANDOM.…`, `ID.cluster-ro-RANDOM.…`, `ID.cluster-custom-RANDOM.…`, `ID.proxy-RANDOM.…` or
    /// `ID.endpoint.proxy-RANDOM.…`
    fn of(input: &Input) -> Option<Endpoint> {
        let login = &input.endpoint.login;
        let mut labels = login.host().split('.');
        let (id, second) = (labels.next()?.to_owned(), labels.next()?);
        Some(match login.service() {
            Service::Dsql => Endpoint::Dsql(id),
            // The name is not an endpoint's.
            _ if input.login.region().is_none() => return None,
            _ if second.starts_with("cluster-custom-") => Endpoint::CustomCluster(id),
            _ if second.starts_with("cluster-") => Endpoint::Cluster(id),
            _ if second.starts_with("proxy-") => Endpoint::Proxy(id),
            _ if second == "endpoint" => Endpoint::CustomProxy(id),
            _ => Endpoint::Instance(id),
        })
    }

    async fn look_up(&self, config: &SdkConfig) -> Found {
        let rds = aws_sdk_rds::Client::new(config);
        match self {
            Endpoint::Instance(id) => instance(&rds, id).await,
            Endpoint::Cluster(id) => cluster(&rds, id).await,
            Endpoint::CustomCluster(id) => {
                let request = rds.describe_db_cluster_endpoints();
                let answer = request.db_cluster_endpoint_identifier(id).send().await;
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(error) => return missing_or(&error, "rds:DescribeDBClusterEndpoints"),
                };
                let endpoint = answer.db_cluster_endpoints().first();
                match endpoint.and_then(|endpoint| endpoint.db_cluster_identifier()) {
                    Some(id) => cluster(&rds, id).await,
                    None => Ok(None),
                }
            }
            Endpoint::Proxy(id) => proxy(&rds, id).await,
            Endpoint::CustomProxy(id) => {
                let request = rds.describe_db_proxy_endpoints();
                let answer = request.db_proxy_endpoint_name(id).send().await;
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(error) => return missing_or(&error, "rds:DescribeDBProxyEndpoints"),
                };
                let endpoint = answer.db_proxy_endpoints().first();
                match endpoint.and_then(|endpoint| endpoint.db_proxy_name()) {
                    Some(id) => proxy(&rds, id).await,
                    None => Ok(None),
                }
            }
            Endpoint::Dsql(id) => dsql_cluster(config, id).await,
        }
    }
}

async fn instance(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let request = rds.describe_db_instances().db_instance_identifier(id);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return missing_or(&error, "rds:DescribeDBInstances"),
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
        port: instance.endpoint().and_then(|endpoint| endpoint.port()),
        switch_on: (!is_on).then(|| switch_on("instance", id)),
        dimension: Some(("DBInstanceIdentifier", id.to_owned())),
    };
    // An instance of a cluster has the settings of the cluster, and a policy names the cluster.
    if let Some(id) = instance.db_cluster_identifier() {
        let cluster = cluster(rds, id).await.ok().flatten();
        resource.switch_on = (!is_on).then(|| switch_on("cluster", id));
        resource.id = cluster.and_then(|cluster| cluster.id);
    }
    Ok(Some(resource))
}

async fn cluster(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let request = rds.describe_db_clusters().db_cluster_identifier(id);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return missing_or(&error, "rds:DescribeDBClusters"),
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
            port: cluster.port(),
            switch_on: (!is_on).then(|| switch_on("cluster", id)),
            dimension: Some(("DBClusterIdentifier", id.to_owned())),
        }
    }))
}

fn switch_on(kind: &str, id: &str) -> String {
    format!(
        "switch it on: aws rds modify-db-{kind} --db-{kind}-identifier {id} --enable-iam-database-authentication --apply-immediately"
    )
}

async fn proxy(rds: &aws_sdk_rds::Client, id: &str) -> Found {
    let answer = match rds.describe_db_proxies().db_proxy_name(id).send().await {
        Ok(answer) => answer,
        Err(error) => return missing_or(&error, "rds:DescribeDBProxies"),
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
            port: None,
            switch_on: (!is_on)
                .then(|| "set IAMAuth to REQUIRED in the proxy's authentication".to_owned()),
            dimension: None,
        }
    }))
}

/// Aurora DSQL always has IAM authentication.
async fn dsql_cluster(config: &SdkConfig, id: &str) -> Found {
    let dsql = aws_sdk_dsql::Client::new(config);
    let cluster = match dsql.get_cluster().identifier(id).send().await {
        Ok(cluster) => cluster,
        Err(error) => return missing_or(&error, "dsql:GetCluster"),
    };
    Ok(Some(Resource {
        text: format!("cluster {id}"),
        status: cluster.status().as_str().to_owned(),
        arn: cluster.arn().to_owned(),
        id: None,
        port: None,
        switch_on: None,
        dimension: None,
    }))
}

/// No such resource, or the reason why AWS does not tell.
fn missing_or(error: &(impl ProvideErrorMetadata + Error + 'static), permission: &str) -> Found {
    match error.code() {
        Some(code) if code.contains("NotFound") => Ok(None),
        _ => Err(why_not(error, permission)),
    }
}
