//! Logins of the real clients to the real servers of `tests/rds`.
#![cfg(target_os = "linux")]

mod support;

#[path = "../../tests/servers/mod.rs"]
mod servers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{io, iter, thread};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};
use servers::{DSQL, ENGINES, Engine, KEYS, ODD_USER, Servers};
use support::{Output, Sandbox, mode, wait, wait_until};

/// No test logs in as this user, so no server may get a token for it.
const LEAK_USER: &str = "pool_10";

const WHO_IN_POSTGRES: &str = "SELECT current_user, current_database()";
const WHO_IN_MYSQL: &str = "SELECT SUBSTRING_INDEX(USER(), '@127', 1), DATABASE()";

/// The servers with TLS, and the engine of each.
const SERVERS: [(&str, Engine); 5] = [
    ("postgres", Engine::Postgres),
    ("postgres-public", Engine::Postgres),
    (DSQL, Engine::Postgres),
    ("mariadb", Engine::MariaDb),
    ("mariadb-public", Engine::MariaDb),
];

/// A sandbox with a key of the servers.
fn sandbox(servers: &Servers, key: &str) -> Sandbox {
    let key = servers.key(key);
    let mut sandbox = Sandbox::new();
    sandbox.set("AWS_ACCESS_KEY_ID", &key.access_key_id);
    sandbox.set("AWS_SECRET_ACCESS_KEY", &key.secret_access_key);
    if let Some(token) = &key.session_token {
        sandbox.set("AWS_SESSION_TOKEN", token);
    }
    sandbox
}

fn url(servers: &Servers, server: &str, user: &str) -> String {
    url_of(
        engine(server),
        servers.host_of(server),
        servers.port_of(server),
        user,
    )
}

fn url_of(engine: Engine, host: &str, port: u16, user: &str) -> String {
    let scheme = match engine {
        Engine::Postgres => "postgres",
        Engine::MariaDb => "mysql",
    };
    let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
    format!("{scheme}://{user}@{host}:{port}/app")
}

fn engine(server: &str) -> Engine {
    match server.starts_with("mariadb") {
        true => Engine::MariaDb,
        false => Engine::Postgres,
    }
}

/// The arguments that ask the server who has logged in.
fn who(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Postgres => &["psql", "-X", "-A", "-t", "-F", "\t", "-c", WHO_IN_POSTGRES],
        Engine::MariaDb => &["mysql", "-N", "-e", WHO_IN_MYSQL],
    }
}

/// A program of PostgreSQL's own directory.
fn postgres_program(name: &str) -> String {
    let output = Command::new("pg_config").arg("--bindir").output();
    let directory = String::from_utf8(output.expect("pg_config").stdout).expect("a path");
    let path = PathBuf::from(directory.trim_end()).join(name);
    path.to_str().expect("a path").to_owned()
}

