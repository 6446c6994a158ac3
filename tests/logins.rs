//! Hosts, ports, users and regions of a `Login`, and its connection URL.

mod support;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rds_iam::{Error, Login, Service};
use serde_json::Value;
use support::tokens::{DSQL_HOST, HOST};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any text. Half of the characters have a meaning in a host, a user, a region or a URL.
fn any_text() -> impl Strategy<Value = String> {
    let meaningful =
        prop::sample::select(Vec::from_iter("aZ019.-_:[]%@/?#&+ \t\n\0\u{85}é".chars()));
    prop::collection::vec(prop_oneof![any::<char>(), meaningful], 0..40).prop_map(String::from_iter)
}

/// Asserts that the error names `what` is wrong, shows `value`, and has no control characters or line breaks.
fn assert_names(error: &Error, what: &str, value: &str) {
    let message = error.to_string();
    assert!(
        message.contains(what) && message.contains(value),
        "{message}"
    );
    let acted_on =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!message.contains(acted_on), "{message:?}");
}

// Hosts

#[test]
fn a_host_is_lower_cased_and_loses_one_trailing_dot() {
    for (given, host) in [
        (HOST, HOST),
        ("MyDB.Abc123XYZ.us-east-1.RDS.AmazonAWS.com", HOST),
        ("mydb.abc123xyz.us-east-1.rds.amazonaws.com.", HOST),
        ("LOCALHOST", "localhost"),
        ("localhost.", "localhost"),
        ("my_tunnel.example.com", "my_tunnel.example.com"),
        ("-a-.b--c", "-a-.b--c"),
        ("_", "_"),
        ("10.0.0.5", "10.0.0.5"),
    ] {
        assert_eq!(Login::new(given, 5432, "jane").unwrap().host(), host);
    }
}

#[test]
fn an_ipv6_address_with_or_without_brackets_gets_brackets() {
    for (given, host) in [
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("::", "[::]"),
        ("2001:DB8::5", "[2001:db8::5]"),
        ("[2001:db8:0:0:0:0:0:5]", "[2001:db8::5]"),
        ("::ffff:10.0.0.5", "[::ffff:10.0.0.5]"),
    ] {
        assert_eq!(Login::new(given, 5432, "jane").unwrap().host(), host);
    }
}

#[test]
fn a_host_has_at_most_253_bytes_and_a_label_at_most_63() {
    let label = "a".repeat(63);
    let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
    assert_eq!(longest.len(), 253);
    assert_eq!(Login::new(&longest, 5432, "jane").unwrap().host(), longest);
    assert_eq!(
        Login::new(&format!("{longest}."), 5432, "jane")
            .unwrap()
            .host(),
        longest
    );

    for too_long in [
        format!("{longest}a"),
        format!("{label}a"),
        format!("{label}a.example.com"),
        "a.".repeat(200),
    ] {
        assert_names(
            &Login::new(&too_long, 5432, "jane").unwrap_err(),
            "host",
            "a",
        );
    }
}

