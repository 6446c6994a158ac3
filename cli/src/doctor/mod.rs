//! `rds-iam doctor`: why does the login fail?

#[cfg(feature = "account")]
mod account;
mod aws;
mod input;
mod login;
mod network;
mod report;
mod token;

use std::error::Error;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use rds_iam_connector::ErrorChain;
use tokio::runtime;
use tokio::time::{Instant, timeout_at};

use self::report::{Check, Report};
use crate::args::DoctorArgs;
use crate::output::print;

/// All checks together end by then.
const LIMIT: Duration = Duration::from_secs(15);

pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(examine(args))?;
    // A name's look-up may still block a thread.
    runtime.shutdown_background();
    match args.json {
        true => print(format!("{:#}\n", report.to_json()))?,
        false => print(format!("\n{}\n", report.conclusion()))?,
    };
    Ok(match report.login_works() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn examine(args: &DoctorArgs) -> anyhow::Result<Report> {
    let mut examination = Examination {
        report: Report::default(),
        deadline: Instant::now() + LIMIT,
        prints: !args.json,
    };
    let (checks, input) = input::examine(args).await;
    examination.add(checks)?;
    let Some(input) = input else {
        return Ok(examination.report);
    };
    let aws = examination.within_limit("credentials", aws::examine(&input));
    let network = examination.within_limit("network", network::examine(&input));
    let (aws, network) = tokio::join!(aws, network);
    let (checks, aws) = aws;
    examination.add(checks)?;
    let (checks, is_verified) = network;
    examination.add(checks)?;

    let Some(aws) = aws else {
        let reason = "there are no credentials";
        let names = ["token", report::LOGIN, "account"];
        examination.add(names.map(|name| Check::not_checked(name, reason)).into())?;
        return Ok(examination.report);
    };
    let cache = token::cache(aws.credentials.clone(), &input)?;
    examination.add(vec![token::examine(&cache, &input).await])?;
    let login = async {
        let check = match is_verified {
            Some(()) => login::examine(cache, &input).await,
            None => {
                let reason = "no token is sent to a server that is not verified";
                Check::not_checked(report::LOGIN, reason)
            }
        };
        (vec![check], None::<()>)
    };
    let login = examination.within_limit(report::LOGIN, login);
    let account = examination.within_limit("account", account(&input, &aws));
    let ((login, _), (account, _)) = tokio::join!(login, account);
    examination.add(login)?;
    examination.add(account)?;
    Ok(examination.report)
}

#[cfg(feature = "account")]
async fn account(input: &input::Input, aws: &aws::Aws) -> Group<()> {
    (account::examine(input, aws).await, None)
}

#[cfg(not(feature = "account"))]
async fn account(_: &input::Input, _: &aws::Aws) -> Group<()> {
    let reason = "this program was built without the feature `account`";
    (vec![Check::not_checked("account", reason)], None)
}

/// The checks of a group, and what the next group needs.
type Group<T> = (Vec<Check>, Option<T>);

struct Examination {
    report: Report,
    deadline: Instant,
    prints: bool,
}

impl Examination {
    /// Prints checks as soon as they are made.
    fn add(&mut self, checks: Vec<Check>) -> io::Result<()> {
        for check in checks.into_iter().map(Check::printable) {
            if self.prints {
                match writeln!(anstream::stdout(), "{check}") {
                    // The reader has gone. The exit status tells the outcome.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                    outcome => outcome?,
                }
            }
            self.report.checks.push(check);
        }
        Ok(())
    }

    async fn within_limit<T>(
        &self,
        name: &'static str,
        group: impl Future<Output = Group<T>>,
    ) -> Group<T> {
        timeout_at(self.deadline, group).await.unwrap_or_else(|_| {
            let reason = format!("the doctor stops after {} s", LIMIT.as_secs());
            (vec![Check::not_checked(name, reason)], None)
        })
    }
}

/// An error with all causes, in a line.
fn one_line(error: &(dyn Error + 'static)) -> String {
    ErrorChain(error).to_string()
}
