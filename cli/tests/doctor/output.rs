//! How the checks are shown.

use serde_json::Value;

use super::*;

#[test]
fn json_has_all_checks_and_the_conclusion() {
    let output =
        sandbox(Account::healthy()).doctor(&["--json", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(report["login_works"], false);
    let text = report["conclusion"].as_str().unwrap_or_default();
    assert!(text.starts_with("No TCP connection"), "{text}");
    let checks = report["checks"].as_array().expect("checks");
    let names: Vec<_> = checks
        .iter()
        .map(|check| check["check"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        [
            "input",
            "name",
            "tunnel",
            "credentials",
            "identity",
            "clock",
            "dns",
            "tcp",
            "server",
            "tls",
            "token",
            "login",
            "grant",
            "endpoint",
            "policy",
            "metrics"
        ]
    );
    let tcp = &checks[7];
    assert_eq!(tcp["outcome"], "wrong");
    assert!(
        tcp["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("correct the port"))
    );
}

#[test]
fn colour_is_for_terminals_only_and_no_color_switches_it_off() {
    const COLOUR: char = '\u{1b}';
    let mut sandbox = sandbox(Account::healthy());
    let args = ["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)];
    let in_terminal = |sandbox: &Sandbox| {
        let program = [&[env!("CARGO_BIN_EXE_rds-iam")], &args[..]]
            .concat()
            .join(" ");
        sandbox.shell(&format!(
            "TERM=xterm script --quiet --command '{program}' /dev/null || true"
        ))
    };
    assert!(!sandbox.run(&args).stdout.contains(COLOUR));
    let shown = in_terminal(&sandbox);
    assert!(
        shown.contains(COLOUR) && shown.contains("No TCP connection"),
        "{shown}"
    );
    sandbox.set("NO_COLOR", "1");
    let shown = in_terminal(&sandbox);
    assert!(
        !shown.contains(COLOUR) && shown.contains("No TCP connection"),
        "{shown}"
    );
}

#[test]
fn everything_hangs_and_the_doctor_ends() {
    let silent = greeting(b"");
    let mut sandbox = sandbox(Account::healthy().hangs());
    sandbox.set("AWS_MAX_ATTEMPTS", "10");
    let output = sandbox.doctor(&["--dial", &silent, &url(HOST, 5432)]);
    assert_only(
        &output,
        "server",
        "does not answer as PostgreSQL does",
        "scheme",
    );
    for check in [
        "identity", "clock", "tls", "login", "endpoint", "policy", "metrics",
    ] {
        let line = format!("not checked  {check}");
        assert!(output.stdout.contains(&line), "{check}: {}", output.stdout);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_doctor() {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, kill_process};

    let (sender, connected) = std::sync::mpsc::channel();
    let address = listener(move |mut stream| {
        sender.send(()).expect("the test waits");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let sandbox = sandbox(Account::healthy().hangs());
    let mut command = sandbox.command(["doctor", "--dial", &address, &url(HOST, 5432)]);
    let child = command.spawn().expect("rds-iam starts");
    connected.recv().expect("a connection of the doctor");
    kill_process(Pid::from_child(&child), Signal::INT).expect("a running process");
    let output = support::wait(child);
    assert_eq!(output.status.signal(), Some(Signal::INT.as_raw()));
}
