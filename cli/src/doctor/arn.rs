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

    /// The ARN of the user or the role whose policies count. A role lacks its path, because the name of a session does.
    pub fn principal(&self) -> Option<String> {
        if self.resource.starts_with("user/") {
            return Some(self.arn.to_owned());
        }
        let session = self.resource.strip_prefix("assumed-role/")?;
        let (role, _) = session.split_once('/')?;
        let (partition, account) = (self.partition, self.account);
        Some(format!("arn:{partition}:iam::{account}:role/{role}"))
    }
}
