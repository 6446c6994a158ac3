//! The program was built without the SDK's clients for the account.

use super::aws::Aws;
use super::input::Input;
use super::report::Check;

pub const CHECKS: [&str; 1] = ["account"];

pub async fn examine(_: &Input, _: &Aws, checks: &mut Vec<Check>) -> Option<()> {
    let reason = "this program was built without the feature `account`";
    checks.push(Check::not_checked("account", reason));
    Some(())
}
