//! What the account says of the endpoint, after the database has rejected a token.

use super::aws::{CLUSTER_RESOURCE_ID, PROXY_RESOURCE_ID, RESOURCE_ID, ROLE};
use super::support::DSQL_HOST;
use super::*;

const DSQL_REJECTED: Answer =
    Answer::Error("08006", "unable to accept connection, access denied", "no");

const INSTANCE: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";
const CLUSTER: &str = "mycluster.cluster-abc123xyz.us-east-1.rds.amazonaws.com";
const READER: &str = "mycluster.cluster-ro-abc123xyz.us-east-1.rds.amazonaws.com";
const PROXY: &str = "myproxy.proxy-abc123xyz.us-east-1.rds.amazonaws.com";
const PROXY_ENDPOINT: &str = "readers.endpoint.proxy-abc123xyz.us-east-1.rds.amazonaws.com";

const ON: &str = "<Status>available</Status>\
     <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>";
const OFF: &str = "<Status>available</Status>\
     <IAMDatabaseAuthenticationEnabled>false</IAMDatabaseAuthenticationEnabled>";
const PROXY_ON: &str =
    "<Status>available</Status><Auth><member><IAMAuth>REQUIRED</IAMAuth></member></Auth>";
const PROXY_OFF: &str =
    "<Status>available</Status><Auth><member><IAMAuth>DISABLED</IAMAuth></member></Auth>";

fn doctor(account: Account, host: &str) -> Output {
    doctor_at(&sandbox(account), host, "app", REJECTED)
}

