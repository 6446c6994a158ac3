//! What needs no server: URLs and options that are errors, and errors that show no secret.
#![cfg(all(feature = "postgres", feature = "mysql"))]

use std::error::Error as _;

use rds_iam::{Credentials, TokenCache};
use rds_iam_sqlx::{Error, mysql, postgres};
use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::postgres::PgPoolOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";

#[test]
fn the_urls_parameters_reach_sqlx() {
    let url = format!(
        "postgres://we%2Fird@{HOST}:6432/app?application_name=shop&statement-cache-capacity=7&sslmode=verify-full"
    );
    postgres::options(&url).unwrap().driver(|options| {
        assert_eq!(options.get_host(), HOST);
        assert_eq!(options.get_port(), 6432);
        assert_eq!(options.get_username(), "we/ird");
        assert_eq!(options.get_database(), Some("app"));
        assert_eq!(options.get_application_name(), Some("shop"));
        let url = options.clone().username("u").to_url_lossy();
        assert!(url.as_str().contains("statement-cache-capacity=7"), "{url}");
        options
    });
    let url = format!("mariadb://app@{HOST}/shop?charset=latin1&ssl-mode=VERIFY_IDENTITY");
    mysql::options(&url).unwrap().driver(|options| {
        assert_eq!(options.get_port(), 3306);
        assert_eq!(options.get_charset(), "latin1");
        assert_eq!(options.get_database(), Some("shop"));
        options
    });
}

#[test]
fn what_sqlx_would_ignore_or_take_from_elsewhere_is_an_error() {
    for query in [
        "hostaddr=10.0.0.1",
        "host=other",
        "password=x",
        "fallback=1",
    ] {
        let url = format!("postgres://app@{HOST}/app?{query}");
        assert!(matches!(
            postgres::options(&url),
            Err(Error::InvalidOptions(_))
        ));
    }
    for query in ["socket=/run/mysqld.sock", "ssl-mode=REQUIRED", "no-such=1"] {
        let url = format!("mysql://app@{HOST}/app?{query}");
        assert!(matches!(
            mysql::options(&url),
            Err(Error::InvalidOptions(_))
        ));
    }
}

#[test]
fn an_option_that_sqlx_cannot_read_keeps_sqlxs_error_as_the_cause() {
    let url = format!("postgres://app@{HOST}/app?statement-cache-capacity=many");
    let error = postgres::options(&url).unwrap_err();
    let driver = error.source().unwrap().source().unwrap();
    assert!(driver.downcast_ref::<sqlx::Error>().is_some(), "{driver:?}");
}

#[tokio::test]
async fn options_of_mysql_that_ask_for_less_are_errors() {
    let good = MySqlConnectOptions::new()
        .host(HOST)
        .username("we/ird us+er");
    for options in [
        good.clone().ssl_mode(MySqlSslMode::Disabled),
        good.clone().ssl_mode(MySqlSslMode::Required),
        good.clone().ssl_mode(MySqlSslMode::VerifyCa),
        good.clone().socket("/run/mysqld.sock"),
        good.clone().ssl_ca("bundle.pem"),
    ] {
        let options = mysql::Options::new(options);
        let pool = mysql::connect_with(options, MySqlPoolOptions::new()).await;
        assert!(matches!(pool, Err(Error::InvalidOptions(_))));
    }
}

#[tokio::test]
async fn an_invalid_host_of_the_options_is_an_error_that_names_the_host() {
    let options = postgres::options(&format!("postgres://app@{HOST}/app")).unwrap();
    let options = options.driver(|options| options.host("my db"));
    let error = postgres::connect_with(options, PgPoolOptions::new()).await;
    let source = error.unwrap_err().source().unwrap().to_string();
    assert!(source.contains("my db"), "{source}");
}

/// sqlx panics at this greeting.
#[tokio::test]
async fn a_malformed_answer_of_the_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let greeting = [5, 0, 0, 0, 9, b'8', b'.', b'0', 0];
        stream.write_all(&greeting).await.unwrap();
        stream
    };
    let credentials = Credentials::new("akid", "secret", None, None, "test");
    let cache = TokenCache::builder(credentials).build().unwrap();
    let options = mysql::options(&format!("mysql://app@{HOST}/app")).unwrap();
    let options = options.cache(cache).dial(&address.to_string());
    let pool = mysql::connect_with(options, MySqlPoolOptions::new());
    let (pool, _stream) = tokio::join!(pool, server);
    let error = pool.unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(source.contains("malformed"), "{source}");
}
