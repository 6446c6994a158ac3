//! Tokens for code without async: `TokenCache::blocking_token`, called where no runtime runs and where one does, and
//! `blocking::token`.

mod aws;

use std::error::Error as _;
use std::fmt;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(unix)]
use aws::in_forked_child;
use aws::{Keys, StandIn, alone, parameter};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, future};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::{
    Credentials, Error, Login, ProvideCredentials, TimeSource, Token, TokenCache, blocking,
};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

const HOST: &str = "mydb.abcdefghijkl.eu-west-1.rds.amazonaws.com";

/// A provider that answers each call as the test says for its number, from 1 on.
#[derive(Clone)]
struct Provider {
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

type Answer = BoxFuture<'static, provider::Result>;

impl Provider {
    fn new(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Provider {
        Provider {
            answer: Arc::new(answer),
            calls: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        future::ProvideCredentials::new((self.answer)(call))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

fn credentials() -> Credentials {
    Credentials::new("key-of-the-test", "secret-of-the-test", None, None, "test")
}

fn at_once() -> Answer {
    ready(Ok(credentials())).boxed()
}

/// Panics without a tokio runtime, and hangs if the runtime that it began on is blocked.
fn by_tokio_s_timer() -> Answer {
    async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(credentials())
    }
    .boxed()
}

fn when_polled_again() -> Answer {
    let mut has_been_polled = false;
    poll_fn(
        move |cx| match std::mem::replace(&mut has_been_polled, true) {
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            true => Poll::Ready(Ok(credentials())),
        },
    )
    .boxed()
}

fn failure(words: &'static str) -> Answer {
    ready(Err(CredentialsError::provider_error(words))).boxed()
}

fn cache(provider: &Provider) -> TokenCache {
    TokenCache::builder(provider.clone())
        .build()
        .expect("a cache")
}

fn login() -> Login {
    Login::new(HOST, 5432, "app").expect("a valid login")
}

fn current_thread_runtime() -> Runtime {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn runtime_of(workers: usize) -> Runtime {
    runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The key that a token is signed with.
fn key_of(token: &Token) -> String {
    let credential = parameter(token.as_str(), "X-Amz-Credential").expect("a token's credential");
    let (key, _) = credential.split_once('/').expect("a key and its scope");
    key.to_owned()
}

#[track_caller]
fn assert_token(cache: &TokenCache) {
    assert_token_of(cache, &login());
}

#[track_caller]
fn assert_token_of(cache: &TokenCache, login: &Login) {
    let token = cache.blocking_token(login).expect("a token");
    assert_eq!(key_of(&token), "key-of-the-test");
}

// Where no runtime runs.

#[test]
fn without_a_runtime_it_asks_a_provider_that_needs_one() {
    assert_token(&cache(&Provider::new(|_| by_tokio_s_timer())));
}

#[test]
fn without_a_runtime_it_asks_a_provider_that_needs_none() {
    assert_token(&cache(&Provider::new(|_| at_once())));
}

#[test]
fn a_hit_costs_no_call_and_no_thread() {
    /// Knows who has looked at it.
    #[derive(Clone, Debug, Default)]
    struct Clock(Arc<Mutex<Vec<ThreadId>>>);

    impl TimeSource for Clock {
        fn now(&self) -> SystemTime {
            let mut readers = self.0.lock().expect("a list of readers");
            readers.push(thread::current().id());
            UNIX_EPOCH + Duration::from_secs(1_000_000_000)
        }
    }

    let (provider, clock) = (Provider::new(|_| by_tokio_s_timer()), Clock::default());
    let cache = TokenCache::builder(provider.clone())
        .time_source(clock.clone())
        .build()
        .expect("a cache");
    let me = thread::current().id();
    let readers = || std::mem::take(&mut *clock.0.lock().expect("a list of readers"));

    let first = cache.blocking_token(&login()).expect("a token");
    assert!(readers().iter().any(|reader| *reader != me));
    let second = cache.blocking_token(&login()).expect("a token");
    assert_eq!(readers(), [me]);
    assert_eq!(second.as_str(), first.as_str());
    assert_eq!(provider.calls(), 1);
}

// Where a runtime runs. What may deadlock has a process of its own, which ends all the same.

#[test]
fn a_task_of_a_current_thread_runtime_may_call_it() {
    alone(&[], |_| {
        let cache = cache(&Provider::new(|_| by_tokio_s_timer()));
        current_thread_runtime().block_on(async { assert_token(&cache) });
    });
}

#[test]
fn a_task_of_a_runtime_of_several_threads_may_call_it() {
    alone(&[], |_| {
        let cache = cache(&Provider::new(|_| by_tokio_s_timer()));
        let runtime = runtime_of(2);
        let task = runtime.spawn(async move { assert_token(&cache) });
        runtime.block_on(task).expect("a task that does not panic");
    });
}

#[test]
fn a_thread_for_blocking_work_may_call_it() {
    alone(&[], |_| {
        for runtime in [current_thread_runtime(), runtime_of(1), runtime_of(2)] {
            let cache = cache(&Provider::new(|_| by_tokio_s_timer()));
            let work = runtime.spawn_blocking(move || assert_token(&cache));
            runtime.block_on(work).expect("work that does not panic");
        }
    });
}

#[test]
fn a_fetch_of_the_runtime_that_it_keeps_from_running_does_not_hold_it_up() {
    alone(&[], |_| {
        for runtime in [current_thread_runtime(), runtime_of(1)] {
            let cache = cache(&Provider::new(|_| by_tokio_s_timer()));
            let task = runtime.spawn(async move {
                let login = login();
                let mut fetch = pin!(cache.token(&login));
                let _ = fetch.as_mut().now_or_never();
                assert_token(&cache);
                fetch.await.expect("a token");
            });
            runtime.block_on(task).expect("a task that does not panic");
        }
    });
}

#[test]
fn a_fetch_that_the_runtime_has_only_moved_on_does_not_hold_it_up() {
    let on_the_second_runtime = || {
        async {
            tokio::task::yield_now().await;
            by_tokio_s_timer().await
        }
        .boxed()
    };
    alone(&[], |_| {
        let cache = cache(&Provider::new(move |_| on_the_second_runtime()));
        let login = login();
        let mut begun = pin!(cache.token(&login));
        let _ = begun.as_mut().now_or_never();
        current_thread_runtime().block_on(async {
            let mut moved_on = pin!(cache.token(&login));
            let _ = moved_on.as_mut().now_or_never();
            assert_token(&cache);
            moved_on.await.expect("a token");
        });
    });
}

#[test]
fn a_fetch_of_a_runtime_whose_threads_all_call_it_does_not_hold_them_up() {
    alone(&[], |_| {
        let runtime = runtime_of(2);
        let cache = cache(&Provider::new(|_| by_tokio_s_timer()));
        let both_run = Arc::new(Barrier::new(2));
        let tasks = [(); 2].map(|()| {
            let (cache, both_run) = (cache.clone(), both_run.clone());
            runtime.spawn(async move {
                let login = login();
                let mut fetch = pin!(cache.token(&login));
                if both_run.wait().is_leader() {
                    let _ = fetch.as_mut().now_or_never();
                }
                // From now on neither of the two threads looks after the timer.
                both_run.wait();
                assert_token(&cache);
            })
        });
        for task in tasks {
            runtime.block_on(task).expect("a task that does not panic");
        }
    });
}

// With callers that are async.

#[test]
fn it_shares_a_cache_with_async_callers() {
    let provider = Provider::new(|_| by_tokio_s_timer());
    let cache = cache(&provider);
    let of_async = current_thread_runtime()
        .block_on(cache.token(&login()))
        .expect("a token");
    let of_blocking = cache.blocking_token(&login()).expect("a token");
    assert_eq!(of_blocking.as_str(), of_async.as_str());
    assert_eq!(provider.calls(), 1);
}

#[test]
fn it_shares_a_fetch_that_an_async_caller_began() {
    let provider = Provider::new(|_| when_polled_again());
    let cache = cache(&provider);
    let login = login();
    let mut of_async = pin!(cache.token(&login));
    // It is never polled again.
    let _ = of_async.as_mut().now_or_never();
    assert_token(&cache);
    assert_eq!(provider.calls(), 1);
}

#[test]
fn an_async_caller_shares_a_fetch_that_it_began() {
    alone(&[], |_| {
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = oneshot::channel();
        let released = released.shared();
        let provider = Provider::new(move |_| {
            begun.send(()).expect("a test that waits");
            released.clone().map(|_| Ok(credentials())).boxed()
        });
        let cache = cache(&provider);
        thread::scope(|scope| {
            scope.spawn(|| assert_token(&cache));
            has_begun.recv().expect("a fetch");
            let login = login();
            let mut of_async = pin!(cache.token(&login));
            assert!(of_async.as_mut().now_or_never().is_none());
            release.send(()).expect("a provider that waits");
            current_thread_runtime()
                .block_on(of_async)
                .expect("a token");
        });
        assert_eq!(provider.calls(), 1);
    });
}

// What fails.

#[test]
fn a_failure_of_the_provider_comes_through_with_its_causes() {
    let provider = Provider::new(|_| failure("the vault is sealed"));
    let error = cache(&provider)
        .blocking_token(&login())
        .expect_err("no token");
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<CredentialsError>());
    let cause = source.and_then(|source| source.source()).expect("a cause");
    assert_eq!(cause.to_string(), "the vault is sealed");
}

#[test]
fn a_panic_of_the_provider_is_an_error_and_the_next_call_tries_anew() {
    let provider = Provider::new(|call| match call {
        1 => async { panic!("the vault is on fire") }.boxed(),
        _ => at_once(),
    });
    let cache = cache(&provider);
    cache.blocking_token(&login()).expect_err("no token");
    assert_token(&cache);
}

#[test]
#[should_panic(expected = "the clock is broken")]
fn a_panic_of_the_clock_is_one_of_the_caller() {
    #[derive(Debug)]
    struct BrokenClock;

    impl TimeSource for BrokenClock {
        fn now(&self) -> SystemTime {
            panic!("the clock is broken")
        }
    }

    let cache = TokenCache::builder(Provider::new(|_| at_once()))
        .time_source(BrokenClock)
        .build()
        .expect("a cache");
    let _ = cache.blocking_token(&login());
}

#[test]
fn without_files_for_a_runtime_there_is_an_error_until_there_are_some() {
    alone(&[], |home| {
        let cache = cache(&Provider::new(|_| at_once()));
        let files = home.open_all_files();
        let error = cache.blocking_token(&login()).expect_err("no token");
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        drop(files);
        assert_token(&cache);
    });
}

/// Its fetches fail, because a forked child has no runtime before it has made one.
#[cfg(unix)]
#[test]
fn without_files_for_a_runtime_a_valid_token_and_valid_credentials_still_serve() {
    #[derive(Clone, Debug)]
    struct Clock(Arc<AtomicU64>);

    impl TimeSource for Clock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    alone(&[], |home| {
        let clock = Clock(Arc::new(1_000_000_000.into()));
        let expiry = clock.now() + Duration::from_secs(900);
        let provider = Provider::new(move |_| {
            let keys = Credentials::new("key-of-the-test", "secret", None, Some(expiry), "test");
            ready(Ok(keys)).boxed()
        });
        let cache = TokenCache::builder(provider.clone())
            .time_source(clock.clone())
            .build()
            .expect("a cache");
        let token = cache.blocking_token(&login()).expect("a token");
        clock.0.fetch_add(850, Ordering::SeqCst);
        let in_child = || {
            let _files = home.open_all_files();
            let same = cache.blocking_token(&login()).expect("a token");
            assert_eq!(same.as_str(), token.as_str());
            let other = Login::new(HOST, 5432, "other").expect("a valid login");
            assert_token_of(&cache, &other);
            assert_eq!(provider.calls(), 1);
        };
        in_forked_child(in_child, || ());
    });
}

// The process-wide cache.

#[test]
fn the_front_door_signs_with_the_keys_of_the_environment() {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "key-of-the-environment"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment"),
    ];
    alone(&environment, |_| {
        let token = blocking::token(HOST, 5432, "app").expect("a token");
        assert!(token.as_str().starts_with(&format!("{HOST}:5432/?")));
        assert_eq!(key_of(&token), "key-of-the-environment");
        let again = blocking::token(&HOST.to_uppercase(), 5432, "app").expect("a token");
        assert_eq!(again.as_str(), token.as_str());
    });
}

#[test]
fn the_front_door_waits_for_a_fetch_of_the_runtime_that_it_keeps_from_running() {
    alone(&[], |home| {
        let imds = StandIn::imds("eu-west-1");
        imds.hand_out(Some(&Keys {
            access_key_id: "key-of-the-instance".to_owned(),
            secret_access_key: "secret-of-the-instance".to_owned(),
            session_token: Some("session-of-the-instance".to_owned()),
            // In the year 2100.
            expires_at: UNIX_EPOCH + Duration::from_secs(4_102_444_800),
        }));
        home.configure(&format!("ec2_metadata_service_endpoint = {}", imds.url()));
        current_thread_runtime().block_on(async {
            let mut of_async = pin!(rds_iam::token(HOST, 5432, "app"));
            assert!(of_async.as_mut().now_or_never().is_none());
            let token = blocking::token(HOST, 5432, "app").expect("a token");
            assert_eq!(key_of(&token), "key-of-the-instance");
            of_async.await.expect("a token");
        });
        let fetch = [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/app",
        ];
        assert_eq!(imds.request_lines(), fetch);
    });
}
