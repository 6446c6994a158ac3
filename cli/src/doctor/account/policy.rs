//! Whether the identity's policies allow the login, by `iam:SimulatePrincipalPolicy`.

use aws_config::SdkConfig;
use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use rds_iam::Service;
use serde_json::json;

use super::super::arn::Arn;
use super::super::input::Input;
use super::super::report::{Check, Finding};
use super::resource::Resource;
use super::why_not;

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
    let Some((action, resource)) = login(input, &identity, resource) else {
        return not_checked("the database's resource id is not known".to_owned());
    };
    let iam = aws_sdk_iam::Client::new(config);
    let Some(principal) = principal(&identity, &iam).await else {
        let reason = "the policies of this kind of identity cannot be simulated";
        return not_checked(format!(
            "{reason}; the policy must allow {action} on {resource}"
        ));
    };
    let request = iam
        .simulate_principal_policy()
        .policy_source_arn(&principal)
        .action_names(action)
        .resource_arns(&resource);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let reason = why_not(&error, "iam:SimulatePrincipalPolicy");
            return not_checked(format!(
                "{reason}; the policy must allow {action} on {resource}"
            ));
        }
    };
    let result = answer.evaluation_results().first();
    match result.map(|result| result.eval_decision()) {
        Some(PolicyEvaluationDecisionType::Allowed) => {
            Check::ok(POLICY, format!("{principal} may {action} on {resource}"))
        }
        Some(PolicyEvaluationDecisionType::ExplicitDeny) => {
            let problem = format!("a policy denies {principal} {action} on {resource}");
            let remedy = "remove the statement with the effect Deny";
            Check::wrong(POLICY, Finding::new(problem, remedy))
        }
        Some(_) => {
            let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
            let problem = format!("the policies do not allow {principal} {action} on {resource}");
            let remedy = format!("add the statement {statement}");
            Check::wrong(POLICY, Finding::new(problem, remedy))
        }
        None => not_checked("iam:SimulatePrincipalPolicy has no result".to_owned()),
    }
}

/// The action and the resource of a policy that allows the login.
fn login(
    input: &Input,
    identity: &Arn<'_>,
    resource: Option<&Resource>,
) -> Option<(&'static str, String)> {
    let (login, region) = (&input.endpoint.login, &input.region);
    let user = login.user();
    if login.service() == Service::Dsql {
        let action = match user {
            "admin" => "dsql:DbConnectAdmin",
            _ => "dsql:DbConnect",
        };
        let Arn {
            partition, account, ..
        } = identity;
        let (id, _) = login.host().split_once('.')?;
        let arn = resource
            .map(|resource| resource.arn.clone())
            .unwrap_or_else(|| format!("arn:{partition}:dsql:{region}:{account}:cluster/{id}"));
        return Some((action, arn));
    }
    let resource = resource?;
    let id = resource.id.as_ref()?;
    let Arn {
        partition, account, ..
    } = Arn::read(&resource.arn)?;
    let arn = format!("arn:{partition}:rds-db:{region}:{account}:dbuser:{id}/{user}");
    Some(("rds-db:connect", arn))
}

/// The user or the role whose policies count. Only IAM knows the path of a session's role.
async fn principal(identity: &Arn<'_>, iam: &aws_sdk_iam::Client) -> Option<String> {
    let principal = identity.principal()?;
    if let Some((_, role)) = principal.split_once(":role/")
        && let Ok(answer) = iam.get_role().role_name(role).send().await
        && let Some(role) = answer.role()
    {
        return Some(role.arn().to_owned());
    }
    Some(principal)
}
