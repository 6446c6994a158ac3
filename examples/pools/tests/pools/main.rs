//! Each pool at the real servers of `tests/rds`: each test is a sentence, told for each pool in a module of that name.
//! The cache's clock and sleeps and the source of its credentials are in the test's hands, and the servers' clock goes
//! with the cache's.

mod examples;
mod pools;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../../../../tests/servers/mod.rs"]
mod servers;
mod stage;

use std::thread;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pools::{Pool, SIZE, SqlxMySql, SqlxPostgres, runtime};
use programs::Output;
use stage::{Key, Stage, minutes};

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
    let stage = Stage::of::<P>();
    stage.hand_out(&Key::new(), None);
    let pool: P = stage.open();
    let mut connections = vec![pool.connection().unwrap()];
    for step in [10, 6, 16, 60] {
        stage.advance::<P>(minutes(step));
        connections.push(pool.connection().unwrap());
    }
    for connection in &mut connections {
        let session = P::session(connection).unwrap();
        assert_eq!((&*session.user, &*session.tls), (P::USER, "TLSv1.3"));
    }
    assert_eq!(stage.received::<P>(), ["accepted"; 5]);
}

fn credentials_that_live_for_5_minutes_are_refreshed_before_they_expire<P: Pool>() {
    let stage = Stage::of::<P>();
    let mut dying = Key::new();
    stage.hand_out(&dying, Some(minutes(5)));
    let pool: P = stage.open();
    let mut connections = vec![pool.connection().unwrap()];
    for _ in 0..4 {
        let next = Key::new();
        stage.hand_out(&next, Some(minutes(10)));
        stage.advance::<P>(minutes(5));
        dying.revoke();
        connections.push(pool.connection().unwrap());
        dying = next;
    }
    assert_eq!(stage.received::<P>(), ["accepted"; 5]);
}

fn while_the_source_is_down_logins_fail_with_its_error_only_once_no_token_is_valid<P: Pool>() {
    let stage = Stage::of::<P>();
    stage.hand_out(&Key::new(), Some(minutes(15)));
    let pool: P = stage.open();
    let mut connections = vec![pool.connection().unwrap()];

    stage.source.goes_down("no route to the source");
    stage.advance::<P>(minutes(10));
    connections.push(pool.connection().unwrap());
    stage.advance_without_credentials(minutes(10));
    let error = pool.connection().err().expect("no token is valid");
    let error = format!("{error:#}");
    assert!(error.contains("no route to the source"), "{error}");

    stage.hand_out(&Key::new(), None);
    connections.push(pool.connection().unwrap());
    for connection in &mut connections {
        P::session(connection).unwrap();
    }
}

fn revoked_credentials_cost_one_rejection<P: Pool>() {
    let stage = Stage::of::<P>();
    let revoked = Key::new();
    stage.hand_out(&revoked, None);
    let pool: P = stage.open();
    let _old = pool.connection().unwrap();

    revoked.revoke();
    stage.hand_out(&Key::new(), None);
    let _new = [(); 2].map(|()| pool.connection().unwrap());
    assert_eq!(
        stage.received::<P>(),
        ["accepted", "unknown access key", "accepted", "accepted"]
    );
    assert_eq!(stage.source.fetches(), 2);
}

fn rejections_at_once_cost_one_fetch<P: Pool>() {
    let stage = Stage::of::<P>();
    let revoked = Key::new();
    stage.hand_out(&revoked, None);
    let pool: P = stage.open();
    let _old = pool.connection().unwrap();

    revoked.revoke();
    stage.hand_out(&Key::new(), None);
    let _new = at_once::<P, 8>(&pool);
    assert_eq!(stage.source.fetches(), 2);
}

fn fifty_connections_at_once_cost_one_fetch<P: Pool>() {
    let stage = Stage::of::<P>();
    stage.hand_out(&Key::new(), None);
    let pool: P = stage.open();
    let _connections = at_once::<P, SIZE>(&pool);
    assert_eq!(stage.source.fetches(), 1);
    assert_eq!(stage.received::<P>(), ["accepted"; SIZE]);
}

