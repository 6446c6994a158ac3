//! Each connector, and the pools of the examples of r2d2, at the real servers of `tests/rds`. Each test is a sentence that
//! holds for each pool, in a module of that name. The test controls the cache's clock and sleeps and the source of the
//! credentials. The servers' clock moves with the cache's.

mod connectors;
mod dsql;
mod examples;
mod harness;
mod pools;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../../../../tests/servers/mod.rs"]
mod servers;

use std::thread;

use harness::{Harness, Key, minutes};
use pools::{Pool, SIZE, chain};

macro_rules! for_each_pool {
    ($($sentence:ident)*) => { $(
        mod $sentence {
            use super::pools::*;

            of_each_connector!($sentence);
            of_pool!($sentence, r2d2_postgres, R2d2Postgres);
            of_pool!($sentence, r2d2_mysql, R2d2MySql);
        }
    )* };
}

macro_rules! of_each_postgres_connector {
    ($sentence:ident) => {
        crate::of_pool!($sentence, sqlx_postgres, SqlxPostgres);
        crate::of_pool!($sentence, tokio_postgres, TokioPostgres);
        crate::of_pool!($sentence, deadpool_postgres, DeadpoolPostgres);
        crate::of_pool!($sentence, bb8_postgres, Bb8Postgres);
        crate::of_pool!($sentence, diesel_async, DieselAsync);
    };
}

macro_rules! of_each_connector {
    ($sentence:ident) => {
        crate::of_each_postgres_connector!($sentence);
        crate::of_pool!($sentence, sqlx_mysql, SqlxMySql);
        crate::of_pool!($sentence, mysql_async, MySqlAsync);
        crate::of_pool!($sentence, deadpool_mysql, DeadpoolMySql);
    };
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

pub(crate) use {of_each_connector, of_each_postgres_connector, of_pool};

for_each_pool! {
    new_connections_log_in_and_old_ones_still_work_after_tokens_have_expired
    credentials_that_live_for_5_minutes_are_refreshed_before_they_expire
    while_the_source_is_down_logins_fail_with_its_error_only_once_no_token_is_valid
    revoked_credentials_cost_one_rejection
    rejections_at_once_cost_one_fetch
    fifty_connections_at_once_cost_one_fetch
    a_server_with_amazons_public_chain_is_verified_too
    no_token_is_sent_without_tls
    no_token_is_sent_to_a_server_whose_certificate_cannot_be_verified
}

fn new_connections_log_in_and_old_ones_still_work_after_tokens_have_expired<P: Pool>() {
    new_connections_log_in_and_old_ones_still_work::<P>(&Harness::of::<P>());
}

fn new_connections_log_in_and_old_ones_still_work<P: Pool>(harness: &Harness) {
    harness.hand_out(&Key::new(), None);
    let pool: P = harness.open();
    let mut connections = vec![pool.connection().unwrap()];
    for step in [10, 6, 16, 60] {
        harness.advance::<P>(minutes(step));
        connections.push(pool.connection().unwrap());
    }
    for connection in &mut connections {
        let session = P::session(connection).unwrap();
        assert_eq!((&*session.user, &*session.tls), (harness.user, "TLSv1.3"));
    }
    harness.assert_accepted::<P>(5);
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
    harness.assert_accepted::<P>(5);
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
    let error = chain(&error).to_string();
    assert!(error.contains("no route to the source"), "{error}");

    harness.hand_out(&Key::new(), None);
    connections.push(pool.connection().unwrap());
    for connection in &mut connections {
        P::session(connection).unwrap();
    }
}

fn revoked_credentials_cost_one_rejection<P: Pool>() {
    one_rejection_of_revoked_credentials::<P>(&Harness::of::<P>());
}

fn one_rejection_of_revoked_credentials<P: Pool>(harness: &Harness) {
    let revoked = Key::new();
    harness.hand_out(&revoked, None);
    let pool: P = harness.open();
    let _old = pool.connection().unwrap();

    revoked.revoke();
    harness.hand_out(&Key::new(), None);
    let _new = [(); 2].map(|()| pool.connection().unwrap());
    assert_eq!(
        harness.received(),
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
    assert_eq!(harness.received(), ["accepted"; SIZE]);
}

fn at_once<P: Pool, const N: usize>(pool: &P) -> [P::Connection; N] {
    thread::scope(|scope| {
        let threads = [(); N].map(|()| scope.spawn(|| pool.connection().unwrap()));
        threads.map(|thread| thread.join().unwrap())
    })
}

fn a_server_with_amazons_public_chain_is_verified_too<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let pool = P::open(harness.target_at(P::ENGINE.public_server())).unwrap();
    let session = P::session(&mut pool.connection().unwrap()).unwrap();
    assert_eq!((&*session.user, &*session.tls), (P::USER, "TLSv1.3"));
}

fn no_token_is_sent_without_tls<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let server = P::ENGINE.server_without_tls();
    let pool = P::open(harness.target_at(server));
    let error = pool.and_then(|pool| pool.connection()).err().unwrap();
    let error = chain(&error).to_string();
    let reasons = ["TLS", "SSL", "secure connection"];
    assert!(reasons.iter().any(|it| error.contains(it)), "{error}");
    assert_eq!(harness.servers.received(server, P::USER), [""; 0]);
}

fn no_token_is_sent_to_a_server_whose_certificate_cannot_be_verified<P: Pool>() {
    let harness = Harness::of::<P>();
    harness.hand_out(&Key::new(), None);
    let mut of_another_ca = harness.target();
    of_another_ca.ca = Some(harness.servers.other_ca());
    let mut of_another_name = harness.target();
    of_another_name.host = harness.servers.unverified_host();
    let mut of_no_built_in_root = harness.target();
    of_no_built_in_root.ca = None;
    for target in [of_another_ca, of_another_name, of_no_built_in_root] {
        let connection = P::open(target).and_then(|pool| pool.connection());
        let error = connection.err().expect("no verified server");
        let error = chain(&error).to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    assert_eq!(harness.received(), [""; 0]);
}