#[test]
fn an_invalid_host_is_an_error_that_shows_the_host_escaped() {
    for (host, shown) in [
        ("", ""),
        (".", ""),
        ("..", ""),
        ("a..db7", "a..db7"),
        (".db7", ".db7"),
        ("db7..", "db7.."),
        ("https://db7", "db7"),
        ("postgres://db7:5432/main", "db7"),
        ("db7:5432", "db7:5432"),
        ("10.0.0.5:5432", "10.0.0.5:5432"),
        ("db7:", "db7:"),
        ("db7/main", "db7/main"),
        ("jane@db7", "db7"),
        ("db7?a=b", "db7"),
        ("db7#a", "db7"),
        ("db7%2e", "db7%2e"),
        ("db7,db8", "db7,db8"),
        ("*.db7", "*.db7"),
        ("db7;", "db7;"),
        ("db7\\", "db7"),
        ("\"db7\"", "db7"),
        (" ", ""),
        (" db7", " db7"),
        ("db7 ", "db7 "),
        ("d b7", "d b7"),
        ("db7\n", r"db7\n"),
        ("db7\r\n", r"db7\r\n"),
        ("db7\t", r"db7\t"),
        ("db7\0", r"db7\0"),
        ("db7\u{1b}[31m", r"db7\u{1b}[31m"),
        ("db7\u{85}", r"db7\u{85}"),
        ("db7\u{202e}", r"db7\u{202e}"),
        ("db7é", "db7"),
        ("\u{212a}db7", "db7"), // the Kelvin sign, in lower case k
        ("db7。example", "db7"),
        ("[::1", "::1"),
        ("::1]", "::1"),
        ("[[::1]]", "::1"),
        ("[::1]:5432", "::1"),
        ("[]", "[]"),
        ("[10.0.0.5]", "10.0.0.5"),
        ("[db7]", "db7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("1::2::3", "1::2::3"),
        ("1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9"),
        ("::1.", "::1"),
    ] {
        assert_names(
            &Login::new(host, 5432, "jane").expect_err(host),
            "host",
            shown,
        );
    }
}

#[test]
fn a_url_given_as_a_host_is_an_error_without_its_password() {
    for host in [
        "postgres://jane:s3cret@db7/main",
        "jane:s3@cret@db7",
        "db7?password=s3cret",
        "postgres://db7/main?user=jane&password=s3cret",
    ] {
        let error = Login::new(host, 5432, "jane").expect_err(host);
        assert_names(&error, "host", "db7");
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }
}

#[test]
fn a_password_after_a_colon_of_a_host_is_not_in_the_error() {
    for (host, shown) in [
        ("db7:s3cret", "db7:…"),
        ("db7:s3:cret", "db7:…"),
        ("db7::s3cret", "db7:…"),
        ("app:secret", "app:…"),
        ("db7:5cret/main", "db7:…"),
        ("postgres://db7:s3cret", "postgres://db7:…"),
    ] {
        let error = Login::new(host, 5432, "jane").expect_err(host);
        assert_names(&error, "host", shown);
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }
}

#[test]
fn a_dsn_given_as_a_host_is_an_error_without_its_password() {
    for host in [
        "host=db7 password=s3cret",
        "db7;Password=s3cret",
        "server=tcp:db7,5432;pwd=s3cret",
    ] {
        let error = Login::new(host, 5432, "jane").expect_err(host);
        assert_names(&error, "host", "…");
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }
}

// Ports and users

#[test]
fn port_0_is_an_error() {
    assert_names(&Login::new(HOST, 0, "jane").unwrap_err(), "port", "0");
    assert_eq!(Login::new(HOST, 1, "jane").unwrap().port(), 1);
    assert_eq!(Login::new(HOST, 65535, "jane").unwrap().port(), 65535);
}

#[test]
fn a_user_is_not_changed() {
    for user in [
        "jane",
        " ",
        "we/ird us+er@x%é",
        "&DBUser=admin",
        "e\u{301}",
        "数据库用户",
        "👩‍💻",
        "\u{a0}",
    ] {
        assert_eq!(Login::new(HOST, 5432, user).unwrap().user(), user);
    }
}

#[test]
fn a_user_that_is_empty_or_has_control_characters_is_an_error() {
    for (user, shown) in [
        ("", ""),
        ("jane\0", r"jane\0"),
        ("\tjane", r"\tjane"),
        ("ja\nne", r"ja\nne"),
        ("jane\r", r"jane\r"),
        ("jane\u{1b}[31m", r"jane\u{1b}[31m"),
        ("jane\u{1f}", r"jane\u{1f}"),
        ("jane\u{7f}", r"jane\u{7f}"),
        ("jane\u{80}", r"jane\u{80}"),
        ("jane\u{85}", r"jane\u{85}"),
        ("jane\u{9f}", r"jane\u{9f}"),
    ] {
        assert_names(
            &Login::new(HOST, 5432, user).expect_err(user),
            "user",
            shown,
        );
    }
}

#[test]
fn a_user_longer_than_any_database_allows_is_an_error() {
    for (len, is_valid) in [(63, true), (512, true), (513, false), (1 << 20, false)] {
        for user in ["u".repeat(len), "é".repeat(len / 2) + &"u".repeat(len % 2)] {
            let outcome = Login::new(HOST, 5432, &user);
            assert_eq!(outcome.is_ok(), is_valid, "{len}");
            if let Err(error) = outcome {
                assert_names(&error, "user", "longer than 512 bytes");
                assert!(error.to_string().len() < 500);
            }
        }
    }
}

// Identity

#[test]
fn display_escapes_characters_that_could_forge_a_line_of_a_log() {
    for (user, shown) in [
        ("O'Brien \"x\"", "O'Brien \"x\""),
        ("é数👩", "é数👩"),
        ("a\u{2028}b", r"a\u{2028}b"),
        ("a\u{202e}b", r"a\u{202e}b"),
        ("a\u{200b}b", r"a\u{200b}b"),
        ("a\u{feff}b", r"a\u{feff}b"),
        (r"a\u{200b}b", r"a\\u{200b}b"),
    ] {
        let login = Login::new("db", 5432, user).unwrap();
        assert_eq!(login.to_string(), format!("{shown}@db:5432"));
        assert_eq!(login.user(), user);
    }
}

#[test]
fn display_is_user_at_host_and_port() {
    for (host, port, shown) in [
        ("MyDB.example.com", 5432, "jane@mydb.example.com:5432"),
        ("db", 443, "jane@db:443"),
        ("::1", 3306, "jane@[::1]:3306"),
    ] {
        assert_eq!(Login::new(host, port, "jane").unwrap().to_string(), shown);
    }
}

#[test]
fn logins_are_equal_after_normalisation() {
    let login = |host: &str| Login::new(host, 5432, "jane").unwrap();
    let same = [
        login("mydb.us-east-1.rds.amazonaws.com"),
        login("MyDB.us-east-1.RDS.amazonaws.com"),
        login("mydb.us-east-1.rds.amazonaws.com."),
    ];
    assert_eq!(HashSet::from(same.clone()).len(), 1);
    assert_eq!(HashSet::from([login("::1"), login("[0:0::1]")]).len(), 1);

    let [login, ..] = same;
    let others = [
        Login::new("mydb2.us-east-1.rds.amazonaws.com", 5432, "jane").unwrap(),
        Login::new(login.host(), 5433, "jane").unwrap(),
        Login::new(login.host(), 5432, "Jane").unwrap(),
    ];
    let hash = |login: &Login| BuildHasherDefault::<DefaultHasher>::default().hash_one(login);
    for other in &others {
        assert_ne!(&login, other);
        // Otherwise a table of many logins would be slow.
        assert_ne!(hash(&login), hash(other));
    }
    assert_ne!(login, login.clone().with_region("us-west-2").unwrap());
    assert_ne!(
        Login::new("localhost", 5432, "jane").unwrap(),
        Login::for_dsql("localhost", 5432, "jane").unwrap()
    );
}

// Services

#[test]
fn the_service_of_a_login_is_the_service_in_the_host_name_or_rds_db() {
    let rows = include_str!("data/hosts.jsonl").lines();
    for row in rows.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let Ok(login) = Login::new(row["host"].as_str().unwrap(), 5432, "jane") else {
            continue;
        };
        let expected = match row["engine"].as_str() {
            Some("dsql") => Service::Dsql,
            _ => Service::RdsDb,
        };
        assert_eq!(login.service(), expected, "{row}");
        assert!(format!("{login:?}").contains(&format!("service: {expected:?}")));
    }
}

