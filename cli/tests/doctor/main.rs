//! `rds-iam doctor` with one broken thing: the conclusion names it and nothing else, and no output has a secret.

mod account;
mod credentials;
mod input;
mod login;
mod network;
mod output;
mod servers;

#[path = "../support/aws.rs"]
mod aws;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../../../tests/servers/mod.rs"]
mod rds;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use aws::Account;
use postgres::{Answer, Postgres};
use support::{HOST, Output, SECRET_KEY, Sandbox};

fn url(host: &str, port: u16) -> String {
    format!("postgres://app@{host}:{port}/app")
}

/// The last line.
#[track_caller]
fn conclusion(output: &Output) -> &str {
    assert_eq!(output.stderr, "");
    output.stdout.lines().last().expect("a conclusion")
}

/// Asserts that the doctor names the cause, and finds nothing else wrong but the login.
#[track_caller]
fn assert_only(output: &Output, check: &str, problem: &str, remedy: &str) {
    // The sentence begins with a capital letter.
    let conclusion = conclusion(output);
    let shown = &output.stdout;
    let begins = conclusion
        .to_lowercase()
        .starts_with(&problem.to_lowercase());
    assert!(
        begins || conclusion.contains(problem),
        "{problem}:\n{shown}"
    );
    assert!(conclusion.contains(remedy), "{remedy}:\n{shown}");
    let wrong: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("wrong "))
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|name| *name != "login" || check == "login")
        .collect();
    assert_eq!(wrong, [check], "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

/// The answer of RDS to a token that it rejects.
const REJECTED: Answer = Answer::Error("28000", "PAM authentication failed for user \"app\"", "");

/// Asserts that the token was rejected, and that nothing else is wrong.
#[track_caller]
fn assert_only_rejected(output: &Output) {
    assert_only(
        output,
        "login",
        "PAM authentication failed",
        "guide/rejected",
    );
}

/// A sandbox whose AWS is the account.
fn sandbox(account: Account) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("AWS_ENDPOINT_URL", &account.start());
    sandbox
}

/// A server that answers the first connection. Returns its address.
fn listener(answer: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || answer(listener.accept().expect("a connection").0));
    address
}

/// Sends a first message, and reads to the end.
fn greeting(text: &'static [u8]) -> String {
    listener(move |mut stream| {
        let _ = stream.write_all(text);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Runs the doctor for a URL of `host`, which leads to a stand-in for a server.
fn doctor_at(sandbox: &Sandbox, host: &str, user: &str, answer: Answer) -> Output {
    let server = Postgres::start(host, answer);
    let url = format!("postgres://{user}@{host}:5432/app");
    doctor_trusting(sandbox, &server, &[&url])
}

/// Runs the doctor with the root and the address of a stand-in for a server.
fn doctor_trusting(sandbox: &Sandbox, server: &Postgres, args: &[&str]) -> Output {
    let ca = sandbox.path("ca.pem");
    fs::write(&ca, &server.ca).expect("a file");
    sandbox.doctor(&[&["--ca", &ca, "--dial", &server.address], args].concat())
}
