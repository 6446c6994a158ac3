//! Which connection URLs are accepted, and what is read from them.

use std::error::Error as _;
use std::path::Path;

use rds_iam_connector::{InvalidOptions, UrlParameters, UrlParts};

const PARAMETERS: UrlParameters = UrlParameters {
    schemes: &["postgres", "postgresql"],
    tls_mode: &["sslmode", "ssl-mode"],
    verified: "verify-full",
    root_file: &["sslrootcert"],
    driver: &["application_name", "options["],
};

/// A secret that no error may show.
const MARKER: &str = "s3cr3t-marker";

fn read(url: &str) -> Result<UrlParts, InvalidOptions> {
    PARAMETERS.read(url)
}

/// Host, port and user.
fn login(url: &str) -> (String, u16, String) {
    let login = read(url).expect(url).login;
    (
        login.host().to_owned(),
        login.port(),
        login.user().to_owned(),
    )
}

#[test]
fn login_is_read() {
    for (url, host, port, user) in [
        (
            "postgres://app@db.example.com/app",
            "db.example.com",
            5432,
            "app",
        ),
        (
            "postgresql://app@db.example.com:6000",
            "db.example.com",
            6000,
            "app",
        ),
        (
            "POSTGRES://app@DB.example.com./app",
            "db.example.com",
            5432,
            "app",
        ),
        ("postgres://app@[::1]:6000/app", "[::1]", 6000, "app"),
        (
            "postgres://app@[2001:DB8::1]/app",
            "[2001:db8::1]",
            5432,
            "app",
        ),
        ("postgres://app@10.0.0.1/app", "10.0.0.1", 5432, "app"),
        (
            "postgres://a%2Cb%40c@db.example.com/app",
            "db.example.com",
            5432,
            "a,b@c",
        ),
        (
            "postgres://a,b@db.example.com/app",
            "db.example.com",
            5432,
            "a,b",
        ),
        (
            "postgres://a@b@db.example.com/app",
            "db.example.com",
            5432,
            "a@b",
        ),
        (
            "postgres://%C3%A9@db.example.com/a,b",
            "db.example.com",
            5432,
            "é",
        ),
        (
            "postgres://a%2Fb%3F%23@db.example.com/app",
            "db.example.com",
            5432,
            "a/b?#",
        ),
    ] {
        let expected = (host.to_owned(), port, user.to_owned());
        assert_eq!(login(url), expected, "{url}");
    }
}

