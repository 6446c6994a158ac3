//! Logins to the real servers of `tests/rds`, with the library and with the examples.

mod programs;
mod servers;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::SystemTime;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use programs::Output;
use rds_iam::{Credentials, Login, Signer, Token, rejection};
use servers::{DSQL, ENGINES, Engine, KEYS, Key, ODD_USER, Servers};
use url::Url;

#[test]
fn the_test_servers_run_in_ci() {
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        Servers::running();
    }
}

// Tokens

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_token_logs_in_with_each_kind_of_key_and_odd_users_too() {
    let servers = Servers::running();
    for engine in ENGINES {
        for key in KEYS {
            for user in ["iam_user", ODD_USER] {
                let token = sign(&servers.key(key), &login(&servers, engine, user));
                let logged_in = servers.log_in(engine, user, token.as_str());
                assert_eq!(logged_in.expect(key), user, "{engine:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_token_is_rejected_if_user_host_port_region_or_key_differ_from_the_signed_ones() {
    let servers = Servers::running();
    let user = "other_user";
    for engine in ENGINES {
        let key = servers.key("session-1600");
        let right = login(&servers, engine, user);
        let of_another_user = login(&servers, engine, "iam_user");
        let of_another_port =
            Login::new(servers.host(), servers.port_without_tls(engine), user).unwrap();
        let of_another_host =
            Login::new(servers.unverified_host(), servers.port(engine), user).unwrap();
        let stripped = Key {
            session_token: None,
            ..servers.key("session-1600")
        };
        let of_another_secret = Key {
            secret_access_key: "another".into(),
            ..servers.key("session-1600")
        };
        for (token, reason) in [
            (sign(&key, &of_another_user), "wrong user"),
            (sign(&key, &of_another_port), "wrong port"),
            (sign(&key, &of_another_host), "wrong host"),
            (sign_in("eu-west-1", &key, &right), "wrong region"),
            (sign(&of_another_secret, &right), "wrong signature"),
            (sign(&stripped, &right), "no session token"),
        ] {
            servers
                .log_in(engine, user, token.as_str())
                .expect_err(reason);
            let received = servers.received(engine.server(), user);
            assert_eq!(
                received.last().map(String::as_str),
                Some(reason),
                "{engine:?}"
            );
        }
        let token = sign(&key, &right);
        servers
            .log_in(engine, user, token.as_str())
            .expect("the same login, rightly signed");
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_token_logs_in_until_it_expires() {
    let servers = Servers::running();
    let user = "clock_user";
    for (engine, server) in [
        (Engine::Postgres, Engine::Postgres.server()),
        (Engine::MariaDb, Engine::MariaDb.server()),
        (Engine::Postgres, DSQL),
    ] {
        servers.move_clock(user, 0);
        let login = Login::new(servers.host_of(server), servers.port_of(server), user).unwrap();
        let token = sign(&servers.key("long-term"), &login);
        for (clock, is_valid) in [(0, true), (840, true), (901, false)] {
            servers.move_clock(user, clock);
            let logged_in = servers.log_in_to(engine, server, user, token.as_str());
            assert_eq!(logged_in.is_ok(), is_valid, "{server}, {clock} s on");
        }
        let received = servers.received(server, user);
        assert_eq!(received.last().map(String::as_str), Some("expired"));
    }
}

// Aurora DSQL

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_token_logs_in_to_dsql_with_each_kind_of_key_as_admin_and_as_other_users() {
    let servers = Servers::running();
    for key in KEYS {
        for user in ["admin", "iam_user", ODD_USER] {
            for host in [servers.host_of(DSQL), servers.dsql_private_link_host()] {
                let login = Login::new(host, servers.port_of(DSQL), user).unwrap();
                let token = sign(&servers.key(key), &login);
                let logged_in = servers.log_in_to(Engine::Postgres, DSQL, user, token.as_str());
                assert_eq!(logged_in.expect(key), user);
            }
        }
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn dsql_rejects_a_token_with_the_wrong_action_port_service_host_region_or_key() {
    let servers = Servers::running();
    let user = "other_user";
    let (host, port) = (servers.host_of(DSQL), servers.port_of(DSQL));
    let key = servers.key("session-1600");
    let right = Login::new(host, port, user).unwrap();
    let of_admin = Login::new(host, port, "admin").unwrap();
    let another_host = "zyxwvutsrqponmlkjihgfedcba.dsql.us-east-1.on.aws";
    let of_another_host = Login::new(another_host, port, user).unwrap();
    let of_rds = Login::new(servers.host(), port, user).unwrap();
    let of_another_secret = Key {
        secret_access_key: "another".into(),
        ..servers.key("session-1600")
    };
    let token = sign(&key, &right);
    let with_port = token.as_str().replacen("/?", &format!(":{port}/?"), 1);
    let with_user = token.as_str().replacen("&", "&DBUser=other_user&", 1);
    let of_service_rds = token.as_str().replacen("%2Fdsql%2F", "%2Frds-db%2F", 1);
    let token_of = |key, login| sign(key, login).as_str().to_owned();
    for (token, user, reason) in [
        (token_of(&key, &of_admin), user, "wrong Action"),
        (token.as_str().to_owned(), "admin", "wrong Action"),
        (with_port, user, "wrong port"),
        (with_user, user, "unknown parameter"),
        (of_service_rds, user, "wrong service"),
        (token_of(&key, &of_rds), user, "wrong host"),
        (token_of(&key, &of_another_host), user, "wrong host"),
        (
            sign_in("eu-west-1", &key, &right).as_str().to_owned(),
            user,
            "wrong region",
        ),
        (
            token_of(&of_another_secret, &right),
            user,
            "wrong signature",
        ),
    ] {
        let error = servers.log_in_to(Engine::Postgres, DSQL, user, &token);
        let error = error.expect_err(reason);
        let error = error.downcast::<tokio_postgres::Error>().unwrap();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "08006");
        assert!(
            rejection::is_postgres_rejection("08006", error.message()),
            "{error}"
        );
        let received = servers.received(DSQL, user);
        assert_eq!(received.last().map(String::as_str), Some(reason));
    }
    let logged_in = servers.log_in_to(Engine::Postgres, DSQL, user, token.as_str());
    logged_in.expect("the same login, rightly signed");
}

#[test]
fn the_drivers_read_a_token_from_a_url_byte_for_byte() {
    let key = Key {
        access_key_id: "akid".into(),
        secret_access_key: "secret".into(),
        session_token: Some("a+session/token==".into()),
    };
    let url = |scheme: &str| {
        let host = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";
        format!("{scheme}://{}@{host}/app", percent_encode(ODD_USER))
            .parse::<Url>()
            .unwrap()
    };

    let mut postgres = url("postgres");
    let token = sign_in("us-east-1", &key, &Login::from_url(&postgres).unwrap());
    token.set_as_password(&mut postgres).unwrap();
    let config: tokio_postgres::Config = postgres.as_str().parse().unwrap();
    assert_eq!(config.get_password(), Some(token.as_str().as_bytes()));
    assert_eq!(config.get_user(), Some(ODD_USER));

    let mut mysql = url("mysql");
    let token = sign_in("us-east-1", &key, &Login::from_url(&mysql).unwrap());
    token.set_as_password(&mut mysql).unwrap();
    let options = mysql_async::Opts::from_url(mysql.as_str()).unwrap();
    assert_eq!(options.pass(), Some(token.as_str()));
    assert_eq!(options.user(), Some(ODD_USER));
}

// Examples

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_examples_log_in_to_dsql() {
    let servers = Servers::running();
    let (host, port) = (servers.host_of(DSQL), servers.port_of(DSQL));
    let key = servers.key("session-1600");
    for user in ["admin", "iam_user"] {
        let arguments = [host, &port.to_string(), user];
        let token = programs::run("token", &arguments, environment(&key)).stdout;
        let logged_in = servers.log_in_to(Engine::Postgres, DSQL, user, token.trim_end());
        assert_eq!(logged_in.unwrap(), user);

        let url = url(&servers, Engine::Postgres, host, port, user);
        let output = run(Engine::Postgres, &key, &["--ca", servers.ca_of(DSQL), &url]);
        assert_eq!(output.stdout, format!("logged in as {user} over TLSv1.3\n"));
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_examples_log_in_over_tls_with_each_kind_of_key_and_odd_users_too() {
    let servers = Servers::running();
    for engine in ENGINES {
        for key in KEYS {
            for user in ["iam_user", ODD_USER] {
                let url = url(&servers, engine, servers.host(), servers.port(engine), user);
                let output = run(engine, &servers.key(key), &["--ca", servers.ca(), &url]);
                assert_eq!(output.stderr, "");
                assert_eq!(output.stdout, format!("logged in as {user} over TLSv1.3\n"));
                assert!(output.status.success());
            }
        }
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_examples_log_in_through_a_tunnel_with_the_databases_own_name() {
    let servers = Servers::running();
    for engine in ENGINES {
        let tunnel = tunnel_to(servers.port(engine));
        let url = url(
            &servers,
            engine,
            servers.host(),
            servers.port(engine),
            "iam_user",
        );
        let output = run(
            engine,
            &servers.key("long-term"),
            &[
                "--ca",
                servers.ca(),
                "--dial",
                &format!("127.0.0.1:{tunnel}"),
                &url,
            ],
        );
        assert_eq!(
            output.stdout, "logged in as iam_user over TLSv1.3\n",
            "{}",
            output.stderr
        );
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_examples_send_no_password_to_a_server_whose_certificate_they_cannot_verify() {
    let servers = Servers::running();
    let user = "unused_user";
    for engine in ENGINES {
        let (port, key) = (servers.port(engine), servers.key("long-term"));
        let right = url(&servers, engine, servers.host(), port, user);
        let unverified = url(&servers, engine, servers.unverified_host(), port, user);
        let dial = format!("127.0.0.1:{port}");
        for arguments in [
            vec!["--ca", servers.other_ca(), &right],
            // Without --ca, the example trusts the platform's roots and Amazon's.
            vec![&right],
            vec!["--ca", servers.ca(), &unverified],
            vec!["--ca", servers.ca(), "--dial", &dial, &unverified],
        ] {
            let output = run(engine, &key, &arguments);
            assert_eq!(output.status.code(), Some(1), "{engine:?} {arguments:?}");
            assert_eq!(output.stdout, "");
            assert!(output.stderr.contains("certificate"), "{}", output.stderr);
        }
        assert_eq!(servers.received(engine.server(), user), [""; 0]);
        let output = run(engine, &key, &["--ca", servers.ca(), &right]);
        assert!(
            output.status.success(),
            "the same login with the right CA and name"
        );
    }
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_examples_send_no_password_to_a_server_without_tls() {
    let servers = Servers::running();
    let user = "unused_user";
    for engine in ENGINES {
        let port = servers.port_without_tls(engine);
        let url = url(&servers, engine, servers.host(), port, user);
        let dial = format!("127.0.0.1:{port}");
        for arguments in [
            vec!["--ca", servers.ca(), &url],
            vec!["--ca", servers.ca(), "--dial", &dial, &url],
        ] {
            let output = run(engine, &servers.key("long-term"), &arguments);
            assert_eq!(output.status.code(), Some(1), "{engine:?} {arguments:?}");
            assert_eq!(output.stdout, "");
            assert!(!output.stderr.contains("X-Amz-Signature"));
        }
        assert_eq!(servers.received(engine.server_without_tls(), user), [""; 0]);
    }
}

/// The servers count passwords in plain text. Otherwise the test above would prove nothing.
#[tokio::test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
async fn a_driver_that_does_not_insist_on_tls_leaks_the_token_and_the_servers_count_it() {
    let servers = Servers::running();
    let user = "leak_user";
    let token = |engine| {
        let login = Login::new(servers.host(), servers.port_without_tls(engine), user).unwrap();
        sign(&servers.key("long-term"), &login)
    };

    let (_client, _connection) = tokio_postgres::Config::new()
        .host(servers.host())
        .port(servers.port_without_tls(Engine::Postgres))
        .user(user)
        .password(token(Engine::Postgres).as_str())
        .dbname(servers.database())
        .connect(tokio_postgres::NoTls)
        .await
        .expect("a login in plain text");
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(servers.host())
        .tcp_port(servers.port_without_tls(Engine::MariaDb))
        .user(Some(user))
        .pass(Some(token(Engine::MariaDb).as_str()))
        .enable_cleartext_plugin(true)
        .prefer_socket(false);
    mysql_async::Conn::new(options)
        .await
        .expect("a login in plain text");

    for engine in ENGINES {
        let received = servers.received(engine.server_without_tls(), user);
        assert_eq!(received.last().map(String::as_str), Some("accepted"));
    }
}

fn login(servers: &Servers, engine: Engine, user: &str) -> Login {
    Login::new(servers.host(), servers.port(engine), user).unwrap()
}

fn sign(key: &Key, login: &Login) -> Token {
    sign_in(login.region().unwrap(), key, login)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the servers judge by the real time"
)]
fn sign_in(region: &str, key: &Key, login: &Login) -> Token {
    let credentials = Credentials::new(
        &key.access_key_id,
        &key.secret_access_key,
        key.session_token.clone(),
        None,
        "test",
    );
    let now = SystemTime::now();
    Signer::for_service(login.service(), &credentials, region, now)
        .unwrap()
        .sign(login, now)
        .unwrap()
}

fn url(servers: &Servers, engine: Engine, host: &str, port: u16, user: &str) -> String {
    let (scheme, user) = (engine.example(), percent_encode(user));
    format!("{scheme}://{user}@{host}:{port}/{}", servers.database())
}

fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Runs the engine's example with `key` in its environment.
fn run(engine: Engine, key: &Key, arguments: &[&str]) -> Output {
    programs::run(engine.example(), arguments, environment(key))
}

fn environment(key: &Key) -> Vec<(&str, &str)> {
    let mut environment = vec![
        ("AWS_ACCESS_KEY_ID", key.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
    ];
    environment.extend(
        key.session_token
            .as_deref()
            .map(|token| ("AWS_SESSION_TOKEN", token)),
    );
    environment
}

/// Starts a tunnel for a single connection to `port`, like `ssh -L`. Returns the port of its near end.
fn tunnel_to(port: u16) -> u16 {
    let near = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near_port = near.local_addr().unwrap().port();
    thread::spawn(move || -> io::Result<()> {
        let (near, _) = near.accept()?;
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let (mut from_near, mut to_far) = (near.try_clone()?, far.try_clone()?);
        thread::spawn(move || io::copy(&mut from_near, &mut to_far));
        let (mut from_far, mut to_near) = (far, near);
        io::copy(&mut from_far, &mut to_near)?;
        Ok(())
    });
    near_port
}
