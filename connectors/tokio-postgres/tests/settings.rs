//! URLs and options, accepted and rejected, without a server.

use std::error::Error as _;
use std::time::Duration;

use rds_iam_tokio_postgres::{Error, InvalidOptions, Options, connect, connect_with, options};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";

/// An error of this crate goes into `anyhow` and between threads.
const _: fn() = || {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Error>();
    is_shared::<InvalidOptions>();
    is_shared::<Options>();
    fn is_sent(_: impl Send) {}
    is_sent(connect(""));
    #[cfg(feature = "deadpool")]
    is_sent(rds_iam_tokio_postgres::deadpool::connect(""));
    #[cfg(feature = "bb8")]
    {
        is_shared::<rds_iam_tokio_postgres::bb8::Manager>();
        is_sent(rds_iam_tokio_postgres::bb8::connect(""));
    }
    #[cfg(feature = "diesel-async")]
    is_sent(rds_iam_tokio_postgres::diesel_async::connect(""));
};

fn driver_config(url: &str) -> Config {
    let mut config = Config::new();
    options(url).unwrap().driver(|driver| {
        config = driver.clone();
        driver
    });
    config
}

#[test]
fn parameters_of_the_driver_keep_their_meaning() {
    let config = driver_config(&format!(
        "postgresql://my%20app@{HOST}:6000/my%2Fshop?application_name=a+b%20c%26d&options=-c%20statement_timeout%3D5s\
         &connect_timeout=7&tcp_user_timeout=8&keepalives=0&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11\
         &target_session_attrs=read-write&channel_binding=disable&load_balance_hosts=random&sslnegotiation=direct"
    ));
    let mut expected = Config::new();
    expected
        .user("my app")
        .host(HOST)
        .port(6000)
        .dbname("my/shop")
        .application_name("a+b c&d")
        .options("-c statement_timeout=5s")
        .connect_timeout(Duration::from_secs(7))
        .tcp_user_timeout(Duration::from_secs(8))
        .keepalives(false)
        .keepalives_idle(Duration::from_secs(9))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(11)
        .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite)
        .channel_binding(ChannelBinding::Disable)
        .load_balance_hosts(tokio_postgres::config::LoadBalanceHosts::Random)
        .ssl_negotiation(SslNegotiation::Direct);
    assert_eq!(config, expected);
}

#[test]
fn urls_are_accepted() {
    for rest in [
        "/app",
        "",
        ":6000",
        "/",
        "/app?sslmode=verify-full",
        "/app?ssl-mode=VERIFY-FULL",
        "/app?sslrootcert=roots.pem",
        "?dbname=app",
    ] {
        let url = format!("postgres://app@{HOST}{rest}");
        assert!(options(&url).is_ok(), "{url}: {:?}", options(&url));
    }
    let config = driver_config("postgres://app@[2001:db8::1]/app");
    assert_eq!(
        config.get_hosts(),
        [tokio_postgres::config::Host::Tcp("2001:db8::1".to_owned())]
    );
    assert_eq!(
        driver_config(&format!("postgres://app@{HOST}/a@b")).get_dbname(),
        Some("a@b")
    );
    assert_eq!(
        driver_config(&format!("postgres://a%40b@{HOST}")).get_user(),
        Some("a@b")
    );
}

#[test]
fn urls_are_rejected() {
    for (url, words) in [
        ("postgres://app@HOST/app?sslmode=disable", "sslmode"),
        ("postgres://app@HOST/app?sslmode=allow", "sslmode"),
        ("postgres://app@HOST/app?sslmode=prefer", "sslmode"),
        ("postgres://app@HOST/app?sslmode=require", "sslmode"),
        ("postgres://app@HOST/app?sslmode=verify-ca", "sslmode"),
        ("postgres://app@HOST/app?ssl-mode=require", "ssl-mode"),
        ("postgres://app:S3CRET@HOST/app", "password"),
        ("postgres://app@HOST/app?password=S3CRET", "password"),
        ("postgres://app@HOST,b.example.com/app", "several hosts"),
        (
            "postgres://app@HOST:5432,b.example.com:5432/app",
            "several hosts",
        ),
        ("postgres://app@%2Frun%2Fpostgresql/app", "socket"),
        ("postgres://app@/app?host=/run/postgresql", ""),
        ("postgres://app@HOST/app?host=b.example.com", "host"),
        ("postgres://app@HOST/app?hostaddr=127.0.0.1", "hostaddr"),
        ("postgres://app@HOST/app?port=1", "port"),
        ("postgres://app@HOST/app?user=root", "user"),
        (
            "postgres://app@HOST/app?channel_binding=require",
            "channel_binding",
        ),
        (
            "postgres://app@HOST/app?connect_timeout=soon",
            "connect_timeout",
        ),
        ("postgres://app@HOST/app?sslkey=key.pem", "sslkey"),
        ("postgres://app@HOST/app?sslcert=cert.pem", "sslcert"),
        ("postgres://app@HOST/app?gssencmode=disable", "gssencmode"),
        (
            "postgres://app@HOST/app?statement-cache-capacity=0",
            "statement-cache-capacity",
        ),
        ("postgres://app@HOST/app?options[a]=b", "options[a]"),
        (
            "postgres://app@HOST/app?sslrootcert=a.pem&sslrootcert=b.pem",
            "two files",
        ),
        ("postgres://app@HOST/app#S3CRET", "#"),
        ("postgres://HOST/app", "user"),
        ("postgres://app@/app", ""),
        ("mysql://app@HOST/app", "postgres, postgresql"),
        ("host=HOST user=app password=S3CRET", "URL"),
        ("", "URL"),
    ] {
        let error = options(&url.replace("HOST", HOST)).unwrap_err();
        assert!(
            matches!(error, Error::InvalidOptions(_)),
            "{url}: {error:?}"
        );
        let text = chain(&error);
        assert!(text.contains(words), "{url}: {text}");
        let all = format!("{text} {error:?}");
        assert!(!all.contains("S3CRET"), "{url}: {all}");
    }
}

