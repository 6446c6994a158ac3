//! Which URLs and which options of mysql_async the connector accepts. Nothing is sent.

use std::error::Error as _;
use std::net::IpAddr;

use rds_iam_mysql_async::mysql_async::{
    ClientIdentity, Conn, Opts, OptsBuilder, PoolConstraints, PoolOpts, SslOpts,
};
use rds_iam_mysql_async::{Error, InvalidOptions, Options, connect, connect_with, options};

const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";
/// A secret that no error and no `Debug` may show.
const MARKER: &str = "s3cr3t-marker";

/// The driver's options after the URL was read.
fn read(url: &str) -> Result<Opts, InvalidOptions> {
    match options(url) {
        Ok(options) => Ok(options.as_driver().clone().into()),
        Err(Error::InvalidOptions(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn url_gives_the_drivers_options() {
    let opts = read(&format!(
        "mysql://app%40x,y@{HOST}:3307/my%20db?stmt_cache_size=7&tcp_nodelay=false&wait_timeout=60\
         &client_found_rows=true&compression=fast&max_allowed_packet=2048&tcp_keepalive=1000"
    ))
    .unwrap();
    assert_eq!(opts.ip_or_hostname(), HOST);
    assert_eq!(opts.tcp_port(), 3307);
    assert_eq!(opts.user(), Some("app@x,y"));
    assert_eq!(opts.pass(), None);
    assert_eq!(opts.db_name(), Some("my db"));
    assert_eq!(opts.stmt_cache_size(), 7);
    assert!(!opts.tcp_nodelay());
    assert_eq!(opts.wait_timeout(), Some(60));
    assert!(opts.client_found_rows());
    assert!(opts.compression().is_some());
    assert_eq!(opts.max_allowed_packet(), Some(2048));
    assert!(opts.tcp_keepalive().is_some());
}

#[test]
fn url_may_leave_out_port_and_database() {
    for scheme in ["mysql", "mariadb"] {
        for path in ["", "/"] {
            let opts = read(&format!("{scheme}://app@{HOST}{path}")).unwrap();
            assert_eq!((opts.tcp_port(), opts.db_name()), (3306, None));
        }
    }
}

#[test]
fn url_may_ask_for_what_the_connector_does() {
    for query in [
        "ssl-mode=VERIFY_IDENTITY",
        "sslmode=verify_identity",
        "ssl_mode=VERIFY_IDENTITY",
        "require_ssl=true&verify_ca=true&verify_identity=true",
        "enable_cleartext_plugin=true&secure_auth=true&prefer_socket=false",
        "ssl-ca=/etc/roots.pem",
        "ssl_ca=/etc/roots.pem",
    ] {
        read(&format!("mysql://app@{HOST}/app?{query}")).expect(query);
    }
}

#[test]
fn url_may_not_ask_for_anything_else() {
    for query in [
        "ssl-mode=REQUIRED",
        "sslmode=PREFERRED",
        "ssl_mode=VERIFY_CA",
        "require_ssl=false",
        "verify_ca=false",
        "verify_identity=false",
        "verify_identity=1",
    ] {
        let error = read(&format!("mysql://app@{HOST}/app?{query}")).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::TlsMode { .. }),
            "{query}: {error:?}"
        );
    }
    for query in [
        "built_in_roots=true",
        "built_in_roots=false",
        "enable_cleartext_plugin=false",
        "secure_auth=false",
        "prefer_socket=true",
        "pool_min=1",
        "pool_max=5",
        "conn_ttl=5",
        "abs_conn_ttl=5",
        "abs_conn_ttl_jitter=5",
        "inactive_connection_ttl=5",
        "ttl_check_interval=5",
        "reset_connection=false",
        "charset=utf8",
        "ssl-cert=cert.pem",
        "Stmt_Cache_Size=5",
        "ssl-ca=a&sslca=b",
        "host=other",
    ] {
        let error = read(&format!("mysql://app@{HOST}/app?{query}")).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::Parameter { .. }),
            "{query}: {error:?}"
        );
    }
    for url in [
        format!("mysql://app:{MARKER}@{HOST}/app"),
        format!("mysql://app@{HOST}/app?password={MARKER}"),
        format!("mysql://app@{HOST},{HOST}/app"),
        format!("mysql://app@{HOST}/app?socket=/run/mysqld.sock"),
        "mysql://app@%2Frun%2Fmysqld.sock/app".to_owned(),
        format!("mysql://app@{HOST}/app#part"),
        format!("mysql://app@{HOST}/app/more"),
        format!("mysql://app@{HOST}/app/"),
    ] {
        let error = read(&url).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::Url { .. }),
            "{url}: {error:?}"
        );
    }
    for url in [
        format!("postgres://app@{HOST}/app"),
        format!("https://app@{HOST}/app"),
    ] {
        let error = read(&url).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::Scheme { .. }),
            "{url}: {error:?}"
        );
    }
    for url in [
        format!("mysql://{HOST}/app"),
        format!("mysql://app@{HOST}:0/app"),
        "mysql:///app".to_owned(),
        "mysql:app".to_owned(),
    ] {
        let error = read(&url).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::Login(_)),
            "{url}: {error:?}"
        );
    }
}