#[test]
fn the_policy_names_the_resource_id_of_what_the_endpoint_leads_to() {
    let account = Account::healthy()
        .with_cluster(ON)
        .with_proxy(PROXY_ON)
        .with_policy("implicitDeny");
    for (host, id) in [
        (INSTANCE, RESOURCE_ID),
        (CLUSTER, CLUSTER_RESOURCE_ID),
        (READER, CLUSTER_RESOURCE_ID),
        (PROXY, PROXY_RESOURCE_ID),
        (PROXY_ENDPOINT, PROXY_RESOURCE_ID),
    ] {
        let output = doctor(account.clone(), host);
        let resource = format!(r#""arn:aws:rds-db:us-east-1:123456789012:dbuser:{id}/app""#);
        assert_only(&output, "policy", "no policy allows", &resource);
    }
}

#[test]
fn the_policy_for_an_instance_of_a_cluster_names_the_cluster() {
    let account = Account::healthy()
        .with_cluster(ON)
        .with_instance(
            "<DBInstanceStatus>available</DBInstanceStatus><DBClusterIdentifier>mycluster</DBClusterIdentifier>\
             <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>",
        )
        .with_policy("implicitDeny");
    let output = doctor(account.clone(), INSTANCE);
    let resource = format!("dbuser:{CLUSTER_RESOURCE_ID}/app");
    assert_only(&output, "policy", "no policy allows", &resource);

    let output = doctor(account.without("DescribeDBClusters"), INSTANCE);
    let reason = "not checked  policy       the database's resource id is not known; the policy must allow rds-db:connect \
                  on arn:aws:rds-db:us-east-1:123456789012:dbuser:RESOURCE-ID/app";
    assert!(output.stdout.contains(reason), "{}", output.stdout);
}

#[test]
fn an_instance_of_a_cluster_has_the_settings_of_the_cluster() {
    let instance = "<DBInstanceStatus>available</DBInstanceStatus><DBClusterIdentifier>mycluster</DBClusterIdentifier>\
         <IAMDatabaseAuthenticationEnabled>false</IAMDatabaseAuthenticationEnabled>";
    let account = Account::healthy().with_instance(instance);
    let output = doctor(account.clone().with_cluster(ON), INSTANCE);
    assert_only_rejected(&output);
    let output = doctor(account.clone().with_cluster(OFF), INSTANCE);
    assert_only(
        &output,
        "endpoint",
        "IAM authentication is off",
        "modify-db-cluster",
    );
    // Without the permission to look at the cluster, the setting is unknown.
    let output = doctor(account, INSTANCE);
    assert_only_rejected(&output);
}

#[test]
fn iam_authentication_that_is_off_is_the_conclusion() {
    let account = Account::healthy().with_cluster(OFF).with_proxy(PROXY_OFF);
    for (host, remedy) in [
        (
            CLUSTER,
            "modify-db-cluster --db-cluster-identifier mycluster",
        ),
        (PROXY, "set IAMAuth to REQUIRED"),
        (PROXY_ENDPOINT, "set IAMAuth to REQUIRED"),
    ] {
        let output = doctor(account.clone(), host);
        assert_only(&output, "endpoint", "IAM authentication is off", remedy);
    }
}

/// Without IAM authentication, a database asks each user for a password.
#[test]
fn iam_authentication_that_is_off_outweighs_the_missing_login() {
    let account = Account::healthy().with_cluster(OFF);
    let answer = Answer::Error(
        "28P01",
        "password authentication failed for user \"app\"",
        "",
    );
    let output = doctor_at(&sandbox(account), CLUSTER, "app", answer);
    assert_only(
        &output,
        "endpoint",
        "IAM authentication is off",
        "modify-db-cluster",
    );
}

#[test]
fn an_endpoint_that_the_account_does_not_have_is_the_conclusion() {
    let account = Account::healthy()
        .error("DescribeDBClusters", "DBClusterNotFoundFault")
        .error("DescribeDBProxies", "DBProxyNotFoundFault")
        .error("DescribeDBProxyEndpoints", "DBProxyEndpointNotFoundFault");
    for (host, problem) in [
        (CLUSTER, "there is no cluster mycluster in us-east-1"),
        (PROXY, "there is no proxy myproxy in us-east-1"),
        (PROXY_ENDPOINT, "there is no endpoint of a proxy readers"),
    ] {
        let output = doctor(account.clone(), host);
        assert_only(
            &output,
            "endpoint",
            problem,
            "account that owns the database",
        );
    }
}

#[test]
fn a_database_that_is_not_available_is_the_conclusion() {
    for status in ["stopped", "starting", "incompatible-network"] {
        let account = Account::healthy().with_instance(&format!(
            "<DBInstanceStatus>{status}</DBInstanceStatus>\
             <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>"
        ));
        // Its server does not listen.
        let output = sandbox(account).doctor(&["--dial", "127.0.0.1:1", &url(INSTANCE, 5432)]);
        let conclusion = conclusion(&output);
        assert!(
            conclusion.contains("not available") && conclusion.contains(status),
            "{conclusion}"
        );
    }
    let stopped = "<Status>stopped</Status><IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>";
    let account = Account::healthy().with_cluster(stopped).with_instance(
        "<DBInstanceStatus>available</DBInstanceStatus><DBClusterIdentifier>mycluster</DBClusterIdentifier>",
    );
    let output = doctor(account, INSTANCE);
    assert_only(
        &output,
        "endpoint",
        "(cluster mycluster, aurora-mysql 8.0, stopped)",
        "start it",
    );

    let account = Account::healthy().with_dsql_cluster("PENDING_DELETE");
    let output = doctor_at(&sandbox(account), DSQL_HOST, "app", DSQL_REJECTED);
    assert_only(&output, "endpoint", "PENDING_DELETE", "available");
}

#[test]
fn another_port_than_the_databases_is_the_conclusion() {
    let account = Account::healthy().with_instance(
        "<DBInstanceStatus>available</DBInstanceStatus><Endpoint><Port>5433</Port></Endpoint>\
         <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>",
    );
    let output = doctor(account, INSTANCE);
    assert_only(
        &output,
        "endpoint",
        "the port 5433 and not 5432",
        "write the port 5433",
    );
}

#[test]
fn the_policies_of_a_role_are_found_by_its_path() {
    let account = Account::healthy().with_policy("implicitDeny");
    let output = doctor(account.clone(), INSTANCE);
    assert_only(&output, "policy", ROLE, "add the statement");
    // Without the permission to look at the role, its path is unknown.
    let output = doctor(account.without("GetRole"), INSTANCE);
    assert_only_rejected(&output);
    let reason =
        "not checked  policy       AWS answers NoSuchEntity to iam:SimulatePrincipalPolicy";
    assert!(output.stdout.contains(reason), "{}", output.stdout);
}

#[test]
fn a_policy_with_conditions_is_not_judged() {
    let account = Account::healthy().with_conditions("implicitDeny", "aws:SourceIp");
    let output = doctor(account, INSTANCE);
    assert_only_rejected(&output);
    let reason = "not checked  policy       the policies have conditions on aws:SourceIp; the policy must allow";
    assert!(output.stdout.contains(reason), "{}", output.stdout);
}

#[test]
fn a_denied_login_is_the_conclusion() {
    let output = doctor(Account::healthy().with_policy("explicitDeny"), INSTANCE);
    assert_only(
        &output,
        "policy",
        "a policy denies",
        "remove the statement with the effect Deny",
    );
}

#[test]
fn metrics_of_a_cluster_are_counted_for_the_cluster() {
    let account = Account::healthy()
        .with_cluster(ON)
        .with_rejections("Throttling", 7.0);
    let output = doctor(account, CLUSTER);
    assert_only(&output, "metrics", "AWS throttles logins", "use a pool");
}

#[test]
fn an_identity_without_permissions_learns_the_resource_of_the_policy() {
    let account = Account::healthy().without("SimulatePrincipalPolicy");
    let output = doctor(account, INSTANCE);
    assert_only_rejected(&output);
    let resource = format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:{RESOURCE_ID}/app");
    let reason = format!(
        "the identity has no permission iam:SimulatePrincipalPolicy; the policy must allow rds-db:connect on {resource}"
    );
    assert!(output.stdout.contains(&reason), "{}", output.stdout);
}

#[test]
fn another_database_with_the_same_identifier_is_the_conclusion() {
    let account = Account::healthy().with_policy("implicitDeny").with_instance(
        "<DBInstanceStatus>available</DBInstanceStatus><IAMDatabaseAuthenticationEnabled>false</IAMDatabaseAuthenticationEnabled>\
         <Endpoint><Address>mydb.other9876.us-east-1.rds.amazonaws.com</Address><Port>5433</Port></Endpoint>",
    );
    let output = doctor(account, INSTANCE);
    assert_only(
        &output,
        "endpoint",
        "the instance mydb in the account of the credentials is another one, with the host mydb.other9876",
        "account that owns the database",
    );
}

#[test]
fn the_endpoints_of_a_cluster_are_its_own() {
    let account = Account::healthy().with_cluster(&format!(
        "{ON}<Endpoint>{CLUSTER}</Endpoint><ReaderEndpoint>{READER}</ReaderEndpoint><Port>5432</Port>"
    ));
    for host in [CLUSTER, READER] {
        let output = doctor(account.clone(), host);
        assert_only_rejected(&output);
    }
    let other = "mycluster.cluster-other9876.us-east-1.rds.amazonaws.com";
    let output = doctor(account, other);
    assert_only(
        &output,
        "endpoint",
        "the cluster mycluster",
        "account that owns the database",
    );
}

#[test]
fn an_organization_or_a_boundary_that_does_not_allow_the_login_is_the_conclusion() {
    for (decision, fields, problem, remedy) in [
        (
            "explicitDeny",
            "<OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail>",
            "a service control policy does not allow",
            "policy of the AWS organization",
        ),
        (
            "implicitDeny",
            "<PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>false</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>",
            "the permissions boundary of",
            "change the permissions boundary",
        ),
    ] {
        let account = Account::healthy().with_decision(decision, fields);
        assert_only(&doctor(account, INSTANCE), "policy", problem, remedy);
    }
}

#[test]
fn rejections_of_another_program_do_not_contradict_the_policy() {
    let account = Account::healthy().with_rejections("InsufficientPermissions", 7.0);
    let output = doctor(account.clone(), INSTANCE);
    assert_only_rejected(&output);
    let output = doctor(account.without("SimulatePrincipalPolicy"), INSTANCE);
    assert_only(&output, "metrics", "without permission", "rds-db:connect");
}
