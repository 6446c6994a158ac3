//! The login, and the database's answer.

use std::error::Error as _;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError};
use rds_iam::{Service, TokenCache};
use rds_iam_connector::{Endpoint, Error, Options, Protocol};
use rds_iam_mysql_async as mysql;
use rds_iam_tokio_postgres as postgres;
use tokio::time::timeout;
use tokio_postgres::error::DbError;

use super::arn::Arn;
use super::aws::Aws;
use super::grant::{self, GRANT};
use super::input::Input;
use super::one_line;
use super::report::{Check, Finding, LOGIN};

pub const CHECKS: [&str; 2] = [LOGIN, GRANT];

/// A paused Aurora takes longer, and then the next login works.
const LIMIT: Duration = Duration::from_secs(6);

pub async fn examine(
    cache: TokenCache,
    aws: &Aws,
    input: &Input,
    admin: Option<&str>,
    checks: &mut Vec<Check>,
) -> Option<()> {
    let log_in = async {
        match input.protocol {
            Protocol::Postgres => postgres(&cache, aws, input).await,
            Protocol::MySql => mysql(&cache, input).await,
        }
    };
    let outcome = timeout(LIMIT, log_in)
        .await
        .unwrap_or_else(|_| Err(silent()));
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
            let reason = "only another user can look: give --admin USER, and its password in PGPASSWORD or MYSQL_PWD";
            Check::not_checked(GRANT, reason)
        }
    });
    Some(())
}

fn silent() -> Finding {
    Finding::new(
        format!(
            "the database has not answered the login for {} s",
            LIMIT.as_secs()
        ),
        "try again if the database was paused, or look at its load and its log",
    )
    .certain()
}

fn rejected(answer: &str) -> Finding {
    Finding::new(
        format!("the database rejected the token ({answer})"),
        SEE_GUIDE,
    )
}

/// Another answer of the database, which says what is wrong.
fn answered(answer: &str, remedy: impl Into<String>) -> Finding {
    Finding::new(format!("the database reports: {answer}"), remedy).certain()
}

const SEE_GUIDE: &str = "read https://docs.rs/rds-iam/latest/rds_iam/guide/rejected";
const READ_ANSWER: &str = "read the database's answer";
const TOO_MANY: &str = "close connections, or raise the limit";

async fn postgres(cache: &TokenCache, aws: &Aws, input: &Input) -> Result<(), Finding> {
    let options = postgres::options(&input.url).map_err(|error| Finding::of_error(&error))?;
    let error = match postgres::connect_with(for_endpoint(options, cache, input)).await {
        Ok(_client) => return Ok(()),
        Err(error) => error,
    };
    let answer = match &error {
        Error::Rejected(error) | Error::Database(error) => error.as_db_error(),
        _ => None,
    };
    let Some(answer) = answer else {
        return Err(Finding::new(one_line(&error), SEE_GUIDE));
    };
    let is_rejection = matches!(error, Error::Rejected(_));
    Err(match input.endpoint.login.service() {
        Service::Dsql => of_dsql(answer, is_rejection, aws, input),
        _ => of_postgres(answer, is_rejection, input),
    })
}

fn of_postgres(answer: &DbError, is_rejection: bool, input: &Input) -> Finding {
    let user = grant::identifier(input.endpoint.login.user());
    let message = answer.message();
    match answer.code().code() {
        // Without the role `rds_iam`, the user falls to the rule for passwords. So does a user that does not exist.
        "28P01" => Finding::new(
            format!("the database has no IAM login for {user} ({message})"),
            format!("create the user if it does not exist, then GRANT rds_iam TO {user}"),
        )
        .certain(),
        "3D000" => answered(
            message,
            "correct the database's name in the URL, because the token is accepted",
        ),
        "42501" => answered(
            message,
            "grant the user the privilege CONNECT, because the token is accepted",
        ),
        "53300" => answered(message, TOO_MANY),
        _ if is_rejection => rejected(message),
        _ => answered(message, READ_ANSWER),
    }
}

