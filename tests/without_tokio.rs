//! Fetches without the feature `rt-tokio` (rule 8): `cargo test --no-default-features --test without_tokio`.
#![cfg(not(feature = "rt-tokio"))]

mod support;

use std::future::ready;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use pollster::block_on;
use rds_iam::{AsyncSleep, Credentials, Error, Sleep, TokenCache};
use support::harness::Call;
use support::provider::ScriptedProvider;
use support::runtime::runtime_of;
use support::tokens::{jane, key, keys};

/// Blocks its thread until the test sends an answer.
fn blocking(answers: Receiver<Credentials>) -> ScriptedProvider {
    let answers = Mutex::new(answers);
    ScriptedProvider::new(move |_| ready(Ok(answers.lock().unwrap().recv().unwrap())))
}

#[test]
fn a_fetch_runs_on_a_thread_of_its_own_and_goes_on_if_its_caller_is_dropped() {
    let (answer, answers) = mpsc::channel();
    let cache = blocking(answers).cache();
    Call::of(&cache, &jane()).assert_pending();
    answer.send(keys("akid")).unwrap();
    let token = block_on(cache.token(&jane())).unwrap();
    assert_eq!(key(&token), "akid");
    assert!(answer.send(keys("other")).is_ok());
}

#[test]
fn a_provider_that_needs_tokio_is_an_error_that_names_the_feature() {
    let cache = ScriptedProvider::needs_tokio().cache();
    let error = block_on(cache.token(&jane())).unwrap_err();
    assert!(matches!(error, Error::TokioRequired), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("`rt-tokio`") && said.contains("spawn_with"),
        "{said}"
    );
}

/// Panics outside of a tokio runtime.
#[derive(Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

#[test]
fn a_sleep_that_needs_tokio_is_an_error_and_the_provider_is_not_called() {
    let (_answer, answers) = mpsc::channel();
    let provider = blocking(answers);
    let cache = TokenCache::builder(provider.clone())
        .sleep_impl(TokioSleep)
        .build()
        .unwrap();
    for _ in 0..10 {
        let error = block_on(cache.token(&jane())).unwrap_err();
        assert!(matches!(error, Error::TokioRequired), "{error}");
    }
    assert_eq!(provider.calls(), 0);
}

#[test]
fn spawn_with_runs_a_provider_that_needs_tokio_on_a_runtime_of_the_embedder() {
    let runtime = runtime_of(1);
    let handle = runtime.handle().clone();
    let cache = TokenCache::builder(ScriptedProvider::needs_tokio())
        .sleep_impl(TokioSleep)
        .spawn_with(move |fetch| drop(handle.spawn(fetch)))
        .build()
        .unwrap();
    let token = thread::spawn(move || block_on(cache.token(&jane())));
    assert!(token.join().unwrap().is_ok());
}
