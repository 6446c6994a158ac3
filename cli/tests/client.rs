//! `rds-iam exec`, `rds-iam psql` and `rds-iam mysql` without a database: programs of the tests take the clients' place, and
//! record their arguments, variables and files.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};

use rds_roots::{AMAZON_ROOT_CERTS, RDS_ROOT_CERTS, region_root_certs, to_pem};
use rustix::process::{Pid, Signal, kill_process};
use support::{DSQL_HOST, HOST, Sandbox, wait, wait_until};

const POSTGRES: &str = "postgres://app@mydb.abc123xyz.eu-central-1.rds.amazonaws.com/shop";
const MYSQL: &str = "mysql://app@mydb.abc123xyz.eu-central-1.rds.amazonaws.com/shop";

/// Records what a client gets.
const RECORD: &str = r#"
for argument; do printf '%s\n' "$argument"; done >"$RECORD/args"
env -0 >"$RECORD/env"
roots=${PGSSLROOTCERT-}
if [ "${RDS_IAM_DEFAULTS_FILE-}" ]; then
    cat "$RDS_IAM_DEFAULTS_FILE" >"$RECORD/file"
    roots=$(sed -n 's/^ssl-ca="\(.*\)"$/\1/p' "$RDS_IAM_DEFAULTS_FILE")
    stat -c %a "$RDS_IAM_DEFAULTS_FILE" >>"$RECORD/modes"
fi
cat "$roots" >"$RECORD/roots"
stat -c %a "$roots" "$(dirname "$roots")" >>"$RECORD/modes"
"#;

/// A client of MySQL 8.4.
const MYSQL_VERSION: &str = r#"
case "$*" in *--version*)
    echo 'mysql  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)'
    exit
esac
"#;

/// A client of MariaDB 11.4.
const MARIADB_VERSION: &str = r#"
case "$*" in *--version*)
    echo 'mariadb from 11.4.3-MariaDB, client 15.2 for debian-linux-gnu (x86_64) using  EditLine wrapper'
    exit
esac
"#;

fn recorder(name: &str, version: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.program(name, &format!("{version}{RECORD}"));
    sandbox
}