fn at_once<P: Pool, const N: usize>(pool: &P) -> [P::Connection; N] {
    thread::scope(|scope| {
        let threads = [(); N].map(|()| scope.spawn(|| pool.connection().unwrap()));
        threads.map(|thread| thread.join().unwrap())
    })
}

fn no_token_is_sent_without_tls<P: Pool>() {
    let stage = Stage::of::<P>();
    stage.hand_out(&Key::new(), None);
    let port = stage.servers.port_without_tls(P::ENGINE);
    let pool = P::open(stage.target_at::<P>(stage.servers.host(), port));
    assert!(pool.and_then(|pool| pool.connection()).is_err());
    let server = P::ENGINE.server_without_tls();
    assert_eq!(stage.servers.received(server, P::USER), [""; 0]);
}

fn no_token_is_sent_to_a_server_whose_certificate_cannot_be_verified<P: Pool>() {
    let stage = Stage::of::<P>();
    stage.hand_out(&Key::new(), None);
    let mut of_another_ca = stage.target::<P>();
    of_another_ca.ca = stage.servers.other_ca();
    let (another_name, port) = (
        stage.servers.unverified_host(),
        stage.servers.port(P::ENGINE),
    );
    for target in [of_another_ca, stage.target_at::<P>(another_name, port)] {
        let connection = P::open(target).and_then(|pool| pool.connection());
        let error = format!("{:#}", connection.err().expect("no verified server"));
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!(stage.received::<P>(), [""; 0]);
}

// sqlx

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn no_token_is_kept_fresh_for_a_pool_that_is_closed() {
    let stage = Stage::of::<SqlxPostgres>();
    stage.hand_out(&Key::new(), None);
    let pool: SqlxPostgres = stage.open();
    runtime().block_on(pool.0.pool.close());
    stage.clock.wait_until_nobody_sleeps();
    drop(stage);

    let stage = Stage::of::<SqlxMySql>();
    stage.hand_out(&Key::new(), None);
    let pool: SqlxMySql = stage.open();
    runtime().block_on(pool.0.pool.close());
    stage.clock.wait_until_nobody_sleeps();
}

// Programs

fn the_example_tells_who_is_logged_in<P: Pool>() {
    let stage = Stage::of::<P>();
    let output = run::<P>(&stage, &[], stage.servers.port(P::ENGINE));
    assert_eq!(output.stderr, "");
    let line = format!("logged in as {} over TLSv1.3\n", P::USER);
    assert_eq!(output.stdout, line);
    assert!(output.status.success());
}

fn the_example_sends_no_token_without_tls<P: Pool>() {
    let stage = Stage::of::<P>();
    let output = run::<P>(&stage, &[], stage.servers.port_without_tls(P::ENGINE));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, "");
    assert!(!output.stderr.contains("X-Amz-Signature"));
    let server = P::ENGINE.server_without_tls();
    assert_eq!(stage.servers.received(server, P::USER), [""; 0]);
}

fn the_example_goes_through_a_tunnel_or_says_why_it_cannot<P: Pool>() {
    let stage = Stage::of::<P>();
    // The port of a tunnel's near end, and that of the database that its far end leads to.
    let port = stage.servers.port(P::ENGINE);
    let dial = format!("127.0.0.1:{port}");
    let output = run::<P>(&stage, &["--dial", &dial], port);
    assert_eq!(output.status.success(), P::DIALS, "{}", output.stderr);
    assert_eq!(output.stderr.contains("no --dial"), !P::DIALS);
}

/// Runs the pool's example for a second.
fn run<P: Pool>(stage: &Stage, arguments: &[&str], port: u16) -> Output {
    let (servers, scheme) = (&stage.servers, P::ENGINE.example());
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