#[test]
fn a_service_has_the_name_that_is_signed() {
    for (service, name) in [(Service::RdsDb, "rds-db"), (Service::Dsql, "dsql")] {
        assert_eq!(service.as_str(), name);
        assert_eq!(service.to_string(), name);
    }
}

#[test]
fn a_login_for_dsql_has_this_service_whatever_the_host() {
    for host in ["db.example.com", "localhost", "10.0.0.5", "::1", DSQL_HOST] {
        let login = Login::for_dsql(host, 5432, "jane").unwrap();
        assert_eq!(login.service(), Service::Dsql, "{host}");
        let new = Login::new(host, 5432, "jane").unwrap();
        assert_eq!((login.host(), login.region()), (new.host(), new.region()));
        assert_eq!((login.port(), login.user()), (5432, "jane"));
    }
}

#[test]
fn a_login_for_dsql_is_equal_to_a_new_login_if_the_host_names_a_cluster() {
    let login = Login::for_dsql(&DSQL_HOST.to_uppercase(), 5432, "jane").unwrap();
    assert_eq!(login, Login::new(DSQL_HOST, 5432, "jane").unwrap());
}

#[test]
fn a_login_for_dsql_at_an_endpoint_of_rds_is_an_error() {
    let error = Login::for_dsql(HOST, 5432, "jane").unwrap_err();
    assert!(matches!(error, Error::NotDsql { .. }), "{error:?}");
    assert_names(&error, "host", HOST);
}

