//! What only the connectors keep: errors for what they cannot honour, `dial`, built-in roots, the user's own options, and
//! the end of their tasks.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rds_iam_sqlx::{mysql, postgres};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tokio::runtime::Runtime;

use crate::harness::{Harness, Key, minutes};
use crate::pools::*;
use crate::servers::Engine;

macro_rules! for_each_connector {
    ($($sentence:ident)*) => { $(
        mod $sentence {
            use crate::pools::*;

            crate::of_each_connector!($sentence);
        }
    )* };
}

for_each_connector! {
    a_url_that_asks_for_less_is_an_error_before_anything_is_sent
    a_region_without_built_in_roots_is_named
    the_example_says_who_is_logged_in
}

fn a_url_that_asks_for_less_is_an_error_before_anything_is_sent<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let target = harness.target();
    let url = target.url(P::ENGINE);
    let (host, port) = (target.host, target.port);
    let at = |from: &str, to: &str| url.replacen(from, to, 1);
    let mut bad = vec![
        (at("@", ":hunter2@"), "password"),
        (format!("{url}&password=hunter2"), "password"),
        (at(host, &format!("{host},{host}")), "several hosts"),
        (at(host, "%2Frun%2Fserver"), "socket"),
        (
            format!("{url}&no_such_parameter=hunter2"),
            "no_such_parameter",
        ),
        (at("://", "s://"), "scheme"),
    ];
    let modes: &[&str] = match P::ENGINE {
        Engine::Postgres => &["disable", "allow", "prefer", "require", "verify-ca"],
        Engine::MariaDb => &["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA"],
    };
    let name = match P::ENGINE {
        Engine::Postgres => "sslmode",
        Engine::MariaDb => "ssl-mode",
    };
    bad.extend(
        modes
            .iter()
            .map(|mode| (format!("{url}&{name}={mode}"), name)),
    );
    for (url, reason) in bad {
        let pool = P::open_url(&url, target.cache, &target);
        let error = pool.and_then(|pool| pool.connection()).err().expect(&url);
        let error = chain(&error).to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!error.contains(&port.to_string()), "{error}");
    }
    assert_eq!(harness.source.fetches(), 0);
    assert_eq!(harness.received(), [""; 0]);
    let verified = match P::ENGINE {
        Engine::Postgres => "verify-full",
        Engine::MariaDb => "VERIFY_IDENTITY",
    };
    let pool = P::open_url(&format!("{url}&{name}={verified}"), target.cache, &target);
    pool.and_then(|pool| pool.connection()).unwrap();
}

fn a_region_without_built_in_roots_is_named<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let mut target = harness.target();
    target.host = harness.servers.host_without_roots();
    target.ca = None;
    let pool = P::open(target);
    let error = pool.and_then(|pool| pool.connection()).err().unwrap();
    let error = chain(&error).to_string();
    let expected = "no built-in root certificates for the region ca-west-1";
    assert!(error.contains(expected), "{error}");
    assert_eq!(harness.received(), [""; 0]);
}

