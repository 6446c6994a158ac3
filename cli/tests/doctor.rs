//! `rds-iam doctor` where exactly one thing is broken: the conclusion names this, and no output has a secret.

#[path = "support/aws.rs"]
mod aws;
#[path = "../../tests/servers/mod.rs"]
mod servers;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use aws::{Account, RESOURCE_ID, ROLE};
use serde_json::Value;
use servers::{DSQL, Engine, Servers};
use support::{HOST, Output, SECRET_KEY, Sandbox};

fn url(host: &str, port: u16) -> String {
    format!("postgres://app@{host}:{port}/app")
}

/// The last line, without the output's secrets, which must not be there.
#[track_caller]
fn conclusion(output: &Output) -> &str {
    for secret in [SECRET_KEY, "X-Amz-Signature", "hunter2"] {
        assert!(!output.stdout.contains(secret), "{}", output.stdout);
        assert!(!output.stderr.contains(secret), "{}", output.stderr);
    }
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

// Input

#[test]
fn a_url_that_cannot_be_used_is_the_conclusion() {
    for (url, problem, remedy) in [
        ("mydb.example.com", "cannot be read as a URL", "postgres://"),
        ("http://app@mydb.example.com/", "scheme", "postgres"),
        (
            "postgres://app:hunter2@mydb.us-east-1.rds.amazonaws.com/",
            "password",
            "remove the password",
        ),
        (
            "postgres://app@mydb.us-east-1.rds.amazonaws.com/?sslmode=require",
            "less than verified TLS",
            "verify-full",
        ),
        (
            "postgres://mydb.us-east-1.rds.amazonaws.com/",
            "no user",
            "give a URL",
        ),
        (
            "mysql://app@abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws/",
            "PostgreSQL",
            "give",
        ),
    ] {
        let output = sandbox(Account::healthy()).run(&["doctor", url]);
        assert_only(&output, "input", problem, remedy);
    }
}

#[test]
fn a_host_without_a_region_is_the_conclusion_if_nothing_names_one() {
    let output = sandbox(Account::healthy()).run(&["doctor", "postgres://app@db.example.com/app"]);
    assert_only(
        &output,
        "input",
        "nothing names the region",
        "give --region",
    );
}

#[test]
fn the_address_of_a_tunnel_in_the_url_is_the_conclusion() {
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let url = format!("postgres://app@{host}:1/app?sslmode=verify-full");
        let output = sandbox(Account::healthy()).run(&["doctor", "--region", "us-east-1", &url]);
        let conclusion = conclusion(&output);
        assert!(
            conclusion.contains("its own endpoint in the token"),
            "{conclusion}"
        );
        assert!(
            conclusion.contains(&format!("give --dial {host}:1")),
            "{conclusion}"
        );
    }
}

#[test]
fn the_region_says_where_it_comes_from() {
    let host = "db.example.com";
    let mut sandbox = sandbox(Account::healthy());
    let input = |output: &Output| {
        let line = output.stdout.lines().next().unwrap_or_default().to_owned();
        line.split("region ").nth(1).unwrap_or_default().to_owned()
    };
    let dial = ["--dial", "127.0.0.1:1"];
    let doctor = |sandbox: &Sandbox, args: &[&str]| {
        input(&sandbox.run(&[&["doctor"], args, &dial].concat()))
    };
    assert_eq!(
        doctor(&sandbox, &[&url(HOST, 1)]),
        "eu-central-1 (from the host's name)"
    );
    assert_eq!(
        doctor(&sandbox, &["--region", "eu-west-1", &url(host, 1)]),
        "eu-west-1 (from --region)"
    );
    sandbox.set("AWS_REGION", "eu-west-2");
    assert_eq!(doctor(&sandbox, &[&url(host, 1)]), "eu-west-2 (AWS_REGION)");
}

// Credentials and clock

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

// Network

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

// Output