#[test]
fn a_login_for_dsql_has_the_errors_of_a_new_login() {
    assert_names(
        &Login::for_dsql("db7,db8", 5432, "jane").unwrap_err(),
        "host",
        "db7,db8",
    );
    assert_names(&Login::for_dsql("db7", 0, "jane").unwrap_err(), "port", "0");
    assert_names(&Login::for_dsql("db7", 5432, "").unwrap_err(), "user", "");
}

// Regions

#[test]
fn the_region_of_a_login_is_the_region_in_the_host_name() {
    let rows = include_str!("data/hosts.jsonl").lines();
    for row in rows.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let login = Login::new(row["host"].as_str().unwrap(), 5432, "jane");
        // Some rows are not valid hosts.
        assert_eq!(
            login.as_ref().ok().and_then(Login::region),
            row["region"].as_str(),
            "{row}"
        );
    }
}

#[test]
fn a_host_without_a_region_is_valid() {
    for host in [
        "my_db.abc123xyz.us-east-1.rds.amazonaws.com",
        "-a.b.us-east-1.rds.amazonaws.com",
        "10.0.0.5",
        "::1",
    ] {
        assert_eq!(
            Login::new(host, 5432, "jane").unwrap().region(),
            None,
            "{host}"
        );
    }
}

#[test]
fn the_region_given_with_a_login_wins_over_the_hosts() {
    for host in [
        HOST,
        DSQL_HOST,
        "localhost",
        "mydb.abc123xyz.rds.cn-north-1.amazonaws.com.cn",
    ] {
        for region in [
            "eu-central-1",
            "us-gov-west-1",
            "cn-northwest-1",
            "eusc-de-east-1",
            "us-isob-east-1",
            "mx-south-9",
        ] {
            let login = Login::new(host, 5432, "jane")
                .unwrap()
                .with_region(region)
                .unwrap();
            assert_eq!((login.host(), login.region()), (host, Some(region)));
        }
    }
}

#[test]
fn a_region_has_at_most_63_bytes() {
    let region = |len: usize| format!("us-{}-1", "a".repeat(len - 5));
    let login = || Login::new(HOST, 5432, "jane").unwrap();
    assert!(login().with_region(&region(63)).is_ok());
    for len in [64, 1 << 20] {
        let error = login().with_region(&region(len)).unwrap_err();
        assert_names(&error, "region", "us-aaa");
        assert!(error.to_string().len() < 500);
    }
}

