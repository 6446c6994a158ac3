//! Statements for the person who manages the database.

/// What RDS calls the plugin for IAM logins ([RDS user guide, *Creating a database account using IAM
/// authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html)).
pub const MYSQL_PLUGIN: &str = "AWSAuthenticationPlugin";

/// A user of PostgreSQL.
pub fn identifier(user: &str) -> String {
    format!("\"{}\"", user.replace('"', "\"\""))
}

pub fn grant_rds_iam(user: &str) -> String {
    format!("GRANT rds_iam TO {}", identifier(user))
}

pub fn allow_login(user: &str) -> String {
    format!("ALTER ROLE {} WITH LOGIN", identifier(user))
}

/// A user of MySQL or MariaDB that logs in with IAM.
pub fn create_mysql_user(user: &str) -> String {
    let user = text(user);
    format!("CREATE USER {user} IDENTIFIED WITH {MYSQL_PLUGIN} AS 'RDS' REQUIRE SSL")
}

/// The same for a user that exists. The user keeps its privileges.
pub fn alter_mysql_user(user: &str, host: &str) -> String {
    let (user, host) = (text(user), text(host));
    format!("ALTER USER {user}@{host} IDENTIFIED WITH {MYSQL_PLUGIN} AS 'RDS' REQUIRE SSL")
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
