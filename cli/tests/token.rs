//! `rds-iam token`

mod support;

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use support::{DSQL_HOST, HOST, SECRET_KEY, Sandbox};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};
use url::Url;

const ODD_USER: &str = "we/ird us+er@x%é";
const ODD_USER_ENCODED: &str = "we%2Fird%20us%2Ber%40x%25%C3%A9";

#[test]
fn a_token_is_printed_for_a_host_or_a_url() {
    let sandbox = Sandbox::new();
    for (args, start) in [
        (
            vec![HOST, "5432", "app"],
            format!("{HOST}:5432/?Action=connect&DBUser=app&"),
        ),
        (
            vec!["postgres://app@MyDB.abc123xyz.eu-central-1.rds.amazonaws.com/shop"],
            format!("{HOST}:5432/?Action=connect&DBUser=app&"),
        ),
        (
            vec!["mariadb://app@mydb.abc123xyz.eu-central-1.rds.amazonaws.com?any=thing"],
            format!("{HOST}:3306/?Action=connect&DBUser=app&"),
        ),
        (
            vec![HOST, "3306", ODD_USER],
            format!("{HOST}:3306/?Action=connect&DBUser={ODD_USER_ENCODED}&"),
        ),
        (
            vec![DSQL_HOST, "5432", "admin"],
            format!("{DSQL_HOST}/?Action=DbConnectAdmin&"),
        ),
    ] {
        let output = sandbox.output(&[&["token"], &*args].concat());
        let token = output.strip_suffix('\n').expect("a line");
        assert!(token.starts_with(&start), "{token}");
        assert!(token.contains("&X-Amz-Signature="), "{token}");
        assert!(!token.contains(char::is_whitespace), "{token}");
    }
}

#[test]
fn json_has_the_token_its_expiry_and_the_login() {
    let sandbox = Sandbox::new();
    let output = sandbox.output(&["token", "--format", "json", HOST, "5432", ODD_USER]);
    let json: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    let token = json["token"].as_str().expect("the token");
    assert_eq!(
        json,
        serde_json::json!({
            "token": token,
            "expires_at": json["expires_at"],
            "host": HOST,
            "port": 5432,
            "user": ODD_USER,
            "region": "eu-central-1",
            "service": "rds-db",
        })
    );

    let (_, date) = token.split_once("&X-Amz-Date=").expect("a date");
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_at = PrimitiveDateTime::parse(&date[..16], form).expect("a date");
    let expires_at = json["expires_at"].as_str().expect("the expiry");
    let expires_at = OffsetDateTime::parse(expires_at, &Rfc3339).expect("RFC 3339");
    assert_eq!(expires_at, signed_at.assume_utc() + Duration::minutes(15));
}