// Logins

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn each_client_logs_in_to_each_server_with_each_kind_of_key_and_odd_users_too() {
    let servers = Servers::running();
    for key in KEYS {
        let sandbox = sandbox(&servers, key);
        for (server, engine) in SERVERS {
            for user in ["iam_user", ODD_USER] {
                let (program, args) = who(engine).split_first().unwrap();
                let url = url(&servers, server, user);
                let ca = servers.ca_of(server);
                let start = [program, &*url, "--ca", ca, "--"];
                let output = sandbox.output(&[&start, args].concat());
                assert_eq!(output, format!("{user}\tapp\n"), "{server}, {key}");
            }
        }
        assert!(sandbox.temporary_files().is_empty());
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn exec_runs_every_kind_of_client() {
    let servers = Servers::running();
    let [pg_dump, pgbench] = ["pg_dump", "pgbench"].map(postgres_program);
    for key in KEYS {
        let sandbox = sandbox(&servers, key);
        // A transaction that needs no tables of pgbench.
        fs::write(sandbox.path("transaction.sql"), "SELECT 1;\n").expect("a file");
        for (server, command, expected) in [
            (
                "postgres",
                &[&*pg_dump, "--schema-only"][..],
                "PostgreSQL database dump complete",
            ),
            (
                "postgres",
                // `--connect` opens a connection for each transaction.
                &[
                    &pgbench,
                    "-n",
                    "-C",
                    "-c",
                    "3",
                    "-t",
                    "4",
                    "-f",
                    "transaction.sql",
                ],
                "number of transactions actually processed: 12/12",
            ),
            (
                DSQL,
                &[&pg_dump, "--schema-only"],
                "PostgreSQL database dump complete",
            ),
            (
                "mariadb",
                &["mysqldump", "--no-data", "app"],
                "-- Dump completed",
            ),
            (
                "mariadb",
                &["mariadb-dump", "--no-data", "app"],
                "-- Dump completed",
            ),
            ("mariadb", &["mariadb-admin", "status"], "Uptime: "),
            (
                "mariadb",
                &["mariadb", "-e", WHO_IN_MYSQL],
                "iam_user\tapp\n",
            ),
        ] {
            let url = url(&servers, server, "iam_user");
            let start = ["exec", &url, "--ca", servers.ca_of(server), "--"];
            let output = sandbox.run(&[&start, command].concat());
            assert!(output.status.success(), "{command:?}, {key}: {output:?}");
            assert!(
                output.stdout.contains(expected),
                "{command:?}, {key}: {output:?}"
            );
        }
    }
}

/// MariaDB has them all. Some do not know all options of the others.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn each_client_of_mysql_reads_its_option_file() {
    let servers = Servers::running();
    let sandbox = sandbox(&servers, "session-1600");
    let url = url(&servers, "mariadb", ODD_USER) + "?charset=utf8mb4";
    for client in [
        "mariadb",
        "mariadb-admin",
        "mariadb-analyze",
        "mariadb-check",
        "mariadb-dump",
        "mariadb-import",
        "mariadb-optimize",
        "mariadb-repair",
        "mariadb-show",
        "mariadb-slap",
        "mysql",
        "mysqladmin",
        "mysqlanalyze",
        "mysqlcheck",
        "mysqldump",
        "mysqlimport",
        "mysqloptimize",
        "mysqlrepair",
        "mysqlshow",
        "mysqlslap",
    ] {
        let output = sandbox.run(&["exec", &url, "--", client, "--help"]);
        assert!(output.status.success(), "{client}: {}", output.stderr);
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_script_runs_several_clients_with_the_option_file() {
    let servers = Servers::running();
    for key in KEYS {
        let sandbox = sandbox(&servers, key);
        let script = r#"
            mysql --defaults-file="$RDS_IAM_DEFAULTS_FILE" -N -e 'SELECT 1' &&
            mysqldump --defaults-file="$RDS_IAM_DEFAULTS_FILE" --no-data app | tail -n 1
        "#;
        let url = url(&servers, "mariadb", "iam_user");
        let output =
            sandbox.output(&["exec", &url, "--ca", servers.ca(), "--", "sh", "-c", script]);
        assert!(output.starts_with("1\n-- Dump completed"), "{output}");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_script_on_standard_input_reaches_the_client() {
    let servers = Servers::running();
    let sandbox = sandbox(&servers, "session-1600");
    for (program, server) in [("psql", "postgres"), ("mysql", "mariadb")] {
        let url = url(&servers, server, "iam_user");
        let mut command = sandbox.command([program, &url, "--ca", servers.ca()]);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .expect("rds-iam starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(b"SELECT 6 * 7;\nSELECT no_such_column;\n")
            .expect("a pipe");
        drop(stdin);
        let output = wait(child);
        assert!(output.stdout.contains("42"), "{output:?}");
        assert!(output.stderr.contains("no_such_column"), "{output:?}");
        // psql goes on after an error in a script, and mysql does not.
        let expected = if program == "psql" { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn option_files_of_the_user_and_inherited_variables_do_not_lead_elsewhere() {
    let servers = Servers::running();
    let mut sandbox = sandbox(&servers, "long-term");
    let options =
        "no-group\n[client]\nuser=other\npassword=wrong\nhost=192.0.2.1\nport=1\nskip-ssl\n";
    fs::write(sandbox.path("home/.my.cnf"), options).expect("a file");
    let service = "[other]\nhost=192.0.2.1\nuser=other\nsslmode=disable\n";
    fs::write(sandbox.path("home/.pg_service.conf"), service).expect("a file");
    for (name, value) in [
        ("MYSQL_HOST", "192.0.2.1"),
        ("MYSQL_PWD", "wrong"),
        ("MYSQL_TCP_PORT", "1"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGSERVICE", "other"),
        ("PGSSLMODE", "disable"),
    ] {
        sandbox.set(name, value);
    }
    for (server, engine) in SERVERS {
        let (program, args) = who(engine).split_first().unwrap();
        let url = url(&servers, server, "iam_user");
        let start = [program, &*url, "--ca", servers.ca_of(server), "--"];
        let output = sandbox.output(&[&start, args].concat());
        assert_eq!(output, "iam_user\tapp\n", "{server}");
    }
}

// Tunnels

/// A tunnel to a port of this machine. Returns the address of its near end.
fn tunnel(port: u16) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server");
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far, near),
            ] {
                thread::spawn(move || {
                    // An end of the tunnel may close the connection at any time.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    // By name, so that an address without a listener may come first.
    format!("localhost:{}", address.port())
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn psql_logs_in_through_a_tunnel_and_verifies_the_databases_name() {
    let servers = Servers::running();
    let sandbox = sandbox(&servers, "session-4000");
    for server in ["postgres", DSQL] {
        let dial = tunnel(servers.port_of(server));
        let url = url(&servers, server, "iam_user");
        let (program, args) = who(Engine::Postgres).split_first().unwrap();
        let start = [
            program,
            &*url,
            "--dial",
            &dial,
            "--ca",
            servers.ca_of(server),
            "--",
        ];
        let output = sandbox.output(&[&start, args].concat());
        assert_eq!(output, "iam_user\tapp\n", "{server}");
    }
    let url = url_of(
        Engine::Postgres,
        servers.unverified_host(),
        servers.port(Engine::Postgres),
        LEAK_USER,
    );
    let dial = tunnel(servers.port(Engine::Postgres));
    let output = sandbox.run(&["psql", &url, "--dial", &dial, "--ca", servers.ca()]);
    assert!(
        output.stderr.contains("does not match host name"),
        "{output:?}"
    );
}

// Secrets

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn no_token_is_sent_if_the_server_is_not_verified() {
    let servers = Servers::running();
    let sandbox = sandbox(&servers, "long-term");
    let received = || -> Vec<String> {
        let names = ["postgres-without-tls", "mariadb-without-tls"].into_iter();
        let names = names.chain(SERVERS.map(|(server, _)| server));
        names
            .flat_map(|server| servers.received(server, LEAK_USER))
            .collect()
    };
    let before = received();
    let run = |url: &str, ca: &str| -> Output {
        let engine = if url.starts_with("mysql") {
            Engine::MariaDb
        } else {
            Engine::Postgres
        };
        let (program, args) = who(engine).split_first().unwrap();
        sandbox.run(&[&[program, url, "--ca", ca, "--"], args].concat())
    };
    for (server, _) in SERVERS {
        let output = run(&url(&servers, server, LEAK_USER), servers.other_ca());
        assert!(!output.status.success(), "{server}");
        assert!(
            output.stderr.contains("certificate"),
            "{server}: {output:?}"
        );
    }
    for engine in ENGINES {
        let host = servers.unverified_host();
        let output = run(
            &url_of(engine, host, servers.port(engine), LEAK_USER),
            servers.ca(),
        );
        assert!(!output.status.success(), "{engine:?}");

        let port = servers.port_without_tls(engine);
        let output = run(
            &url_of(engine, servers.host(), port, LEAK_USER),
            servers.ca(),
        );
        assert!(!output.status.success(), "{engine:?}");
        assert!(output.stderr.contains("SSL"), "{output:?}");
    }
    assert_eq!(received(), before);
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_built_in_roots_do_not_verify_another_authority_and_a_missing_region_is_named() {
    let servers = Servers::running();
    let sandbox = sandbox(&servers, "long-term");
    for (server, engine) in SERVERS {
        let output = sandbox.run(&[who(engine)[0], &url(&servers, server, LEAK_USER)]);
        assert!(!output.status.success(), "{server}");
        assert!(
            output.stderr.contains("certificate"),
            "{server}: {output:?}"
        );
        assert!(!output.stderr.contains("rds-iam:"), "{server}: {output:?}");
    }
    for engine in ENGINES {
        let url = url_of(
            engine,
            servers.host_without_roots(),
            servers.port(engine),
            LEAK_USER,
        );
        let output = sandbox.run(&[who(engine)[0], &url]);
        let note = "rds-iam: there are no built-in root certificates for the region ca-west-1. ";
        assert!(output.stderr.contains(note), "{output:?}");
    }
}

/// A client that waits for its standard input.
struct Waiting {
    child: Child,
    sandbox: Sandbox,
    url: String,
}

impl Waiting {
    /// Starts a client and waits until the client has logged in.
    fn start(servers: &Servers, key: &str, engine: Engine) -> Waiting {
        let sandbox = sandbox(servers, key);
        let url = url(servers, engine.server(), "iam_user");
        let start = [who(engine)[0], &*url, "--ca", servers.ca(), "--"];
        let args: &[&str] = match engine {
            Engine::Postgres => &["-X", "-A", "-t"],
            Engine::MariaDb => &["-N", "--unbuffered"],
        };
        let mut command = sandbox.command([&start, args].concat());
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .expect("rds-iam starts");
        let stdin = child.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"SELECT 'logged in';\n").expect("a pipe");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe");
        assert_eq!(line, "logged in\n");
        Waiting {
            child,
            sandbox,
            url,
        }
    }

    fn rds_iam(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The client, the only child of `rds-iam`.
    fn client(&self) -> Pid {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let client = children.expect("the children").trim().parse();
        Pid::from_raw(client.expect("a single child")).expect("a process id")
    }

    fn wait(self) -> (Sandbox, Output) {
        (self.sandbox, wait(self.child))
    }
}

/// The arguments of all processes.
fn all_arguments() -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        // A process may end at any time.
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|arguments| String::from_utf8_lossy(&arguments).into_owned())
        .collect()
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn no_argument_and_no_readable_file_has_a_secret_while_a_client_runs() {
    let servers = Servers::running();
    for key_name in KEYS {
        for engine in ENGINES {
            let waiting = Waiting::start(&servers, key_name, engine);
            let key = servers.key(key_name);
            let secrets = iter::once(key.secret_access_key)
                .chain(key.session_token)
                .chain([
                    "X-Amz-Signature".to_owned(),
                    "X-Amz-Security-Token".to_owned(),
                ]);
            let arguments = all_arguments();
            // Otherwise the lines below would prove nothing.
            assert!(
                arguments
                    .iter()
                    .any(|arguments| arguments.contains(&waiting.url))
            );
            for secret in secrets {
                let has_secret = arguments
                    .iter()
                    .any(|arguments| arguments.contains(&secret));
                assert!(!has_secret, "{key_name}, {engine:?}");
            }
            let directories = waiting.sandbox.temporary_files();
            let [directory] = &*directories else {
                panic!("{directories:?}");
            };
            assert_eq!(mode(directory), 0o700);
            for file in fs::read_dir(directory).expect("a directory") {
                assert_eq!(mode(&file.expect("a file").path()), 0o600);
            }
            let mut waiting = waiting;
            drop(waiting.child.stdin.take());
            let (sandbox, output) = waiting.wait();
            assert!(output.status.success(), "{output:?}");
            assert!(sandbox.temporary_files().is_empty());
        }
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_files_are_removed_after_a_signal_to_rds_iam_or_to_the_client() {
    let servers = Servers::running();
    for engine in ENGINES {
        for (is_for_client, signal) in [
            (false, Signal::TERM),
            (false, Signal::HUP),
            (true, Signal::TERM),
            (true, Signal::KILL),
        ] {
            let waiting = Waiting::start(&servers, "long-term", engine);
            assert!(!waiting.sandbox.temporary_files().is_empty());
            let client = waiting.client();
            let process = if is_for_client {
                client
            } else {
                waiting.rds_iam()
            };
            kill_process(process, signal).expect("a running process");
            let (sandbox, output) = waiting.wait();
            assert_eq!(
                output.status.signal(),
                Some(signal.as_raw()),
                "{engine:?}: {output:?}"
            );
            assert!(sandbox.temporary_files().is_empty());
            let path = format!("/proc/{}", client.as_raw_nonzero());
            wait_until("the end of the client", || !fs::exists(&path).unwrap());
        }
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_variables_of_env_log_in() {
    let servers = Servers::running();
    for key in KEYS {
        let sandbox = sandbox(&servers, key);
        let postgres = format!(
            "{}?sslrootcert={}",
            url(&servers, "postgres", ODD_USER),
            servers.ca()
        );
        let commands = sandbox.output(&["token", &postgres, "--format", "env"]);
        let output = sandbox.shell(&format!("{commands}psql -XAt -c 'SELECT current_user'"));
        assert_eq!(output, format!("{ODD_USER}\n"));

        let mariadb = url(&servers, "mariadb", "iam_user");
        let commands = sandbox.output(&["token", &mariadb, "--format", "env"]);
        let mysql = format!(
            "mysql --user=iam_user --ssl-ca={} --ssl-verify-server-cert",
            servers.ca()
        );
        let output = sandbox.shell(&format!("{commands}{mysql} -N -e 'SELECT 1'"));
        assert_eq!(output, "1\n");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_driver_logs_in_with_the_url_of_token() {
    let servers = Servers::running();
    for key in KEYS {
        let sandbox = sandbox(&servers, key);
        let url = url(&servers, "postgres", ODD_USER);
        let url = sandbox.output(&["token", &url, "--format", "url"]);
        let config: tokio_postgres::Config = url.trim_end().parse().expect("a URL");
        let user = config.get_user().expect("a user");
        let password = str::from_utf8(config.get_password().expect("a password")).unwrap();
        let logged_in = servers.log_in(Engine::Postgres, user, password);
        assert_eq!(logged_in.expect(key), ODD_USER);
    }
}
