//! The database user's grant, as another user sees it.

use std::env;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rds_iam::{Login, Service, TokenCache};
use rds_iam_connector::Protocol;
use tokio::time::timeout;

use super::input::Input;
use super::report::{Check, Finding};
use super::{connect, sql};

pub const GRANT: &str = "grant";

const LIMIT: Duration = Duration::from_secs(5);

/// `rds_iam` may have been granted to another role that the user has.
const POSTGRES_GRANT: &str = "
    WITH RECURSIVE granted (oid) AS (
        SELECT roleid FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member WHERE rolname = $1
        UNION
        SELECT roleid FROM pg_auth_members JOIN granted ON granted.oid = member
    )
    SELECT rolcanlogin, EXISTS (SELECT FROM granted JOIN pg_roles USING (oid) WHERE rolname = 'rds_iam')
    FROM pg_roles WHERE rolname = $1";

const MYSQL_PLUGINS: &str = "SELECT host, plugin FROM mysql.user WHERE user = ?";

/// Looks as the user `admin`, whose password is in the environment. Without a password, `admin` logs in with a token.
pub async fn examine(admin: &str, cache: &TokenCache, input: &Input) -> Check {
    if input.endpoint.login.service() == Service::Dsql {
        let reason = "the cluster's own answer says whether a grant is missing";
        return Check::not_checked(GRANT, reason);
    }
    let reason = |error: &str| format!("{admin} cannot read the grant ({error})");
    let password = match password(admin, cache, input).await {
        Ok(password) => password,
        Err(error) => return Check::not_checked(GRANT, reason(&format!("{error:#}"))),
    };
    let grant = timeout(LIMIT, async {
        match input.protocol {
            Protocol::Postgres => postgres_grant(admin, &password, input).await,
            Protocol::MySql => mysql_grant(admin, &password, input).await,
        }
    });
    match grant.await {
        Ok(Ok(Ok(text))) => Check::ok(GRANT, text),
        Ok(Ok(Err(finding))) => Check::wrong(GRANT, finding.certain()),
        Ok(Err(error)) => {
            // The server may show the password.
            let error = format!("{error:#}").replace(&password, "…");
            Check::not_checked(GRANT, reason(&error))
        }
        Err(_) => {
            let seconds = LIMIT.as_secs();
            let reason = format!("the database has not answered {admin} for {seconds} s");
            Check::not_checked(GRANT, reason)
        }
    }
}

async fn password(admin: &str, cache: &TokenCache, input: &Input) -> anyhow::Result<String> {
    let variable = match input.protocol {
        Protocol::Postgres => "PGPASSWORD",
        Protocol::MySql => "MYSQL_PWD",
    };
    match env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(password),
        _ => {
            let login = &input.endpoint.login;
            let login = Login::new(login.host(), login.port(), admin)?;
            let token = cache.token(&login.with_region(&input.region)?).await?;
            Ok(token.as_str().to_owned())
        }
    }
}

/// What the database knows of the user: an IAM login, or what is missing.
type Grant = Result<String, Finding>;

async fn postgres_grant(admin: &str, password: &str, input: &Input) -> anyhow::Result<Grant> {
    let client = connect::postgres(admin, password, input).await?;
    let user = input.endpoint.login.user();
    let found = client.query_opt(POSTGRES_GRANT, &[&user]).await?;
    let quoted = sql::identifier(user);
    let Some(found) = found else {
        let problem = format!("the database has no user {quoted}");
        let remedy = format!("run: CREATE USER {quoted}; {}", sql::grant_rds_iam(user));
        return Ok(Err(Finding::new(problem, remedy)));
    };
    let (can_log_in, has_rds_iam): (bool, bool) = (found.try_get(0)?, found.try_get(1)?);
    Ok(match (can_log_in, has_rds_iam) {
        (true, true) => Ok(format!("{quoted} has the role rds_iam")),
        (false, _) => Err(Finding::new(
            format!("the user {quoted} may not log in to the database"),
            format!("run: {}", sql::allow_login(user)),
        )),
        (true, false) => Err(Finding::new(
            format!("the user {quoted} does not have the role rds_iam"),
            format!("run: {}", sql::grant_rds_iam(user)),
        )),
    })
}

async fn mysql_grant(admin: &str, password: &str, input: &Input) -> anyhow::Result<Grant> {
    let options = connect::mysql_options(admin, input)
        .pass(Some(password))
        .enable_cleartext_plugin(true);
    let mut connection = Conn::new(options).await?;
    let user = input.endpoint.login.user();
    let rows: Vec<(String, String)> = connection.exec(MYSQL_PLUGINS, (user,)).await?;
    connect::close(connection).await?;
    let shown: Vec<String> = rows
        .iter()
        .map(|(host, plugin)| format!("'{user}'@'{host}' with the plugin {plugin}"))
        .collect();
    let shown = shown.join(", ");
    let mut plugins = rows.iter().map(|(_, plugin)| plugin);
    Ok(match rows.first() {
        _ if plugins.any(|plugin| plugin == sql::MYSQL_PLUGIN) => Ok(shown),
        Some((host, _)) => Err(Finding::new(
            format!("the database has {shown}"),
            format!("run: {}", sql::alter_mysql_user(user, host)),
        )),
        None => Err(Finding::new(
            format!("the database has no user {user}"),
            format!("run: {}", sql::create_mysql_user(user)),
        )),
    })
}
