//! One fetch at a time, whatever its callers do (rule 1), and without a runtime (rule 8).

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::future;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::{Error, Login, ProvideCredentials, TimeSource, TokenCache};

use crate::stage::*;

#[test]
fn a_thousand_logins_to_a_hundred_databases_on_a_cold_cache_cost_one_provider_call() {
    let stage = Stage::new();
    let logins: Vec<_> = (0..1000)
        .map(|n| {
            let host = format!("db{}.abc123xyz.us-east-1.rds.amazonaws.com", n % 100);
            Login::new(&host, 5432, &format!("user{}", n / 100)).unwrap()
        })
        .collect();
    let mut calls: Vec<_> = logins.iter().map(|login| stage.call(login)).collect();
    run(&mut calls);
    stage.provider.answer(1, keys("akid"));
    run(&mut calls);
    for (call, login) in calls.iter_mut().zip(&logins) {
        assert_same(&call.token(), &signed(&keys("akid"), login, s(0)));
    }
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 0));
}

/// Another nanosecond at each reading, which other threads may overtake.
#[derive(Debug, Default)]
struct Ticks(AtomicU64);

impl TimeSource for Ticks {
    fn now(&self) -> SystemTime {
        let ticks = self.0.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        at(Duration::from_nanos(ticks))
    }
}

#[test]
fn threads_that_come_at_the_same_moment_start_one_fetch() {
    for is_answered_at_once in [false, true] {
        for _ in 0..100 {
            let provider = Provider::default();
            let builder = TokenCache::builder(provider.clone())
                .time_source(Ticks::default())
                .sleep_impl(Sleeps::default());
            let cache = by_hand(builder).build().unwrap();
            let short_lived = keys_until("akid", s(500));
            if is_answered_at_once {
                provider.answer(1, short_lived.clone());
            }
            let mut calls =
                ["jane", "joe", "kim", "max"].map(|user| Call::of(&cache, &login(user)));
            thread::scope(|threads| {
                for call in &mut calls {
                    threads.spawn(|| call.poll().is_some());
                }
            });
            assert_eq!(provider.calls(), 1);
            if !is_answered_at_once {
                provider.answer(1, short_lived);
            }
            run(&mut calls);
            for call in &mut calls {
                assert_eq!(key(&call.token()), "akid");
            }
        }
    }
}

#[test]
fn a_caller_that_is_dropped_or_polled_once_and_never_again_holds_nobody_up() {
    for is_dropped in [false, true] {
        for other_came_before in [false, true] {
            let stage = Stage::new();
            let abandoned = stage.waiting_call(&jane());
            let other = other_came_before.then(|| stage.waiting_call(&joe()));
            let _kept_unpolled = (!is_dropped).then_some(abandoned);
            let mut other = other.unwrap_or_else(|| stage.waiting_call(&joe()));
            stage.provider.answer(1, keys("akid"));
            run([&mut other]);
            assert_eq!(key(&other.token()), "akid");
            assert_eq!(key(&stage.token(&jane())), "akid");
            assert_eq!(stage.provider.calls(), 1);
        }
    }
}

#[test]
fn a_caller_that_is_polled_last_and_never_again_holds_nobody_up() {
    let stage = Stage::new();
    let mut first = stage.waiting_call(&jane());
    let _abandoned = stage.waiting_call(&joe());
    stage.provider.answer(1, keys("akid"));
    run([&mut first]);
    assert_eq!(key(&first.token()), "akid");
}

#[test]
fn a_fetch_whose_callers_were_all_dropped_ends_and_its_credentials_are_cached() {
    let stage = Stage::new();
    for login in [jane(), joe(), kim()] {
        stage.waiting_call(&login);
    }
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 1));
    stage.provider.answer(1, keys("akid"));
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 0));
    assert_eq!(key(&stage.token(&jane())), "akid");
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn a_panic_in_the_provider_is_a_failed_fetch() {
    let stage = Stage::new();
    let mut calls = [jane(), joe(), kim()].map(|login| stage.waiting_call(&login));
    stage.provider.answer(1, Answer::Panic);
    run(&mut calls);
    for call in &mut calls {
        let error = call.error();
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    }
    stage.provider.answer(2, keys("akid"));
    assert_eq!(key(&stage.token(&jane())), "akid");
    assert_eq!((stage.provider.calls(), stage.provider.open()), (2, 0));
}

