//! Credentials, and AWS's clock.

use super::*;

/// Runs the doctor at a server that rejects the token.
fn doctor(sandbox: &Sandbox) -> Output {
    doctor_at(sandbox, HOST, "app", REJECTED)
}

#[test]
fn missing_credentials_are_the_conclusion() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.unset("AWS_ACCESS_KEY_ID");
    let output = doctor(&sandbox);
    assert_only(
        &output,
        "credentials",
        "there are no AWS credentials",
        "AWS_PROFILE",
    );
}

#[test]
fn credentials_that_aws_does_not_accept_are_the_conclusion() {
    for (code, problem, remedy) in [
        (
            "InvalidClientTokenId",
            "does not know the access key",
            "create a new key",
        ),
        (
            "ExpiredToken",
            "session token has expired",
            "log in to AWS again",
        ),
        (
            "SignatureDoesNotMatch",
            "signature is wrong",
            "secret access key",
        ),
    ] {
        let account = Account::healthy().error("GetCallerIdentity", code);
        let output = doctor(&sandbox(account));
        assert_only(&output, "identity", problem, remedy);
    }
}

#[test]
fn a_clock_that_is_wrong_is_the_conclusion() {
    for (ahead, problem) in [(1200, "behind AWS's"), (-600, "ahead of AWS's")] {
        let account = Account::healthy().with_clock_ahead(ahead);
        let output = doctor(&sandbox(account));
        assert_only(&output, "clock", problem, "run NTP on this machine");
        // A second may pass between the two clocks' readings.
        let seconds = [599, 600, 601, 1199, 1200, 1201];
        let mut texts = seconds
            .map(|seconds| format!("clock is {seconds} s "))
            .into_iter();
        assert!(
            texts.any(|text| conclusion(&output).contains(&text)),
            "{}",
            output.stdout
        );
    }
}

#[test]
fn a_small_difference_of_the_clocks_is_fine() {
    let output = doctor(&sandbox(Account::healthy().with_clock_ahead(240)));
    assert_only_rejected(&output);
}

#[test]
fn a_silent_aws_is_not_checked_and_the_rest_is() {
    let output = doctor(&sandbox(Account::healthy().hangs()));
    assert_only_rejected(&output);
    for check in ["identity", "clock", "endpoint", "policy", "metrics"] {
        let line = format!("not checked  {check}");
        assert!(output.stdout.contains(&line), "{check}: {}", output.stdout);
    }
}

#[test]
fn a_request_that_aws_rejects_because_of_the_clock_does_not_blame_the_credentials() {
    for code in ["SignatureDoesNotMatch", "RequestExpired"] {
        let account = Account::healthy()
            .with_clock_ahead(1200)
            .error("GetCallerIdentity", code);
        let output = doctor(&sandbox(account));
        assert_only(&output, "clock", "this machine's clock is", "run NTP");
        assert!(
            output
                .stdout
                .contains(&format!("not checked  identity     AWS answers {code}")),
            "{}",
            output.stdout
        );
    }
}

#[test]
fn expired_credentials_are_the_conclusion() {
    let script = format!(
        r#"echo '{{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "{SECRET_KEY}",
        "SessionToken": "hunter2", "Expiration": "2026-01-01T00:00:00Z"}}'"#
    );
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set_credential_process(&script);
    let output = doctor(&sandbox);
    assert_only(&output, "credentials", "expired", "log in to AWS again");
}

#[test]
fn a_source_of_credentials_that_hangs_is_the_conclusion() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set_credential_process("exec sleep 100");
    let output = doctor(&sandbox);
    assert_only(
        &output,
        "credentials",
        "has not answered for 5 s",
        "AWS_PROFILE",
    );
}

#[test]
fn the_source_of_the_credentials_is_shown() {
    let key = format!(
        r#"{{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "{SECRET_KEY}"}}"#
    );
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set_credential_process(&format!("echo '{key}'"));
    let output = doctor(&sandbox);
    let text =
        "AKIDEXAMPLE from a process of the profile, without a session token, without an expiry";
    assert!(output.stdout.contains(text), "{}", output.stdout);
}

#[test]
fn the_lifetime_of_the_credentials_is_shown() {
    let script = format!(
        r#"echo "{{\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"{SECRET_KEY}\",
        \"SessionToken\": \"hunter2\", \"Expiration\": \"$(date -u -d '5430 seconds' +%FT%TZ)\"}}""#
    );
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set_credential_process(&script);
    let output = doctor(&sandbox);
    let text = "with a session token, valid for 90 min";
    assert!(output.stdout.contains(text), "{}", output.stdout);
}

#[test]
fn what_a_failed_process_prints_is_not_shown() {
    for script in ["echo hunter2 >&2; exit 1", "echo hunter2"] {
        let mut sandbox = sandbox(Account::healthy());
        sandbox.set_credential_process(script);
        let output = doctor(&sandbox);
        assert_only(&output, "credentials", "external process", "AWS_PROFILE");
    }
}

#[test]
fn credentials_of_another_region_are_used() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set("AWS_REGION", "ap-south-1");
    let output = doctor(&sandbox);
    assert_only_rejected(&output);
    assert!(
        output
            .stdout
            .contains("region eu-central-1 from the host's name")
    );
}

#[test]
fn credentials_with_odd_characters_are_the_conclusion_and_are_not_shown() {
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE\r"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE\u{1b}[2J"),
        // Swapped.
        ("AWS_ACCESS_KEY_ID", SECRET_KEY),
        ("AWS_SECRET_ACCESS_KEY", "hunter2\n"),
        ("AWS_SESSION_TOKEN", "hunter2 token"),
    ] {
        let mut sandbox = sandbox(Account::healthy());
        sandbox.set(variable, value);
        let output = doctor(&sandbox);
        assert_only(
            &output,
            "credentials",
            "characters that AWS does not use",
            "look for a swapped key",
        );
    }
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.unset("AWS_ACCESS_KEY_ID");
    sandbox.set("AWS_PROFILE", "missing");
    let output = doctor(&sandbox);
    assert_only(
        &output,
        "credentials",
        "no AWS credentials with AWS_PROFILE=missing",
        "AWS_PROFILE",
    );
}

#[test]
fn the_password_of_a_source_of_credentials_is_not_shown() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.unset("AWS_ACCESS_KEY_ID");
    sandbox.set(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://app:hunter2@10.0.0.1/c",
    );
    let output = doctor(&sandbox);
    assert_only(
        &output,
        "credentials",
        "there are no AWS credentials",
        "AWS_PROFILE",
    );
}

#[cfg(unix)]
#[test]
fn a_configuration_that_hangs_is_the_conclusion() {
    let mut sandbox = sandbox(Account::healthy());
    let file = sandbox.path("config");
    sandbox.shell(&format!("mkfifo {file}"));
    sandbox.set("AWS_CONFIG_FILE", &file);
    let output = doctor(&sandbox);
    assert_only(
        &output,
        "credentials",
        "has not answered for 5 s",
        "AWS_PROFILE",
    );
    // Nothing names the region.
    let output = sandbox.doctor(&["postgres://app@db.example.com/app"]);
    assert_only(
        &output,
        "input",
        "nothing names the region",
        "give --region",
    );
}