#[test]
fn a_region_that_cannot_be_one_is_an_error_that_names_it() {
    for (region, shown) in [
        ("", ""),
        (" ", ""),
        ("us east 1", "us east 1"),
        ("us-east-1 ", "us-east-1 "),
        ("us-east-1\n", r"us-east-1\n"),
        ("us-east-1\u{85}", r"us-east-1\u{85}"),
        ("us-east-1/rds-db", "us-east-1/rds-db"),
        ("us-east-1&x=y", "us-east-1&x=y"),
        ("us_east_1", "us_east_1"),
        ("US-EAST-1", "US-EAST-1"),
        ("us-east", "us-east"),
        ("us-east-1a", "us-east-1a"),
        ("us-east-1é", "us-east-1"),
        ("us-east-1\u{202e}", r"us-east-1\u{202e}"),
        ("-", "-"),
    ] {
        let login = Login::new(HOST, 5432, "jane").unwrap();
        assert_names(
            &login.with_region(region).expect_err(region),
            "region",
            shown,
        );
    }
}

#[test]
fn an_error_repeats_at_most_100_characters_of_the_host() {
    let repeated = |given: &str| match Login::new(given, 5432, "jane") {
        Err(Error::InvalidHost { host, .. }) => host,
        other => panic!("{other:?}"),
    };
    for as_given in ["my db".to_owned(), " ".repeat(100), "é".repeat(100)] {
        assert_eq!(repeated(&as_given), as_given);
    }
    assert_eq!(repeated(&"é".repeat(101)), "é".repeat(100) + "…");
}

// Any text

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_makes_a_login_panic(host in any_text(), port: u16, user in any_text(), region in any_text()) {
        let login = Login::new(HOST, 5432, "jane").unwrap();
        for result in [
            Login::new(&host, 5432, "jane"),
            Login::new(HOST, port, &user),
            login.with_region(&region),
        ] {
            if let Err(error) = result {
                assert_names(&error, "", "");
            }
        }
    }

    #[test]
    fn a_login_from_the_parts_of_a_login_is_equal(host in "[A-Za-z0-9._:\\[\\]-]{0,40}") {
        if let Ok(login) = Login::new(&host, 5432, "jane") {
            prop_assert_eq!(Login::new(login.host(), login.port(), login.user()).unwrap(), login);
        }
    }

    #[test]
    fn a_printed_ip_address_is_a_host(v4: Ipv4Addr, v6: Ipv6Addr) {
        let host = |given: String| Login::new(&given, 5432, "jane").unwrap().host().to_owned();
        prop_assert_eq!(host(v4.to_string()), v4.to_string());
        prop_assert_eq!(host(v6.to_string()), format!("[{v6}]"));
        prop_assert_eq!(host(format!("[{v6}]")), format!("[{v6}]"));
    }
}

#[cfg(feature = "url")]
mod urls {
    use percent_encoding::percent_decode_str;
    use rds_iam::{Credentials, Token};
    use url::Url;

    use crate::support::clock::s;
    use crate::support::tokens;

    use super::*;

    const SCHEMES: [(&str, u16); 4] = [
        ("postgres", 5432),
        ("postgresql", 5432),
        ("mysql", 3306),
        ("mariadb", 3306),
    ];