/// Panics when it is first called, before there is a future.
#[derive(Debug, Default)]
struct PanicsAtOnce(AtomicUsize);

impl ProvideCredentials for PanicsAtOnce {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let calls_before = self.0.fetch_add(1, Ordering::SeqCst);
        assert_ne!(
            calls_before, 0,
            "the provider panics, as the test wants it to"
        );
        future::ProvideCredentials::ready(Ok(keys("akid")))
    }
}

#[test]
fn a_panic_before_the_provider_has_made_its_future_is_a_failed_fetch() {
    let builder = TokenCache::builder(PanicsAtOnce::default())
        .time_source(Clock::default())
        .sleep_impl(Sleeps::default());
    let cache = by_hand(builder).build().unwrap();
    let call = || Call::of(&cache, &jane());
    let error = call().error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    assert_eq!(key(&call().token()), "akid");
}

// Timed out after 30 s

fn assert_timed_out(error: &Error) {
    let Error::FetchTimedOut { after } = error else {
        panic!("{error}")
    };
    assert_eq!(*after, s(30));
}

#[test]
fn a_fetch_times_out_after_30_s_for_all_its_waiters_and_the_next_call_starts_another() {
    let stage = Stage::new();
    let mut starter = stage.waiting_call(&jane());
    stage.at(s(10));
    let mut joined = stage.waiting_call(&joe());
    assert_eq!(stage.sleeps.durations(), [s(30)]);
    stage.at(s(30));
    stage.sleeps.end_all();
    run([&mut starter, &mut joined]);
    for call in [&mut starter, &mut joined] {
        assert_timed_out(&call.error());
    }
    // The provider's future is dropped.
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 0));
    let mut next = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("new"));
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn no_step_of_the_clock_ends_a_fetch() {
    for clock in [s(10) - Duration::from_millis(1), s(0), s(41), DAY] {
        let stage = Stage::new();
        stage.at(s(10));
        let mut starter = stage.waiting_call(&jane());
        stage.at(clock);
        let mut joined = stage.waiting_call(&joe());
        assert_eq!(stage.provider.calls(), 1);
        stage.provider.answer(1, keys("akid"));
        run([&mut starter, &mut joined]);
        for call in [&mut starter, &mut joined] {
            assert_eq!(key(&call.token()), "akid");
        }
    }
}

#[test]
fn the_answer_counts_if_it_comes_at_the_same_moment_as_the_time_limit() {
    let stage = Stage::new();
    let mut starter = stage.waiting_call(&jane());
    stage.at(s(31));
    stage.provider.answer(1, keys("akid"));
    stage.sleeps.end_all();
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "akid");
    assert_eq!(key(&stage.token(&joe())), "akid");
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn a_late_answer_is_dropped() {
    for answer in [keys("late").into(), failure(), Answer::Panic] {
        let stage = Stage::new();
        stage.waiting_call(&jane());
        stage.sleeps.end_all();
        stage.provider.answer(1, answer);
        let mut next = stage.waiting_call(&jane());
        assert_eq!(stage.provider.calls(), 2);
        stage.provider.answer(2, keys("new"));
        assert_eq!(key(&next.token()), "new");
        assert_eq!(key(&stage.token(&joe())), "new");
    }
}

#[test]
fn the_time_limit_of_a_fetch_that_has_ended_does_not_end_the_next() {
    let stage = Stage::new();
    stage.provider.answer(1, failure());
    stage.error(&jane());
    let mut next = stage.waiting_call(&joe());
    stage.sleeps.end(1);
    stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn a_fetch_that_timed_out_is_a_failed_fetch() {
    for login in [jane(), joe()] {
        let (stage, _) = Stage::with_a_usable_token(s(60));
        let mut starter = stage.waiting_call(&login);
        stage.at(s(870));
        stage.sleeps.end_all();
        run([&mut starter]);
        assert_eq!(key(&starter.token()), "old");
        stage.at(s(875) - TICK);
        stage.token(&login);
        assert_eq!(stage.provider.calls(), 2);
        stage.at(s(875));
        stage.waiting_call(&login);
        assert_eq!(stage.provider.calls(), 3);
    }
}

/// Sets the clock in the second of the polls of its second call, as one does that blocks, or whose machine is suspended.
#[derive(Clone, Debug)]
struct SlowToPoll {
    clock: Clock,
    calls: Arc<AtomicUsize>,
}

impl ProvideCredentials for SlowToPoll {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            return future::ProvideCredentials::ready(Ok(keys_until("old", s(900))));
        }
        let mut polls = 0;
        future::ProvideCredentials::new(poll_fn(move |_| {
            polls += 1;
            if polls == 2 {
                self.clock.set(at(s(910)));
            }
            Poll::Pending
        }))
    }
}

