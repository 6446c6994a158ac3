//! Whether the identity's policies allow the login, by `iam:SimulatePrincipalPolicy`.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use aws_sdk_iam::types::{EvaluationResult, PolicyEvaluationDecisionType};
use rds_iam::Service;
use serde_json::json;

use super::super::arn::Arn;
use super::super::input::Input;
use super::super::report::{Check, Finding};
use super::reason_not_answered;
use super::resource::Resource;

pub const POLICY: &str = "policy";

pub async fn examine(
    config: &SdkConfig,
    input: &Input,
    identity: Option<&str>,
    resource: Option<&Resource>,
) -> Check {
    let not_checked = |reason| Check::not_checked(POLICY, reason);
    let Some(identity) = identity.and_then(Arn::read) else {
        return not_checked("the identity is not known".to_owned());
    };
    let (action, resource) = login(input, &identity, resource);
    let needed = format!("the policy must allow {action} on {resource}");
    if resource.contains(RESOURCE_ID) {
        return not_checked(format!("the database's resource id is not known; {needed}"));
    }
    let iam = aws_sdk_iam::Client::new(config);
    let Some(principal) = principal(&identity, &iam).await else {
        let reason = "the policies of this kind of identity cannot be simulated";
        return not_checked(format!("{reason}; {needed}"));
    };
    let request = iam
        .simulate_principal_policy()
        .policy_source_arn(&principal)
        .action_names(action)
        .resource_arns(&resource);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let reason = reason_not_answered(&error, "iam:SimulatePrincipalPolicy");
            return not_checked(format!("{reason}; {needed}"));
        }
    };
    let Some(result) = answer.evaluation_results().first() else {
        return not_checked("iam:SimulatePrincipalPolicy has no result".to_owned());
    };
    let decision = result.eval_decision();
    if *decision == PolicyEvaluationDecisionType::Allowed {
        return Check::ok(POLICY, format!("{principal} may {action} on {resource}"));
    }
    let missing = missing_context(result);
    if !missing.is_empty() {
        let keys = missing.join(", ");
        return not_checked(format!("the policies have conditions on {keys}; {needed}"));
    }
    let organization = result.organizations_decision_detail();
    let boundary = result.permissions_boundary_decision_detail();
    let (problem, remedy) = match decision {
        _ if organization.is_some_and(|detail| !detail.allowed_by_organizations()) => (
            format!(
                "a service control policy does not allow {principal} the action {action} on {resource}"
            ),
            "change the policy of the AWS organization".to_owned(),
        ),
        _ if boundary.is_some_and(|detail| !detail.allowed_by_permissions_boundary()) => (
            format!(
                "the permissions boundary of {principal} does not allow the action {action} on {resource}"
            ),
            "change the permissions boundary".to_owned(),
        ),
        PolicyEvaluationDecisionType::ExplicitDeny => (
            format!("a policy denies {principal} the action {action} on {resource}"),
            "remove the statement with the effect Deny".to_owned(),
        ),
        _ => {
            let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
            (
                format!("no policy allows {principal} the action {action} on {resource}"),
                format!("add the statement {statement}"),
            )
        }
    };
    Check::wrong(POLICY, Finding::new(problem, remedy))
}

/// The keys of conditions that only a real login has, such as `aws:SourceIp`.
fn missing_context(result: &EvaluationResult) -> Vec<&str> {
    let of_resources = result.resource_specific_results().iter();
    let of_resources = of_resources.flat_map(|result| result.missing_context_values());
    let all = result.missing_context_values().iter().chain(of_resources);
    let keys: BTreeSet<&str> = all.map(String::as_str).collect();
    keys.into_iter().collect()
}

/// In the place of an id that the account has not told.
const RESOURCE_ID: &str = "RESOURCE-ID";

/// The action and the resource of a policy that allows the login.
fn login(input: &Input, identity: &Arn<'_>, resource: Option<&Resource>) -> (&'static str, String) {
    let (login, region) = (&input.endpoint.login, &input.region);
    let (host, user) = (login.host(), login.user());
    let arn = resource.and_then(|resource| Arn::read(&resource.arn));
    let Arn {
        partition, account, ..
    } = arn.as_ref().unwrap_or(identity);
    if login.service() == Service::Dsql {
        let action = match user {
            "admin" => "dsql:DbConnectAdmin",
            _ => "dsql:DbConnect",
        };
        let (id, _) = host.split_once('.').unwrap_or((host, ""));
        return (
            action,
            format!("arn:{partition}:dsql:{region}:{account}:cluster/{id}"),
        );
    }
    let id = resource.and_then(|resource| resource.id.as_deref());
    let id = id.unwrap_or(RESOURCE_ID);
    let arn = format!("arn:{partition}:rds-db:{region}:{account}:dbuser:{id}/{user}");
    ("rds-db:connect", arn)
}

/// The user or the role whose policies count. Only IAM knows the path of a session's role.
async fn principal(identity: &Arn<'_>, iam: &aws_sdk_iam::Client) -> Option<String> {
    if let Some(role) = identity.role()
        && let Ok(answer) = iam.get_role().role_name(role).send().await
        && let Some(role) = answer.role()
    {
        return Some(role.arn().to_owned());
    }
    identity.principal()
}
