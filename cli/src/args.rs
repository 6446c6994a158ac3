//! The arguments.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Log in to Amazon RDS, Aurora and Aurora DSQL with IAM: a token in place of a password
///
/// Tokens are signed with the credentials of the AWS SDK's default chain: the environment, a profile or a role. A token is
/// valid for 15 minutes, and open connections stay open.
#[derive(Debug, Parser)]
#[command(name = "rds-iam", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Token(TokenArgs),
    Exec(ExecArgs),
    Psql(PsqlArgs),
    Mysql(MysqlArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
}

/// Print a token
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "rds-iam token [OPTIONS] URL\n       rds-iam token [OPTIONS] HOST PORT USER"
)]
pub struct TokenArgs {
    /// The database: a connection URL, such as postgres://USER@HOST:PORT/DATABASE, or a host
    #[arg(value_name = "URL|HOST")]
    pub url_or_host: String,
    /// The port, if the first argument is a host
    #[arg(requires = "user")]
    pub port: Option<u16>,
    /// The database user, if the first argument is a host
    pub user: Option<String>,
    /// The AWS region to sign for, instead of the region in the host's name
    #[arg(long, value_parser = region)]
    pub region: Option<String>,
    /// How to print the token
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The token alone
    #[default]
    Text,
    /// An object with the token, its expiry and the login
    Json,
    /// Shell commands that export the variables of psql and mysql
    Env,
    /// A connection URL with the token as its password
    Url,
}

/// Run a command that logs in with a new token over verified TLS
///
/// A client of PostgreSQL, such as pg_dump, gets its settings in the environment. A client of MySQL or MariaDB, such as
/// mysqldump, gets an option file. Any other command, such as a script, gets the same variables, and for MySQL the path of
/// the option file in the variable RDS_IAM_DEFAULTS_FILE.
#[derive(Debug, clap::Args)]
#[command(override_usage = "rds-iam exec [OPTIONS] URL -- COMMAND...")]
pub struct ExecArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Run psql with a new token over verified TLS
#[derive(Debug, clap::Args)]
#[command(override_usage = "rds-iam psql [OPTIONS] URL [-- ARGS...]")]
pub struct PsqlArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Arguments for psql
    #[arg(last = true)]
    pub args: Vec<OsString>,
}

/// Run mysql, or mariadb if there is no mysql, with a new token over verified TLS
#[derive(Debug, clap::Args)]
#[command(override_usage = "rds-iam mysql [OPTIONS] URL [-- ARGS...]")]
pub struct MysqlArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Arguments for mysql
    #[arg(last = true)]
    pub args: Vec<OsString>,
}

/// Say why a login fails: checks the input, the credentials, the clock, the network, the login and the account
///
/// Prints a line for each check. The last line is the cause and what to do. The output has no secret. The exit status is 0
/// only if a login works.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Another user of the database, who looks at the user's grant if the login fails
    ///
    /// The password is in PGPASSWORD or MYSQL_PWD. Without a password, this user logs in with a token.
    #[arg(long, value_name = "USER")]
    pub admin: Option<String>,
    /// Print an object with all checks
    #[arg(long)]
    pub json: bool,
}

/// A database to connect to.
#[derive(Debug, clap::Args)]
pub struct DatabaseArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE or mysql://USER@HOST:PORT/DATABASE
    pub url: String,
    /// The AWS region to sign for, instead of the region in the host's name
    #[arg(long, value_parser = region)]
    pub region: Option<String>,
    /// Root certificates in PEM, to trust instead of the built-in roots
    #[arg(long, value_name = "FILE", value_parser = no_url)]
    pub ca: Option<String>,
    /// The address to connect to, if not the database's own host and port: the near end of a tunnel
    #[arg(long, value_name = "HOST:PORT")]
    pub dial: Option<String>,
}

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: Shell,
}

impl Args {
    /// Reads the arguments. Prints help or what is wrong, and exits.
    pub fn read() -> Args {
        Args::try_parse().unwrap_or_else(|error| without_secrets(error).exit())
    }
}

/// Reports wrong arguments of a subcommand, and exits.
pub fn usage_error(subcommand: &str, text: &str) -> ! {
    let mut command = Args::command();
    command.build();
    let command = command
        .find_subcommand_mut(subcommand)
        .expect("a subcommand of this program");
    command
        .error(ErrorKind::MissingRequiredArgument, text)
        .exit()
}

/// Hides an argument in a wrong place that may hold a password.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
    ] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && text.contains(['@', '?', '='])
        {
            error.insert(kind, ContextValue::String("…".to_owned()));
            // A tip repeats the argument.
            error.remove(ContextKind::Suggested);
            error.remove(ContextKind::SuggestedArg);
        }
    }
    error
}

/// A region has no `@`, unlike a URL and a password before a host.
fn region(value: &str) -> Result<String, &'static str> {
    match value.contains('@') {
        true => Err("it is not a region"),
        false => no_url(value),
    }
}

/// An option's value that is no URL, because a URL may hold a password, and errors show the value.
fn no_url(value: &str) -> Result<String, &'static str> {
    match value.contains("://") {
        true => Err("a URL is not a value of this option"),
        false => Ok(value.to_owned()),
    }
}