#[tokio::test]
async fn options_made_by_hand_are_rejected() {
    let config = |change: fn(&mut Config) -> &mut Config| {
        let mut config = Config::new();
        change(config.user("app"));
        config
    };
    for (config, words) in [
        (config(|c| c.host(HOST).password("S3CRET")), "`password`"),
        (config(|c| c.host(HOST).password("")), "`password`"),
        (
            config(|c| c.host(HOST).ssl_mode(SslMode::Disable)),
            "`ssl_mode`",
        ),
        (
            config(|c| c.host(HOST).channel_binding(ChannelBinding::Require)),
            "`channel_binding`",
        ),
        (
            config(|c| c.host(HOST).hostaddr([127, 0, 0, 1].into())),
            "`hostaddr`",
        ),
        (config(|c| c.hostaddr([127, 0, 0, 1].into())), "`hostaddr`"),
        (config(|c| c.host(HOST).host("b.example.com")), "several"),
        (
            config(|c| c.host(HOST).port(5432).port(5433)),
            "`port`: there are several",
        ),
        (config(|c| c.host("/run/postgresql")), "socket"),
        (config(|c| c.host_path("/run/postgresql")), "socket"),
        (config(|c| c.dbname("app")), "`host`: there is none"),
        (config(|c| c.host("")), "invalid host"),
        (config(|c| c.host(HOST).port(0)), "invalid port"),
        (config(|c| c.host(HOST).user("")), "invalid user"),
    ] {
        let error = connect_with(Options::new(config)).await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidOptions(_)),
            "{words}: {error:?}"
        );
        let text = chain(&error);
        assert!(text.contains(words), "{words}: {text}");
        let all = format!("{text} {error:?}");
        assert!(!all.contains("S3CRET"), "{words}: {all}");
    }
    let mut no_user = Config::new();
    no_user.host(HOST);
    let error = connect_with(Options::new(no_user)).await.unwrap_err();
    assert!(chain(&error).contains("`user`"), "{error:?}");
}

#[tokio::test]
async fn settings_of_the_connector_are_checked() {
    let options = || options(&format!("postgres://app@{HOST}/app")).unwrap();
    for (options, words) in [
        (options().dial("localhost"), "HOST:PORT"),
        (options().dial("::1:5432"), "HOST:PORT"),
        (options().region("nowhere!"), "invalid region"),
        (options().roots([]), "no root certificates were given"),
        (
            options().roots([vec![1, 2, 3].into()]),
            "a given root certificate is invalid",
        ),
    ] {
        let error = connect_with(options).await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidOptions(_)),
            "{words}: {error:?}"
        );
        assert!(chain(&error).contains(words), "{words}: {}", chain(&error));
    }
    let url = format!("postgres://app@{HOST}/app?sslrootcert=/nowhere/roots.pem");
    let error = connect(&url).await.unwrap_err();
    assert!(chain(&error).contains("/nowhere/roots.pem"), "{error:?}");
}

#[test]
fn debug_shows_no_password() {
    let mut config = Config::new();
    config.host(HOST).user("app").password("S3CRET");
    let debug = format!("{:?}", Options::new(config));
    assert!(!debug.contains("S3CRET"), "{debug}");
}

#[test]
fn errors_have_their_cause() {
    let error = options("").unwrap_err();
    let cause = error.source().unwrap();
    assert!(cause.is::<InvalidOptions>(), "{cause:?}");
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
