//! Each pool at the real servers of `tests/rds`: each test is a sentence, told for each pool in a module of that name.
//! The cache's clock and sleeps and the source of its credentials are in the test's hands, and the servers' clock goes
//! with the cache's.

mod examples;
mod harness;
mod pools;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../../../../tests/servers/mod.rs"]
mod servers;

use std::thread;

use harness::{Harness, Key, minutes};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pools::{Pool, SIZE, SqlxMySql, SqlxPostgres, runtime};
use programs::Output;

macro_rules! for_each_pool {
    ($($sentence:ident)*) => { $(
        mod $sentence {
            use super::pools::*;

            of_pool!($sentence, sqlx_postgres, SqlxPostgres);
            of_pool!($sentence, sqlx_mysql, SqlxMySql);
            of_pool!($sentence, deadpool_postgres, DeadpoolPostgres);
            of_pool!($sentence, diesel_async, DieselAsync);
            of_pool!($sentence, mysql_async, MySqlAsync);
            of_pool!($sentence, r2d2_postgres, R2d2Postgres);
            of_pool!($sentence, r2d2_mysql, R2d2MySql);
        }
    )* };
}

macro_rules! of_pool {
    ($sentence:ident, $name:ident, $pool:ident) => {
        #[test]
        #[ignore = "needs the servers of tests/rds: run scripts/test"]
        fn $name() {
            super::$sentence::<$pool>();
        }
    };
}

for_each_pool! {
    new_connections_log_in_and_old_ones_still_work_after_tokens_have_expired
    credentials_that_live_for_5_minutes_are_refreshed_before_they_expire
    while_the_source_is_down_logins_fail_with_its_error_only_once_no_token_is_valid
    revoked_credentials_cost_one_rejection
    rejections_at_once_cost_one_fetch
    fifty_connections_at_once_cost_one_fetch
    no_token_is_sent_without_tls
    no_token_is_sent_to_a_server_whose_certificate_cannot_be_verified
    the_example_tells_who_is_logged_in
    the_example_sends_no_token_without_tls
    the_example_goes_through_a_tunnel_or_says_why_it_cannot
}

fn new_connections_log_in_and_old_ones_still_work_after_tokens_have_expired<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let pool: P = harness.open();
    let mut connections = vec![pool.connection().unwrap()];
    for step in [10, 6, 16, 60] {
        harness.advance::<P>(minutes(step));
        connections.push(pool.connection().unwrap());
    }
    for connection in &mut connections {
        let session = P::session(connection).unwrap();
        assert_eq!((&*session.user, &*session.tls), (P::USER, "TLSv1.3"));
    }
    assert_eq!(harness.received::<P>(), ["accepted"; 5]);
}

fn credentials_that_live_for_5_minutes_are_refreshed_before_they_expire<P: Pool>() {
    let harness = Harness::of::<P>();
    let mut dying = Key::new();
    harness.hand_out(&dying, Some(minutes(5)));
    let pool: P = harness.open();
    let mut connections = vec![pool.connection().unwrap()];
    for _ in 0..4 {
        let next = Key::new();
        harness.hand_out(&next, Some(minutes(10)));
        harness.advance::<P>(minutes(5));
        dying.revoke();
        connections.push(pool.connection().unwrap());
        dying = next;
    }
    assert_eq!(harness.received::<P>(), ["accepted"; 5]);
}

fn while_the_source_is_down_logins_fail_with_its_error_only_once_no_token_is_valid<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), Some(minutes(15)));
    let pool: P = harness.open();
    let mut connections = vec![pool.connection().unwrap()];

    harness.source.goes_down("no route to the source");
    harness.advance::<P>(minutes(10));
    connections.push(pool.connection().unwrap());
    harness.advance_without_credentials(minutes(10));
    let error = pool.connection().err().expect("no token is valid");
    let error = format!("{error:#}");
    assert!(error.contains("no route to the source"), "{error}");

    harness.hand_out(&Key::new(), None);
    connections.push(pool.connection().unwrap());
    for connection in &mut connections {
        P::session(connection).unwrap();
    }
}

fn revoked_credentials_cost_one_rejection<P: Pool>() {
    let harness = Harness::of::<P>();
    let revoked = Key::new();
    harness.hand_out(&revoked, None);
    let pool: P = harness.open();
    let _old = pool.connection().unwrap();

    revoked.revoke();
    harness.hand_out(&Key::new(), None);
    let _new = [(); 2].map(|()| pool.connection().unwrap());
    assert_eq!(
        harness.received::<P>(),
        ["accepted", "unknown access key", "accepted", "accepted"]
    );
    assert_eq!(harness.source.fetches(), 2);
}

