//! Names of identities and resources in AWS.

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`
pub struct Arn<'a> {
    arn: &'a str,
    pub partition: &'a str,
    pub account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    pub fn read(arn: &'a str) -> Option<Arn<'a>> {
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

    /// The role of a session.
    pub fn role(&self) -> Option<&'a str> {
        let session = self.resource.strip_prefix("assumed-role/")?;
        let (role, _) = session.split_once('/')?;
        Some(role)
    }

    /// The ARN of the user or the role whose policies count. A role lacks its path, because the name of a session does.
    #[cfg_attr(
        not(feature = "account"),
        expect(dead_code, reason = "only the checks of the account read policies")
    )]
    pub fn principal(&self) -> Option<String> {
        if self.resource.starts_with("user/") {
            return Some(self.arn.to_owned());
        }
        let (partition, account, role) = (self.partition, self.account, self.role()?);
        Some(format!("arn:{partition}:iam::{account}:role/{role}"))
    }

    /// How to name the identity in `AWS IAM GRANT`, with the path of a role.
    pub fn grantee(&self) -> Option<String> {
        if self.resource.starts_with("user/") {
            return Some(format!("'{}'", self.arn));
        }
        let role = self.role()?;
        Some(format!(
            "the ARN that `aws iam get-role --role-name {role}` prints"
        ))
    }
}
