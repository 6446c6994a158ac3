//! The server's answer to the login.

use super::aws::{DSQL_ID, ROLE};
use super::support::DSQL_HOST;
use super::*;

#[test]
fn an_answer_of_the_database_is_the_conclusion() {
    for (sqlstate, message, problem, remedy) in [
        (
            "28000",
            "PAM authentication failed for user \"app\"",
            "rejected the token (PAM",
            "guide/rejected",
        ),
        (
            "28P01",
            "password authentication failed for user \"app\"",
            "no IAM login for the user app",
            "run: GRANT rds_iam TO \"app\"",
        ),
        (
            "3D000",
            "database \"app\" does not exist",
            "database \"app\" does not exist",
            "the token is accepted",
        ),
        (
            "42501",
            "permission denied for database \"app\"",
            "permission denied",
            "privilege CONNECT",
        ),
        (
            "28000",
            "role \"app\" is not permitted to log in",
            "not permitted to log in",
            "run: ALTER ROLE \"app\" WITH LOGIN",
        ),
        (
            "28000",
            "no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"app\"",
            "no pg_hba.conf entry",
            "read the database's answer",
        ),
        (
            "53300",
            "remaining connection slots are reserved",
            "connection slots",
            "close connections",
        ),
        (
            "57P03",
            "the database system is starting up",
            "starting up",
            "read the database's answer",
        ),
    ] {
        let answer = Answer::Error(sqlstate, message, "");
        let output = doctor_at(&sandbox(Account::healthy()), HOST, "app", answer);
        assert_only(&output, "login", problem, remedy);
    }
}

#[test]
fn an_answer_of_aurora_dsql_is_the_conclusion() {
    const DENIED: &str = "unable to accept connection, access denied";
    for (sqlstate, message, hint, problem, remedy) in [
        (
            "08006",
            DENIED,
            "Signature expired: 20261124T000000Z",
            "Signature expired",
            "run NTP",
        ),
        (
            "08006",
            DENIED,
            "User: arn:aws:sts::123456789012:assumed-role/app/session is not authorized to perform: dsql:DbConnect",
            "not authorized to perform: dsql:DbConnect",
            "allow the action",
        ),
        (
            "08006",
            DENIED,
            "User: arn:aws:iam::123456789012:user/app is not authorized to access this resource",
            "not authorized to access this resource",
            "account that owns the cluster",
        ),
        (
            "28000",
            DENIED,
            "",
            "access denied",
            "AWS IAM GRANT \"app\" TO the ARN that `aws iam get-role --role-name app` prints",
        ),
        (
            "28000",
            "Role \"app\" does not exist",
            "",
            "does not exist",
            "CREATE ROLE \"app\" WITH LOGIN",
        ),
        (
            "28000",
            "role \"app\" must have the LOGIN attribute",
            "",
            "LOGIN attribute",
            "ALTER ROLE \"app\" WITH LOGIN",
        ),
        (
            "08006",
            "waking up cluster, please retry later",
            "",
            "waking up",
            "try again",
        ),
        (
            "3D000",
            "database \"app\" does not exist",
            "",
            "database \"app\" does not exist",
            "the database `postgres`",
        ),
        (
            "53400",
            "rate exceeded",
            "",
            "rate exceeded",
            "fewer connections",
        ),
        (
            "08006",
            DENIED,
            "something new",
            "something new",
            "guide/rejected",
        ),
    ] {
        let answer = Answer::Error(sqlstate, message, hint);
        let account = Account::healthy().with_dsql_cluster("ACTIVE");
        let output = doctor_at(&sandbox(account), DSQL_HOST, "app", answer);
        assert_only(&output, "login", problem, remedy);
    }
}

#[test]
fn a_database_that_does_not_answer_the_login_is_the_conclusion() {
    let output = doctor_at(&sandbox(Account::healthy()), HOST, "app", Answer::Silence);
    assert_only(
        &output,
        "login",
        "has not answered the login for 6 s",
        "try again if the database was paused",
    );
}