fn the_example_says_who_is_logged_in<P: Pool>() {
    let harness = Harness::of::<P>();
    let url = harness.target().url(P::ENGINE);
    let key = harness.servers.key("long-term");
    let environment = [
        ("AWS_ACCESS_KEY_ID", &*key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
    ];
    let output = crate::programs::run(P::EXAMPLE.unwrap(), &[&url], environment);
    assert_eq!(output.stderr, "");
    let line = format!("logged in as {} over TLSv1.3\n", P::USER);
    assert_eq!(output.stdout, line);
    assert!(output.status.success());
}

mod a_dialled_address_is_connected_to_and_the_endpoint_is_signed_and_verified {
    use super::*;

    /// A port without a server, so that only the dialled address can be reached.
    const UNUSED_PORT: u16 = 1;

    /// Returns the URL of the endpoint as its clients write it, and the address of a tunnel to it. The endpoint's own port
    /// is not the database's here, so the database rejects the token. That is enough: the token has arrived.
    fn tunnel<P: Pool>(harness: &Harness) -> (String, String) {
        let mut target = harness.target();
        let port = std::mem::replace(&mut target.port, UNUSED_PORT);
        (
            target.url(P::ENGINE),
            format!("{}:{port}", Ipv4Addr::LOCALHOST),
        )
    }

    fn assert_arrived<P: Pool>(harness: &Harness, outcome: Result<(), impl std::error::Error>) {
        let error = outcome.expect_err("the token is for another port");
        let error = format!("{error}");
        assert!(error.contains("rejected"), "{error}");
        assert_eq!(harness.received(), ["wrong port"; 2]);
    }

    #[test]
    #[ignore = "needs the servers of tests/rds: run scripts/test"]
    fn sqlx_postgres() {
        let harness = Harness::of::<SqlxPostgres>();
        harness.hand_out(&Key::new(), None);
        let (url, address) = tunnel::<SqlxPostgres>(&harness);
        let options = postgres::options(&url).unwrap().dial(&address);
        let options = options.cache(harness.cache().clone());
        let pool = postgres::connect_with(options, PgPoolOptions::new());
        assert_arrived::<SqlxPostgres>(&harness, runtime().block_on(pool).map(drop));
    }

    #[test]
    #[ignore = "needs the servers of tests/rds: run scripts/test"]
    fn sqlx_mysql() {
        let harness = Harness::of::<SqlxMySql>();
        harness.hand_out(&Key::new(), None);
        let (url, address) = tunnel::<SqlxMySql>(&harness);
        let options = mysql::options(&url).unwrap().dial(&address);
        let options = options.cache(harness.cache().clone());
        let pool = mysql::connect_with(options, MySqlPoolOptions::new());
        assert_arrived::<SqlxMySql>(&harness, runtime().block_on(pool).map(drop));
    }

    #[test]
    #[ignore = "needs the servers of tests/rds: run scripts/test"]
    fn tokio_postgres() {
        let harness = Harness::of::<TokioPostgres>();
        harness.hand_out(&Key::new(), None);
        let (url, address) = tunnel::<TokioPostgres>(&harness);
        let options = rds_iam_tokio_postgres::options(&url)
            .unwrap()
            .dial(&address);
        let options = options.cache(harness.cache().clone());
        let client = rds_iam_tokio_postgres::connect_with(options);
        assert_arrived::<TokioPostgres>(&harness, runtime().block_on(client).map(drop));
    }

    #[test]
    #[ignore = "needs the servers of tests/rds: run scripts/test"]
    fn mysql_async() {
        let harness = Harness::of::<MySqlAsync>();
        harness.hand_out(&Key::new(), None);
        let (url, address) = tunnel::<MySqlAsync>(&harness);
        let options = rds_iam_mysql_async::options(&url).unwrap().dial(&address);
        let options = options.cache(harness.cache().clone());
        let connection = rds_iam_mysql_async::connect_with(options);
        assert_arrived::<MySqlAsync>(&harness, runtime().block_on(connection).map(drop));
    }
}

// A name with several addresses

/// The driver alone would try the second address after a rejection, and report that nothing listens there.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_rejection_is_not_hidden_by_another_address_without_a_server() {
    let harness = Harness::of::<TokioPostgres>();
    let revoked = Key::new();
    harness.hand_out(&revoked, None);
    let target = harness.target();
    let dial = format!("{}:{}", harness.servers.dialled_name(), target.port);
    let options = rds_iam_tokio_postgres::options(&target.url(Engine::Postgres)).unwrap();
    let options = options.cache(harness.cache().clone()).dial(&dial);
    let connect = || runtime().block_on(rds_iam_tokio_postgres::connect_with(options.clone()));
    let _old = connect().unwrap();

    revoked.revoke();
    harness.hand_out(&Key::new(), None);
    let _new = connect().unwrap();
    let received = harness.received();
    assert_eq!(received, ["accepted", "unknown access key", "accepted"]);
}