#[test]
fn json_has_the_service_of_dsql() {
    let url = format!("postgres://app@{DSQL_HOST}");
    let output = Sandbox::new().output(&["token", &url, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(json["service"], "dsql");
    assert_eq!(json["region"], "us-east-1");
}

#[test]
fn the_region_is_the_given_region_or_the_hosts_or_the_configured_region() {
    let global = "mydb.global-abc123xyz.global.rds.amazonaws.com";
    let mut sandbox = Sandbox::new();
    let without_region = sandbox.run(&["token", global, "3306", "app"]);
    assert_eq!(without_region.status.code(), Some(1));
    assert_eq!(
        without_region.stderr,
        format!(
            "rds-iam: the name {global} contains no region, and no region is configured. Give --region, or set \
             AWS_REGION or the profile's `region`\n"
        )
    );

    sandbox.set("AWS_REGION", "ap-south-1");
    for (args, region) in [
        (vec![global], "ap-south-1"),
        (vec![global, "--region", "eu-west-1"], "eu-west-1"),
        (vec![HOST], "eu-central-1"),
        (vec![HOST, "--region", "eu-west-1"], "eu-west-1"),
    ] {
        let args = [&args, &*vec!["3306", "app", "--format", "json"]].concat();
        let output = sandbox.output(&[&["token"], &*args].concat());
        let json: serde_json::Value = serde_json::from_str(&output).expect("JSON");
        assert_eq!(json["region"], region);
        let token = json["token"].as_str().expect("the token");
        assert!(
            token.contains(&format!("%2F{region}%2Frds-db%2F")),
            "{token}"
        );
    }
}

// The variables

/// The variables after a shell has run the output of `--format env`.
fn variables(args: &[&str]) -> HashMap<String, String> {
    let sandbox = Sandbox::new();
    let commands = sandbox.output(&[&["token", "--format", "env"], args].concat());
    assert!(
        commands
            .lines()
            .all(|line| line.starts_with("export ") || line.starts_with("unset ")),
        "{commands}"
    );
    let variables = sandbox.shell(&format!("{commands}env -0"));
    variables
        .split_terminator('\0')
        .filter_map(|variable| variable.split_once('='))
        .filter(|(name, _)| name.starts_with("PG") || name.starts_with("MYSQL"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The variables without the token, which must be in `password`.
#[track_caller]
fn without_token(
    mut variables: HashMap<String, String>,
    passwords: &[&str],
) -> Vec<(String, String)> {
    for password in passwords {
        let token = variables.remove(*password).expect(password);
        assert!(token.contains("&X-Amz-Signature="), "{token}");
    }
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    variables
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    variables.sort();
    variables
}

const VERIFIED: [(&str, &str); 2] = [("PGSSLMODE", "verify-full"), ("PGGSSENCMODE", "disable")];

#[test]
fn env_has_the_variables_of_psql_for_a_postgres_url() {
    let url = format!(
        "postgresql://{ODD_USER_ENCODED}@{HOST}:15432/o'brien's%20db?application_name=a%20%22b%22&sslmode=verify-full\
         &sslrootcert=/etc/roots.pem&connect_timeout=7&options=-c%20statement_timeout%3D5s"
    );
    assert_eq!(
        without_token(variables(&[&url]), &["PGPASSWORD"]),
        owned(
            &[
                ("PGHOST", HOST),
                ("PGPORT", "15432"),
                ("PGUSER", ODD_USER),
                ("PGDATABASE", "o'brien's db"),
                ("PGAPPNAME", "a \"b\""),
                ("PGCONNECT_TIMEOUT", "7"),
                ("PGOPTIONS", "-c statement_timeout=5s"),
                ("PGSSLROOTCERT", "/etc/roots.pem"),
            ]
            .into_iter()
            .chain(VERIFIED)
            .collect::<Vec<_>>()
        )
    );
}

#[test]
fn env_unsets_variables_that_would_lead_psql_elsewhere() {
    let mut sandbox = Sandbox::new();
    for variable in ["PGSERVICE", "PGHOSTADDR", "PGCHANNELBINDING"] {
        sandbox.set(variable, "other");
    }
    let url = format!("postgres://app@{HOST}/shop");
    let commands = sandbox.output(&["token", "--format", "env", &url]);
    let variables = sandbox.shell(&format!("{commands}env"));
    assert!(variables.contains("PGDATABASE=shop"), "{variables}");
    assert!(!variables.contains("=other"), "{variables}");
}

#[test]
fn env_has_an_ipv6_address_without_brackets() {
    let url = "postgres://app@[::1]:5432/?sslmode=verify-full";
    let variables = variables(&["--region", "us-east-1", url]);
    assert_eq!(variables["PGHOST"], "::1");
    assert!(variables["PGPASSWORD"].starts_with("[::1]:5432/?"));
}

#[test]
fn env_has_the_variables_of_mysql_for_a_mysql_url() {
    let url = format!("mysql://app@{HOST}/shop");
    assert_eq!(
        without_token(variables(&[&url]), &["MYSQL_PWD"]),
        owned(&[("MYSQL_HOST", HOST), ("MYSQL_TCP_PORT", "3306")])
    );
}

#[test]
fn env_has_the_variables_of_both_for_a_host() {
    let variables = variables(&[HOST, "5432", "app"]);
    assert_eq!(variables["PGPASSWORD"], variables["MYSQL_PWD"]);
    assert_eq!(
        without_token(variables, &["PGPASSWORD", "MYSQL_PWD"]),
        owned(
            &[
                ("MYSQL_HOST", HOST),
                ("MYSQL_TCP_PORT", "5432"),
                ("PGHOST", HOST),
                ("PGPORT", "5432"),
                ("PGUSER", "app"),
            ]
            .into_iter()
            .chain(VERIFIED)
            .collect::<Vec<_>>()
        )
    );
}

#[test]
fn env_has_the_variables_of_psql_alone_for_dsql() {
    let expected = owned(
        &[
            ("PGHOST", DSQL_HOST),
            ("PGPORT", "5432"),
            ("PGUSER", "admin"),
            ("PGDATABASE", "postgres"),
        ]
        .into_iter()
        .chain(VERIFIED)
        .collect::<Vec<_>>(),
    );
    for args in [
        &[DSQL_HOST, "5432", "admin"][..],
        &[&*format!("postgres://admin@{DSQL_HOST}")],
    ] {
        assert_eq!(without_token(variables(args), &["PGPASSWORD"]), expected);
    }
}

// The URL

#[track_caller]
fn url(args: &[&str]) -> Url {
    let output = Sandbox::new().output(&[&["token", "--format", "url"], args].concat());
    output
        .strip_suffix('\n')
        .expect("a line")
        .parse()
        .expect("a URL")
}

fn decoded(text: &str) -> String {
    percent_decode_str(text)
        .decode_utf8()
        .expect("UTF-8")
        .into_owned()
}

#[test]
fn url_is_the_url_with_the_token_as_its_password() {
    let given =
        format!("postgres://{ODD_USER_ENCODED}@{HOST}:15432/app?sslmode=verify-full&schema=x");
    let mut url = url(&[&given]);
    let token = decoded(url.password().expect("a password"));
    let start = format!("{HOST}:15432/?Action=connect&DBUser={ODD_USER_ENCODED}&");
    assert!(token.starts_with(&start), "{token}");
    assert!(
        token.contains("&X-Amz-Credential=AKIDEXAMPLE%2F"),
        "{token}"
    );
    url.set_password(None).unwrap();
    assert_eq!(url.as_str(), given);
}

#[test]
fn url_has_the_scheme_of_the_port_if_a_host_is_given() {
    for (port, scheme) in [
        ("3306", "mysql"),
        ("5432", "postgres"),
        ("6033", "postgres"),
    ] {
        let url = url(&[HOST, port, ODD_USER]);
        assert_eq!(url.scheme(), scheme);
        assert_eq!(url.host_str(), Some(HOST));
        assert_eq!(
            url.port().map(|port| port.to_string()).as_deref(),
            Some(port)
        );
        assert_eq!(decoded(url.username()), ODD_USER);
        assert!(decoded(url.password().unwrap()).contains("&X-Amz-Signature="));
    }
}

// Errors

#[test]
fn an_error_is_a_single_line_and_says_what_to_do() {
    let weaker = "asks for less than verified TLS. Remove it, or write `sslmode=verify-full`";
    for (args, error) in [
        (vec!["postgres://app:SECRET@HOST"], "Remove the password"),
        (
            vec!["postgres://app@HOST?password=SECRET"],
            "Remove the password",
        ),
        (vec!["postgres://app@HOST?sslmode=require"], weaker),
        (
            vec!["postgres://app@HOST?sslmode=require", "--format", "url"],
            weaker,
        ),
        (
            vec!["mysql://app@HOST?ssl-mode=DISABLED"],
            "write `ssl-mode=VERIFY_IDENTITY`",
        ),
        (
            vec!["postgres://app@HOST,other.example.com"],
            "it names several hosts",
        ),
        (
            vec!["postgres://app@HOST?host=SECRET"],
            "stand before the `?`",
        ),
        (vec!["postgres:///run/postgresql"], "it names no host"),
        (vec!["postgres://HOST"], "it names no user"),
        (
            vec!["postgres://app@HOST/x%0Ay", "--format", "env"],
            "control characters",
        ),
        (vec!["postgres://app@HOST/a/b"], "Write `%2F`"),
        (vec!["postgres://app@HOST/%FF"], "not UTF-8"),
        (
            vec!["http://app@HOST"],
            "schemes: postgres, postgresql, mysql, mariadb",
        ),
        (
            vec!["mysql://app@DSQL"],
            "speaks the protocol of PostgreSQL",
        ),
        (
            vec!["postgres://app@HOST/a?dbname=b", "--format", "env"],
            "Name a single database",
        ),
        (
            vec!["postgres://app@HOST?keepalives=0", "--format", "env"],
            "invalid parameter `keepalives` in the URL: it is unknown",
        ),
        (
            vec!["mysql://app@HOST?ssl-ca=x", "--format", "env"],
            "use `rds-iam exec`",
        ),
        (vec!["HOST", "0", "app"], "invalid port 0"),
        (vec!["HOST", "5432", ""], "invalid user"),
        (
            vec!["HOST", "5432", "app", "--region", "mars"],
            "invalid region \"mars\"",
        ),
    ] {
        let args: Vec<_> = args
            .iter()
            .map(|arg| arg.replace("HOST", HOST).replace("DSQL", DSQL_HOST))
            .collect();
        let args: Vec<_> = ["token"]
            .into_iter()
            .chain(args.iter().map(|arg| &**arg))
            .collect();
        let output = Sandbox::new().run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert_eq!(output.stdout, "", "{args:?}");
        let line = output.stderr.strip_suffix('\n').expect("a line");
        assert!(
            line.starts_with("rds-iam: ") && !line.contains('\n'),
            "{line:?}"
        );
        assert!(line.contains(error), "{args:?}: {line}");
        assert!(!line.contains("SECRET"), "{line}");
    }
}

#[test]
fn missing_credentials_are_reported_with_all_causes() {
    let mut sandbox = Sandbox::new();
    sandbox.unset("AWS_ACCESS_KEY_ID");
    sandbox.unset("AWS_SECRET_ACCESS_KEY");
    let output = sandbox.run(&["token", HOST, "5432", "app"]);
    assert_eq!(output.status.code(), Some(1));
    let start = "rds-iam: no AWS credentials: the provider failed. Check the environment, the profile or the role that \
                 should provide them: ";
    assert!(output.stderr.starts_with(start), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1);
}

#[test]
fn no_error_shows_a_key() {
    let mut sandbox = Sandbox::new();
    sandbox.unset("AWS_ACCESS_KEY_ID");
    let output = sandbox.run(&["token", HOST, "5432", "app"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.contains(SECRET_KEY), "{}", output.stderr);
}