/// A database that accepts the token explains itself, whatever else is wrong.
#[test]
fn an_answer_that_accepts_the_token_outweighs_old_rejections_in_the_metrics() {
    let account = Account::healthy().with_rejections("InvalidToken", 7.0);
    let answer = Answer::Error("3D000", "database \"app\" does not exist", "");
    let output = doctor_at(&sandbox(account), HOST, "app", answer);
    let conclusion = conclusion(&output);
    assert!(
        conclusion.contains("correct the database's name"),
        "{conclusion}"
    );
}

#[test]
fn the_grant_is_not_checked_without_another_user() {
    let output = doctor_at(&sandbox(Account::healthy()), HOST, "app", REJECTED);
    let line =
        "not checked  grant        the grant is visible to other users only; give --admin USER";
    assert!(output.stdout.contains(line), "{}", output.stdout);
}

#[test]
fn a_policy_for_aurora_dsql_names_the_cluster() {
    let account = Account::healthy()
        .with_dsql_cluster("ACTIVE")
        .with_policy("implicitDeny");
    let answer = Answer::Error("08006", "unable to accept connection, access denied", "no");
    let output = doctor_at(&sandbox(account), DSQL_HOST, "admin", answer);
    let statement = format!(
        r#"{{"Action":"dsql:DbConnectAdmin","Effect":"Allow","Resource":"arn:aws:dsql:us-east-1:123456789012:cluster/{DSQL_ID}"}}"#
    );
    assert_only(
        &output,
        "policy",
        &format!("no policy allows {ROLE}"),
        &statement,
    );
}

#[test]
fn a_user_of_a_proxy_may_lack_a_secret() {
    let host = "myproxy.proxy-abc123xyz.us-east-1.rds.amazonaws.com";
    let answer = Answer::Error(
        "28P01",
        "This RDS Proxy has no credentials for the role app",
        "",
    );
    let output = doctor_at(&sandbox(Account::healthy()), host, "app", answer);
    assert_only(
        &output,
        "login",
        "no credentials for the role app",
        "give the proxy a secret",
    );
}

#[test]
fn a_server_that_shows_the_token_or_a_password_does_not_reach_the_output() {
    let mut sandbox = sandbox(Account::healthy());
    sandbox.set("AWS_SESSION_TOKEN", "hunter2SessionToken");
    let output = doctor_at(&sandbox, HOST, "app", Answer::Echo);
    assert_only(&output, "login", "wrong password: …", "guide/rejected");

    sandbox.set("PGPASSWORD", "hunter2 with spaces");
    let server = Postgres::start(HOST, Answer::Echo);
    let args = ["--admin", "master", &url(HOST, 5432)];
    let output = doctor_trusting(&sandbox, &server, &args);
    let line = "not checked  grant        master cannot read the grant (db error: FATAL: wrong password: …)";
    assert!(output.stdout.contains(line), "{}", output.stdout);
}

#[test]
fn a_long_answer_is_cut() {
    let message = "x".repeat(1_000_000).leak();
    for (answer, host) in [
        (Answer::Error("28000", message, ""), HOST),
        (Answer::Error("XX000", message, message), DSQL_HOST),
    ] {
        let output = doctor_at(&sandbox(Account::healthy()), host, "app", answer);
        assert!(output.stdout.len() < 10_000, "{}", output.stdout.len());
        assert!(conclusion(&output).contains("xxx…"), "{}", output.stdout);
    }
}

#[test]
fn an_answer_of_the_database_outweighs_what_the_account_says() {
    let account = Account::healthy().with_instance(
        "<DBInstanceStatus>incompatible-parameters</DBInstanceStatus>\
         <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>",
    );
    let answer = Answer::Error("3D000", "database \"app\" does not exist", "");
    let output = doctor_at(&sandbox(account), HOST, "app", answer);
    let conclusion = conclusion(&output);
    assert!(
        conclusion.contains("correct the database's name"),
        "{conclusion}"
    );
}

#[test]
fn the_admin_of_aurora_dsql_needs_no_grant() {
    let answer = Answer::Error("28000", "unable to accept connection, access denied", "");
    let output = doctor_at(&sandbox(Account::healthy()), DSQL_HOST, "admin", answer);
    assert_only(&output, "login", "access denied", "guide/rejected");
}
