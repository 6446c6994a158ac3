//! The database user's grant, as another user sees it.

use std::env;
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use rds_iam::{Login, Service, TokenCache};
use rds_iam_connector::Protocol;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::input::Input;
use super::network;
use super::report::{Check, Finding};

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

const MYSQL_PLUGIN: &str = "AWSAuthenticationPlugin";

/// Looks as the user `admin`, whose password is in the environment. Without a password, `admin` logs in with a token.
pub async fn examine(admin: &str, cache: &TokenCache, input: &Input) -> Check {
    if input.endpoint.login.service() == Service::Dsql {
        let reason = "the cluster's own answer says whether a grant is missing";
        return Check::not_checked(GRANT, reason);
    }
    let looked = timeout(LIMIT, async {
        let password = password(admin, cache, input).await?;
        match input.protocol {
            Protocol::Postgres => postgres_grant(admin, &password, input).await,
            Protocol::MySql => mysql_grant(admin, &password, input).await,
        }
    });
    match looked.await {
        Ok(Ok(Ok(text))) => Check::ok(GRANT, text),
        Ok(Ok(Err(finding))) => Check::wrong(GRANT, finding.certain()),
        Ok(Err(error)) => Check::not_checked(GRANT, format!("{admin} cannot look: {error:#}")),
        Err(_) => {
            let reason = format!(
                "the database has not answered {admin} for {} s",
                LIMIT.as_secs()
            );
            Check::not_checked(GRANT, reason)
        }
    }
}

async fn password(admin: &str, cache: &TokenCache, input: &Input) -> anyhow::Result<String> {
    let variable = match input.protocol {
        Protocol::Postgres => "PGPASSWORD",
        Protocol::MySql => "MYSQL_PWD",
    };
    if let Ok(password) = env::var(variable) {
        return Ok(password);
    }
    let login = &input.endpoint.login;
    let login = Login::new(login.host(), login.port(), admin)?.with_region(&input.region)?;
    Ok(cache.token(&login).await?.as_str().to_owned())
}

/// What the database knows of the user: an IAM login, or what is missing.
type Grant = Result<String, Finding>;

async fn postgres_grant(admin: &str, password: &str, input: &Input) -> anyhow::Result<Grant> {
    let endpoint = &input.endpoint;
    // A finding here was a check before.
    let (addresses, _) = network::look_up(endpoint).await.map_err(as_error)?;
    let (stream, _) = network::connect(&addresses).await.map_err(as_error)?;
    let mut tls = MakeRustlsConnect::new(network::tls_config(endpoint).map_err(as_error)?);
    let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, endpoint.server_name())?;
    let (client, connection) = Config::new()
        .user(admin)
        .password(password)
        .dbname("postgres")
        .ssl_mode(SslMode::Require)
        .connect_raw(stream, tls)
        .await?;
    tokio::spawn(connection);
    let user = endpoint.login.user();
    let found = client.query_opt(POSTGRES_GRANT, &[&user]).await?;
    let quoted = identifier(user);
    let Some(found) = found else {
        return Ok(Err(Finding::new(
            format!("the database has no user {quoted}"),
            format!("CREATE USER {quoted}; GRANT rds_iam TO {quoted}"),
        )));
    };
    let (can_log_in, has_rds_iam): (bool, bool) = (found.try_get(0)?, found.try_get(1)?);
    Ok(match (can_log_in, has_rds_iam) {
        (true, true) => Ok(format!("{quoted} has the role rds_iam")),
        (false, _) => Err(Finding::new(
            format!("{quoted} may not log in to the database"),
            format!("ALTER ROLE {quoted} WITH LOGIN"),
        )),
        (true, false) => Err(Finding::new(
            format!("{quoted} does not have the role rds_iam"),
            format!("GRANT rds_iam TO {quoted}"),
        )),
    })
}

async fn mysql_grant(admin: &str, password: &str, input: &Input) -> anyhow::Result<Grant> {
    let options = mysql_options(input, admin)
        .pass(Some(password))
        .enable_cleartext_plugin(true);
    let mut connection = Conn::new(options).await?;
    let user = input.endpoint.login.user();
    let query = "SELECT host, plugin FROM mysql.user WHERE user = ?";
    let rows: Vec<(String, String)> = connection.exec(query, (user,)).await?;
    connection
        .disconnect()
        .await
        .context("the connection broke")?;
    let shown: Vec<String> = rows
        .iter()
        .map(|(host, plugin)| format!("'{user}'@'{host}' with the plugin {plugin}"))
        .collect();
    let others = rows.iter().filter(|(_, plugin)| plugin != MYSQL_PLUGIN);
    Ok(match (&*shown, others.count()) {
        ([], _) => Err(Finding::new(
            format!("the database has no user {user}"),
            create_user(user),
        )),
        (_, 0) => Ok(shown.join(", ")),
        _ => Err(Finding::new(
            format!("the database has {}", shown.join(", ")),
            format!(
                "use {MYSQL_PLUGIN} for the user: drop it, then {}",
                create_user(user)
            ),
        )),
    })
}

fn as_error(finding: Finding) -> anyhow::Error {
    anyhow::Error::msg(finding.problem)
}

/// The settings of a verified connection, without a password.
pub fn mysql_options(input: &Input, user: &str) -> OptsBuilder {
    let endpoint = &input.endpoint;
    let roots = endpoint.roots.certs();
    let tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots.iter().map(|root| root.to_vec().into()).collect())
        // The name to verify, whatever is dialled.
        .with_danger_tls_hostname_override(Some(endpoint.server_name().to_owned()));
    let address = endpoint.address();
    OptsBuilder::default()
        .ip_or_hostname(address.host)
        .tcp_port(address.port)
        .user(Some(user))
        .ssl_opts(tls)
        .prefer_socket(false)
}

/// A user of PostgreSQL in SQL.
pub fn identifier(user: &str) -> String {
    format!("\"{}\"", user.replace('"', "\"\""))
}

/// How to create a user of MySQL or MariaDB that logs in with IAM.
pub fn create_user(user: &str) -> String {
    let user = user.replace('\\', "\\\\").replace('\'', "''");
    format!("CREATE USER '{user}' IDENTIFIED WITH {MYSQL_PLUGIN} AS 'RDS' REQUIRE SSL")
}