// The options of the user

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_users_own_options_of_sqlx_and_after_connect_are_kept_for_each_new_token() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::Postgres);
    let options = postgres::options(&format!("{url}&options[search_path]=shop")).unwrap();
    let options = options
        .driver(|options| options.application_name("shop"))
        .cache(harness.cache().clone());
    let connected = Arc::new(AtomicUsize::new(0));
    let count = connected.clone();
    let pool = PgPoolOptions::new().after_connect(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    runtime().block_on(async {
        let pool = postgres::connect_with(options, pool).await.unwrap();
        harness.settle::<SqlxPostgres>();
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut connection = pool.acquire().await.unwrap();
            for (setting, value) in [("application_name", "shop"), ("search_path", "shop")] {
                let show = sqlx::query_scalar("SELECT current_setting($1)").bind(setting);
                let shown: String = show.fetch_one(&mut *connection).await.unwrap();
                assert_eq!(shown, value);
            }
            connections.push(connection);
            tokio::task::block_in_place(|| harness.advance::<SqlxPostgres>(minutes(20)));
        }
        assert_eq!(connected.load(Ordering::SeqCst), 2);
        drop(connections);
        pool.close().await;
    });
}

#[test]
fn options_of_sqlx_that_ask_for_less_are_errors() {
    let good = PgConnectOptions::new_without_pgpass()
        .host("mydb.abc123xyz.us-east-1.rds.amazonaws.com")
        .username("we/ird us+er");
    for (options, option) in [
        (good.clone().ssl_mode(PgSslMode::Disable), "ssl_mode"),
        (good.clone().ssl_mode(PgSslMode::Allow), "ssl_mode"),
        (good.clone().ssl_mode(PgSslMode::Require), "ssl_mode"),
        (good.clone().ssl_mode(PgSslMode::VerifyCa), "ssl_mode"),
        (good.clone().socket("/run/postgresql"), "socket"),
        (good.clone().host("/run/postgresql"), "socket"),
        (good.clone().ssl_root_cert("bundle.pem"), "ssl_root_cert"),
    ] {
        let pool = postgres::connect_with(postgres::Options::new(options), PgPoolOptions::new());
        let error = anyhow::Error::from(runtime().block_on(pool).unwrap_err());
        let error = chain(&error).to_string();
        assert!(error.contains(option), "{error}");
    }
}

// The end of tasks

/// Runs `open` in a runtime of its own, and waits until none of its tasks is alive.
fn assert_no_task_after(open: impl AsyncFnOnce()) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        open().await;
        let metrics = tokio::runtime::Handle::current().metrics();
        let end = async {
            while metrics.num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), end).await;
        ended.unwrap_or_else(|_| panic!("{} tasks are alive", metrics.num_alive_tasks()));
    });
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_task_of_a_closed_pool_of_sqlx_ends() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::Postgres);
    let options = postgres::options(&url)
        .unwrap()
        .cache(harness.cache().clone());
    assert_no_task_after(async || {
        let pool = postgres::connect_with(options, PgPoolOptions::new());
        let pool = pool.await.unwrap();
        pool.close().await;
        drop(pool);
    });
    harness.clock.wait_until_nobody_sleeps();
    drop(harness);

    let harness = Harness::of::<SqlxMySql>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::MariaDb);
    let options = mysql::options(&url).unwrap().cache(harness.cache().clone());
    assert_no_task_after(async || {
        let pool = mysql::connect_with(options, MySqlPoolOptions::new());
        let pool = pool.await.unwrap();
        pool.close().await;
        drop(pool);
    });
    harness.clock.wait_until_nobody_sleeps();
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn dropped_pools_and_clients_of_the_other_connectors_leave_no_task() {
    let harness = Harness::of::<TokioPostgres>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::Postgres);
    let options = rds_iam_tokio_postgres::options(&url).unwrap();
    let options = options.cache(harness.cache().clone());
    assert_no_task_after(async || {
        use rds_iam_tokio_postgres as pg;
        drop(pg::connect_with(options.clone()).await.unwrap());
        let builder = deadpool_postgres::Pool::builder;
        drop(
            pg::deadpool::connect_with(options.clone(), builder)
                .await
                .unwrap(),
        );
        let builder = diesel_async::pooled_connection::deadpool::Pool::builder;
        drop(
            pg::diesel_async::connect_with(options.clone(), builder)
                .await
                .unwrap(),
        );
    });
    drop(harness);

    let harness = Harness::of::<MySqlAsync>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::MariaDb);
    let options = rds_iam_mysql_async::options(&url).unwrap();
    let options = options.cache(harness.cache().clone());
    assert_no_task_after(async || {
        let connect = rds_iam_mysql_async::connect_with(options.clone());
        drop(connect.await.unwrap());
        let builder = deadpool::managed::Pool::builder;
        let pool = rds_iam_mysql_async::deadpool::connect_with(options.clone(), builder);
        drop(pool.await.unwrap());
    });
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_runtime_that_ends_leaves_the_pools_of_the_next_one_working() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::Postgres);
    let options = postgres::options(&url)
        .unwrap()
        .cache(harness.cache().clone());
    let open = |runtime: &Runtime| {
        let pool = postgres::connect_with(options.clone(), PgPoolOptions::new());
        runtime.block_on(pool).unwrap()
    };
    let first = Runtime::new().unwrap();
    let of_first = open(&first);
    let second = Runtime::new().unwrap();
    let pool = open(&second);
    // The pool is not closed.
    drop(first);
    harness.advance::<SqlxPostgres>(minutes(20));
    let _connections =
        second.block_on(async { [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()] });
    harness.assert_accepted::<SqlxPostgres>(3);
    drop(of_first);
}

