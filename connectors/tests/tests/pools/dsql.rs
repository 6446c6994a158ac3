//! The connectors at the server that behaves like Aurora DSQL.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use ::diesel_async::pooled_connection::deadpool as diesel_deadpool;
use rds_iam_sqlx::postgres as sqlx_postgres;
use rds_iam_tokio_postgres as pg;
use rustls::server::Acceptor;
use sqlx::postgres::{PgDatabaseError, PgPoolOptions};

use crate::harness::{Harness, Key, minutes};
use crate::pools::*;
use crate::servers::{DSQL, Engine};
use crate::{new_connections_log_in_and_old_ones_still_work, one_rejection_of_revoked_credentials};

macro_rules! for_each_postgres_connector {
    ($($sentence:ident)*) => { $(
        mod $sentence {
            use crate::pools::*;

            crate::of_each_postgres_connector!($sentence);
            crate::of_pool!($sentence, r2d2_postgres, R2d2Postgres);
        }
    )* };
}

for_each_postgres_connector! {
    new_connections_to_a_cluster_log_in_after_tokens_have_expired
    the_admin_of_a_cluster_logs_in_after_tokens_have_expired
    credentials_revoked_for_a_cluster_cost_one_rejection
    a_rejected_user_of_a_cluster_leaves_the_pool_of_another_user_alone
    a_cluster_that_rejects_two_tokens_is_an_error_that_says_so
}

fn new_connections_to_a_cluster_log_in_after_tokens_have_expired<P: Pool>() {
    new_connections_log_in_and_old_ones_still_work::<P>(&Harness::at(DSQL, P::USER));
}

fn the_admin_of_a_cluster_logs_in_after_tokens_have_expired<P: Pool>() {
    new_connections_log_in_and_old_ones_still_work::<P>(&Harness::at(DSQL, "admin"));
}

fn credentials_revoked_for_a_cluster_cost_one_rejection<P: Pool>() {
    one_rejection_of_revoked_credentials::<P>(&Harness::at(DSQL, P::USER));
}

/// Both users have the same token. The cluster's clock is ahead for one of them.
fn a_rejected_user_of_a_cluster_leaves_the_pool_of_another_user_alone<P: Pool>() {
    let harness = Harness::at(DSQL, P::USER);
    let other = Harness::at(DSQL, "pool_9");
    harness.hand_out(&Key::new(), Some(minutes(600)));
    let pool: P = harness.open();
    let mut target = harness.target();
    target.user = other.user;
    let pool_of_other = P::open(target).unwrap();
    let _connections = [
        pool.connection().unwrap(),
        pool_of_other.connection().unwrap(),
    ];
    let token = |user| harness.token(user);
    assert_eq!(token(harness.user).as_str(), token(other.user).as_str());

    harness.servers.move_clock(harness.user, 3600);
    let error = pool.connection().err().unwrap();
    assert!(chain(&error).to_string().contains("access denied"));
    let _connection = pool_of_other.connection().unwrap();
    let received = other.received();
    assert!(received.iter().all(|it| it == "accepted"), "{received:?}");
    let rejected = harness.received().contains(&"expired".to_owned());
    assert!(rejected);
}

fn a_cluster_that_rejects_two_tokens_is_an_error_that_says_so<P: Pool>() {
    let harness = Harness::at(DSQL, P::USER);
    let unknown = Key::new();
    unknown.revoke();
    harness.hand_out(&unknown, None);
    let pool = P::open(harness.target());
    let error = pool.and_then(|pool| pool.connection()).err().unwrap();
    let shown = chain(&error).to_string();
    assert!(shown.contains("access denied"), "{shown}");
    // The text of sqlx's errors has no hint.
    let sqlx = error.chain().find_map(|cause| cause.downcast_ref());
    let hint = match sqlx {
        Some(sqlx::Error::Database(error)) => {
            let error = error.try_downcast_ref::<PgDatabaseError>();
            error.and_then(PgDatabaseError::hint).unwrap().to_owned()
        }
        _ => shown,
    };
    assert!(hint.contains("the verifier's reason"), "{hint}");
    // The pool of r2d2 tries again until its timeout.
    let received = harness.received();
    assert!(received.len() >= 2, "{received:?}");
    assert!(received.iter().all(|it| it == "unknown access key"));
}

