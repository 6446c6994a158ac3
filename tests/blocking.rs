//! Tokens for code without async: `TokenCache::blocking_token` and `blocking::token`. Calls from the threads of
//! runtimes are in `threads.rs`.

mod support;

use std::error::Error as _;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::SystemTime;

use futures_util::FutureExt;
use rds_iam::{CredentialsError, Error, Login, TimeSource, TokenCache, blocking};
use support::alone::alone;
#[cfg(unix)]
use support::alone::in_forked_child;
use support::aws::{Keys, StandIn};
use support::clock::{Clock, at, far_future, s};
use support::provider::ScriptedProvider;
use support::runtime::current_thread_runtime;
use support::tokens::{HOST, assert_same, jane, joe, key, keys, keys_until};

fn provider() -> ScriptedProvider {
    ScriptedProvider::new(|_| ready(Ok(keys("akid"))))
}

#[track_caller]
fn assert_token(cache: &TokenCache, login: &Login) {
    assert_eq!(key(&cache.blocking_token(login).unwrap()), "akid");
}

#[test]
fn a_cache_hit_of_blocking_token_costs_no_provider_call_and_no_thread() {
    /// Records the thread of each read.
    #[derive(Clone, Debug, Default)]
    struct RecordingClock(Arc<Mutex<Vec<ThreadId>>>);

    impl TimeSource for RecordingClock {
        fn now(&self) -> SystemTime {
            self.0.lock().unwrap().push(thread::current().id());
            at(s(0))
        }
    }

    let clock = RecordingClock::default();
    let provider = ScriptedProvider::needs_tokio();
    let cache = TokenCache::builder(provider.clone())
        .time_source(clock.clone())
        .build()
        .unwrap();
    let me = thread::current().id();
    let readers = || std::mem::take(&mut *clock.0.lock().unwrap());

    let first = cache.blocking_token(&jane()).unwrap();
    assert!(readers().iter().any(|reader| *reader != me));
    let second = cache.blocking_token(&jane()).unwrap();
    assert_eq!(readers(), [me]);
    assert_eq!(second.as_str(), first.as_str());
    assert_eq!(provider.calls(), 1);
}

#[test]
fn blocking_token_and_token_share_the_cached_token() {
    let provider = ScriptedProvider::needs_tokio();
    let cache = provider.cache();
    let of_async = current_thread_runtime().block_on(cache.token(&jane()));
    let of_blocking = cache.blocking_token(&jane());
    assert_same(&of_blocking.unwrap(), &of_async.unwrap());
    assert_eq!(provider.calls(), 1);
}

// Failures

#[test]
fn blocking_token_returns_a_failure_of_the_provider_with_its_causes() {
    let provider = ScriptedProvider::new(|_| {
        ready(Err(CredentialsError::provider_error("the vault is sealed")))
    });
    let error = provider.cache().blocking_token(&jane()).unwrap_err();
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<CredentialsError>());
    let cause = source.and_then(|source| source.source()).unwrap();
    assert_eq!(cause.to_string(), "the vault is sealed");
}

#[test]
fn blocking_token_returns_an_error_if_the_provider_panics_and_the_next_call_tries_again() {
    let provider = ScriptedProvider::new(|call| async move {
        assert_ne!(call, 1, "the vault is on fire");
        Ok(keys("akid"))
    });
    let cache = provider.cache();
    cache.blocking_token(&jane()).unwrap_err();
    assert_token(&cache, &jane());
}

#[test]
#[should_panic(expected = "the clock is broken")]
fn blocking_token_panics_if_the_clock_panics() {
    #[derive(Debug)]
    struct BrokenClock;

    impl TimeSource for BrokenClock {
        fn now(&self) -> SystemTime {
            panic!("the clock is broken")
        }
    }

    let cache = TokenCache::builder(provider())
        .time_source(BrokenClock)
        .build()
        .unwrap();
    let _ = cache.blocking_token(&jane());
}

#[test]
fn blocking_token_fails_while_no_file_can_be_opened_for_a_runtime() {
    alone(&[], |home| {
        let cache = provider().cache();
        let files = home.open_all_files();
        let error = cache.blocking_token(&jane()).unwrap_err();
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        drop(files);
        assert_token(&cache, &jane());
    });
}

/// A forked child starts without a runtime. So each fetch fails.
#[cfg(unix)]
#[test]
fn a_valid_token_and_valid_credentials_serve_while_no_file_can_be_opened_for_a_runtime() {
    alone(&[], |home| {
        let clock = Clock::default();
        let provider = ScriptedProvider::new(|_| ready(Ok(keys_until("akid", s(900)))));
        let cache = TokenCache::builder(provider.clone())
            .time_source(clock.clone())
            .build()
            .unwrap();
        let token = cache.blocking_token(&jane()).unwrap();
        clock.advance(s(850));
        let in_child = || {
            let _files = home.open_all_files();
            let same = cache.blocking_token(&jane()).unwrap();
            assert_eq!(same.as_str(), token.as_str());
            assert_token(&cache, &joe());
            assert_eq!(provider.calls(), 1);
        };
        in_forked_child(in_child, || ());
    });
}

// The process-wide cache

#[test]
fn blocking_entry_point_signs_with_the_keys_of_the_environment() {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "key-of-the-environment"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment"),
    ];
    alone(&environment, |_| {
        let token = blocking::token(HOST, 5432, "app").unwrap();
        assert!(token.as_str().starts_with(&format!("{HOST}:5432/?")));
        assert_eq!(key(&token), "key-of-the-environment");
        let again = blocking::token(&HOST.to_uppercase(), 5432, "app").unwrap();
        assert_eq!(again.as_str(), token.as_str());
    });
}

#[test]
fn blocking_entry_point_joins_a_fetch_that_was_started_on_the_runtime_that_it_blocks() {
    alone(&[], |home| {
        let imds = StandIn::imds("eu-west-1");
        imds.hand_out(Some(&Keys {
            access_key_id: "key-of-the-instance".to_owned(),
            secret_access_key: "secret-of-the-instance".to_owned(),
            session_token: Some("session-of-the-instance".to_owned()),
            expires_at: far_future(),
        }));
        home.configure(&format!("ec2_metadata_service_endpoint = {}", imds.url()));
        current_thread_runtime().block_on(async {
            let mut of_async = pin!(rds_iam::token(HOST, 5432, "app"));
            assert!(of_async.as_mut().now_or_never().is_none());
            let token = blocking::token(HOST, 5432, "app").unwrap();
            assert_eq!(key(&token), "key-of-the-instance");
            of_async.await.unwrap();
        });
        let fetch = [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/app",
        ];
        assert_eq!(imds.request_lines(), fetch);
    });
}
