//! The way to the server.

use super::*;

#[test]
fn a_name_without_an_address_is_the_conclusion() {
    let output = sandbox(Account::healthy()).run(&["doctor", &url(HOST, 5432)]);
    assert_only(&output, "dns", "cannot be looked up", "correct the host");
}

#[test]
fn a_port_without_a_server_is_the_conclusion() {
    let output =
        sandbox(Account::healthy()).run(&["doctor", "--dial", "127.0.0.1:1", &url(HOST, 5432)]);
    assert_only(&output, "tcp", "no TCP connection", "correct the port");
}

#[test]
fn a_server_that_is_no_database_or_another_database_is_the_conclusion() {
    for (scheme, first_message, problem) in [
        (
            "postgres",
            &b"\x4a\x00\x00\x00\x0a8.4.0\x00"[..],
            "not speak the protocol of PostgreSQL",
        ),
        (
            "postgres",
            b"HTTP/1.1 400 Bad Request\r\n",
            "not speak the protocol of PostgreSQL",
        ),
        ("postgres", b"", "does not answer as PostgreSQL does"),
        ("mysql", b"", "does not answer as MySQL does"),
        (
            "mysql",
            b"\x05\x00\x00\x00HELLO",
            "not speak the protocol of MySQL",
        ),
    ] {
        let url = format!("{scheme}://app@{HOST}:5432/app");
        let output =
            sandbox(Account::healthy()).run(&["doctor", "--dial", &greeting(first_message), &url]);
        assert_only(&output, "server", problem, "scheme");
    }
}

#[test]
fn a_server_that_rejects_the_connection_is_the_conclusion_with_its_answer() {
    let answer = greeting(b"\x17\x00\x00\x00\xff\x10\x04Too many connections");
    let url = format!("mysql://app@{HOST}:3306/app");
    let output = sandbox(Account::healthy()).run(&["doctor", "--dial", &answer, &url]);
    assert_only(
        &output,
        "server",
        "Too many connections",
        "read the server's answer",
    );
}

#[test]
fn control_characters_of_a_server_are_not_printed() {
    let answer = greeting(b"\x0b\x00\x00\x00\xff\x10\x04\x1b]0;x\x07\x1b[2J");
    let url = format!("mysql://app@{HOST}:3306/app");
    let output = sandbox(Account::healthy()).run(&["doctor", "--dial", &answer, &url]);
    assert_only(&output, "server", "]0;x", "read the server's answer");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!output.stdout.contains(control), "{:?}", output.stdout);
}

#[test]
fn a_server_without_tls_is_the_conclusion() {
    let output =
        sandbox(Account::healthy()).run(&["doctor", "--dial", &greeting(b"N"), &url(HOST, 5432)]);
    assert_only(&output, "server", "offers no TLS", "rds.force_ssl=1");
}

#[test]
fn a_broken_handshake_is_the_conclusion() {
    let output = sandbox(Account::healthy()).run(&[
        "doctor",
        "--dial",
        &greeting(b"Snonsense"),
        &url(HOST, 5432),
    ]);
    assert_only(
        &output,
        "tls",
        "the TLS handshake failed",
        "look at what listens there",
    );
}