fn rejections_at_once_cost_one_fetch<P: Pool>() {
    let harness = Harness::of::<P>();
    let revoked = Key::new();
    harness.hand_out(&revoked, None);
    let pool: P = harness.open();
    let _old = pool.connection().unwrap();

    revoked.revoke();
    harness.hand_out(&Key::new(), None);
    let _new = at_once::<P, 8>(&pool);
    assert_eq!(harness.source.fetches(), 2);
}

fn fifty_connections_at_once_cost_one_fetch<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let pool: P = harness.open();
    let _connections = at_once::<P, SIZE>(&pool);
    assert_eq!(harness.source.fetches(), 1);
    assert_eq!(harness.received::<P>(), ["accepted"; SIZE]);
}

fn at_once<P: Pool, const N: usize>(pool: &P) -> [P::Connection; N] {
    thread::scope(|scope| {
        let threads = [(); N].map(|()| scope.spawn(|| pool.connection().unwrap()));
        threads.map(|thread| thread.join().unwrap())
    })
}

fn no_token_is_sent_without_tls<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let port = harness.servers.port_without_tls(P::ENGINE);
    let pool = P::open(harness.target_at::<P>(harness.servers.host(), port));
    assert!(pool.and_then(|pool| pool.connection()).is_err());
    let server = P::ENGINE.server_without_tls();
    assert_eq!(harness.servers.received(server, P::USER), [""; 0]);
}

fn no_token_is_sent_to_a_server_whose_certificate_cannot_be_verified<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let mut of_another_ca = harness.target::<P>();
    of_another_ca.ca = harness.servers.other_ca();
    let (another_name, port) = (
        harness.servers.unverified_host(),
        harness.servers.port(P::ENGINE),
    );
    for target in [of_another_ca, harness.target_at::<P>(another_name, port)] {
        let connection = P::open(target).and_then(|pool| pool.connection());
        let error = format!("{:#}", connection.err().expect("no verified server"));
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!(harness.received::<P>(), [""; 0]);
}

// sqlx

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn no_token_is_kept_fresh_for_a_pool_that_is_closed() {
    let harness = Harness::of::<SqlxPostgres>();
    harness.hand_out(&Key::new(), None);
    let pool: SqlxPostgres = harness.open();
    runtime().block_on(pool.0.pool.close());
    harness.clock.wait_until_nobody_sleeps();
    drop(harness);

    let harness = Harness::of::<SqlxMySql>();
    harness.hand_out(&Key::new(), None);
    let pool: SqlxMySql = harness.open();
    runtime().block_on(pool.0.pool.close());
    harness.clock.wait_until_nobody_sleeps();
}

// Programs

fn the_example_tells_who_is_logged_in<P: Pool>() {
    let harness = Harness::of::<P>();
    let output = run::<P>(&harness, &[], harness.servers.port(P::ENGINE));
    assert_eq!(output.stderr, "");
    let line = format!("logged in as {} over TLSv1.3\n", P::USER);
    assert_eq!(output.stdout, line);
    assert!(output.status.success());
}

fn the_example_sends_no_token_without_tls<P: Pool>() {
    let harness = Harness::of::<P>();
    let output = run::<P>(&harness, &[], harness.servers.port_without_tls(P::ENGINE));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, "");
    assert!(!output.stderr.contains("X-Amz-Signature"));
    let server = P::ENGINE.server_without_tls();
    assert_eq!(harness.servers.received(server, P::USER), [""; 0]);
}

fn the_example_goes_through_a_tunnel_or_says_why_it_cannot<P: Pool>() {
    let harness = Harness::of::<P>();
    // The port of a tunnel's near end, and that of the database that its far end leads to.
    let port = harness.servers.port(P::ENGINE);
    let dial = format!("127.0.0.1:{port}");
    let output = run::<P>(&harness, &["--dial", &dial], port);
    assert_eq!(output.status.success(), P::DIALS, "{}", output.stderr);
    assert_eq!(output.stderr.contains("no --dial"), !P::DIALS);
}

/// Runs the pool's example for a second.
fn run<P: Pool>(harness: &Harness, arguments: &[&str], port: u16) -> Output {
    let (servers, scheme) = (&harness.servers, P::ENGINE.example());
    let user = utf8_percent_encode(P::USER, NON_ALPHANUMERIC);
    let (host, database) = (servers.host(), servers.database());
    let url = format!("{scheme}://{user}@{host}:{port}/{database}");
    let all = [&["--ca", servers.ca(), "--for", "1", &url], arguments].concat();
    let key = servers.key("long-term");
    let environment = [
        ("AWS_ACCESS_KEY_ID", &*key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
    ];
    programs::run(P::EXAMPLE, &all, environment)
}
