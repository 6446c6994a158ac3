//! The login, and the database's answer.

use std::error::Error as _;
use std::time::Duration;

use mysql_async::{Conn, DriverError, OptsBuilder};
use rds_iam::{Login, Service, TokenCache, rejection};
use rds_iam_connector::{Endpoint, Error, Options, Protocol};
use rds_iam_mysql_async as mysql;
use rds_iam_tokio_postgres as postgres;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::error::DbError;

use super::arn::Arn;
use super::aws::Aws;
use super::grant::{self, GRANT};
use super::input::Input;
use super::report::{Check, Finding, LOGIN};
use super::secrets::shortened;
use super::{connect, one_line, sql};
use crate::libpq;

pub const CHECKS: [&str; 2] = [LOGIN, GRANT];

/// A paused Aurora takes longer, and then the next login works.
const LIMIT: Duration = Duration::from_secs(6);
/// For the question which kind of login a user has.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

pub async fn examine(
    cache: TokenCache,
    aws: &Aws,
    input: &Input,
    admin: Option<&str>,
    checks: &mut Vec<Check>,
) -> Option<()> {
    let outcome = match input.protocol {
        Protocol::Postgres => postgres(&cache, aws, input).await,
        Protocol::MySql => mysql(&cache, input).await,
    };
    let works = outcome.is_ok();
    checks.push(match outcome {
        Ok(()) => {
            let text = format!("the database accepts {}", input.endpoint.login);
            Check::ok(LOGIN, text)
        }
        Err(finding) => Check::wrong(LOGIN, finding),
    });
    checks.push(match admin {
        _ if works => Check::not_checked(GRANT, "the login works"),
        Some(admin) => grant::examine(admin, &cache, input).await,
        None => {
            let reason = "the grant is visible to other users only; give --admin USER, and the password of USER in PGPASSWORD or MYSQL_PWD";
            Check::not_checked(GRANT, reason)
        }
    });
    Some(())
}

/// In characters.
pub const MAX_ANSWER_LEN: usize = 300;

const SEE_GUIDE: &str = "read https://docs.rs/rds-iam/latest/rds_iam/guide/rejected";
const READ_ANSWER: &str = "read the database's answer";
const TOO_MANY: &str = "close connections, or raise the limit";

fn silent() -> Finding {
    let seconds = LIMIT.as_secs();
    Finding::new(
        format!("the database has not answered the login for {seconds} s"),
        "try again if the database was paused, or look at its load and its log",
    )
    .certain()
}

/// A rejection says little. Other checks look for its cause.
fn rejected(answer: &str, remedy: impl Into<String>) -> Finding {
    Finding::new(
        format!("the database rejected the token ({answer})"),
        remedy,
    )
}

/// Another answer of the database says what is wrong.
fn answered(answer: &str, remedy: impl Into<String>) -> Finding {
    Finding::new(format!("the database reports: {answer}"), remedy).answered()
}

async fn postgres(cache: &TokenCache, aws: &Aws, input: &Input) -> Result<(), Finding> {
    let login = &input.endpoint.login;
    let mut config = Config::new();
    config
        .host(login.host())
        .port(login.port())
        .user(login.user());
    let database = input.database.as_deref();
    if let Some(database) = database.or(libpq::default_database(login)) {
        config.dbname(database);
    }
    let options = for_endpoint(Options::new(config), cache, input);
    let connected = timeout(LIMIT, postgres::connect_with(options)).await;
    let error = match connected {
        Ok(Ok(_client)) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => return Err(silent()),
    };
    let answer = match &error {
        Error::Rejected(error) | Error::Database(error) => error.as_db_error(),
        _ => None,
    };
    let Some(answer) = answer else {
        return Err(Finding::new(one_line(&error), SEE_GUIDE));
    };
    let is_rejection = matches!(error, Error::Rejected(_));
    Err(match login.service() {
        Service::Dsql => of_dsql(answer, is_rejection, aws, input),
        _ => of_postgres(answer, is_rejection, input),
    })
}