#[test]
fn driver_gets_its_parameters_alone() {
    let parts = read(
        "postgres://app@db.example.com/app?application_name=a%20b%26c&sslmode=verify-full\
         &sslrootcert=/etc/my%20roots.pem&options[geqo]=off",
    )
    .unwrap();
    let parameters: Vec<_> = parts.url.query_pairs().into_owned().collect();
    let expected = [("application_name", "a b&c"), ("options[geqo]", "off")];
    assert_eq!(
        parameters,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(parts.url.path(), "/app");
    assert_eq!(
        parts.root_file.as_deref(),
        Some(Path::new("/etc/my roots.pem"))
    );

    let parts = read("postgres://app@db.example.com/app?ssl-mode=VERIFY-FULL").unwrap();
    assert_eq!(parts.url.as_str(), "postgres://app@db.example.com/app");
    assert_eq!(parts.root_file, None);
}

/// The name of an error's variant.
fn variant(error: &InvalidOptions) -> String {
    let debug = format!("{error:?}");
    debug.split(['(', ' ']).next().unwrap().to_owned()
}

#[test]
fn all_other_urls_are_errors() {
    const HOST: &str = "db.example.com";
    for (variant_and_text, urls) in [
        (
            "Url: several hosts",
            vec![
                format!("postgres://app@{HOST},{HOST}/app"),
                format!("postgres://app@{HOST}:1,{HOST}:2/app"),
                format!("postgres://{HOST},{HOST}/app?user=app"),
                format!("postgres://app:{MARKER}@{HOST},{HOST}"),
                format!("postgres://app@{HOST},?sslmode=disable"),
            ],
        ),
        (
            "Url: local socket",
            vec![
                "postgres://app@%2Frun%2Fpostgresql/app".to_owned(),
                "postgres://app@%2frun%2fpostgresql:5432/app".to_owned(),
                "postgres://%2Frun/app".to_owned(),
                format!("postgres://app@{HOST}/app?socket=/run/{MARKER}"),
            ],
        ),
        (
            "Url: password",
            vec![
                format!("postgres://app:{MARKER}@{HOST}/app"),
                format!("postgres://:{MARKER}@{HOST}/app"),
                format!("postgres://app@{HOST}/app?password={MARKER}"),
                format!("postgres://app@{HOST}/app?%70assword={MARKER}"),
            ],
        ),
        (
            "Url: `#`",
            vec![
                format!("postgres://app@{HOST}/app#{MARKER}"),
                format!("postgres://app:1#{MARKER}@{HOST}/app"),
            ],
        ),
        (
            "Url: cannot be read",
            vec![
                String::new(),
                HOST.to_owned(),
                format!("host={HOST} user=app password={MARKER}"),
                format!("postgres://app@{HOST}:65536/app"),
                format!("postgres://app@{HOST}:{MARKER}/app"),
                format!("postgres://app:{MARKER}/x@{HOST}/app"),
                format!("postgres://app@[::1/{MARKER}"),
                format!("postgres://app@my host/{MARKER}"),
                "postgres://app@/app".to_owned(),
            ],
        ),
        (
            "Scheme: postgres, postgresql",
            vec![
                format!("mysql://app:{MARKER}@{HOST}/app"),
                format!("https://app@{HOST}/{MARKER}"),
                format!("postgres+unix://app@{HOST}/{MARKER}"),
                format!("jdbc:postgresql://app@{HOST}/?password={MARKER}"),
            ],
        ),
        (
            "TlsMode: verified TLS",
            [
                "disable",
                "allow",
                "prefer",
                "require",
                "verify-ca",
                "",
                MARKER,
            ]
            .map(|mode| format!("postgres://app@{HOST}/app?sslmode={mode}"))
            .to_vec(),
        ),
        (
            "TlsMode: verified TLS",
            vec![
                format!("postgres://app@{HOST}/app?sslmode=verify-full&ssl-mode=disable"),
                format!("postgres://app@{HOST}/app?sslmode=verify-full&sslmode=disable"),
                format!("postgres://app@{HOST}/app?sslmode=verify-full%20"),
            ],
        ),
        (
            "Parameter: two files",
            vec![format!(
                "postgres://app@{HOST}/app?sslrootcert=a&sslrootcert={MARKER}"
            )],
        ),
        (
            "Parameter: twice",
            vec![format!(
                "postgres://app@{HOST}/app?application_name=a&application_name={MARKER}"
            )],
        ),
        (
            // A part of a password that is not encoded.
            "Parameter: it is unknown",
            vec![format!("postgres://me@corp.com:12?{MARKER}@{HOST}/app")],
        ),
        (
            "Parameter: stand before the `?`",
            ["host", "port", "user", "hostaddr"]
                .map(|name| format!("postgres://app@{HOST}/app?{name}={MARKER}"))
                .to_vec(),
        ),
        (
            "Parameter: it is unknown",
            [
                "unknown",
                "SSLMODE",
                "Password",
                "pwd",
                "sslcert",
                "options",
                "",
                "line%0Afeed",
                "bell%07",
            ]
            .map(|name| format!("postgres://app@{HOST}/app?{name}={MARKER}"))
            .to_vec(),
        ),
        (
            "Login: invalid",
            vec![
                format!("postgres://{HOST}/app"),
                "postgres:app".to_owned(),
                "postgres:///app".to_owned(),
                format!("postgres:///app?host={HOST}&user=app"),
                "postgres:///app?host=/run/postgresql".to_owned(),
                format!("postgres://app@{HOST}:0/app"),
                format!("postgres://%FF@{HOST}/app"),
                format!("postgres://a%0Ab@{HOST}/app"),
                format!("postgres://app@unix(/run/{MARKER}.sock)/app"),
                format!("postgres://app@{HOST}%2C{HOST}/app"),
                // The parts of a password after a `?` or `/` that is not encoded.
                format!("postgres://app:1?{MARKER}@{HOST}/app"),
                format!("postgres://app:1?{MARKER}=x@{HOST}/app"),
                format!("postgres://app:1/{MARKER}@{HOST}/app"),
            ],
        ),
    ] {
        let (expected, text) = variant_and_text.split_once(": ").unwrap();
        for url in urls {
            let error = read(&url).expect_err(&url);
            assert_eq!(variant(&error), expected, "{url}: {error:?}");
            assert!(error.to_string().contains(text), "{url}: {error}");
            assert_shows_no_secret(&error);
        }
    }
}

#[test]
fn name_in_an_error_is_shortened() {
    let name = "n".repeat(1000);
    let error = read(&format!("postgres://app@db.example.com/app?{name}=1")).unwrap_err();
    assert!(error.to_string().len() < 250, "{error}");
}

fn assert_shows_no_secret(error: &InvalidOptions) {
    let debug = format!("{error:?}");
    assert!(!debug.contains(MARKER), "{debug}");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(!text.contains(MARKER), "{text}");
    assert!(!text.contains(|char: char| char.is_control()), "{text:?}");
}
