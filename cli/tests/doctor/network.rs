//! The way to the server.

use super::*;

#[test]
fn a_name_without_an_address_is_the_conclusion() {
    let output = sandbox(Account::healthy()).doctor(&[&url(HOST, 5432)]);
    assert_only(&output, "dns", "cannot be looked up", "correct the host");
}

#[test]
fn a_port_without_a_server_is_the_conclusion() {
    let output = sandbox(Account::healthy()).doctor(&["--dial", "127.0.0.1:1", &url(HOST, 5432)]);
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
            sandbox(Account::healthy()).doctor(&["--dial", &greeting(first_message), &url]);
        assert_only(&output, "server", problem, "scheme");
    }
}

#[test]
fn a_server_that_rejects_the_connection_is_the_conclusion_with_its_answer() {
    let answer = greeting(b"\x17\x00\x00\x00\xff\x10\x04Too many connections");
    let url = format!("mysql://app@{HOST}:3306/app");
    let output = sandbox(Account::healthy()).doctor(&["--dial", &answer, &url]);
    assert_only(
        &output,
        "server",
        "Too many connections",
        "close connections",
    );
}

#[test]
fn a_server_of_postgresql_without_free_connections_is_the_conclusion() {
    let answer = greeting(b"E\0\0\0\x38SFATAL\0C53300\0Msorry, too many clients already\0\0");
    let output = sandbox(Account::healthy()).doctor(&["--dial", &answer, &url(HOST, 5432)]);
    assert_only(
        &output,
        "server",
        "sorry, too many clients already",
        "read the server's answer",
    );

    let answer = greeting(b"EFATAL:  could not fork new process\n\0");
    let output = sandbox(Account::healthy()).doctor(&["--dial", &answer, &url(HOST, 5432)]);
    assert_only(
        &output,
        "server",
        "could not fork",
        "read the server's answer",
    );
}

#[test]
fn control_characters_of_a_server_are_not_printed() {
    let answer = greeting(b"\x0b\x00\x00\x00\xff\x10\x04\x1b]0;x\x07\x1b[2J");
    let url = format!("mysql://app@{HOST}:3306/app");
    let output = sandbox(Account::healthy()).doctor(&["--dial", &answer, &url]);
    assert_only(&output, "server", "]0;x", "close connections");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!output.stdout.contains(control), "{:?}", output.stdout);
}

#[test]
fn a_server_without_tls_is_the_conclusion() {
    let output = sandbox(Account::healthy()).doctor(&["--dial", &greeting(b"N"), &url(HOST, 5432)]);
    assert_only(&output, "server", "offers no TLS", "RDS always offers TLS");
}

#[test]
fn a_broken_handshake_is_the_conclusion() {
    let output =
        sandbox(Account::healthy()).doctor(&["--dial", &greeting(b"Snonsense"), &url(HOST, 5432)]);
    assert_only(
        &output,
        "tls",
        "the TLS handshake failed",
        "look at what listens there",
    );
}

#[test]
fn a_server_of_mysql_without_tls_is_the_conclusion() {
    // Version 10, the server's version, a thread, a nonce, a zero, and capabilities without CLIENT_SSL.
    let mysql = greeting(b"\x17\x00\x00\x00\x0a8.4.0\x00\x01\x00\x00\x0012345678\x00\xff\xf7\x21");
    let url = format!("mysql://app@{HOST}:3306/app");
    let output = sandbox(Account::healthy()).doctor(&["--dial", &mysql, &url]);
    assert_only(&output, "server", "offers no TLS", "RDS always offers TLS");
}

#[test]
fn a_certificate_that_has_expired_or_is_not_valid_yet_is_the_conclusion() {
    for ((from, until), problem) in [
        ((2020, 2021), "certificate has expired"),
        ((2120, 2121), "certificate is not valid yet"),
    ] {
        let sandbox = sandbox(Account::healthy());
        let server = Postgres::start_with_certificate(HOST, Answer::Silence, from, until);
        let output = doctor_trusting(&sandbox, &server, &[&url(HOST, 5432)]);
        assert_only(&output, "tls", problem, "correct this machine's clock");
    }
}

#[test]
fn the_certificates_name_and_expiry_are_shown() {
    let output = doctor_at(&sandbox(Account::healthy()), HOST, "app", REJECTED);
    let text = format!(
        "the certificate is for {HOST}, valid until 2099-01-01T00:00:00Z, under the given roots"
    );
    assert!(output.stdout.contains(&text), "{}", output.stdout);
}
