//! What callers and logs are told.

use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_credential_types::provider::error::CredentialsError;
use rds_iam::Error;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::stage::*;

// Errors

/// A cause of the provider's own. Its `Debug` shows a secret, as that of an HTTP response may.
#[derive(Debug, thiserror::Error)]
#[error("no route to host")]
struct Cause {
    _body: &'static str,
}

fn failure_with_a_cause() -> CredentialsError {
    CredentialsError::provider_error(Cause { _body: SECRETS[2] })
}

#[test]
fn errors_told_to_many_keep_their_whole_chain() {
    let stage = Stage::new();
    let mut calls = [jane(), joe(), jane(), kim()].map(|login| stage.waiting_call(&login));
    stage.provider.answer(1, failure_with_a_cause());
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
    // It is one failure.
    let causes: Vec<_> = causes.collect();
    assert!(causes.iter().all(|cause| *cause == causes[0]));
}

// Events

/// Keeps all events and spans, each as a line of text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    /// The lines of what is done meanwhile.
    fn of(acts: impl FnOnce()) -> Vec<(Level, String)> {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), acts);
        log.lines()
    }

    fn lines(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, level: Level, record: impl FnOnce(&mut Line)) {
        let mut line = Line::default();
        record(&mut line);
        self.0.lock().unwrap().push((level, line.0));
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.keep(*span.metadata().level(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.keep(Level::TRACE, |line| values.record(line));
    }

    fn event(&self, event: &Event<'_>) {
        self.keep(*event.metadata().level(), |line| event.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

#[test]
fn a_fetch_is_told() {
    let stage = Stage::new();
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || drop(stage.waiting_call(&jane())));
    let count_at_begin = log.lines().len();
    assert_ne!(count_at_begin, 0);
    // The end is told to the subscriber of the caller that started it, wherever the fetch ends.
    thread::scope(|scope| {
        scope
            .spawn(|| stage.provider.answer(1, keys("akid")))
            .join()
    })
    .unwrap();
    assert!(log.lines().len() > count_at_begin);
    let hit = Log::of(|| drop(stage.token(&jane())));
    assert!(hit.is_empty(), "{hit:?}");
}

#[test]
fn a_failure_is_told_with_its_cause_and_how_long_the_current_token_still_serves() {
    for left in [37, 41] {
        let (stage, _) = Stage::with_a_usable_token(s(left));
        stage.provider.answer(2, failure_with_a_cause());
        let log = Log::of(|| drop(stage.token(&jane())));
        let is_told = |(level, line): &(Level, String)| {
            *level <= Level::WARN
                && line.contains(&left.to_string())
                && line.contains("no route to host")
        };
        assert!(log.iter().any(is_told), "{log:?}");
    }
}

#[test]
fn a_failure_without_a_token_is_told_with_its_cause() {
    let stage = Stage::new();
    stage.provider.answer(1, failure_with_a_cause());
    let log = Log::of(|| drop(stage.error(&jane())));
    let is_told = |(_, line): &(Level, String)| line.contains("no route to host");
    assert!(log.iter().any(is_told), "{log:?}");
}

#[test]
fn a_refusal_is_told() {
    let (stage, token) = Stage::after_a_fetch_of(keys("akid"));
    let log = Log::of(|| stage.cache.invalidate(&jane(), &token));
    assert!(!log.is_empty());
}

#[test]
fn no_event_holds_a_secret() {
    let stage = Stage::new();
    let mut signatures = Vec::new();
    let log = Log::of(|| {
        stage.provider.answer(1, failure_with_a_cause());
        stage.error(&jane());
        stage.provider.answer(2, marked_keys_until(s(500)));
        let token = stage.token(&jane());
        stage.at(s(450));
        stage.provider.answer(3, failure_with_a_cause());
        stage.token(&jane());
        stage.at(s(455));
        stage.cache.invalidate(&jane(), &token);
        stage.provider.answer(4, Answer::Panic);
        let renewed = stage.token(&jane());
        stage.at(s(460));
        stage.provider.answer(5, marked_keys_until(s(460)));
        stage.token(&jane());
        stage.at(s(490));
        let mut call = stage.waiting_call(&joe());
        stage.sleeps.end_all();
        signatures = [token, renewed, call.token()]
            .map(|token| signature(&token).to_owned())
            .into();
    });
    assert_eq!(stage.provider.calls(), 6);
    for (_, line) in &log {
        let mut secrets = SECRETS
            .into_iter()
            .chain(signatures.iter().map(String::as_str));
        assert!(!secrets.any(|secret| line.contains(secret)), "{line}");
    }
}
