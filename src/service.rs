use std::fmt;

/// The AWS service that checks a token. Each service has its own form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Amazon RDS and Aurora, including RDS Proxy. The host, the port and the user are signed ([Amazon RDS user guide, *IAM
    /// database authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)).
    RdsDb,
    /// Amazon Aurora DSQL. The host is signed, without the port and the user ([Aurora DSQL user guide, *Generating an
    /// authentication token*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html)).
    Dsql,
}

impl Service {
    /// The service's name in SigV4's credential scope: `rds-db` or `dsql`. `Display` gives the same name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Service::RdsDb => "rds-db",
            Service::Dsql => "dsql",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
