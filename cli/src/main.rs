//! The command `rds-iam`: IAM tokens for Amazon RDS and Aurora DSQL, and clients that log in with them.

// Only `client` uses some functions.
#![cfg_attr(not(unix), allow(dead_code))]
// A closed output must not panic: see `output`.
#![warn(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod args;
#[cfg(unix)]
mod client;
mod doctor;
mod libpq;
mod output;
mod shell;
mod target;
mod token;

use std::process::ExitCode;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let outcome = match Args::read().command {
        Command::Token(args) => token::run(&args),
        #[cfg(unix)]
        Command::Exec(args) => client::exec(&args),
        #[cfg(unix)]
        Command::Psql(args) => client::psql(&args),
        #[cfg(unix)]
        Command::Mysql(args) => client::mysql(&args),
        #[cfg(not(unix))]
        Command::Exec(_) | Command::Psql(_) | Command::Mysql(_) => Err(anyhow::anyhow!(
            "this command needs Unix. Use `rds-iam token --format env` or `--format url`"
        )),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man => shell::man(),
    };
    outcome.unwrap_or_else(|error| {
        output::report(&error);
        ExitCode::FAILURE
    })
}