/// The guide has these answers in a table, `docs/rejected.md`.
fn of_dsql(answer: &DbError, is_rejection: bool, aws: &Aws, input: &Input) -> Finding {
    let user = grant::identifier(input.endpoint.login.user());
    let (message, hint) = (answer.message(), answer.hint());
    let shown = match hint {
        Some(hint) => format!("{message}: {hint}"),
        None => message.to_owned(),
    };
    let hint = hint.unwrap_or_default();
    if message.contains("waking up cluster") {
        return answered(&shown, "try again in a minute");
    }
    if message.contains("must have the LOGIN attribute") {
        return answered(&shown, format!("ALTER ROLE {user} WITH LOGIN"));
    }
    if message.contains("does not exist") {
        return answered(
            &shown,
            format!("create it: CREATE ROLE {user} WITH LOGIN, then AWS IAM GRANT"),
        );
    }
    match answer.code().code() {
        "28000" if is_rejection && hint.is_empty() => {
            let identity = aws.identity.as_deref().and_then(Arn::read);
            let principal = identity.as_ref().and_then(Arn::principal);
            let arn = principal.as_deref().unwrap_or("the ARN of the IAM role");
            answered(&shown, format!("AWS IAM GRANT {user} TO '{arn}'"))
        }
        "53300" | "53400" => answered(&shown, "open fewer connections, with a pool"),
        _ if hint.contains("Signature expired") => rejected(&shown).with_remedy("run NTP on this machine"),
        _ if hint.contains("not authorized to perform") => {
            rejected(&shown).with_remedy("allow the action in the hint for this identity")
        }
        _ if hint.contains("not authorized to access this resource") => rejected(&shown)
            .with_remedy("use credentials of the account that owns the cluster: set AWS_PROFILE, or remove keys from the environment"),
        _ if is_rejection => rejected(&shown),
        _ => answered(&shown, READ_ANSWER),
    }
}

async fn mysql(cache: &TokenCache, input: &Input) -> Result<(), Finding> {
    let options = mysql::options(&input.url).map_err(|error| Finding::of_error(&error))?;
    let error = match mysql::connect_with(for_endpoint(options, cache, input)).await {
        Ok(connection) => {
            close(connection).await;
            return Ok(());
        }
        Err(error) => error,
    };
    let source = error.source().and_then(|error| error.downcast_ref());
    let Some(mysql_async::Error::Server(answer)) = source else {
        return Err(Finding::new(one_line(&error), SEE_GUIDE));
    };
    let message = &*answer.message;
    Err(match answer.code {
        _ if matches!(error, Error::Rejected(_)) => {
            if asks_for_token(input).await == Some(false) {
                let user = input.endpoint.login.user();
                Finding::new(
                    format!("the database has no IAM login for {user} ({message})"),
                    format!(
                        "create the user with the plugin: {}",
                        grant::create_user(user)
                    ),
                )
                .certain()
            } else {
                rejected(message)
            }
        }
        1044 | 1049 => answered(
            message,
            "correct the database's name in the URL, or grant the user its privileges, because the token is accepted",
        ),
        1040 | 1203 | 1226 => answered(message, TOO_MANY),
        _ => answered(message, READ_ANSWER),
    })
}

/// Whether the server asks for the password itself, as it does for users with an IAM login only. For other users, and for
/// users that do not exist, the server asks for a hash. `None` if the server says neither.
async fn asks_for_token(input: &Input) -> Option<bool> {
    let user = input.endpoint.login.user();
    let options = grant::mysql_options(input, user)
        .pass(None::<String>)
        .enable_cleartext_plugin(false);
    match Conn::new(options).await {
        Err(mysql_async::Error::Driver(DriverError::CleartextPluginDisabled)) => Some(true),
        Err(mysql_async::Error::Server(_)) => Some(false),
        Err(_) => None,
        Ok(connection) => {
            close(connection).await;
            Some(false)
        }
    }
}

/// Otherwise the server logs a broken connection.
async fn close(mut connection: Conn) {
    let _ = connection.ping().await;
    let _ = connection.disconnect().await;
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
