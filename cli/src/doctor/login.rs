//! The login, and the database's answer.

use std::error::Error as _;

use mysql_async::prelude::Queryable;
use rds_iam::{Service, TokenCache};
use rds_iam_connector::{Endpoint, Error, Options, Protocol};
use rds_iam_mysql_async as mysql;
use rds_iam_tokio_postgres as postgres;

use super::input::Input;
use super::one_line;
use super::report::{Check, Finding, LOGIN, Outcome};

pub async fn examine(cache: TokenCache, input: &Input) -> Check {
    let outcome = match input.protocol {
        Protocol::Postgres => postgres(cache, input).await,
        Protocol::MySql => mysql(cache, input).await,
    };
    let outcome = match outcome {
        Ok(()) => Outcome::Ok(format!("the database accepts {}", input.endpoint.login)),
        Err(finding) => Outcome::Wrong(finding),
    };
    Check {
        name: LOGIN,
        outcome,
    }
}

const REJECTED: &str = "the database rejected the token";
const SEE_GUIDE: &str = "read https://docs.rs/rds-iam/latest/rds_iam/guide/rejected";

async fn postgres(cache: TokenCache, input: &Input) -> Result<(), Finding> {
    let options = postgres::options(&input.url).map_err(|error| Finding::of_error(&error))?;
    let options = for_endpoint(options, cache, input);
    let error = match postgres::connect_with(options).await {
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
    let user = input.endpoint.login.user();
    let message = answer.message();
    let remedy = match (answer.code().code(), input.endpoint.login.service()) {
        ("28P01", Service::RdsDb) => {
            let problem =
                format!("the database asked {user} for a password instead of a token ({message})");
            return Err(Finding::new(
                problem,
                format!("grant the user the IAM login: GRANT rds_iam TO {user}"),
            ));
        }
        (_, Service::Dsql) if matches!(error, Error::Rejected(_)) => {
            let hint = answer.hint().unwrap_or("no hint");
            return Err(Finding::new(
                format!("the cluster rejected the token ({message}: {hint})"),
                SEE_GUIDE,
            ));
        }
        ("28000", Service::RdsDb) if message.contains("does not exist") => {
            let problem = format!("the database has no user {user}");
            return Err(Finding::new(
                problem,
                format!("create it: CREATE USER {user}; GRANT rds_iam TO {user}"),
            ));
        }
        ("28000", Service::RdsDb) if message.contains("pg_hba.conf") => {
            let problem = format!("the database has no rule for {user} ({message})");
            return Err(Finding::new(
                problem,
                format!("grant the user the IAM login: GRANT rds_iam TO {user}"),
            ));
        }
        ("3D000", _) => "the token is accepted: correct the database's name in the URL",
        ("42501", _) => "the token is accepted: grant the user the privilege CONNECT",
        ("53300", _) => "close connections, or raise max_connections",
        _ if matches!(error, Error::Rejected(_)) => {
            return Err(Finding::new(format!("{REJECTED} ({message})"), SEE_GUIDE));
        }
        _ => "read the database's answer",
    };
    Err(Finding::new(
        format!("the database reports: {message}"),
        remedy,
    ))
}

async fn mysql(cache: TokenCache, input: &Input) -> Result<(), Finding> {
    let options = mysql::options(&input.url).map_err(|error| Finding::of_error(&error))?;
    let options = for_endpoint(options, cache, input);
    let error = match mysql::connect_with(options).await {
        Ok(mut connection) => {
            // Otherwise the server logs a broken connection.
            let _ = connection.ping().await;
            let _ = connection.disconnect().await;
            return Ok(());
        }
        Err(error) => error,
    };
    let source = error.source().and_then(|error| error.downcast_ref());
    match source {
        Some(mysql_async::Error::Server(answer)) if matches!(error, Error::Rejected(_)) => Err(
            Finding::new(format!("{REJECTED} ({})", answer.message), SEE_GUIDE),
        ),
        Some(mysql_async::Error::Server(answer)) => {
            let remedy = match answer.code {
                1044 | 1049 => {
                    "the token is accepted: correct the database's name in the URL, or grant the user its privileges"
                }
                1040 | 1203 => "close connections, or raise max_connections",
                _ => "read the database's answer",
            };
            Err(Finding::new(
                format!("the database reports: {}", answer.message),
                remedy,
            ))
        }
        _ => Err(Finding::new(one_line(&error), SEE_GUIDE)),
    }
}

/// The options of the command line besides the URL.
fn for_endpoint<D>(options: Options<D>, cache: TokenCache, input: &Input) -> Options<D> {
    let Endpoint { roots, dial, .. } = &input.endpoint;
    let options = options
        .cache(cache)
        .region(&input.region)
        .roots(roots.certs().iter().cloned());
    match dial {
        Some(dial) => options.dial(&dial.to_string()),
        None => options,
    }
}
