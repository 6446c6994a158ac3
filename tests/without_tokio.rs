//! The crate in a build without tokio's runtime: `cargo test --no-default-features --test without_tokio`. The fetches
//! run on threads all the same.
#![cfg(not(feature = "rt-tokio"))]

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use aws_credential_types::provider::future;
use rds_iam::{
    Credentials, Error, Login, ProvideCredentials, SharedCredentialsProvider, TokenCache,
};

fn login() -> Login {
    Login::new("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 5432, "app").unwrap()
}

/// Blocks its thread until the test hands it an answer.
#[derive(Debug)]
struct Blocking(Mutex<Receiver<Credentials>>);

impl ProvideCredentials for Blocking {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let credentials = self.0.lock().unwrap().recv().unwrap();
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

#[test]
fn a_fetch_has_a_thread_and_its_callers_only_wait() {
    let (answer, asked) = mpsc::channel();
    let provider = SharedCredentialsProvider::new(Blocking(Mutex::new(asked)));
    let cache = TokenCache::builder(provider.clone()).build().unwrap();
    let login = login();
    let mut token = Box::pin(cache.token(&login));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(token.as_mut().poll(&mut context).is_pending());
    // The caller is dropped, and the fetch goes on.
    drop(token);
    answer
        .send(Credentials::new("akid", "secret", None, None, "test"))
        .unwrap();
    let token = pollster::block_on(cache.token(&login)).unwrap();
    assert!(token.as_str().contains("X-Amz-Credential=akid"));
    assert!(
        answer
            .send(Credentials::new("other", "", None, None, "test"))
            .is_ok()
    );
}

/// As most providers do that ask a server.
#[derive(Debug)]
struct NeedsTokio;

impl ProvideCredentials for NeedsTokio {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            tokio::time::sleep(Duration::from_nanos(1)).await;
            Ok(Credentials::new("akid", "secret", None, None, "test"))
        })
    }
}

#[test]
fn a_provider_that_needs_tokio_is_an_error_that_names_the_feature() {
    let cache = TokenCache::builder(NeedsTokio).build().unwrap();
    let error = pollster::block_on(cache.token(&login())).unwrap_err();
    assert!(matches!(error, Error::TokioRequired), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("`rt-tokio`") && said.contains("spawn_with"),
        "{said}"
    );
}

/// Tokio's, which panics without a runtime.
#[derive(Debug)]
struct TokioSleep;

impl rds_iam::AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> rds_iam::Sleep {
        rds_iam::Sleep::new(tokio::time::sleep(duration))
    }
}

#[test]
fn a_sleep_that_needs_tokio_is_the_same_error_and_the_provider_is_not_called() {
    let (_answer, asked) = mpsc::channel();
    let cache = TokenCache::builder(Blocking(Mutex::new(asked)))
        .sleep_impl(TokioSleep)
        .build()
        .unwrap();
    for _ in 0..10 {
        let error = pollster::block_on(cache.token(&login())).unwrap_err();
        assert!(matches!(error, Error::TokioRequired), "{error}");
    }
}

#[test]
fn an_embedders_runtime_runs_a_provider_that_needs_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let cache = TokenCache::builder(NeedsTokio)
        .sleep_impl(TokioSleep)
        .spawn_with(move |fetch| drop(handle.spawn(fetch)))
        .build()
        .unwrap();
    let token = thread::spawn(move || pollster::block_on(cache.token(&login())));
    assert!(token.join().unwrap().is_ok());
}