/// The variables that the client has got, beside the variables of the sandbox.
fn variables(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let env = sandbox.record("env");
    let of_sandbox = ["PATH", "HOME", "TMPDIR", "RECORD", "PWD", "_"];
    env.split_terminator('\0')
        .filter_map(|variable| variable.split_once('='))
        .filter(|(name, _)| !of_sandbox.contains(name) && !name.starts_with("AWS_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The variables of psql, except the token and the file of the roots, which must be there.
#[track_caller]
fn libpq_variables(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut variables = variables(sandbox);
    let token = variables.remove("PGPASSWORD").expect("a token");
    assert!(token.contains("&X-Amz-Signature="), "{token}");
    let roots = variables.remove("PGSSLROOTCERT").expect("roots");
    assert!(roots.starts_with(&sandbox.path("tmp")), "{roots}");
    variables
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

// PostgreSQL

#[test]
fn psql_gets_the_login_and_verified_tls_in_its_environment() {
    let sandbox = recorder("psql", "");
    sandbox.output(&["psql", POSTGRES, "--", "-c", "SELECT 1", ""]);
    assert_eq!(sandbox.record("args"), "-c\nSELECT 1\n\n");
    assert_eq!(
        libpq_variables(&sandbox),
        map([
            ("PGHOST", HOST),
            ("PGPORT", "5432"),
            ("PGUSER", "app"),
            ("PGDATABASE", "shop"),
            ("PGSSLMODE", "verify-full"),
            ("PGGSSENCMODE", "disable"),
        ])
    );
}

#[test]
fn psql_gets_every_parameter_of_the_url() {
    let sandbox = recorder("psql", "");
    sandbox.output(&[
        "psql",
        "postgresql://we%2Fird%20us%2Ber%40x%25%C3%A9@mydb.abc123xyz.eu-central-1.rds.amazonaws.com:15432?dbname=a%2Fb\
         &application_name=x%20y&client_encoding=UTF8&connect_timeout=7&options=-c%20statement_timeout%3D5s&sslcert=/c\
         &sslkey=/k&sslcrl=/l&ssl_min_protocol_version=TLSv1.3&target_session_attrs=read-only&sslmode=verify-full",
    ]);
    assert_eq!(
        libpq_variables(&sandbox),
        map([
            ("PGHOST", HOST),
            ("PGPORT", "15432"),
            ("PGUSER", "we/ird us+er@x%é"),
            ("PGDATABASE", "a/b"),
            ("PGAPPNAME", "x y"),
            ("PGCLIENTENCODING", "UTF8"),
            ("PGCONNECT_TIMEOUT", "7"),
            ("PGOPTIONS", "-c statement_timeout=5s"),
            ("PGSSLCERT", "/c"),
            ("PGSSLKEY", "/k"),
            ("PGSSLCRL", "/l"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGTARGETSESSIONATTRS", "read-only"),
            ("PGSSLMODE", "verify-full"),
            ("PGGSSENCMODE", "disable"),
        ])
    );
}

#[test]
fn variables_that_would_lead_psql_elsewhere_are_replaced_or_removed() {
    let mut sandbox = recorder("psql", "");
    for name in [
        "PGCHANNELBINDING",
        "PGDATABASE",
        "PGGSSENCMODE",
        "PGHOST",
        "PGHOSTADDR",
        "PGPASSWORD",
        "PGPORT",
        "PGREQUIREAUTH",
        "PGREQUIRESSL",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGSSLMODE",
        "PGSSLROOTCERT",
        "PGSSLSNI",
        "PGUSER",
    ] {
        sandbox.set(name, "inherited");
    }
    sandbox.set("PGAPPNAME", "inherited");
    sandbox.output(&[
        "psql",
        "postgres://app@mydb.abc123xyz.eu-central-1.rds.amazonaws.com",
    ]);
    assert_eq!(
        libpq_variables(&sandbox),
        map([
            ("PGHOST", HOST),
            ("PGPORT", "5432"),
            ("PGUSER", "app"),
            ("PGSSLMODE", "verify-full"),
            ("PGGSSENCMODE", "disable"),
            ("PGAPPNAME", "inherited"),
        ])
    );
}

#[test]
fn dial_leads_psql_to_a_tunnel_while_the_name_stays() {
    let sandbox = recorder("psql", "");
    sandbox.output(&["psql", POSTGRES, "--dial", "[::1]:15432"]);
    let variables = variables(&sandbox);
    assert_eq!(variables["PGHOST"], HOST);
    assert_eq!(variables["PGHOSTADDR"], "::1");
    assert_eq!(variables["PGPORT"], "15432");
    let start = format!("{HOST}:5432/?");
    assert!(variables["PGPASSWORD"].starts_with(&start), "{variables:?}");
}

#[test]
fn psql_connects_to_the_only_database_of_dsql() {
    let sandbox = recorder("psql", "");
    sandbox.output(&["psql", &format!("postgres://admin@{DSQL_HOST}")]);
    assert_eq!(libpq_variables(&sandbox)["PGDATABASE"], "postgres");
}

// MySQL and MariaDB

/// The option file without the line of the token, which must be the last line of `[client]`, and with `ROOTS` in place of the
/// file of the roots.
#[track_caller]
fn option_file(sandbox: &Sandbox) -> String {
    let file = sandbox.record("file");
    let (mut lines, mut token) = (Vec::new(), None);
    for line in file.lines() {
        if let Some(password) = line.strip_prefix("password=") {
            assert_eq!(token.replace(password.to_owned()), None);
        } else if line.starts_with("ssl-ca=") {
            lines.push("ssl-ca=ROOTS");
        } else {
            lines.push(line);
        }
    }
    let token = token.expect("a token");
    let start = format!("\"{HOST}:3306/?Action=connect&");
    assert!(token.starts_with(&start) && token.ends_with('"'), "{token}");
    lines.join("\n")
}

#[test]
fn a_client_of_mysql_gets_an_option_file_in_its_own_words() {
    let sandbox = recorder("mysql", MYSQL_VERSION);
    sandbox.output(&["mysql", MYSQL, "--", "-e", "SELECT 1"]);
    assert_eq!(
        option_file(&sandbox),
        format!(
            "[client]\nhost=\"{HOST}\"\nport=\"3306\"\nprotocol=\"TCP\"\nuser=\"app\"\nssl-ca=ROOTS\n\
             ssl-mode=\"VERIFY_IDENTITY\"\nenable-cleartext-plugin\n[mysql]\ndatabase=\"shop\""
        )
    );
    let args = sandbox.record("args");
    let (file, args) = args.split_once('\n').expect("several arguments");
    let start = format!("--defaults-file={}/", sandbox.path("tmp"));
    assert!(file.starts_with(&start), "{file}");
    assert_eq!(args, "-e\nSELECT 1\n");
}

#[test]
fn a_client_of_mariadb_gets_an_option_file_in_its_own_words() {
    let sandbox = recorder("mariadb-dump", MARIADB_VERSION);
    let url = "mariadb://we%2Fird%20us%2Ber%40x%25%C3%A9%22%5C@mydb.abc123xyz.eu-central-1.rds.amazonaws.com\
               ?ssl-mode=VERIFY_IDENTITY&ssl-cert=/c&ssl-key=/k";
    sandbox.output(&["exec", url, "--", "mariadb-dump", "shop"]);
    assert_eq!(
        option_file(&sandbox),
        format!(
            "[client]\nhost=\"{HOST}\"\nport=\"3306\"\nprotocol=\"TCP\"\nuser=\"we/ird us+er@x%é\\\"\\\\\"\nssl-ca=ROOTS\n\
             ssl-verify-server-cert\nssl-cert=\"/c\"\nssl-key=\"/k\"\nloose-default-character-set=\"utf8mb4\""
        )
    );
}

#[test]
fn the_character_set_of_a_mysql_url_is_the_clients() {
    let sandbox = recorder("mysqldump", MYSQL_VERSION);
    let url = format!("{MYSQL}?charset=latin1");
    sandbox.output(&["exec", &url, "--", "mysqldump"]);
    let file = option_file(&sandbox);
    assert!(
        file.contains("\nloose-default-character-set=\"latin1\"\n"),
        "{file}"
    );
}

#[test]
fn a_long_token_reaches_mysql_in_the_environment() {
    for (session_token, is_in_file) in [("+".repeat(1000), true), ("+".repeat(1300), false)] {
        let mut sandbox = recorder("mysql", MYSQL_VERSION);
        sandbox.set("AWS_SESSION_TOKEN", &session_token);
        sandbox.set("MYSQL_PWD", "inherited");
        sandbox.output(&["mysql", MYSQL]);
        let file = sandbox.record("file");
        let token = variables(&sandbox).remove("MYSQL_PWD");
        assert_eq!(file.contains("X-Amz-"), is_in_file, "{file}");
        match is_in_file {
            true => assert_eq!(token, None),
            false => assert!(token.is_some_and(|token| token.contains("&X-Amz-Signature="))),
        }
        assert!(file.lines().all(|line| line.len() <= 4094));
    }
}

#[test]
fn variables_that_would_lead_mysql_elsewhere_are_removed() {
    let mut sandbox = recorder("mysql", MYSQL_VERSION);
    for name in [
        "LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN",
        "MARIADB_TLS_DISABLE_PEER_VERIFICATION",
        "MYSQL_HOST",
        "MYSQL_PWD",
        "MYSQL_TCP_PORT",
        "MYSQL_TEST_LOGIN_FILE",
        "MYSQL_UNIX_PORT",
        "RDS_IAM_DEFAULTS_FILE",
    ] {
        sandbox.set(name, "/inherited");
    }
    sandbox.output(&["mysql", MYSQL]);
    let variables = variables(&sandbox);
    let names: Vec<_> = variables.keys().map(String::as_str).collect();
    assert_eq!(names, ["MYSQL_TEST_LOGIN_FILE", "RDS_IAM_DEFAULTS_FILE"]);
    for path in variables.values() {
        assert!(path.starts_with(&sandbox.path("tmp")), "{path}");
    }
}

#[test]
fn mariadb_runs_if_there_is_no_mysql() {
    let mut sandbox = recorder("mariadb", MARIADB_VERSION);
    // The programs that the recorder runs, and no other client.
    for program in ["cat", "dirname", "env", "sed", "stat"] {
        let (from, to) = (
            format!("/usr/bin/{program}"),
            sandbox.path(&format!("bin/{program}")),
        );
        std::os::unix::fs::symlink(from, to).expect("a link");
    }
    sandbox.set("PATH", &sandbox.path("bin"));
    sandbox.output(&["mysql", MYSQL]);
    assert!(option_file(&sandbox).contains("\nssl-verify-server-cert\n"));

    let without_client = Sandbox::new();
    let mut command = without_client.command(["mysql", MYSQL]);
    let output = wait(
        command
            .env("PATH", without_client.path("bin"))
            .spawn()
            .expect("rds-iam starts"),
    );
    assert_eq!(output.status.code(), Some(127));
    assert!(
        output
            .stderr
            .starts_with("rds-iam: the command \"mysql\" was not found."),
        "{output:?}"
    );
}

#[test]
fn a_script_gets_the_path_of_the_option_file() {
    // A script with a client's name in its name is not asked for its version: it is run once.
    for name in ["backup", "mysql-backup.sh"] {
        let sandbox = recorder("mysql", MYSQL_VERSION);
        sandbox.program(name, &format!("echo run >>\"$RECORD/runs\"\n{RECORD}"));
        sandbox.output(&["exec", MYSQL, "--", name, "argument"]);
        assert_eq!(sandbox.record("runs"), "run\n");
        assert_eq!(sandbox.record("args"), "argument\n");
        assert!(option_file(&sandbox).contains("ssl-mode=\"VERIFY_IDENTITY\""));
    }
}

#[test]
fn a_client_with_a_version_in_its_name_gets_the_option_file_as_an_argument() {
    for name in ["mysqldump", "mysqldump8", "mysqldump-8.4"] {
        let sandbox = recorder(name, MYSQL_VERSION);
        sandbox.output(&[
            "exec",
            MYSQL,
            "--",
            &sandbox.path(&format!("bin/{name}")),
            "shop",
        ]);
        let args = sandbox.record("args");
        assert!(
            args.starts_with("--defaults-file=/") && args.ends_with("\nshop\n"),
            "{args}"
        );
    }
}

#[test]
fn mysql_cannot_dial_another_address() {
    let sandbox = recorder("mysql", MYSQL_VERSION);
    let output = sandbox.run(&["mysql", MYSQL, "--dial", "localhost:13306"]);
    assert_eq!(output.status.code(), Some(1));
    let advice = format!(
        "Let {HOST} lead to the tunnel, for example in /etc/hosts, and let the tunnel listen on port 3306\n"
    );
    assert!(output.stderr.ends_with(&advice), "{}", output.stderr);
}

// Roots

#[test]
fn the_roots_are_those_of_the_region_and_amazons_public_roots() {
    let amazon = to_pem(AMAZON_ROOT_CERTS);
    let region = to_pem(
        region_root_certs("eu-central-1")
            .iter()
            .chain(AMAZON_ROOT_CERTS),
    );
    let all = to_pem(RDS_ROOT_CERTS.iter().chain(AMAZON_ROOT_CERTS));
    assert!(amazon.len() < region.len() && region.len() < all.len());
    let global = "postgres://app@mydb.global-abc123xyz.global.rds.amazonaws.com";
    for (args, roots) in [
        (&["psql", POSTGRES][..], &region),
        (
            &["psql", &*format!("postgres://admin@{DSQL_HOST}")],
            &amazon,
        ),
        (&["psql", global, "--region", "eu-central-1"], &all),
        (&["mysql", MYSQL], &region),
    ] {
        let sandbox = recorder(args[0], MYSQL_VERSION);
        sandbox.output(args);
        assert_eq!(&sandbox.record("roots"), roots, "{args:?}");
    }
}

#[test]
fn given_roots_replace_the_built_in_roots() {
    let given = to_pem(&AMAZON_ROOT_CERTS[..1]);
    for args in [
        vec!["psql", POSTGRES, "--ca", "FILE"],
        vec!["psql", "POSTGRES?sslrootcert=FILE"],
        vec!["mysql", MYSQL, "--ca", "FILE"],
        vec!["mysql", "MYSQL?ssl-ca=FILE"],
    ] {
        let sandbox = recorder(args[0], MYSQL_VERSION);
        let file = sandbox.path("roots.pem");
        fs::write(&file, &given).expect("a file");
        let args: Vec<_> = args
            .iter()
            .map(|arg| arg.replace("POSTGRES?", &format!("{POSTGRES}?")))
            .map(|arg| {
                arg.replace("MYSQL?", &format!("{MYSQL}?"))
                    .replace("FILE", &file)
            })
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        sandbox.output(&args);
        assert_eq!(sandbox.record("roots"), given, "{args:?}");
    }
}

#[test]
fn a_failed_client_in_a_region_without_roots_is_explained() {
    let sandbox = Sandbox::new();
    let url = "postgres://app@mydb.abc123xyz.us-gov-west-1.rds.amazonaws.com";
    sandbox.program("psql", "exit \"$1\"");
    let output = sandbox.run(&["psql", url, "--", "2"]);
    assert_eq!(output.status.code(), Some(2));
    let start = "rds-iam: there are no built-in root certificates for the region us-gov-west-1. ";
    assert!(output.stderr.starts_with(start), "{}", output.stderr);

    sandbox.output(&["psql", url, "--", "0"]);
    let output = sandbox.run(&["psql", POSTGRES, "--", "2"]);
    assert_eq!((output.status.code(), &*output.stderr), (Some(2), ""));
}

// Files

#[test]
fn the_files_are_private_and_removed_after_the_client() {
    for args in [["psql", POSTGRES], ["mysql", MYSQL]] {
        let sandbox = recorder(args[0], MYSQL_VERSION);
        sandbox.output(&args);
        let modes = match args[0] {
            "psql" => "600\n700\n",
            _ => "600\n600\n700\n",
        };
        assert_eq!(sandbox.record("modes"), modes);
        assert!(sandbox.temporary_files().is_empty());
    }
}

// Errors

#[test]
fn a_database_that_the_client_cannot_use_is_an_error_and_nothing_runs() {
    for (args, error) in [
        (vec!["psql", MYSQL], "schemes: postgres, postgresql"),
        (vec!["mysql", POSTGRES], "schemes: mysql, mariadb"),
        (
            vec!["mysql", "mysql://admin@DSQL"],
            "speaks the protocol of PostgreSQL",
        ),
        (
            vec!["psql", "postgres://app:SECRET@HOST"],
            "Remove the password",
        ),
        (
            vec!["psql", "postgres://app@HOST?sslmode=prefer"],
            "less than verified TLS",
        ),
        (
            vec!["psql", "postgres://app@HOST?keepalives=0"],
            "it is unknown",
        ),
        (
            vec!["psql", "postgres://app@HOST?application_name=%0A"],
            "control characters",
        ),
        (
            vec!["psql", "postgres://app@HOST/host=x"],
            "Give a name without `=` and `://`",
        ),
        (
            vec!["psql", "postgres://app@HOST/postgres:%2F%2Fx"],
            "Give a name without `=` and `://`",
        ),
        (
            vec!["psql", "postgres://app@HOST?dbname=host%3Dx"],
            "Give a name without `=` and `://`",
        ),
        (
            vec!["mysql", "mysql://app@HOST?connect_timeout=1"],
            "it is unknown",
        ),
        (vec!["mysql", "mysql://app@HOST/%0A"], "control characters"),
        (
            vec!["mysql", "mysql://app@HOST?socket=/x"],
            "a socket has no TLS",
        ),
        (
            vec!["psql", "postgres://app@HOST", "--ca", "missing.pem"],
            "\"missing.pem\" cannot be read",
        ),
        (
            vec!["psql", "postgres://app@HOST?sslrootcert=x", "--ca", "y"],
            "Remove either",
        ),
        (
            vec!["psql", "postgres://app@HOST", "--dial", "nowhere"],
            "Give HOST:PORT",
        ),
        (
            vec!["psql", "postgres://app@HOST", "--dial", "host.invalid:1"],
            "cannot be resolved",
        ),
        (
            vec!["psql", "postgres://app@HOST", "--region", "mars"],
            "invalid region",
        ),
        (
            vec!["psql", "postgres://app@localhost"],
            "the name localhost contains no region",
        ),
    ] {
        let sandbox = recorder(args[0], MYSQL_VERSION);
        let args: Vec<_> = args
            .iter()
            .map(|arg| arg.replace("@HOST", &format!("@{HOST}")))
            .map(|arg| arg.replace("DSQL", DSQL_HOST))
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let output = sandbox.run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(output.stderr.contains(error), "{args:?}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        assert!(!output.stderr.contains("SECRET"), "{output:?}");
        assert!(
            !fs::exists(sandbox.path("record/args")).unwrap(),
            "{args:?}"
        );
        assert!(sandbox.temporary_files().is_empty(), "{args:?}");
    }
}

#[test]
fn a_command_that_cannot_be_started_ends_with_a_shells_status() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("bin/mysqldump"), "no program").expect("a file");
    sandbox.program("mysql", MYSQL_VERSION);
    for url in [POSTGRES, MYSQL] {
        for (command, status, error) in [
            (
                "missing",
                127,
                "rds-iam: the command \"missing\" was not found. ",
            ),
            (
                "bin/mysqldump",
                126,
                "rds-iam: the command \"bin/mysqldump\" cannot be executed. ",
            ),
        ] {
            let output = sandbox.run(&["exec", url, "--", command]);
            assert_eq!(output.status.code(), Some(status), "{output:?}");
            assert!(output.stderr.starts_with(error), "{output:?}");
            assert!(sandbox.temporary_files().is_empty());
        }
    }
}

#[test]
fn a_script_without_a_client_of_mysql_is_an_error_that_says_why() {
    let mut sandbox = Sandbox::new();
    // The shell alone.
    sandbox.set("PATH", &sandbox.path("bin"));
    let output = sandbox.run(&["exec", MYSQL, "--", "/bin/sh", "-c", "true"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = "rds-iam: neither mysql nor mariadb is installed, ";
    assert!(output.stderr.starts_with(error), "{output:?}");
}

/// MariaDB's clients ignore an option file with a long path, and connect without TLS.
#[test]
fn a_directory_for_temporary_files_that_a_client_cannot_use_is_an_error() {
    for name in [
        "a\nb".to_owned(),
        ["x".repeat(200), "y".repeat(200)].join("/"),
    ] {
        let mut sandbox = recorder("mysql", MYSQL_VERSION);
        let odd = sandbox.path(&name);
        fs::create_dir_all(&odd).expect("a directory");
        sandbox.set("TMPDIR", &odd);
        let output = sandbox.run(&["mysql", MYSQL]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains("Set TMPDIR"), "{output:?}");
        assert_eq!(fs::read_dir(odd).expect("a directory").count(), 0);
    }
}

#[test]
fn a_credential_process_does_not_read_the_script_of_the_client() {
    let mut sandbox = Sandbox::new();
    let key = r#"{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret"}"#;
    sandbox.set_credential_process(&format!("cat >\"$RECORD/process\"; echo '{key}'"));
    sandbox.program("psql", "cat >\"$RECORD/client\"");
    let mut command = sandbox.command(["psql", POSTGRES]);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("rds-iam starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"SELECT 1;\n").expect("a pipe");
    drop(stdin);
    let output = wait(child);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sandbox.record("process"), "");
    assert_eq!(sandbox.record("client"), "SELECT 1;\n");
}

#[test]
fn a_signal_ends_rds_iam_while_the_credentials_are_loaded() {
    let mut sandbox = Sandbox::new();
    sandbox.set_credential_process(">\"$RECORD/started\"; exec sleep 20");
    let mut child = sandbox
        .command(["psql", POSTGRES])
        .spawn()
        .expect("rds-iam starts");
    let started = sandbox.path("record/started");
    wait_until("the credential process", || fs::exists(&started).unwrap());
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a running process");
    let status = child.wait().expect("the status of a child");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_umask_without_rights_does_not_matter() {
    let sandbox = recorder("mysql", MYSQL_VERSION);
    let script = format!(
        "umask 777; exec {} mysql {MYSQL}",
        env!("CARGO_BIN_EXE_rds-iam")
    );
    sandbox.shell(&script.replace("umask 777;", "touch \"$RECORD\"/args \"$RECORD\"/env \"$RECORD\"/file \"$RECORD\"/roots \"$RECORD\"/modes; umask 777;"));
    assert!(
        sandbox
            .record("modes")
            .lines()
            .all(|mode| ["600", "700"].contains(&mode))
    );
}

#[test]
fn an_ipv6_address_has_no_brackets_for_a_client() {
    let args = ["--region", "us-east-1", "--"];
    let sandbox = recorder("psql", "");
    sandbox.output(&[&["psql", "postgres://app@[::1]/shop"], &args[..]].concat());
    assert_eq!(libpq_variables(&sandbox)["PGHOST"], "::1");

    let sandbox = recorder("mysql", MYSQL_VERSION);
    sandbox.output(&[&["mysql", "mysql://app@[::1]/shop"], &args[..]].concat());
    assert!(sandbox.record("file").contains("host=\"::1\"\n"));
}

// Status and signals

#[test]
fn the_exit_status_is_the_clients() {
    let sandbox = Sandbox::new();
    sandbox.program("psql", "exit \"$1\"");
    for status in [0, 1, 3, 255] {
        let output = sandbox.run(&["psql", POSTGRES, "--", &status.to_string()]);
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(output.stderr, "");
    }
}

/// A client that waits, and `rds-iam`, which waits for the client.
struct Running {
    sandbox: Sandbox,
    child: Option<Child>,
    client: Pid,
}

impl Running {
    /// Starts a client that runs `script` with its process id in the file `pid`, and waits for the file.
    fn start(script: &str, launch: impl FnOnce(&Sandbox) -> Child) -> Running {
        let sandbox = Sandbox::new();
        let write_pid = r#"echo "$$" >"$RECORD/new" && mv "$RECORD/new" "$RECORD/pid""#;
        sandbox.program("psql", &format!("{write_pid}\n{script}"));
        sandbox.program("mysql", &format!("{MYSQL_VERSION}{write_pid}\n{script}"));
        let child = launch(&sandbox);
        let file = sandbox.path("record/pid");
        wait_until("the start of the client", || fs::exists(&file).unwrap());
        let client = sandbox.record("pid").trim().parse().expect("a process id");
        Running {
            sandbox,
            child: Some(child),
            client: Pid::from_raw(client).expect("a process id"),
        }
    }

    /// `rds-iam`, the client's parent.
    fn rds_iam(&self) -> Pid {
        let parent = status(self.client, "PPid");
        Pid::from_raw(parent.parse().expect("a process id")).expect("a process id")
    }

    fn wait(mut self) -> (Sandbox, support::Output) {
        let child = self.child.take().expect("a child");
        let output = wait(child);
        // `wait` has waited for the ends of the pipes, which the client had too.
        (std::mem::replace(&mut self.sandbox, Sandbox::new()), output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // After a failed assertion.
            let _ = kill_process(self.client, Signal::KILL);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A field of a process's status, such as `State`.
fn status(process: Pid, field: &str) -> String {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.expect(field).trim().to_owned()
}

fn is_stopped(process: Pid) -> bool {
    status(process, "State").starts_with('T')
}

/// Whether a process has a signal in one of its masks, such as `SigIgn`.
fn has_signal(process: Pid, mask: &str, signal: Signal) -> bool {
    let mask = u64::from_str_radix(&status(process, mask), 16).expect("a mask");
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// Starts a client by `rds-iam` with `args`.
fn start<const N: usize>(script: &str, args: [&str; N]) -> Running {
    Running::start(script, |sandbox| {
        sandbox.command(args).spawn().expect("rds-iam starts")
    })
}

const WAITS: &str = "exec sleep 100";

#[test]
fn a_signal_ends_the_client_and_then_rds_iam_in_the_same_way() {
    for signal in [
        Signal::TERM,
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::ABORT,
        Signal::XFSZ,
    ] {
        for args in [["psql", POSTGRES], ["mysql", MYSQL]] {
            let running = start(WAITS, args);
            assert!(!running.sandbox.temporary_files().is_empty());
            kill_process(running.rds_iam(), signal).expect("a running process");
            let (sandbox, output) = running.wait();
            assert_eq!(output.status.signal(), Some(signal.as_raw()), "{output:?}");
            assert_eq!(output.stderr, "");
            assert!(sandbox.temporary_files().is_empty());
        }
    }
}

#[test]
fn rds_iam_dies_from_the_signal_that_killed_the_client() {
    for signal in [Signal::KILL, Signal::SEGV, Signal::PIPE, Signal::TERM] {
        // The client may dump its core, which holds the client's secrets. A core of rds-iam would be one more.
        let running = Running::start(WAITS, |sandbox| {
            let mut command = support::with_default_signals("/bin/sh");
            let script = r#"ulimit -c "$(ulimit -H -c)"; exec "$0" "$@""#;
            command.args(["-c", script, env!("CARGO_BIN_EXE_rds-iam"), "mysql", MYSQL]);
            sandbox.prepare(&mut command);
            command.spawn().expect("a shell")
        });
        kill_process(running.client, signal).expect("a running process");
        let (sandbox, output) = running.wait();
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{output:?}");
        assert!(!output.status.core_dumped());
        assert!(sandbox.temporary_files().is_empty());
    }
}

#[test]
fn a_client_that_handles_sigterm_decides_the_status() {
    let handles = "trap 'exit 7' TERM; while :; do sleep 0.01; done";
    let running = start(handles, ["psql", POSTGRES]);
    wait_until("the handler", || {
        has_signal(running.client, "SigCgt", Signal::TERM)
    });
    kill_process(running.rds_iam(), Signal::TERM).expect("a running process");
    let (_, output) = running.wait();
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn signals_that_rds_iam_was_started_to_ignore_are_ignored_by_the_client() {
    let running = Running::start(WAITS, |sandbox| {
        let mut command = support::with_default_signals("/bin/sh");
        command.args([
            "-c",
            r#"trap '' HUP; exec "$0" "$@""#,
            env!("CARGO_BIN_EXE_rds-iam"),
        ]);
        command.args(["psql", POSTGRES]);
        sandbox.prepare(&mut command);
        command.spawn().expect("a shell")
    });
    let rds_iam = running.rds_iam();
    assert!(has_signal(running.client, "SigIgn", Signal::HUP));
    assert!(has_signal(rds_iam, "SigIgn", Signal::HUP));
    // Otherwise the lines above would hold for any signal.
    assert!(!has_signal(running.client, "SigIgn", Signal::TERM));
    assert!(has_signal(rds_iam, "SigCgt", Signal::TERM));
    kill_process(rds_iam, Signal::TERM).expect("a running process");
    running.wait();
}

/// A program that waits with `sigwait` starts its children so.
#[test]
fn a_blocked_or_ignored_sigchld_does_not_matter() {
    for (action, args) in [
        ("pthread_sigmask(SIG_BLOCK, [SIGCHLD])", ["psql", POSTGRES]),
        ("pthread_sigmask(SIG_BLOCK, [SIGCHLD])", ["mysql", MYSQL]),
        ("signal(SIGCHLD, SIG_IGN)", ["psql", POSTGRES]),
        ("signal(SIGCHLD, SIG_IGN)", ["mysql", MYSQL]),
    ] {
        let sandbox = Sandbox::new();
        sandbox.program("psql", "exit 3");
        sandbox.program("mysql", &format!("{MYSQL_VERSION}exit 3"));
        let script = format!(
            "from os import *; from signal import *; import sys; {action}; execv(sys.argv[1], sys.argv[1:])"
        );
        let mut command = support::with_default_signals("/usr/bin/python3");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_rds-iam")])
            .args(args);
        sandbox.prepare(&mut command);
        let output = wait(command.spawn().expect("python3"));
        assert_eq!(output.status.code(), Some(3), "{action}: {output:?}");
    }
}

#[test]
fn a_client_that_was_stopped_alone_continues_alone() {
    let running = start(WAITS, ["psql", POSTGRES]);
    kill_process(running.client, Signal::STOP).expect("a running process");
    wait_until("the stop of the client", || is_stopped(running.client));
    kill_process(running.rds_iam(), Signal::TERM).expect("a running process");
    assert!(!is_stopped(running.rds_iam()));
    kill_process(running.client, Signal::CONT).expect("a running process");
    let (_, output) = running.wait();
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn signals_to_rds_iam_alone_stop_and_continue_both() {
    // The kernel ignores SIGTSTP in a group of processes whose parents are all in the group, or in another session.
    let running = Running::start(WAITS, |sandbox| {
        let mut command = sandbox.command(["psql", POSTGRES]);
        command.process_group(0).spawn().expect("rds-iam starts")
    });
    let both = [running.rds_iam(), running.client];
    kill_process(running.rds_iam(), Signal::TSTP).expect("a running process");
    wait_until("the stop", || both.into_iter().all(is_stopped));
    kill_process(running.rds_iam(), Signal::CONT).expect("a running process");
    wait_until("the end of the stop", || !both.into_iter().any(is_stopped));
    kill_process(running.rds_iam(), Signal::TERM).expect("a running process");
    let (_, output) = running.wait();
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()));
}

// Terminal

/// A client that records each SIGINT, and ends with the status 3 after it has read a line.
const READS: &str = r#"exec bash -c '
    trap "echo INT >>\"$RECORD/signals\"" INT
    >"$RECORD/ready"
    until read -rt 60 line; do :; done
    echo "$line" >"$RECORD/line"
    exit 3
'"#;

/// Starts the client in a terminal that types `keys`, by a shell.
fn start_in_terminal(shell: &str, keys: &str) -> Running {
    let running = Running::start(READS, |sandbox| {
        let mut command = support::with_default_signals("script");
        command.args(["-qfec", shell, "/dev/null"]);
        sandbox.prepare(&mut command);
        command.env("RDS_IAM", env!("CARGO_BIN_EXE_rds-iam"));
        command.env("POSTGRES", POSTGRES);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("script");
        type_text(&mut child, keys);
        child
    });
    let file = running.sandbox.path("record/ready");
    wait_until("the client's handler", || fs::exists(&file).unwrap());
    running
}

/// Starts the client by a shell with job control.
fn start_as_job() -> Running {
    let keys = "\"$RDS_IAM\" psql \"$POSTGRES\"\n";
    start_in_terminal("exec bash --norc --noprofile -i", keys)
}

fn type_text(terminal: &mut Child, text: &str) {
    let keyboard = terminal.stdin.as_mut().expect("a pipe");
    keyboard.write_all(text.as_bytes()).expect("a terminal");
}

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

#[test]
fn the_client_gets_ctrl_c_once_and_rds_iam_waits_for_the_client() {
    // A shell without job control, which does not care if rds-iam stops.
    let mut running = start_in_terminal("trap : INT; \"$RDS_IAM\" psql \"$POSTGRES\"; exit $?", "");
    let rds_iam = running.rds_iam();
    let waits = || status(rds_iam, "State").starts_with('S');
    // The client must have handled its SIGINT when rds-iam handles its own. Two at once would be like a single SIGINT.
    kill_process(rds_iam, Signal::STOP).expect("a running process");
    wait_until("the stop", || is_stopped(rds_iam));
    let terminal = running.child.as_mut().expect("a terminal");
    type_text(terminal, CTRL_C);
    let file = running.sandbox.path("record/signals");
    wait_until("SIGINT", || fs::exists(&file).unwrap());
    assert!(has_signal(rds_iam, "ShdPnd", Signal::INT));
    kill_process(rds_iam, Signal::CONT).expect("a running process");
    wait_until("rds-iam to handle SIGINT", || {
        waits() && !has_signal(rds_iam, "ShdPnd", Signal::INT)
    });
    type_text(terminal, "a line\n");
    let (sandbox, output) = running.wait();
    assert_eq!(sandbox.record("line"), "a line\n");
    assert_eq!(sandbox.record("signals"), "INT\n");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn ctrl_z_stops_the_client_and_rds_iam_and_fg_continues_both() {
    let mut running = start_as_job();
    let (client, rds_iam) = (running.client, running.rds_iam());
    for _ in 0..3 {
        let terminal = running.child.as_mut().expect("a terminal");
        type_text(terminal, CTRL_Z);
        wait_until("the stop", || is_stopped(client) && is_stopped(rds_iam));
        type_text(terminal, "fg\n");
        wait_until("the continuation", || {
            !is_stopped(client) && !is_stopped(rds_iam)
        });
    }
    let terminal = running.child.as_mut().expect("a terminal");
    type_text(terminal, "a line\necho \"status $?\"\nexit\n");
    let (sandbox, output) = running.wait();
    assert_eq!(sandbox.record("line"), "a line\n");
    assert!(output.stdout.contains("Stopped"), "{output:?}");
    assert!(output.stdout.contains("status 3\r\n"), "{output:?}");
}

#[test]
fn rds_iam_stops_and_continues_with_a_client_that_stops_itself() {
    for signal in [Signal::TSTP, Signal::STOP] {
        let mut running = start_as_job();
        let (client, rds_iam) = (running.client, running.rds_iam());
        kill_process(client, signal).expect("a running process");
        wait_until("the stop", || is_stopped(client) && is_stopped(rds_iam));
        let terminal = running.child.as_mut().expect("a terminal");
        type_text(terminal, "fg\n");
        wait_until("the continuation", || {
            !is_stopped(client) && !is_stopped(rds_iam)
        });
        type_text(terminal, "a line\nexit\n");
        let (sandbox, _) = running.wait();
        assert_eq!(sandbox.record("line"), "a line\n");
    }
}