#[test]
fn url_error_shows_no_secret() {
    for url in [
        format!("mysql://app:{MARKER}@{HOST}/app"),
        format!("mysql://app@{HOST}/app?password={MARKER}"),
        format!("mysql://app@{HOST}/app?stmt_cache_size={MARKER}"),
        format!("mysql://app@{HOST}/app?compression={MARKER}"),
        format!("mysql://app@{HOST}/app?require_ssl={MARKER}"),
        format!("mysql://app@{HOST}/app?pool_max={MARKER}"),
        format!("mysql://app@{HOST}/app?charset={MARKER}"),
        format!("mysql://app@{HOST}/app/{MARKER}"),
        format!("mysql://app@{HOST}/app#{MARKER}"),
        format!("mysql://app@{HOST}:{MARKER}/app"),
    ] {
        let error = options(&url).unwrap_err();
        assert!(!format!("{error:?}").contains(MARKER), "{error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            assert!(!error.to_string().contains(MARKER), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            cause = error.source();
        }
    }
}

fn by_hand() -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(HOST)
        .user(Some("app"))
}

/// The name of the invalid option.
async fn invalid_option(options: Options) -> &'static str {
    match connect_with(options).await {
        Err(Error::InvalidOptions(InvalidOptions::Driver { option, .. })) => option,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn options_by_hand_may_not_ask_for_less() {
    let tls = SslOpts::default;
    let pool = PoolOpts::default().with_constraints(PoolConstraints::new(1, 2).unwrap());
    for (expected, driver) in [
        ("socket", by_hand().socket(Some("/run/mysqld.sock"))),
        ("ip_or_hostname", OptsBuilder::default().user(Some("app"))),
        ("pass", by_hand().pass(Some(MARKER))),
        ("secure_auth", by_hand().secure_auth(false)),
        ("pool_opts", by_hand().pool_opts(pool)),
        (
            "conn_ttl",
            by_hand().conn_ttl(std::time::Duration::from_secs(60)),
        ),
        (
            "danger_accept_invalid_certs",
            by_hand().ssl_opts(tls().with_danger_accept_invalid_certs(true)),
        ),
        (
            "danger_skip_domain_validation",
            by_hand().ssl_opts(tls().with_danger_skip_domain_validation(true)),
        ),
        (
            "danger_tls_hostname_override",
            by_hand().ssl_opts(tls().with_danger_tls_hostname_override(Some("other"))),
        ),
        (
            "root_certs",
            by_hand().ssl_opts(tls().with_root_certs(vec![vec![1].into()])),
        ),
    ] {
        assert_eq!(invalid_option(Options::new(driver)).await, expected);
    }
}

#[tokio::test]
async fn options_of_a_url_may_not_ask_for_less_afterwards() {
    let options = options(&format!("mysql://app@{HOST}/app")).unwrap();
    let options = options.driver(|options| options.pass(Some(MARKER)));
    assert_eq!(invalid_option(options).await, "pass");
}

#[tokio::test]
async fn two_addresses_to_dial_are_an_error() {
    let driver = by_hand().resolved_ips(Some(vec![IpAddr::from([127, 0, 0, 1])]));
    let options = Options::new(driver).dial("localhost:13306");
    assert_eq!(invalid_option(options).await, "resolved_ips");
}

#[tokio::test]
async fn settings_of_the_connector_are_checked() {
    let new = || Options::new(by_hand());
    for (options, expected) in [
        (new().dial("localhost"), "Dial"),
        (new().roots([]), "NoRoots"),
        (new().roots([vec![1].into()]), "InvalidRoot"),
        (new().region("Virginia"), "Login"),
        (
            Options::new(OptsBuilder::default().ip_or_hostname(HOST)),
            "Login",
        ),
        (
            options(&format!("mysql://app@{HOST}/app?ssl-ca=/nowhere.pem")).unwrap(),
            "RootFile",
        ),
    ] {
        let Err(Error::InvalidOptions(error)) = connect_with(options).await else {
            panic!("{expected}");
        };
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}

#[test]
fn debug_shows_no_password() {
    let options = Options::new(by_hand().pass(Some(MARKER)));
    assert!(!format!("{options:?}").contains(MARKER), "{options:?}");
}

#[test]
fn types_and_futures_go_to_other_threads() {
    fn all<T: Send + Sync + 'static>() {}
    fn send<T: Send>(_: T) {}
    all::<Options>();
    all::<Error>();
    all::<Conn>();
    send(connect("mysql:"));
    send(connect_with(Options::new(
        by_hand().ssl_opts(
            SslOpts::default()
                .with_client_identity(Some(ClientIdentity::new(vec![].into(), vec![].into()))),
        ),
    )));
}

#[cfg(feature = "deadpool")]
mod deadpool {
    use rds_iam_mysql_async::deadpool::{Manager, Pool, connect, connect_with, manager};

    use super::*;

    #[test]
    fn manager_shows_the_login_alone() {
        let manager = manager(Options::new(by_hand())).unwrap();
        let expected = format!("Manager {{ host: \"{HOST}\", port: 3306, user: \"app\", .. }}");
        assert_eq!(format!("{manager:?}"), expected);
    }

    #[test]
    fn manager_checks_the_options() {
        let options = Options::new(by_hand().pass(Some(MARKER)));
        let error = manager(options).unwrap_err();
        assert!(matches!(error, Error::InvalidOptions(_)), "{error:?}");
    }

    #[tokio::test]
    async fn pool_without_connections_is_an_error() {
        let pool = |manager| Pool::builder(manager).max_size(0);
        let error = connect_with(Options::new(by_hand()), pool).await;
        let Err(Error::InvalidOptions(InvalidOptions::Driver { option, .. })) = error else {
            panic!("{error:?}");
        };
        assert_eq!(option, "max_size");
    }

    #[test]
    fn types_and_futures_go_to_other_threads() {
        fn all<T: Send + Sync + 'static>() {}
        fn send<T: Send>(_: T) {}
        all::<Manager>();
        all::<Pool>();
        send(connect("mysql:"));
        send(connect_with(Options::new(by_hand()), Pool::builder));
    }
}
