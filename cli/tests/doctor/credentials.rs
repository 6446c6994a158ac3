//! Credentials, and AWS's clock.

use super::*;

#[test]
fn missing_credentials_are_the_conclusion() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.unset("AWS_ACCESS_KEY_ID");
    let output = sandbox.run(&["doctor", "--dial", &greeting(b"S"), &url(HOST, 5432)]);
    let conclusion = conclusion(&output);
    assert!(conclusion.contains("no AWS credentials"), "{conclusion}");
    assert!(conclusion.contains("AWS_PROFILE"), "{conclusion}");
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
        let output = sandbox(account).run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
        let conclusion = conclusion(&output);
        assert!(
            conclusion.contains(problem) && conclusion.contains(remedy),
            "{conclusion}"
        );
    }
}

#[test]
fn a_clock_that_is_wrong_is_the_conclusion() {
    for (ahead, text) in [(1200, "1200 s behind"), (-600, "600 s ahead of")] {
        let account = Account::healthy().with_clock_ahead(ahead);
        let output = sandbox(account).run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
        let conclusion = conclusion(&output);
        // A second may pass.
        let shown = conclusion
            .replace("1199", "1200")
            .replace("601", "600")
            .replace("599", "600");
        assert!(
            shown.contains(text) && shown.contains("run NTP"),
            "{conclusion}"
        );
    }
}

#[test]
fn a_small_difference_of_the_clocks_is_fine() {
    let output = sandbox(Account::healthy().with_clock_ahead(30)).run(&[
        "doctor",
        "--dial",
        "127.0.0.1:1",
        &url(HOST, 5432),
    ]);
    assert_only(&output, "tcp", "no TCP connection", "correct the port");
}

#[test]
fn a_silent_aws_is_not_checked_and_the_rest_is() {
    let output = sandbox(Account::healthy().hangs()).run(&[
        "doctor",
        "--dial",
        "127.0.0.1:1",
        &url(HOST, 5432),
    ]);
    assert_only(&output, "tcp", "no TCP connection", "correct the port");
    assert!(
        output.stdout.contains("not checked  identity"),
        "{}",
        output.stdout
    );
}

#[test]
fn a_request_that_aws_rejects_because_of_the_clock_does_not_blame_the_credentials() {
    for code in ["SignatureDoesNotMatch", "RequestExpired"] {
        let account = Account::healthy()
            .with_clock_ahead(1200)
            .error("GetCallerIdentity", code);
        let output = sandbox(account).run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
        let conclusion = conclusion(&output);
        assert!(
            conclusion.starts_with("This machine's clock is"),
            "{conclusion}"
        );
        assert!(
            output
                .stdout
                .contains(&format!("not checked  identity     AWS answers {code}")),
            "{}",
            output.stdout
        );
    }
}

/// Lets the SDK's default chain run a shell script for the credentials.
fn with_process(mut sandbox: Sandbox, script: &str) -> Sandbox {
    sandbox.unset("AWS_ACCESS_KEY_ID");
    sandbox.program("credentials", script);
    let process = sandbox.path("bin/credentials");
    let config = sandbox.path("config");
    fs::write(
        &config,
        format!("[default]\ncredential_process = {process}\n"),
    )
    .expect("a file");
    sandbox.set("AWS_CONFIG_FILE", &config);
    sandbox
}

#[test]
fn expired_credentials_are_the_conclusion() {
    let script = format!(
        r#"echo '{{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "{SECRET_KEY}",
        "SessionToken": "hunter2", "Expiration": "2026-01-01T00:00:00Z"}}'"#
    );
    let sandbox = with_process(sandbox(Account::healthy()), &script);
    let output = sandbox.run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
    let conclusion = conclusion(&output);
    assert!(conclusion.contains("expired"), "{conclusion}");
    assert!(conclusion.contains("log in to AWS again"), "{conclusion}");
}

#[test]
fn a_source_of_credentials_that_hangs_is_the_conclusion() {
    let sandbox = with_process(sandbox(Account::healthy()), "exec sleep 100");
    let output = sandbox.run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
    let conclusion = conclusion(&output);
    assert!(
        conclusion.contains("has not answered for 5 s"),
        "{conclusion}"
    );
}

#[test]
fn the_source_of_the_credentials_is_shown() {
    let key = format!(
        r#"{{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "{SECRET_KEY}"}}"#
    );
    let sandbox = with_process(sandbox(Account::healthy()), &format!("echo '{key}'"));
    let output = sandbox.run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
    let text =
        "AKIDEXAMPLE from a process of the profile, without a session token, without an expiry";
    assert!(output.stdout.contains(text), "{}", output.stdout);
}