    fn login(url: &str) -> Result<Login, Error> {
        Login::from_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn each_scheme_of_a_url_has_its_default_port() {
        for (scheme, port) in SCHEMES {
            for rest in ["", "/", "/main?sslmode=verify-full#fragment"] {
                let login = login(&format!("{scheme}://jane@{HOST}{rest}")).unwrap();
                assert_eq!(login, Login::new(HOST, port, "jane").unwrap());
            }
            let login = login(&format!("{scheme}://jane@{HOST}:15432/main")).unwrap();
            assert_eq!(login, Login::new(HOST, 15432, "jane").unwrap());
        }
    }

    #[test]
    fn a_url_of_mysql_with_a_host_of_dsql_is_an_error() {
        for (scheme, is_valid) in [
            ("postgres", true),
            ("postgresql", true),
            ("mysql", false),
            ("mariadb", false),
        ] {
            let login = login(&format!("{scheme}://jane@{DSQL_HOST}/postgres"));
            assert_eq!(login.is_ok(), is_valid, "{scheme}");
            if let Err(error) = login {
                assert_names(&error, "URL", "PostgreSQL");
            }
        }
    }

    #[test]
    fn the_user_of_a_url_is_percent_decoded_and_the_password_is_ignored() {
        for (encoded, user) in [
            ("jane", "jane"),
            ("we%2Fird%20us%2Ber%40x%25%C3%A9", "we/ird us+er@x%é"),
            ("a+b", "a+b"),
            ("%252F", "%2F"),
            ("jane:password", "jane"),
            ("jane:", "jane"),
        ] {
            assert_eq!(
                login(&format!("postgres://{encoded}@{HOST}/"))
                    .unwrap()
                    .user(),
                user
            );
        }
    }

    #[test]
    fn the_host_of_a_url_is_normalized_as_by_new() {
        for (given, host) in [
            ("MyDB.Abc123XYZ.us-east-1.rds.amazonaws.com.", HOST),
            ("10.0.0.5", "10.0.0.5"),
            ("[::1]", "[::1]"),
            ("[2001:DB8:0::5]", "[2001:db8::5]"),
        ] {
            for (scheme, port) in SCHEMES {
                let login = login(&format!("{scheme}://jane@{given}/")).unwrap();
                assert_eq!(login, Login::new(host, port, "jane").unwrap());
            }
        }
    }

    /// The crate `url` does not decode the host of these schemes, and drivers differ.
    #[test]
    fn a_percent_encoded_host_of_a_url_is_an_error() {
        for host in [
            "db7%2eexample",
            "db7%2Fb",
            "db7%40b",
            "db7%00b",
            "db7%3A1",
            "db7%C3%A9",
            "db7%FF",
            "db7%20",
        ] {
            let error = login(&format!("postgres://jane@{host}/")).unwrap_err();
            assert_names(&error, "host", host);
        }
    }

    #[test]
    fn a_url_that_lacks_a_part_or_has_another_scheme_is_an_error_without_its_password() {
        for (url, what) in [
            ("postgres://db.example.com/main", "user"),
            ("postgres://:s3cret@db.example.com/main", "user"),
            ("postgres://@db.example.com/main", "user"),
            ("postgres://%FF:s3cret@db.example.com/main", "user"),
            ("postgres://ja%00ne:s3cret@db.example.com/main", "user"),
            ("postgres://ja%0Ane:s3cret@db.example.com/main", "user"),
            ("postgres://jane:s3cret@db.example.com:0/main", "port"),
            ("postgres://jane:s3cret@a,b/main", "host"),
            ("postgres://jane:s3cret@a..b/main", "host"),
            ("postgres:///main?user=jane&password=s3cret", "host"),
            ("postgres:main?password=s3cret", "host"),
            ("mysql:///main", "host"),
            // Some drivers use the parameter, others the part before.
            ("postgres://jane:s3cret@db.example.com/main?host=a", "host"),
            (
                "postgres://jane:s3cret@db.example.com/main?p%6Frt=1",
                "port",
            ),
            (
                "postgres://jane:s3cret@db.example.com/main?a=b&user=a",
                "user",
            ),
            ("redis://jane:s3cret@db.example.com/main", "postgres"),
            ("https://jane:s3cret@db.example.com/main", "postgres"),
            ("mailto:jane@db.example.com", "postgres"),
            (
                "jdbc:postgresql://jane:s3cret@db.example.com/main",
                "postgres",
            ),
            ("postgres+ssl://jane:s3cret@db.example.com/main", "postgres"),
        ] {
            let error = login(url).expect_err(url);
            assert_names(&error, what, "");
            assert!(
                !format!("{error} {error:?} {error:#?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    fn any_url() -> impl Strategy<Value = String> {
        let scheme = prop::sample::select(vec![
            "postgres",
            "postgresql",
            "mysql",
            "mariadb",
            "https",
            "unix",
            "data",
        ]);
        (scheme, any_text(), any_text(), any_text(), any_text()).prop_map(
            |(scheme, user, password, host, rest)| {
                let userinfo = |text: String| text.replace(['@', '/', '?', '#', ':'], "%");
                format!(
                    "{scheme}://{}:{}@{host}{rest}",
                    userinfo(user),
                    userinfo(password)
                )
            },
        )
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn no_url_makes_from_url_or_set_as_password_panic(url in prop_oneof![any_text(), any_url()]) {
            if let Ok(mut url) = Url::parse(&url) {
                if let Err(error) = Login::from_url(&url) {
                    assert_names(&error, "", "");
                }
                let before = url.clone();
                if let Err(error) = token("jane", None).set_as_password(&mut url) {
                    assert_names(&error, "", "");
                    prop_assert_eq!(url, before);
                }
            }
        }

        #[test]
        fn any_user_is_read_back_from_a_url(user in any_text()) {
            let mut url = Url::parse(&format!("postgres://{HOST}")).unwrap();
            // `Url::set_username` does not encode `%`.
            url.set_username(&user.replace('%', "%25")).unwrap();
            prop_assert_eq!(Login::from_url(&url).ok(), Login::new(HOST, 5432, &user).ok());
        }
    }

    // Tokens in URLs

    fn token(user: &str, session_token: Option<&str>) -> Token {
        let credentials = Credentials::new(
            "akid",
            "secret",
            session_token.map(Into::into),
            None,
            "test",
        );
        tokens::signed(&credentials, &tokens::login(user), s(0))
    }

    #[test]
    fn a_driver_that_decodes_the_password_of_a_url_gets_the_token_byte_for_byte() {
        for (scheme, _) in SCHEMES {
            for token in [
                token("jane", None),
                token("%2F we/ird us+er@x%é", Some("a+b/c==")),
            ] {
                for before in [
                    "jane@db.example.com",
                    "jane:old@db.example.com:15432",
                    "db.example.com",
                    "jane@[::1]",
                ] {
                    let mut url =
                        Url::parse(&format!("{scheme}://{before}/main?sslmode=verify-full"))
                            .unwrap();
                    token.set_as_password(&mut url).unwrap();
                    let reparsed = Url::parse(url.as_str()).unwrap();
                    for url in [&url, &reparsed] {
                        let password = percent_decode_str(url.password().unwrap());
                        assert_eq!(password.decode_utf8().unwrap(), token.as_str());
                    }
                    // Nothing else has changed.
                    let mut without = reparsed;
                    let _ = without.set_password(None);
                    assert_eq!(
                        without.as_str(),
                        format!("{scheme}://{before}/main?sslmode=verify-full").replace(":old", "")
                    );
                }
            }
        }
    }

    #[test]
    fn a_url_that_cannot_have_a_password_is_an_error_and_is_not_changed() {
        let token = token("jane", Some("MarkerOfTheSessionToken"));
        for before in [
            "mailto:jane@db.example.com",
            "data:,main",
            "unix:/run/postgresql",
            "file:///main",
            "postgres:///main",
            "postgres:main",
        ] {
            let mut url = Url::parse(before).unwrap();
            let error = token.set_as_password(&mut url).expect_err(before);
            assert_names(&error, "URL", "");
            assert!(
                !format!("{error} {error:?}").contains("MarkerOfTheSessionToken"),
                "{error:?}"
            );
            assert_eq!(url.as_str(), before);
        }
    }
}
