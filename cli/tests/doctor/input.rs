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
        let output = sandbox(Account::healthy()).doctor(&[url]);
        assert_only(&output, "input", problem, remedy);
    }
}

#[test]
fn a_host_without_a_region_is_the_conclusion_if_nothing_names_one() {
    let output = sandbox(Account::healthy()).doctor(&["postgres://app@db.example.com/app"]);
    assert_only(
        &output,
        "input",
        "nothing names the region",
        "give --region",
    );
}

#[test]
fn the_address_of_a_tunnel_in_the_url_is_the_conclusion_with_and_without_a_region() {
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let url = format!("postgres://app@{host}:1/app?sslmode=verify-full");
        for args in [&[&*url][..], &["--region", "us-east-1", &url]] {
            let output = sandbox(Account::healthy()).doctor(args);
            let conclusion = conclusion(&output);
            let problem = format!("The host {host} is a tunnel or an address");
            assert!(conclusion.starts_with(&problem), "{conclusion}");
            let remedy = format!("give --dial {host}:1");
            assert!(conclusion.contains(&remedy), "{conclusion}");
        }
    }
}

#[test]
fn another_region_than_the_hosts_is_the_conclusion() {
    let args = [
        "--region",
        "eu-west-1",
        "--dial",
        "127.0.0.1:1",
        &url(HOST, 5432),
    ];
    let output = sandbox(Account::healthy()).doctor(&args);
    assert_only(
        &output,
        "input",
        "the host is in the region eu-central-1, and --region is eu-west-1",
        "remove --region",
    );
}

#[test]
fn a_custom_endpoint_of_aurora_is_the_conclusion() {
    let host = "reports.cluster-custom-abc123xyz.us-east-1.rds.amazonaws.com";
    let output = doctor_at(&sandbox(Account::healthy()), host, "app", REJECTED);
    assert_only(
        &output,
        "name",
        &format!("no token can be made for {host}"),
        &format!("write the cluster's endpoint into the URL, and give --dial {host}:5432"),
    );
}

#[test]
fn a_file_of_roots_that_cannot_be_read_is_the_conclusion_with_its_cause() {
    let args = ["--ca", "missing.pem", &url(HOST, 5432)];
    let output = sandbox(Account::healthy()).doctor(&args);
    assert_only(
        &output,
        "input",
        "cannot be read (I/O error: No such file",
        "give a file in PEM",
    );
}

#[test]
fn the_sources_of_host_port_and_service_are_shown() {
    for (url, text) in [
        (
            format!("postgres://app@{HOST}"),
            format!(
                "user app, host {HOST} and the default port 5432 from the URL, service rds-db by the host's name"
            ),
        ),
        (
            format!("mysql://app@{HOST}:3307"),
            format!("user app, host {HOST} and port 3307 from the URL"),
        ),
        (
            format!("postgres://admin@{}", support::DSQL_HOST),
            "service dsql by the host's name".to_owned(),
        ),
    ] {
        let output = sandbox(Account::healthy()).doctor(&["--dial", "127.0.0.1:1", &url]);
        assert!(output.stdout.contains(&text), "{}", output.stdout);
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
    let doctor = |sandbox: &Sandbox, args: &[&str]| input(&sandbox.doctor(&[args, &dial].concat()));
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
