//! `rds-iam doctor`: why does the login fail?

#[cfg_attr(not(feature = "account"), path = "account/left_out.rs")]
mod account;
mod arn;
mod aws;
mod connect;
mod grant;
mod input;
mod login;
mod network;
mod report;
mod secrets;
mod sql;
mod token;

use std::error::Error;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use rds_iam_connector::ErrorChain;
use tokio::runtime::{self, Handle};
use tokio::time::{Instant, timeout_at};

use self::report::{Check, Report};
use self::secrets::Secrets;
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
        secrets: Secrets::of_environment(),
        deadline: Instant::now() + LIMIT,
        prints: !args.json,
    };
    let input = examination.group(&input::CHECKS, async |checks| {
        input::examine(args, checks).await
    });
    let (checks, input) = input.await;
    let input = input.as_ref();
    examination.add(checks)?;

    let aws = examination.group(&aws::CHECKS, async |checks| {
        aws::examine(input?, checks).await
    });
    let network = examination.group(&network::CHECKS, async |checks| {
        network::examine(input?, checks).await
    });
    let ((aws_checks, aws), (network_checks, verified)) = tokio::join!(aws, network);
    let aws = aws.as_ref();
    if let Some(aws) = aws {
        examination.secrets.add_credentials(&aws.credentials);
    }
    examination.add(aws_checks)?;
    examination.add(network_checks)?;

    let token = examination.group(&token::CHECKS, async |checks| {
        token::examine(aws?, input?, checks).await
    });
    let (checks, cache) = token.await;
    examination.add(checks)?;

    let login = examination.group(&login::CHECKS, async |checks| {
        // No token is sent to a server that is not verified.
        let () = verified?;
        login::examine(cache?, aws?, input?, args.admin.as_deref(), checks).await
    });
    let account = examination.group(&account::CHECKS, async |checks| {
        account::examine(input?, aws?, checks).await
    });
    let ((login_checks, _), (account_checks, _)) = tokio::join!(login, account);
    examination.add(login_checks)?;
    examination.add(account_checks)?;
    Ok(examination.report)
}

struct Examination {
    report: Report,
    secrets: Secrets,
    deadline: Instant,
    prints: bool,
}

impl Examination {
    /// Makes the checks that have these names. Also returns what later checks need.
    async fn group<T>(
        &self,
        names: &[&'static str],
        examine: impl AsyncFnOnce(&mut Vec<Check>) -> Option<T>,
    ) -> (Vec<Check>, Option<T>) {
        let mut checks = Vec::new();
        let outcome = timeout_at(self.deadline, examine(&mut checks)).await;
        // A check that lacks the result of an unmade check is not made either.
        let reason = match Instant::now() < self.deadline {
            true => "an earlier check is wrong".to_owned(),
            false => format!("the doctor stops after {} s", LIMIT.as_secs()),
        };
        for name in names.iter().skip(checks.len()) {
            checks.push(Check::not_checked(name, &*reason));
        }
        (checks, outcome.ok().flatten())
    }

    /// Prints the checks of a group.
    fn add(&mut self, checks: Vec<Check>) -> io::Result<()> {
        for check in checks {
            let check = check.printable(&self.secrets);
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
}

/// Runs an action on a thread of its own, because the SDK reads files on the thread of its caller, and a file may hang.
async fn on_own_thread<T: Send + 'static>(
    action: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let runtime = Handle::current();
    let outcome = tokio::task::spawn_blocking(move || runtime.block_on(action));
    outcome.await.ok()
}

/// An error with all causes, in a line.
fn one_line(error: &(dyn Error + 'static)) -> String {
    ErrorChain(error).to_string()
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_checks_that_are_made_before_the_limit_are_kept() {
        let examination = Examination {
            report: Report::default(),
            secrets: Secrets::default(),
            deadline: Instant::now() + LIMIT,
            prints: false,
        };
        let group = examination.group(&["first", "second", "third"], async |checks| {
            checks.push(Check::ok("first", "made"));
            sleep(LIMIT * 2).await;
            checks.push(Check::ok("second", "made"));
            Some(())
        });
        let (checks, value) = group.await;
        let lines: Vec<_> = checks.iter().map(Check::to_string).collect();
        assert_eq!(value, None);
        assert_eq!(Instant::now(), examination.deadline);
        assert!(lines[0].ends_with("made"), "{lines:?}");
        for line in &lines[1..] {
            assert!(line.ends_with("the doctor stops after 15 s"), "{line}");
        }
        assert_eq!(lines.len(), 3);

        let group = examination.group(&["next"], async |_| value);
        let (checks, _) = group.await;
        let line = checks[0].to_string();
        assert!(line.ends_with("the doctor stops after 15 s"), "{line}");
    }
}
