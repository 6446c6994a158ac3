//! The errors of callers, and the logged events.

use std::error::Error as _;
use std::thread;

use rds_iam::{CredentialsError, Error};
use tracing::Level;

use crate::support::harness::*;
use crate::support::log::{Line, Log};

// Errors

/// A cause whose `Debug` shows a secret, as the `Debug` of an HTTP response may.
#[derive(Debug, thiserror::Error)]
#[error("no route to host")]
struct Cause {
    _body: &'static str,
}

fn failure_with_a_cause() -> CredentialsError {
    CredentialsError::provider_error(Cause { _body: SECRETS[2] })
}

#[test]
fn an_error_that_many_callers_get_has_its_whole_chain_of_causes() {
    let harness = Harness::new();
    let mut calls = [jane(), joe(), jane(), kim()].map(|login| harness.pending_call(&login));
    harness.provider.answer(1, failure_with_a_cause());
    run(&mut calls);
    let errors = calls.each_mut().map(Call::error);
    let clones = errors.clone();
    let causes = errors.iter().chain(&clones).map(|error| {
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        let cause = error.source().unwrap();
        let cause = cause.downcast_ref::<CredentialsError>().unwrap();
        assert!(matches!(cause, CredentialsError::ProviderError(_)));
        assert!(cause.source().unwrap().is::<Cause>());
        std::ptr::from_ref(cause)
    });
    // All errors share the cause of one failure.
    let causes: Vec<_> = causes.collect();
    assert!(causes.iter().all(|cause| *cause == causes[0]));
}

// Events

#[test]
fn the_start_and_the_end_of_a_fetch_are_logged() {
    let harness = Harness::new();
    let log = Log::default();
    log.record(|| drop(harness.pending_call(&jane())));
    let count_at_start = log.lines().len();
    assert_ne!(count_at_start, 0);
    // The subscriber of the first caller gets the end too, on whatever thread the fetch ends.
    thread::scope(|scope| {
        scope
            .spawn(|| harness.provider.answer(1, keys("akid")))
            .join()
    })
    .unwrap();
    assert!(log.lines().len() > count_at_start);
    let hit = Log::of(|| drop(harness.token(&jane())));
    assert!(hit.is_empty(), "{hit:?}");
}

#[test]
fn a_failure_is_logged_with_its_cause_and_the_seconds_that_the_token_is_still_valid() {
    for left in [37, 41] {
        let (harness, _) = Harness::with_a_valid_token(s(left));
        harness.provider.answer(2, failure_with_a_cause());
        let log = Log::of(|| drop(harness.token(&jane())));
        let is_expected = |line: &Line| {
            line.level <= Level::WARN
                && line.text.contains(&left.to_string())
                && line.text.contains("no route to host")
        };
        assert!(log.iter().any(is_expected), "{log:?}");
    }
}

#[test]
fn a_failure_without_a_valid_token_is_logged_with_its_cause() {
    let harness = Harness::new();
    harness.provider.answer(1, failure_with_a_cause());
    let log = Log::of(|| drop(harness.error(&jane())));
    let has_cause = |line: &Line| line.text.contains("no route to host");
    assert!(log.iter().any(has_cause), "{log:?}");
}

#[test]
fn a_rejection_is_logged() {
    let (harness, token) = Harness::after_a_fetch_of(keys("akid"));
    let log = Log::of(|| harness.cache.invalidate(&jane(), &token));
    assert!(!log.is_empty());
}

#[test]
fn no_event_has_a_secret() {
    let harness = Harness::new();
    let mut signatures = Vec::new();
    let log = Log::of(|| {
        harness.provider.answer(1, failure_with_a_cause());
        harness.error(&jane());
        harness.provider.answer(2, marked_keys(Some(at(s(500)))));
        let token = harness.token(&jane());
        harness.set_clock(s(450));
        harness.provider.answer(3, failure_with_a_cause());
        harness.token(&jane());
        harness.set_clock(s(455));
        harness.cache.invalidate(&jane(), &token);
        harness.provider.answer(4, Answer::Panic);
        let refreshed = harness.token(&jane());
        harness.set_clock(s(460));
        harness.provider.answer(5, marked_keys(Some(at(s(460)))));
        harness.token(&jane());
        harness.set_clock(s(490));
        let mut call = harness.pending_call(&joe());
        harness.sleeps.end_all();
        signatures = [token, refreshed, call.token()]
            .map(|token| signature(&token).to_owned())
            .into();
    });
    assert_eq!(harness.provider.calls(), 6);
    for Line { text, .. } in &log {
        let mut secrets = SECRETS
            .into_iter()
            .chain(signatures.iter().map(String::as_str));
        assert!(!secrets.any(|secret| text.contains(secret)), "{text}");
    }
}
