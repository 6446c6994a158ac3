//! `rds-iam token`

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, anyhow, ensure};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rds_iam::{Error, Login, Service, Token};
use rds_iam_connector::{Protocol, server_name};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::args::{Format, TokenArgs, usage_error};
use crate::libpq;
use crate::output::print;
use crate::target::Target;

const MYSQL_DEFAULT_PORT: u16 = 3306;

/// The database in the arguments.
enum Database<'a> {
    Url { url: &'a str, target: Box<Target> },
    Login(Login),
}

pub fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let database = database(args)?;
    let login = in_region(database.login().clone(), args.region.as_deref())?;
    let token = sign(&login)?;
    let text = match args.format {
        Format::Text => format!("{}\n", token.as_str()),
        Format::Json => format!("{}\n", json(&login, &token)?),
        Format::Env => env(&database, &token)?,
        Format::Url => format!("{}\n", url(&database, &token)?),
    };
    print(text)
}

/// Returns the login, signed for `region` if a region is given.
fn in_region(login: Login, region: Option<&str>) -> Result<Login, Error> {
    match region {
        Some(region) => login.with_region(region),
        None => Ok(login),
    }
}

/// Signs a token with the credentials of the AWS SDK's default chain.
pub fn sign(login: &Login) -> anyhow::Result<Token> {
    without_stdin(|| rds_iam::shared_cache().blocking_token(login))?
        .map_err(|error| match error {
            Error::NoRegion { host } => anyhow!(
                "the name {host} contains no region, and no region is configured. Give --region, or set AWS_REGION or the \
                 profile's `region`"
            ),
            error => error.into(),
        })
}

/// Runs an action with an empty standard input. A `credential_process` would read the client's script.
#[cfg(unix)]
fn without_stdin<T>(action: impl FnOnce() -> T) -> io::Result<T> {
    use std::fs::File;
    use std::os::fd::AsFd;

    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let outcome = action();
    rustix::stdio::dup2_stdin(stdin)?;
    Ok(outcome)
}

#[cfg(not(unix))]
fn without_stdin<T>(action: impl FnOnce() -> T) -> io::Result<T> {
    Ok(action())
}

fn database(args: &TokenArgs) -> anyhow::Result<Database<'_>> {
    match (&*args.url_or_host, args.port, &args.user) {
        (host, Some(port), Some(user)) => Ok(Database::Login(Login::new(host, port, user)?)),
        (url, _, _) if url.contains("://") => {
            // `env` replaces the URL, so every parameter needs a variable. The other formats do not read the parameters.
            let target = match args.format {
                Format::Env => Target::read(url)?,
                Format::Text | Format::Json | Format::Url => Target::read_login(url)?,
            };
            Ok(Database::Url {
                url,
                target: Box::new(target),
            })
        }
        _ => usage_error(
            "token",
            "Give HOST PORT USER, or a URL such as postgres://USER@HOST:PORT/DATABASE",
        ),
    }
}

impl Database<'_> {
    fn login(&self) -> &Login {
        match self {
            Database::Url { target, .. } => &target.login,
            Database::Login(login) => login,
        }
    }
}

fn json(login: &Login, token: &Token) -> anyhow::Result<serde_json::Value> {
    let expires_at = token.expires_at().duration_since(SystemTime::UNIX_EPOCH)?;
    let expires_at = i64::try_from(expires_at.as_secs())?;
    let expires_at = OffsetDateTime::from_unix_timestamp(expires_at)?.format(&Rfc3339)?;
    Ok(json!({
        "token": token.as_str(),
        "expires_at": expires_at,
        "host": login.host(),
        "port": login.port(),
        "user": login.user(),
        "region": region(token)?,
        "service": login.service().as_str(),
    }))
}

/// Returns the region that a token is signed for. A login may have left the region to the environment.
fn region(token: &Token) -> anyhow::Result<String> {
    let (_, query) = token.as_str().split_once('?').unwrap_or_default();
    let scope = query
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("X-Amz-Credential="))
        .context("the token has no scope")?;
    // KEY/DATE/REGION/SERVICE/aws4_request
    let scope = percent_decode_str(scope).decode_utf8()?;
    let region = scope
        .split('/')
        .nth(2)
        .context("the token's scope has no region")?;
    Ok(region.to_owned())
}

fn env(database: &Database<'_>, token: &Token) -> anyhow::Result<String> {
    let mut variables = Vec::new();
    match database {
        Database::Url { target, .. } => match target.protocol {
            Protocol::Postgres => {
                variables.extend(libpq::variables(target, token));
                if let Some(file) = &target.parts.root_file {
                    let file = file.to_str().context("a name of a file is not UTF-8")?;
                    variables.push(("PGSSLROOTCERT", file.to_owned()));
                }
            }
            Protocol::MySql => {
                ensure!(
                    target.parameters.is_empty() && target.parts.root_file.is_none(),
                    "the URL has parameters, and the clients of MySQL have no variables for them. Remove the parameters, or \
                     use `rds-iam exec`"
                );
                variables.extend(mysql_variables(&target.login, token));
            }
        },
        Database::Login(login) => {
            variables.extend(libpq::login_variables(login, None, token));
            if login.service() != Service::Dsql {
                variables.extend(mysql_variables(login, token));
            }
        }
    }
    let is_for_libpq = variables.iter().any(|(name, _)| *name == "PGHOST");
    let mut commands = match is_for_libpq {
        true => format!("unset {}\n", libpq::UNSET.join(" ")),
        false => String::new(),
    };
    for (name, value) in variables {
        writeln!(commands, "export {name}={}", in_quotes(&value))?;
    }
    Ok(commands)
}

/// The clients have no variables for the user, the database and TLS.
fn mysql_variables(login: &Login, token: &Token) -> [(&'static str, String); 3] {
    [
        ("MYSQL_HOST", server_name(login).to_owned()),
        ("MYSQL_TCP_PORT", login.port().to_string()),
        ("MYSQL_PWD", token.as_str().to_owned()),
    ]
}

/// A word for a POSIX shell.
fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn url(database: &Database<'_>, token: &Token) -> anyhow::Result<Url> {
    let mut url = match database {
        Database::Url { url, .. } => Url::parse(url)?,
        Database::Login(login) => {
            let scheme = match login.port() {
                MYSQL_DEFAULT_PORT => "mysql",
                _ => "postgres",
            };
            let user = utf8_percent_encode(login.user(), NON_ALPHANUMERIC);
            Url::parse(&format!(
                "{scheme}://{user}@{}:{}",
                login.host(),
                login.port()
            ))?
        }
    };
    token.set_as_password(&mut url)?;
    Ok(url)
}