#[test]
fn json_has_all_checks_and_the_conclusion() {
    let output = sandbox(Account::healthy()).run(&[
        "doctor",
        "--json",
        "--dial",
        "127.0.0.1:1",
        &url(HOST, 5432),
    ]);
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

// At the real servers

/// The key of the servers, and an account of AWS.
fn at_servers(servers: &Servers, account: Account) -> Sandbox {
    let mut sandbox = sandbox(account);
    let key = servers.key("session-1600");
    sandbox.set("AWS_ACCESS_KEY_ID", &key.access_key_id);
    sandbox.set("AWS_SECRET_ACCESS_KEY", &key.secret_access_key);
    sandbox.set(
        "AWS_SESSION_TOKEN",
        key.session_token.as_deref().unwrap_or_default(),
    );
    sandbox
}

/// A key that the servers do not know, so that they reject the token.
fn rejected(account: Account) -> Sandbox {
    sandbox(account)
}

fn doctor(sandbox: &Sandbox, servers: &Servers, server: &str, user: &str) -> Output {
    let scheme = match server {
        "mariadb" => "mysql",
        _ => "postgres",
    };
    let (host, port) = (servers.host_of(server), servers.port_of(server));
    let url = format!("{scheme}://{user}@{host}:{port}/{}", servers.database());
    sandbox.run(&["doctor", "--ca", servers.ca_of(server), &url])
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_login_that_works_is_the_conclusion_and_the_status_is_0() {
    let servers = Servers::running();
    for server in ["postgres", "mariadb", DSQL] {
        let output = doctor(
            &at_servers(&servers, Account::healthy()),
            &servers,
            server,
            "iam_user",
        );
        assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
        assert_eq!(output.status.code(), Some(0));
        let wrong: Vec<_> = output
            .stdout
            .lines()
            .filter(|line| line.starts_with("wrong"))
            .collect();
        assert_eq!(wrong, [""; 0]);
        assert!(
            output
                .stdout
                .contains("from the environment, with a session token"),
            "{}",
            output.stdout
        );
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn roots_in_the_url_are_trusted_in_each_check() {
    let servers = Servers::running();
    let (host, port) = (servers.host(), servers.port(Engine::Postgres));
    let url = format!(
        "postgres://iam_user@{host}:{port}/app?sslrootcert={}",
        servers.ca()
    );
    let output = at_servers(&servers, Account::healthy()).run(&["doctor", &url]);
    assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
    assert!(
        output.stdout.contains("under the given roots"),
        "{}",
        output.stdout
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_rejected_token_without_another_cause_is_the_conclusion() {
    let servers = Servers::running();
    for (server, problem) in [
        ("postgres", "PAM authentication failed"),
        ("mariadb", "Access denied"),
        (DSQL, "the verifier's reason"),
    ] {
        let output = doctor(&rejected(Account::healthy()), &servers, server, "pool_12");
        assert_only(&output, "login", problem, "guide/rejected");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn iam_authentication_that_is_off_is_the_conclusion() {
    let servers = Servers::running();
    let account = Account::healthy().without_iam_authentication();
    let output = doctor(&rejected(account), &servers, "postgres", "pool_12");
    assert_only(
        &output,
        "endpoint",
        "IAM authentication is off",
        "modify-db-instance --db-instance-identifier mydb",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn credentials_of_another_account_are_the_conclusion() {
    let servers = Servers::running();
    let account = Account::healthy().error("DescribeDBInstances", "DBInstanceNotFound");
    let output = doctor(&rejected(account), &servers, "postgres", "pool_12");
    assert_only(
        &output,
        "endpoint",
        "there is no instance mydb in us-east-1",
        "account that owns the database",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_policy_that_does_not_allow_the_login_is_the_conclusion_with_the_statement() {
    let servers = Servers::running();
    let output = doctor(
        &rejected(Account::healthy().with_policy("implicitDeny")),
        &servers,
        "postgres",
        "pool_12",
    );
    let resource = format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:{RESOURCE_ID}/pool_12");
    let statement =
        format!(r#"{{"Action":"rds-db:connect","Effect":"Allow","Resource":"{resource}"}}"#);
    assert_only(
        &output,
        "policy",
        &format!("do not allow {ROLE}"),
        &statement,
    );

    let output = doctor(
        &rejected(Account::healthy().with_policy("explicitDeny")),
        &servers,
        "postgres",
        "pool_12",
    );
    assert_only(&output, "policy", &format!("denies {ROLE}"), "Deny");

    let output = doctor(
        &rejected(Account::healthy().with_policy("implicitDeny")),
        &servers,
        DSQL,
        "admin",
    );
    assert_only(
        &output,
        "policy",
        "dsql:DbConnectAdmin",
        "cluster/abc1de2fghij3klmn4opqrstuv",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn metrics_separate_the_causes_of_a_rejection() {
    let servers = Servers::running();
    for (metric, problem, remedy) in [
        ("Throttling", "throttles the logins", "fewer than 200"),
        (
            "InsufficientPermissions",
            "without permission",
            "rds-db:connect",
        ),
        (
            "InvalidToken",
            "tokens as invalid",
            "host, port, user and region",
        ),
    ] {
        let account = Account::healthy().with_rejections(metric, 7.0);
        let output = doctor(&rejected(account), &servers, "postgres", "pool_12");
        assert_only(&output, "metrics", problem, remedy);
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn an_identity_that_may_not_look_leaves_checks_out_and_names_the_permission() {
    let servers = Servers::running();
    let account = Account::healthy()
        .error("DescribeDBInstances", "AccessDenied")
        .error("InvalidToken", "AccessDenied");
    let output = doctor(&rejected(account), &servers, "postgres", "pool_12");
    assert_only(
        &output,
        "login",
        "PAM authentication failed",
        "guide/rejected",
    );
    assert!(
        output
            .stdout
            .contains("the identity may not rds:DescribeDBInstances"),
        "{}",
        output.stdout
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_user_or_a_database_that_does_not_exist_is_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor(&sandbox, &servers, "postgres", "nobody");
    assert_only(
        &output,
        "login",
        "the database has no user nobody",
        "CREATE USER nobody",
    );

    let (host, port) = (servers.host(), servers.port(Engine::Postgres));
    let url = format!("postgres://iam_user@{host}:{port}/no_such_database");
    let output = sandbox.run(&["doctor", "--ca", servers.ca(), &url]);
    assert_only(
        &output,
        "login",
        "no_such_database",
        "the token is accepted",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_certificate_that_cannot_be_verified_is_the_conclusion_and_no_token_is_sent() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let port = servers.port(Engine::Postgres);
    let before = servers.received("postgres", "pool_12").len();
    for (host, ca, problem, remedy) in [
        (
            servers.host(),
            Some(servers.other_ca()),
            "unknown root",
            "--ca FILE",
        ),
        (servers.host(), None, "unknown root", "not Amazon's"),
        (
            servers.host_without_roots(),
            None,
            "unknown root",
            "AWS's bundle for ca-west-1",
        ),
        (
            servers.unverified_host(),
            Some(servers.ca()),
            "not for otherdb",
            "the database's own endpoint",
        ),
    ] {
        let url = format!("postgres://pool_12@{host}:{port}/app");
        let mut args = vec!["doctor", &url];
        if let Some(ca) = ca {
            args.extend(["--ca", ca]);
        }
        assert_only(&sandbox.run(&args), "tls", problem, remedy);
    }
    assert_eq!(servers.received("postgres", "pool_12").len(), before);
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn another_name_of_an_endpoint_is_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let (name, port) = (servers.dialled_name(), servers.port(Engine::Postgres));
    let url = format!("postgres://iam_user@{name}:{port}/app");
    let output = sandbox.run(&[
        "doctor",
        "--region",
        "us-east-1",
        "--ca",
        servers.ca(),
        &url,
    ]);
    let conclusion = conclusion(&output);
    assert!(
        conclusion.contains(&format!("{name} is another name of {}", servers.host()))
            || conclusion.contains(&format!("another name of {}", servers.host())),
        "{conclusion}"
    );
    assert!(
        conclusion.contains(&format!("write {} into the URL", servers.host())),
        "{conclusion}"
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_tunnel_is_dialled_and_the_token_is_signed_for_the_endpoint() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let port = servers.port(Engine::Postgres);
    let url = format!("postgres://iam_user@{}:{port}/app", servers.host());
    let dial = format!("127.0.0.1:{port}");
    let output = sandbox.run(&["doctor", "--ca", servers.ca(), "--dial", &dial, &url]);
    assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
}
