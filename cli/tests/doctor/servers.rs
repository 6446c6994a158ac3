//! At real servers, some with an account that explains the rejection.

use super::aws::{RESOURCE_ID, ROLE};
use super::rds::{DSQL, Engine, Servers};
use super::*;

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
    doctor_with(sandbox, servers, server, user, &[])
}

fn doctor_with(
    sandbox: &Sandbox,
    servers: &Servers,
    server: &str,
    user: &str,
    options: &[&str],
) -> Output {
    let scheme = match server {
        "mariadb" => "mysql",
        _ => "postgres",
    };
    let (host, port) = (servers.host_of(server), servers.port_of(server));
    let url = format!("{scheme}://{user}@{host}:{port}/{}", servers.database());
    let args = ["--ca", servers.ca_of(server), &url];
    sandbox.doctor(&[&args, options].concat())
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
    let output = at_servers(&servers, Account::healthy()).doctor(&[&url]);
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
    let account = Account::healthy().with_instance(
        "<DBInstanceStatus>available</DBInstanceStatus>\
         <IAMDatabaseAuthenticationEnabled>false</IAMDatabaseAuthenticationEnabled>",
    );
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
        &format!("no policy allows {ROLE}"),
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
        ("Throttling", "throttles logins", "fewer than 200"),
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
        let account = Account::healthy()
            .with_rejections(metric, 7.0)
            .without("SimulatePrincipalPolicy");
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
    assert_only_rejected(&output);
    assert!(
        output
            .stdout
            .contains("the identity has no permission rds:DescribeDBInstances"),
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
        "the database has no IAM login for the user nobody",
        "GRANT rds_iam TO \"nobody\"",
    );

    let (host, port) = (servers.host(), servers.port(Engine::Postgres));
    let url = format!("postgres://iam_user@{host}:{port}/no_such_database");
    let output = sandbox.doctor(&["--ca", servers.ca(), &url]);
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
    let before = servers.received("postgres", "leak_user").len();
    for (host, ca, problem, remedy) in [
        (
            servers.host(),
            Some(servers.other_ca()),
            "unknown root",
            "correct the given file of root certificates",
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
        let url = format!("postgres://leak_user@{host}:{port}/app");
        let mut args = vec![&*url];
        if let Some(ca) = ca {
            args.extend(["--ca", ca]);
        }
        assert_only(&sandbox.doctor(&args), "tls", problem, remedy);
    }
    assert_eq!(servers.received("postgres", "leak_user").len(), before);
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn another_name_of_an_endpoint_is_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let (name, port) = (servers.dialled_name(), servers.port(Engine::Postgres));
    let url = format!("postgres://iam_user@{name}:{port}/app");
    let output = sandbox.doctor(&["--region", "us-east-1", "--ca", servers.ca(), &url]);
    let conclusion = conclusion(&output);
    let problem = format!("The host {name} is another name of {}", servers.host());
    assert!(conclusion.starts_with(&problem), "{conclusion}");
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
    let output = sandbox.doctor(&["--ca", servers.ca(), "--dial", &dial, &url]);
    assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
}

// Grants. The password of `master` is in `tests/rds/servers`.

const MASTER_PASSWORD: &str = "master-password";

/// Runs the doctor with `--admin`.
fn doctor_as_admin(
    sandbox: &Sandbox,
    servers: &Servers,
    server: &str,
    user: &str,
    admin: &str,
) -> Output {
    doctor_with(sandbox, servers, server, user, &["--admin", admin])
}

/// A sandbox with the password of `master`.
fn with_master(mut sandbox: Sandbox) -> Sandbox {
    sandbox.set("PGPASSWORD", MASTER_PASSWORD);
    sandbox.set("MYSQL_PWD", MASTER_PASSWORD);
    sandbox
}

/// The line of the check.
#[track_caller]
fn grant(output: &Output) -> &str {
    let line = output
        .stdout
        .lines()
        .find(|line| line.contains("  grant  "));
    line.unwrap_or_else(|| panic!("{}", output.stdout))
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_user_without_an_iam_login_is_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    for user in ["password_user", "nobody"] {
        let output = doctor(&sandbox, &servers, "postgres", user);
        let remedy = format!("run: GRANT rds_iam TO \"{user}\"");
        assert_only(
            &output,
            "login",
            "the database has no IAM login for",
            &remedy,
        );
        let output = doctor(&sandbox, &servers, "mariadb", user);
        let remedy =
            format!("CREATE USER '{user}' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'");
        assert_only(
            &output,
            "login",
            "the database has no IAM login for",
            &remedy,
        );
    }
}

/// The driver once panicked at this kind of password.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_user_of_mariadb_with_a_password_of_another_kind_has_no_iam_login() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor(&sandbox, &servers, "mariadb", "ed25519_user");
    assert_only(
        &output,
        "login",
        "no IAM login for the user ed25519_user",
        "or ALTER USER if the user exists",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn another_user_sees_which_grant_is_missing() {
    let servers = Servers::running();
    let sandbox = with_master(at_servers(&servers, Account::healthy()));
    for (server, user, problem, remedy) in [
        (
            "postgres",
            "password_user",
            "the user \"password_user\" does not have the role rds_iam",
            "run: GRANT rds_iam TO \"password_user\"",
        ),
        (
            "postgres",
            "nobody",
            "the database has no user \"nobody\"",
            "CREATE USER \"nobody\"; GRANT rds_iam TO \"nobody\"",
        ),
        (
            "postgres",
            "team",
            "role \"team\" is not permitted to log in",
            "run: ALTER ROLE \"team\" WITH LOGIN",
        ),
        (
            "mariadb",
            "password_user",
            "'password_user'@'%' with the plugin mysql_native_password",
            "ALTER USER 'password_user'@'%' IDENTIFIED WITH AWSAuthenticationPlugin",
        ),
        (
            "mariadb",
            "nobody",
            "the database has no user nobody",
            "CREATE USER 'nobody' IDENTIFIED WITH AWSAuthenticationPlugin",
        ),
    ] {
        let output = doctor_as_admin(&sandbox, &servers, server, user, "master");
        let conclusion = conclusion(&output);
        let begins_with = |text: &str| conclusion.to_lowercase().contains(&text.to_lowercase());
        assert!(
            begins_with(problem) && conclusion.contains(remedy),
            "{}",
            output.stdout
        );
        assert!(grant(&output).starts_with("wrong"), "{}", output.stdout);
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_grant_that_is_there_is_ok() {
    let servers = Servers::running();
    let sandbox = with_master(rejected(Account::healthy()));
    for (server, user, text) in [
        ("postgres", "pool_12", "\"pool_12\" has the role rds_iam"),
        (
            "postgres",
            "team_user",
            "\"team_user\" has the role rds_iam",
        ),
        (
            "mariadb",
            "plugin_user",
            "'plugin_user'@'%' with the plugin AWSAuthenticationPlugin",
        ),
    ] {
        let output = doctor_as_admin(&sandbox, &servers, server, user, "master");
        assert_eq!(grant(&output), format!("ok           grant        {text}"));
        assert_eq!(output.status.code(), Some(1));
    }
    let output = doctor_as_admin(&sandbox, &servers, "postgres", "pool_12", "master");
    assert_only_rejected(&output);
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn another_user_without_a_password_looks_with_a_token() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor_as_admin(&sandbox, &servers, "postgres", "password_user", "iam_user");
    let text =
        "wrong        grant        the user \"password_user\" does not have the role rds_iam";
    assert!(grant(&output).starts_with(text), "{}", output.stdout);
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn another_user_who_cannot_look_is_no_cause() {
    let servers = Servers::running();
    let mut sandbox = at_servers(&servers, Account::healthy());
    for (server, admin, reason) in [
        ("postgres", "master", "master cannot read the grant ("),
        ("mariadb", "master", "master cannot read the grant ("),
        // Logs in, and may not read the table of users.
        ("mariadb", "iam_user", "iam_user cannot read the grant ("),
    ] {
        if admin == "master" {
            sandbox.set("PGPASSWORD", "hunter2");
            sandbox.set("MYSQL_PWD", "hunter2");
        } else {
            sandbox.unset("MYSQL_PWD");
        }
        let output = doctor_as_admin(&sandbox, &servers, server, "password_user", admin);
        let line = format!("not checked  grant        {reason}");
        assert!(grant(&output).starts_with(&line), "{}", output.stdout);
        let conclusion = conclusion(&output);
        assert!(conclusion.contains("no IAM login for"), "{conclusion}");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn nobody_looks_at_the_grant_if_the_login_works() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor_as_admin(&sandbox, &servers, "postgres", "iam_user", "master");
    assert_eq!(conclusion(&output), "The login works.");
    assert_eq!(grant(&output), "not checked  grant        the login works");
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn too_many_connections_are_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor(&sandbox, &servers, "postgres", "busy_user");
    assert_only(
        &output,
        "login",
        "too many connections for role \"busy_user\"",
        "close connections",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_database_of_mariadb_that_the_user_may_not_use_is_the_conclusion() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let (host, port) = (servers.host(), servers.port(Engine::MariaDb));
    let url = format!("mysql://iam_user@{host}:{port}/no_such_database");
    let output = sandbox.doctor(&["--ca", servers.ca(), &url]);
    assert_only(
        &output,
        "login",
        "no_such_database",
        "the token is accepted",
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_login_works_whatever_the_account_does() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy().hangs());
    let output = doctor(&sandbox, &servers, "postgres", "iam_user");
    assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn json_of_a_login_that_works_has_no_secret() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    let output = doctor_with(&sandbox, &servers, "mariadb", "iam_user", &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(report["login_works"], true);
    assert_eq!(output.status.code(), Some(0));
}

/// The URL of a program may have parameters that only its driver or its client knows.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn parameters_of_other_programs_do_not_matter() {
    let servers = Servers::running();
    let sandbox = at_servers(&servers, Account::healthy());
    for (server, scheme, path) in [
        (
            "postgres",
            "postgres",
            "app?keepalives=1&sslkey=/k&sslcert=/c&channel_binding=prefer",
        ),
        (
            "postgres",
            "postgres",
            "?dbname=app&statement-cache-capacity=7",
        ),
        (
            "mariadb",
            "mysql",
            "app?charset=utf8mb4&stmt_cache_size=7&ssl-key=/k",
        ),
    ] {
        let (host, port) = (servers.host_of(server), servers.port_of(server));
        let url = format!("{scheme}://iam_user@{host}:{port}/{path}");
        let output = sandbox.doctor(&["--ca", servers.ca_of(server), &url]);
        assert_eq!(conclusion(&output), "The login works.", "{}", output.stdout);
    }
}

/// The README's example: what the doctor prints, apart from numbers.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_readme_shows_what_the_doctor_prints() {
    let servers = Servers::running();
    let account = Account::healthy().with_policy("implicitDeny");
    let output = doctor(&rejected(account), &servers, "postgres", "pool_12");
    let readme = include_str!("../../README.md");
    let (_, transcript) = readme
        .split_once("$ rds-iam doctor --ca ca.pem ")
        .expect("a transcript");
    let (transcript, _) = transcript
        .split_once("\n```")
        .expect("the end of the transcript");
    let (_, transcript) = transcript.split_once('\n').expect("the output");
    let without_numbers = |text: &str| -> String {
        let text: String = text
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        let mut text = text;
        while text.contains("00") {
            text = text.replace("00", "0");
        }
        text
    };
    assert_eq!(
        without_numbers(transcript),
        without_numbers(output.stdout.trim_end()),
        "{}",
        output.stdout
    );
}