// The host's name

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn the_name_of_a_private_link_logs_in_too() {
    let harness = Harness::at(DSQL, "pool_9");
    harness.hand_out(&Key::new(), None);
    let mut target = harness.target();
    target.host = harness.servers.dsql_private_link_host();
    let pool = TokioPostgres::open(target).unwrap();
    let session = TokioPostgres::session(&mut pool.connection().unwrap()).unwrap();
    assert_eq!(session.user, "pool_9");
}

/// A cluster finds out by the name in TLS which cluster is meant.
#[test]
fn the_name_of_the_cluster_is_in_the_first_message_of_tls_also_through_a_tunnel() {
    const CLUSTER: &str = "abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws";
    let url = format!("postgres://admin@{CLUSTER}/postgres");
    let _runtime = runtime().enter();

    let (address, server_name) = name_in_tls();
    let options = sqlx_postgres::options(&url).unwrap().dial(&address);
    let options = options.cache(cache());
    let pool = sqlx_postgres::connect_with(options, PgPoolOptions::new());
    runtime().block_on(pool).unwrap_err();
    assert_eq!(server_name.join().unwrap().as_deref(), Some(CLUSTER));

    let (address, server_name) = name_in_tls();
    let options = pg::options(&url).unwrap().dial(&address).cache(cache());
    runtime()
        .block_on(pg::connect_with(options))
        .map(drop)
        .unwrap_err();
    assert_eq!(server_name.join().unwrap().as_deref(), Some(CLUSTER));
}

fn cache() -> rds_iam::TokenCache {
    let credentials = rds_iam::Credentials::new("akid", "secret", None, None, "test");
    rds_iam::TokenCache::builder(credentials).build().unwrap()
}

/// Starts a server that reads the first message of TLS. Returns the server's address, and the name that the client gives.
fn name_in_tls() -> (String, thread::JoinHandle<Option<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let bound = Some(Duration::from_secs(60));
        stream.set_read_timeout(bound).unwrap();
        let mut ssl_request = [0; 8];
        stream.read_exact(&mut ssl_request).unwrap();
        stream.write_all(b"S").unwrap();
        let mut acceptor = Acceptor::default();
        loop {
            acceptor.read_tls(&mut stream).unwrap();
            if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
                return accepted.client_hello().server_name().map(str::to_owned);
            }
        }
    });
    (address, server)
}

#[test]
fn mysql_connectors_say_that_dsql_speaks_postgresql() {
    fn assert_says_so<P: Pool>() {
        let cache = cache();
        let target = Target {
            cache: &cache,
            host: "abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws",
            port: 5432,
            user: "admin",
            database: "postgres",
            ca: None,
        };
        let error = P::open(target).and_then(|pool| pool.connection()).err();
        let error = chain(&error.unwrap()).to_string();
        assert!(error.contains("the protocol of PostgreSQL"), "{error}");
    }
    assert_says_so::<SqlxMySql>();
    assert_says_so::<MySqlAsync>();
    assert_says_so::<DeadpoolMySql>();
}

// The lifetime of connections

#[test]
fn sqlx_replaces_a_connection_after_40_minutes_at_the_latest() {
    let options = PgPoolOptions::new();
    assert_eq!(options.get_max_lifetime(), Some(minutes(30)));
    assert_eq!(options.get_idle_timeout(), Some(minutes(10)));
}

/// A test cannot wait for the real limit of 55 minutes.
#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn pools_of_deadpool_replace_a_connection_to_a_cluster_before_the_cluster_closes_it() {
    for (max_lifetime, logins) in [(Duration::ZERO, 3), (minutes(1), 1)] {
        let harness = Harness::at(DSQL, "pool_9");
        harness.hand_out(&Key::new(), None);
        let url = harness.target().url(Engine::Postgres);
        let options = pg::options(&url).unwrap().cache(harness.cache().clone());
        let options = options.max_lifetime(max_lifetime);
        runtime().block_on(async {
            let builder = deadpool_postgres::Pool::builder;
            let pool = pg::deadpool::connect_with(options.clone(), builder);
            let pool = pool.await.unwrap();
            for _ in 0..2 {
                drop(pool.get().await.unwrap());
            }
            assert_eq!(harness.received().len(), logins);

            let builder = diesel_deadpool::Pool::builder;
            let pool = pg::diesel_async::connect_with(options, builder);
            let pool = pool.await.unwrap();
            for _ in 0..2 {
                drop(pool.get().await.unwrap());
            }
            assert_eq!(harness.received().len(), 2 * logins);
        });
    }
}