#[test]
fn a_token_that_expires_while_the_provider_is_polled_is_not_returned() {
    let clock = Clock::default();
    let provider = SlowToPoll {
        clock: clock.clone(),
        calls: Arc::default(),
    };
    let builder = TokenCache::builder(provider)
        .time_source(clock.clone())
        .sleep_impl(Sleeps::default());
    let cache = by_hand(builder).build().unwrap();
    Call::of(&cache, &jane()).token();
    clock.set(at(s(890)));
    Call::of(&cache, &jane()).waits();
    let token = Call::of(&cache, &jane()).token();
    assert!(token.expires_at() > clock.now());
}

// Spawned by the embedder

/// A runtime that can be shut down: it drops what it was given.
#[derive(Clone, Default)]
struct EmbedderRuntime(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl EmbedderRuntime {
    fn cache(&self, provider: &Provider) -> TokenCache {
        let futures = Arc::clone(&self.0);
        TokenCache::builder(provider.clone())
            .time_source(Clock::default())
            .sleep_impl(Sleeps::default())
            .spawn_with(move |future| futures.lock().unwrap().push(future))
            .build()
            .unwrap()
    }
}

#[test]
fn a_fetch_that_the_embedders_runtime_drops_is_a_failed_fetch() {
    let (runtime, provider) = (EmbedderRuntime::default(), Provider::default());
    let cache = runtime.cache(&provider);
    let mut call = Call::of(&cache, &jane());
    call.waits();
    drop(runtime.0.lock().unwrap().split_off(0));
    run([&mut call]);
    let error = call.error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    Call::of(&cache, &jane()).waits();
    assert_eq!(runtime.0.lock().unwrap().len(), 2);
}

#[test]
fn a_fetch_of_which_the_embedders_runtime_drops_the_providers_future_is_a_failed_fetch() {
    let (runtime, provider) = (EmbedderRuntime::default(), Provider::default());
    let cache = runtime.cache(&provider);
    let mut call = Call::of(&cache, &jane());
    call.waits();
    drop(runtime.0.lock().unwrap().remove(0));
    let time_limit = runtime.0.lock().unwrap().remove(0);
    assert!(time_limit.now_or_never().is_some());
    run([&mut call]);
    let error = call.error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
}

/// Tokio's panics are the only way to know.
#[test]
fn a_provider_that_needs_tokio_where_none_runs_is_an_error_that_names_the_feature() {
    #[derive(Debug)]
    struct NeedsTokio;

    impl ProvideCredentials for NeedsTokio {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                tokio::time::sleep(TICK).await;
                Ok(keys("akid"))
            })
        }
    }

    let without_timers = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for in_a_runtime in [false, true] {
        let _entered = in_a_runtime.then(|| without_timers.enter());
        let builder = TokenCache::builder(NeedsTokio).sleep_impl(Sleeps::default());
        let cache = by_hand(builder).build().unwrap();
        let error = Call::of(&cache, &jane()).error();
        assert!(matches!(error, Error::TokioRequired), "{error}");
        assert!(error.to_string().contains("`rt-tokio`"), "{error}");
    }
}

#[test]
fn a_panic_of_the_embedders_closure_is_one_of_the_caller_and_the_next_call_starts_a_fetch() {
    let has_panicked = AtomicBool::new(false);
    let builder = TokenCache::builder(keys("akid"))
        .sleep_impl(Sleeps::default())
        .spawn_with(move |future| {
            assert!(has_panicked.swap(true, Ordering::SeqCst), "no runtime");
            future.now_or_never();
        });
    let cache = builder.build().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Call::of(&cache, &jane()).poll().is_some()
    }));
    assert!(panicked.is_err());
    assert_eq!(key(&Call::of(&cache, &jane()).token()), "akid");
}