fn of_postgres(answer: &DbError, is_rejection: bool, input: &Input) -> Finding {
    let login = &input.endpoint.login;
    let (message, user) = (&*shortened(answer.message(), MAX_ANSWER_LEN), login.user());
    match answer.code().code() {
        _ if is_rejection && is_proxy(login) => rejected(
            message,
            "give the proxy a secret for the user if it has none, and read the proxy's log",
        ),
        // Without the role `rds_iam`, the rule for passwords holds for the user, also if the user does not exist. Without IAM
        // authentication, the rule holds for all users.
        "28P01" => Finding::new(
            format!("the database has no IAM login for the user {user} ({message})"),
            format!(
                "run: {} (before that, CREATE USER if the user does not exist), or switch on IAM authentication",
                sql::grant_rds_iam(user)
            ),
        )
        .certain(),
        "28000" if message.contains("not permitted to log in") => {
            answered(message, format!("run: {}", sql::allow_login(user)))
        }
        "28000" if message.contains("pg_hba.conf") => answered(message, READ_ANSWER),
        "3D000" => answered(
            message,
            "correct the database's name in the URL, because the token is accepted",
        ),
        "42501" => answered(
            message,
            "grant the user the privilege CONNECT, because the token is accepted",
        ),
        "53300" => answered(message, TOO_MANY),
        _ if is_rejection => rejected(message, SEE_GUIDE),
        _ => answered(message, READ_ANSWER),
    }
}

/// The guide has these answers in a table, `docs/rejected.md`.
fn of_dsql(answer: &DbError, is_rejection: bool, aws: &Aws, input: &Input) -> Finding {
    let user = input.endpoint.login.user();
    let message = &*shortened(answer.message(), MAX_ANSWER_LEN);
    let hint = answer.hint().map(|hint| shortened(hint, MAX_ANSWER_LEN));
    let shown = match &hint {
        Some(hint) => format!("{message}: {hint}"),
        None => message.to_owned(),
    };
    let hint = hint.unwrap_or_default();
    let grant = || {
        let identity = aws.identity.as_deref().and_then(Arn::read);
        let grantee = identity.and_then(|identity| identity.grantee());
        let grantee = grantee.unwrap_or_else(|| "the ARN of the IAM role".to_owned());
        format!("AWS IAM GRANT {} TO {grantee}", sql::identifier(user))
    };
    match answer.code().code() {
        "3D000" => answered(
            &shown,
            "write the database `postgres` into the URL, which is the only one",
        ),
        "53300" | "53400" => answered(&shown, "open fewer connections, with a pool"),
        _ if message.contains("waking up cluster") => answered(&shown, "try again in a minute"),
        _ if message.contains("must have the LOGIN attribute") => {
            answered(&shown, format!("run: {}", sql::allow_login(user)))
        }
        _ if message.contains("does not exist") => {
            let role = sql::identifier(user);
            answered(
                &shown,
                format!("run: CREATE ROLE {role} WITH LOGIN; {}", grant()),
            )
        }
        "28000" if is_rejection && hint.is_empty() && user != "admin" => {
            answered(&shown, format!("run: {}", grant()))
        }
        _ if hint.contains("Signature expired") => rejected(&shown, "run NTP on this machine"),
        _ if hint.contains("not authorized to perform") => {
            rejected(&shown, "allow the action in the hint for this identity")
        }
        _ if hint.contains("not authorized to access this resource") => rejected(
            &shown,
            "use credentials of the account that owns the cluster: set AWS_PROFILE, or remove keys from the environment",
        ),
        _ if is_rejection => rejected(&shown, SEE_GUIDE),
        _ => answered(&shown, READ_ANSWER),
    }
}

