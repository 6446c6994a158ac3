//! The rule for rejected logins: `TokenCache::log_in` and the blocking twin follow the same steps.

mod support;

use std::cell::RefCell;
use std::error::Error as _;
use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};

use rds_iam::{CredentialsError, Error, LogInError, Token, TokenCache, rejection};
use support::clock::Clock;
use support::provider::ScriptedProvider;
use support::tokens::{jane, key, keys};

/// A driver's error.
#[derive(Debug, PartialEq)]
enum DriverError {
    Rejected(usize),
    Unreachable,
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for DriverError {}

fn is_rejection(error: &DriverError) -> bool {
    matches!(error, DriverError::Rejected(_))
}

/// A cache over credentials `key 1`, `key 2` and so on, one for each fetch. After `fetches`, the source is down.
fn cache(fetches: usize) -> TokenCache {
    let count = AtomicUsize::new(0);
    let provider = ScriptedProvider::new(move |_| {
        let number = 1 + count.fetch_add(1, Ordering::SeqCst);
        ready(if number <= fetches {
            Ok(keys(&format!("key{number}")))
        } else {
            Err(CredentialsError::provider_error("the source is down"))
        })
    });
    let builder = TokenCache::builder(provider).time_source(Clock::default());
    builder.build().unwrap()
}

type Outcome = Result<&'static str, LogInError<DriverError>>;

/// Logs in both ways with the same answers of the database. Returns each outcome, and the keys of the received tokens.
fn log_in(
    fetches: usize,
    answer: impl Fn(usize) -> Result<&'static str, DriverError>,
) -> [(Outcome, Vec<String>); 2] {
    let received = RefCell::new(Vec::new());
    let connect = |token: Token| {
        let mut received = received.borrow_mut();
        received.push(key(&token).to_owned());
        answer(received.len())
    };
    let blocking = cache(fetches).blocking_log_in(&jane(), connect, is_rejection);
    let blocking = (blocking, received.take());
    let cache = cache(fetches);
    let login = jane();
    let connect = async |token| connect(token);
    let outcome = pollster::block_on(cache.log_in(&login, connect, is_rejection));
    [blocking, (outcome, received.take())]
}

#[test]
fn an_accepted_login_takes_one_token() {
    for (outcome, received) in log_in(2, |_| Ok("connection")) {
        assert_eq!(outcome.unwrap(), "connection");
        assert_eq!(received, ["key1"]);
    }
}

#[test]
fn a_rejected_login_is_tried_once_more_with_newly_fetched_credentials() {
    let reject_first = |login| match login {
        1 => Err(DriverError::Rejected(login)),
        _ => Ok("connection"),
    };
    for (outcome, received) in log_in(2, reject_first) {
        assert_eq!(outcome.unwrap(), "connection");
        assert_eq!(received, ["key1", "key2"]);
    }
}

#[test]
fn a_second_rejection_is_returned() {
    for (outcome, received) in log_in(3, |login| Err(DriverError::Rejected(login))) {
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), "the connection to the database failed");
        let source = error.source().unwrap().downcast_ref::<DriverError>();
        assert_eq!(source, Some(&DriverError::Rejected(2)));
        assert_eq!(received, ["key1", "key2"]);
    }
}

#[test]
fn another_error_of_the_driver_is_returned_without_a_second_try() {
    for (outcome, received) in log_in(2, |_| Err(DriverError::Unreachable)) {
        let error = outcome.unwrap_err();
        assert!(matches!(
            error,
            LogInError::Connect(DriverError::Unreachable)
        ));
        assert_eq!(received, ["key1"]);
    }
}

#[test]
fn if_the_source_is_down_after_a_rejection_the_second_token_has_the_cached_credentials() {
    for (outcome, received) in log_in(1, |login| Err(DriverError::Rejected(login))) {
        outcome.unwrap_err();
        assert_eq!(received, ["key1", "key1"]);
    }
}

#[test]
fn without_a_token_nothing_connects_and_the_error_is_the_caches() {
    for (outcome, received) in log_in(0, |_| Ok("connection")) {
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), "no token to log in with");
        let source = error.source().unwrap().downcast_ref::<Error>().unwrap();
        assert!(
            matches!(source, Error::CredentialsFailed { .. }),
            "{source}"
        );
        assert_eq!(received, [""; 0]);
    }
}

#[test]
fn the_sqlstates_of_a_rejection_are_28000_and_28p01() {
    let rejections = ["28000", "28P01", "28P02", "3D000", "08006", ""];
    assert_eq!(
        rejections.map(rejection::is_sqlstate),
        [true, true, false, false, false, false]
    );
    assert_eq!(rejection::ER_ACCESS_DENIED_ERROR, 1045);
}

#[test]
fn a_rejection_of_postgresql_has_an_sqlstate_and_a_rejection_of_dsql_a_message() {
    for (sqlstate, message, is_rejection) in [
        ("28000", "PAM authentication failed for user \"app\"", true),
        (
            "28P01",
            "password authentication failed for user \"app\"",
            true,
        ),
        ("08006", "unable to accept connection, access denied", true),
        ("28000", "unable to accept connection, access denied", true),
        ("08006", "IAM authentication failed for user \"app\"", true),
        (
            "08006",
            "unable to accept connection, sni was not received",
            false,
        ),
        (
            "53400",
            "Unable to accept connection, rate exceeded.",
            false,
        ),
        ("3D000", "database \"app\" does not exist", false),
    ] {
        let outcome = rejection::is_postgres_rejection(sqlstate, message);
        assert_eq!(outcome, is_rejection, "{sqlstate} {message}");
    }
}
