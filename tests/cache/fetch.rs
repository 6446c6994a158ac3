//! One fetch at a time (rule 4 of the contract), and no runtime (rule 9).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::future;
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
            let cache = TokenCache::builder(provider.clone())
                .time_source(Ticks::default())
                .sleep_impl(Sleeps::default())
                .build()
                .unwrap();
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
            // It is the one that is woken.
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
fn a_fetch_whose_callers_were_all_dropped_goes_on_with_the_next() {
    let stage = Stage::new();
    for login in [jane(), joe(), kim()] {
        stage.waiting_call(&login);
    }
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 1));
    stage.provider.answer(1, keys("akid"));
    assert_eq!(key(&stage.token(&jane())), "akid");
    assert_eq!((stage.provider.calls(), stage.provider.open()), (1, 0));
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
fn so_is_a_panic_before_the_provider_has_made_its_future() {
    let cache = TokenCache::builder(PanicsAtOnce::default())
        .time_source(Clock::default())
        .sleep_impl(Sleeps::default())
        .build()
        .unwrap();
    let call = || Call::of(&cache, &jane());
    let error = call().error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    assert_eq!(key(&call().token()), "akid");
}

// Given up after 30 s

#[test]
fn a_fetch_older_than_30_s_is_given_up_and_the_next_caller_starts_another() {
    let stage = Stage::new();
    let mut first = stage.waiting_call(&jane());
    stage.at(s(30) - TICK);
    let mut second = stage.waiting_call(&joe());
    assert_eq!(stage.provider.calls(), 1);
    stage.at(s(30) + TICK);
    let mut third = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    // The late result is ignored.
    stage.provider.answer(1, keys("late"));
    run([&mut first, &mut second, &mut third]);
    third.waits();
    stage.waiting_call(&kim());
    stage.provider.answer(2, keys("new"));
    run([&mut first, &mut second, &mut third]);
    assert_eq!(key(&third.token()), "new");
    for login in [jane(), joe(), kim()] {
        assert_eq!(key(&stage.token(&login)), "new");
    }
    // Those who waited for it are not left waiting.
    for call in [&mut first, &mut second] {
        match call.poll().expect("the call waits") {
            Ok(token) => assert_eq!(key(token), "new"),
            Err(error) => assert!(matches!(error, Error::FetchTimedOut { .. }), "{error}"),
        }
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_late_result_does_not_replace_a_newer_one() {
    let stage = Stage::new();
    let mut first = stage.waiting_call(&jane());
    stage.at(s(31));
    stage.provider.answer(2, keys("new"));
    assert_eq!(key(&stage.token(&joe())), "new");
    stage.provider.answer(1, keys("late"));
    run([&mut first]);
    for login in [jane(), joe(), kim()] {
        assert_eq!(key(&stage.token(&login)), "new");
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_late_failure_ends_no_newer_fetch_and_holds_none_back() {
    let (stage, _) = Stage::with_a_usable_token(s(60));
    let mut late = stage.waiting_call(&jane());
    stage.at(s(871));
    let mut newer = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
    stage.provider.answer(2, failure());
    run([&mut late]);
    stage.provider.answer(3, keys_until("new", s(1000)));
    run([&mut newer]);
    for login in [jane(), joe()] {
        assert_eq!(key(&stage.token(&login)), "new");
    }
    assert_eq!(stage.provider.calls(), 3);

    // The same once nothing is under way any more.
    stage.at(s(902));
    let mut late = stage.waiting_call(&kim());
    stage.at(s(933));
    stage.provider.answer(5, keys_until("newer", s(1010)));
    assert_eq!(key(&stage.token(&kim())), "newer");
    stage.at(s(963));
    stage.provider.answer(4, failure());
    run([&mut late]);
    stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 6);
}

#[test]
fn an_answer_that_comes_before_anybody_gave_its_fetch_up_is_used() {
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
fn a_fetch_that_began_in_the_future_is_given_up() {
    let stage = Stage::new();
    stage.at(DAY);
    let _starter = stage.waiting_call(&jane());
    stage.at(s(0));
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn where_a_sleep_is_at_hand_its_waiters_get_an_error_by_then() {
    let stage = Stage::new();
    let mut starter = stage.waiting_call(&jane());
    stage.at(s(10));
    let mut joined = stage.waiting_call(&joe());
    stage.at(s(30) - TICK);
    let mut last = stage.waiting_call(&kim());
    // What remains of the 30 s.
    assert_eq!(stage.sleeps.durations(), [s(30), s(20), TICK]);
    stage.at(s(30));
    stage.sleeps.end_all();
    run([&mut starter, &mut joined, &mut last]);
    for call in [&mut starter, &mut joined, &mut last] {
        let error = call.error();
        let Error::FetchTimedOut { after } = error else {
            panic!("{error}")
        };
        assert_eq!(after, s(30));
    }
    // The next caller starts another, and the late result is ignored.
    let mut next = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(1, keys("late"));
    next.waits();
    stage.provider.answer(2, keys("new"));
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn a_waiters_sleep_gives_the_fetch_up_whatever_the_clock_says() {
    let stage = Stage::new();
    let mut starter = stage.waiting_call(&jane());
    stage.sleeps.end_all();
    run([&mut starter]);
    let error = starter.error();
    assert!(matches!(error, Error::FetchTimedOut { .. }), "{error}");
    stage.provider.answer(1, keys("late"));
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_late_sleep_does_not_give_a_newer_fetch_up() {
    let stage = Stage::new();
    let mut late = stage.waiting_call(&jane());
    stage.at(s(30));
    let mut newer = stage.waiting_call(&joe());
    stage.sleeps.end(1);
    run([&mut late]);
    stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("new"));
    run([&mut newer]);
    assert_eq!(key(&newer.token()), "new");
}

#[test]
fn a_usable_token_or_live_credentials_stand_in_for_a_fetch_that_was_given_up() {
    for login in [jane(), joe()] {
        let (stage, _) = Stage::with_a_usable_token(s(60));
        let mut starter = stage.waiting_call(&login);
        stage.at(s(870));
        stage.sleeps.end_all();
        run([&mut starter]);
        assert_eq!(key(&starter.token()), "old");
        // It is a failed fetch.
        stage.at(s(875) - TICK);
        stage.token(&login);
        assert_eq!(stage.provider.calls(), 2);
        stage.at(s(875));
        stage.waiting_call(&login);
        assert_eq!(stage.provider.calls(), 3);
    }
}

#[test]
fn a_fetch_that_was_suspended_is_given_up() {
    let (stage, _) = Stage::with_a_usable_token(s(60));
    let _starter = stage.waiting_call(&jane());
    stage.at(s(8 * 3600));
    let mut next = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
    stage.provider.answer(2, keys_until("late", s(9 * 3600)));
    next.waits();
    stage.provider.answer(3, keys("new"));
    assert_eq!(key(&next.token()), "new");
}

// No runtime: every other test does without one, too

/// A cache that was given no sleep may have tokio's, which panics where no runtime has its timers on.
#[test]
fn without_a_sleep_or_a_runtime_with_timers_the_clock_alone_gives_a_fetch_up() {
    let without_timers = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for in_a_runtime in [false, true] {
        let _entered = in_a_runtime.then(|| without_timers.enter());
        let (clock, provider) = (Clock::default(), Provider::default());
        let cache = TokenCache::builder(provider.clone())
            .time_source(clock.clone())
            .build()
            .unwrap();
        let call = || Call::of(&cache, &jane());
        call().waits();
        clock.set(at(s(31)));
        let mut second = call();
        second.waits();
        assert_eq!(provider.calls(), 2);
        provider.answer(2, keys("akid"));
        assert_eq!(key(&second.token()), "akid");
    }
}

#[test]
fn on_a_runtime_with_timers_they_give_a_fetch_up() {
    let with_timers = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let clock = Clock::default();
    let cache = TokenCache::builder(Provider::default())
        .time_source(clock.clone())
        .build()
        .unwrap();
    let entered = with_timers.enter();
    Call::of(&cache, &jane()).waits();
    drop(entered);
    // Tokio's clock is not in the test's hands. A tick remains.
    clock.set(at(s(30) - TICK));
    let error = with_timers.block_on(cache.token(&jane())).unwrap_err();
    assert!(matches!(error, Error::FetchTimedOut { .. }), "{error}");
}