async fn mysql(cache: &TokenCache, input: &Input) -> Result<(), Finding> {
    let login = &input.endpoint.login;
    let driver = OptsBuilder::default()
        .ip_or_hostname(login.host())
        .tcp_port(login.port())
        .user(Some(login.user()))
        .db_name(input.database.as_deref());
    let options = for_endpoint(Options::new(driver), cache, input);
    let connected = timeout(LIMIT, mysql::connect_with(options)).await;
    let error = match connected {
        Ok(Ok(connection)) => {
            // The login works, however the connection ends.
            let _ = timeout(QUESTION_LIMIT, connect::close(connection)).await;
            return Ok(());
        }
        Ok(Err(error)) => error,
        Err(_) => return Err(silent()),
    };
    let answer = match error.source().and_then(|error| error.downcast_ref()) {
        Some(mysql_async::Error::Server(answer)) => answer,
        // MySQL asks a user that does not exist for a hash of a random kind.
        Some(mysql_async::Error::Driver(driver @ DriverError::UnknownAuthPlugin { .. })) => {
            return Err(no_iam_login(login.user(), &driver.to_string()));
        }
        _ => return Err(Finding::new(one_line(&error), SEE_GUIDE)),
    };
    let message = &*shortened(&answer.message, MAX_ANSWER_LEN);
    if !is_access_denied(answer.code) {
        return Err(answered(message, mysql_remedy(answer.code)));
    }
    if is_proxy(login) || asks_for_token(input).await != Some(false) {
        return Err(rejected(message, SEE_GUIDE));
    }
    Err(no_iam_login(login.user(), message))
}

/// A proxy logs in to the database itself, so its users need no IAM login there.
fn is_proxy(login: &Login) -> bool {
    login.host().contains(".proxy-")
}

fn no_iam_login(user: &str, answer: &str) -> Finding {
    let problem = format!("the database has no IAM login for the user {user} ({answer})");
    let remedy = format!(
        "run: {} (or ALTER USER if the user exists), or switch on IAM authentication",
        sql::create_mysql_user(user)
    );
    Finding::new(problem, remedy).certain()
}

/// What to do after an error of MySQL or MariaDB with this number.
pub fn mysql_remedy(code: u16) -> &'static str {
    match code {
        1040 | 1203 | 1226 => TOO_MANY,
        1044 | 1049 => {
            "correct the database's name in the URL, or grant the user its privileges, because the token is accepted"
        }
        1129 => "run: FLUSH HOSTS",
        _ => READ_ANSWER,
    }
}

/// Whether the server asks for the password itself, as it does for users with an IAM login only. For other users, and for
/// users that do not exist, the server asks for a hash. `None` if the server says neither.
async fn asks_for_token(input: &Input) -> Option<bool> {
    let options =
        connect::mysql_options(input.endpoint.login.user(), input).enable_cleartext_plugin(false);
    match timeout(QUESTION_LIMIT, Conn::new(options)).await.ok()? {
        Err(mysql_async::Error::Driver(DriverError::CleartextPluginDisabled)) => Some(true),
        Err(mysql_async::Error::Server(error)) if is_access_denied(error.code) => Some(false),
        _ => None,
    }
}

/// MariaDB has a second number, for users whose plugin takes no password.
fn is_access_denied(code: u16) -> bool {
    const ER_ACCESS_DENIED_NO_PASSWORD_ERROR: u16 = 1698;
    matches!(
        code,
        rejection::ER_ACCESS_DENIED_ERROR | ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    )
}

/// The options of the command line besides the URL.
fn for_endpoint<D>(options: Options<D>, cache: &TokenCache, input: &Input) -> Options<D> {
    let Endpoint { roots, dial, .. } = &input.endpoint;
    let options = options
        .cache(cache.clone())
        .region(&input.region)
        .roots(roots.certs().iter().cloned());
    match dial {
        Some(dial) => options.dial(&dial.to_string()),
        None => options,
    }
}