// The task of sqlx's pools

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_pool_of_sqlx_recovers_within_a_minute_without_a_line_of_the_users() {
    fn recovers<P: Pool>(acquire: impl Fn(&P) -> Result<Box<dyn std::any::Any>, sqlx::Error>) {
        let harness = Harness::of::<P>();
        let revoked = Key::new();
        harness.hand_out(&revoked, None);
        let pool: P = harness.open();
        let _busy = acquire(&pool).unwrap();

        revoked.revoke();
        harness.hand_out(&Key::new(), None);
        acquire(&pool).unwrap_err();
        harness.advance::<P>(minutes(1));
        let _new = acquire(&pool).unwrap();
        let received = harness.received();
        let rejected = received.iter().filter(|it| *it != "accepted").count();
        // The user's login and the task's.
        assert_eq!(rejected, 2, "{received:?}");
    }
    recovers::<SqlxPostgres>(|pool| Ok(Box::new(runtime().block_on(pool.0.acquire())?)));
    recovers::<SqlxMySql>(|pool| Ok(Box::new(runtime().block_on(pool.0.acquire())?)));
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_pool_of_sqlx_with_an_idle_connection_recovers_within_6_minutes() {
    let harness = Harness::of::<SqlxPostgres>();
    let revoked = Key::new();
    // Long-lived, so that only a rejection makes the cache fetch credentials.
    harness.hand_out(&revoked, Some(minutes(600)));
    let pool: SqlxPostgres = harness.open();
    revoked.revoke();
    harness.hand_out(&Key::new(), None);
    for _ in 0..6 {
        harness.advance::<SqlxPostgres>(minutes(1));
    }
    let _idle = runtime().block_on(pool.0.acquire()).unwrap();
    let _new = runtime().block_on(pool.0.acquire()).unwrap();
    assert_eq!(harness.source.fetches(), 2);
    // The task's login was rejected, and no login of the user's.
    assert_eq!(
        harness.received(),
        ["accepted", "unknown access key", "accepted"]
    );
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn each_new_token_of_a_pool_of_sqlx_is_set_with_verified_tls() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let pool: SqlxPostgres = harness.open();
    let options = PgConnectOptions::clone(&pool.0.connect_options());
    pool.0
        .set_connect_options(options.ssl_mode(PgSslMode::Disable));
    harness.advance::<SqlxPostgres>(minutes(20));
    let mode = pool.0.connect_options().get_ssl_mode();
    assert!(matches!(mode, PgSslMode::VerifyFull), "{mode:?}");
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_dialled_address_of_sqlx_that_cannot_be_reached_is_the_cause_of_the_error() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let url = harness.target().url(Engine::Postgres);
    let options = postgres::options(&url).unwrap().dial("127.0.0.1:1");
    let options = options.cache(harness.cache().clone());
    let pool = postgres::connect_with(options, PgPoolOptions::new());
    let error = anyhow::Error::from(runtime().block_on(pool).unwrap_err());
    let error = chain(&error).to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn refresh_of_a_foreign_pool_is_an_error() {
    let _runtime = runtime().enter();
    let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass());
    let error = runtime().block_on(postgres::refresh(&pool)).unwrap_err();
    let error = chain(&error.into()).to_string();
    assert!(error.contains("is not of this crate"), "{error}");
}
