//! The URL, and where it leads.

use super::*;

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
        line.split(" region ").nth(1).unwrap_or_default().to_owned()
    };
    let dial = ["--dial", "127.0.0.1:1"];
    let doctor = |sandbox: &Sandbox, args: &[&str]| {
        input(&sandbox.run(&[&["doctor"], args, &dial].concat()))
    };
    assert_eq!(
        doctor(&sandbox, &[&url(HOST, 1)]),
        "eu-central-1 from the host's name"
    );
    assert_eq!(
        doctor(&sandbox, &["--region", "eu-west-1", &url(host, 1)]),
        "eu-west-1 from --region"
    );
    sandbox.set("AWS_REGION", "eu-west-2");
    assert_eq!(
        doctor(&sandbox, &[&url(host, 1)]),
        "eu-west-2 from AWS_REGION"
    );
}
