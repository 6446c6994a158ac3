//! One fetch at a time, whatever its callers do (rule 1), and fetches on a runtime of the embedder (rule 8).

use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::{Error, Login, TimeSource, TokenCache};

use crate::support::harness::*;
use crate::support::runtime::runtime_without_timers;

#[test]
fn a_cold_cache_calls_the_provider_once_for_1000_logins_to_100_databases() {
    let harness = Harness::new();
    let logins: Vec<_> = (0..1000)
        .map(|n| {
            let host = format!("db{}.abc123xyz.us-east-1.rds.amazonaws.com", n % 100);
            Login::new(&host, 5432, &format!("user{}", n / 100)).unwrap()
        })
        .collect();
    let mut calls: Vec<_> = logins.iter().map(|login| harness.call(login)).collect();
    run(&mut calls);
    harness.provider.answer(1, keys("akid"));
    run(&mut calls);
    for (call, login) in calls.iter_mut().zip(&logins) {
        assert_same(&call.token(), &signed(&keys("akid"), login, s(0)));
    }
    assert_eq!((harness.provider.calls(), harness.provider.open()), (1, 0));
}

/// Each read returns the next nanosecond. Threads may use later reads before earlier reads.
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
fn threads_that_call_at_the_same_time_start_one_fetch() {
    for is_answered_before in [false, true] {
        for _ in 0..100 {
            let provider = GatedProvider::default();
            let builder = TokenCache::builder(provider.clone())
                .time_source(Ticks::default())
                .sleep_impl(Sleeps::default());
            let cache = by_hand(builder).build().unwrap();
            let short_lived = keys_until("akid", s(500));
            if is_answered_before {
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
            if !is_answered_before {
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
fn a_caller_that_is_dropped_or_never_polled_again_does_not_delay_other_callers() {
    for is_dropped in [false, true] {
        for other_came_before in [false, true] {
            let harness = Harness::new();
            let abandoned = harness.pending_call(&jane());
            let other = other_came_before.then(|| harness.pending_call(&joe()));
            let _never_polled_again = (!is_dropped).then_some(abandoned);
            let mut other = other.unwrap_or_else(|| harness.pending_call(&joe()));
            harness.provider.answer(1, keys("akid"));
            run([&mut other]);
            assert_eq!(key(&other.token()), "akid");
            assert_eq!(key(&harness.token(&jane())), "akid");
            assert_eq!(harness.provider.calls(), 1);
        }
    }
}

#[test]
fn the_last_caller_that_was_polled_does_not_delay_the_first_if_it_is_never_polled_again() {
    let harness = Harness::new();
    let mut first = harness.pending_call(&jane());
    let _abandoned = harness.pending_call(&joe());
    harness.provider.answer(1, keys("akid"));
    run([&mut first]);
    assert_eq!(key(&first.token()), "akid");
}

#[test]
fn a_fetch_whose_callers_were_all_dropped_ends_and_its_credentials_are_cached() {
    let harness = Harness::new();
    for login in [jane(), joe(), kim()] {
        harness.pending_call(&login);
    }
    assert_eq!((harness.provider.calls(), harness.provider.open()), (1, 1));
    harness.provider.answer(1, keys("akid"));
    assert_eq!((harness.provider.calls(), harness.provider.open()), (1, 0));
    assert_eq!(key(&harness.token(&jane())), "akid");
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn a_panic_of_the_provider_is_a_failed_fetch() {
    let harness = Harness::new();
    let mut calls = [jane(), joe(), kim()].map(|login| harness.pending_call(&login));
    harness.provider.answer(1, Answer::Panic);
    run(&mut calls);
    for call in &mut calls {
        let error = call.error();
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    }
    harness.provider.answer(2, keys("akid"));
    assert_eq!(key(&harness.token(&jane())), "akid");
    assert_eq!((harness.provider.calls(), harness.provider.open()), (2, 0));
}

#[test]
fn a_panic_before_the_provider_has_made_its_future_is_a_failed_fetch() {
    let provider = ScriptedProvider::new(|call| {
        assert_ne!(call, 1, "the provider panics, as the test wants it to");
        ready(Ok(keys("akid")))
    });
    let harness = Harness::over(provider, Clock::default());
    let error = harness.error(&jane());
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    assert_eq!(key(&harness.token(&jane())), "akid");
}

// Time limit

fn assert_timed_out(error: &Error) {
    let Error::FetchTimedOut { after } = error else {
        panic!("{error}")
    };
    assert_eq!(*after, s(30));
}

#[test]
fn a_fetch_times_out_after_30_s_for_all_its_waiters_and_the_next_call_starts_another() {
    let harness = Harness::new();
    let mut starter = harness.pending_call(&jane());
    harness.advance(s(10));
    let mut joined = harness.pending_call(&joe());
    assert_eq!(harness.sleeps.durations(), [s(30)]);
    harness.advance(s(20));
    harness.sleeps.end_all();
    run([&mut starter, &mut joined]);
    for call in [&mut starter, &mut joined] {
        assert_timed_out(&call.error());
    }
    // The provider's future is dropped.
    assert_eq!((harness.provider.calls(), harness.provider.open()), (1, 0));
    let mut next = harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 2);
    harness.provider.answer(2, keys("new"));
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn no_step_of_the_clock_ends_a_fetch() {
    for clock in [s(10) - Duration::from_millis(1), s(0), s(41), DAY] {
        let harness = Harness::new();
        harness.set_clock(s(10));
        let mut starter = harness.pending_call(&jane());
        harness.set_clock(clock);
        let mut joined = harness.pending_call(&joe());
        assert_eq!(harness.provider.calls(), 1);
        harness.provider.answer(1, keys("akid"));
        run([&mut starter, &mut joined]);
        for call in [&mut starter, &mut joined] {
            assert_eq!(key(&call.token()), "akid");
        }
    }
}

#[test]
fn an_answer_that_arrives_together_with_the_time_limit_counts() {
    let harness = Harness::new();
    let mut starter = harness.pending_call(&jane());
    harness.advance(s(31));
    harness.provider.answer(1, keys("akid"));
    harness.sleeps.end_all();
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "akid");
    assert_eq!(key(&harness.token(&joe())), "akid");
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn an_answer_after_the_time_limit_is_dropped() {
    for answer in [keys("late").into(), failure(), Answer::Panic] {
        let harness = Harness::new();
        harness.pending_call(&jane());
        harness.sleeps.end_all();
        harness.provider.answer(1, answer);
        let mut next = harness.pending_call(&jane());
        assert_eq!(harness.provider.calls(), 2);
        harness.provider.answer(2, keys("new"));
        assert_eq!(key(&next.token()), "new");
        assert_eq!(key(&harness.token(&joe())), "new");
    }
}

#[test]
fn the_time_limit_of_a_fetch_that_has_ended_does_not_end_the_next() {
    let harness = Harness::new();
    harness.provider.answer(1, failure());
    harness.error(&jane());
    let mut next = harness.pending_call(&joe());
    harness.sleeps.end(1);
    harness.pending_call(&kim());
    assert_eq!(harness.provider.calls(), 2);
    harness.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn a_fetch_that_timed_out_is_a_failed_fetch() {
    for login in [jane(), joe()] {
        let (harness, _) = Harness::with_a_valid_token(s(60));
        let mut starter = harness.pending_call(&login);
        harness.advance(s(30));
        harness.sleeps.end_all();
        run([&mut starter]);
        assert_eq!(key(&starter.token()), "old");
        harness.advance(s(5) - TICK);
        harness.token(&login);
        assert_eq!(harness.provider.calls(), 2);
        harness.advance(TICK);
        harness.pending_call(&login);
        assert_eq!(harness.provider.calls(), 3);
    }
}

/// The second call of the provider sets the clock to 910 s in its second poll, as if the poll blocked or the machine
/// was suspended.
#[test]
fn a_token_that_expires_while_the_provider_is_polled_is_not_returned() {
    let clock = Clock::default();
    let provider = {
        let clock = clock.clone();
        ScriptedProvider::new(move |call| {
            let (clock, mut polls) = (clock.clone(), 0);
            poll_fn(move |_| {
                polls += 1;
                match (call, polls) {
                    (1, _) => return Poll::Ready(Ok(keys_until("old", s(900)))),
                    (_, 2) => clock.set(at(s(910))),
                    _ => {}
                }
                Poll::Pending
            })
        })
    };
    let harness = Harness::over(provider, clock);
    harness.token(&jane());
    harness.set_clock(s(890));
    harness.pending_call(&jane());
    let token = harness.token(&jane());
    assert!(token.expires_at() > harness.clock.now());
}

/// Returns the time of `clock`, and sets `clock` to 901 s after `reads_left` reads.
#[derive(Debug)]
struct SteppingClock {
    clock: Clock,
    reads_left: Arc<AtomicUsize>,
}

impl TimeSource for SteppingClock {
    fn now(&self) -> SystemTime {
        let count_down = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if self
            .reads_left
            .fetch_update(order, order, count_down)
            .is_err()
        {
            self.clock.set(at(s(901)));
        }
        self.clock.now()
    }
}

#[test]
fn a_token_that_expires_between_two_reads_of_the_clock_is_not_returned() {
    for reads in 0..8 {
        let (clock, reads_left) = (Clock::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let stepping = SteppingClock {
            clock: clock.clone(),
            reads_left: Arc::clone(&reads_left),
        };
        let harness = Harness::with(|builder| builder.time_source(stepping));
        harness.provider.answer(1, keys_until("old", s(900)));
        harness.token(&jane());
        clock.set(at(s(890)));
        let _starter = harness.pending_call(&jane());
        reads_left.store(reads, Ordering::SeqCst);
        let mut call = harness.call(&jane());
        if call.poll().is_none() {
            harness.provider.answer(2, keys("new"));
            run([&mut call]);
        }
        assert!(call.token().expires_at() > clock.now(), "{reads}");
        assert_eq!(harness.provider.calls(), 2);
    }
}

// Fetches on a runtime of the embedder

/// Stores the futures. The test polls or drops them, like a runtime during its shutdown.
#[derive(Clone, Default)]
struct EmbedderRuntime(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl EmbedderRuntime {
    fn cache(&self, provider: &GatedProvider) -> TokenCache {
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
    let (runtime, provider) = (EmbedderRuntime::default(), GatedProvider::default());
    let cache = runtime.cache(&provider);
    let mut call = Call::of(&cache, &jane());
    call.assert_pending();
    drop(runtime.0.lock().unwrap().split_off(0));
    run([&mut call]);
    let error = call.error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    Call::of(&cache, &jane()).assert_pending();
    assert_eq!(runtime.0.lock().unwrap().len(), 2);
}

#[test]
fn a_fetch_whose_provider_future_is_dropped_by_the_embedders_runtime_is_a_failed_fetch() {
    let (runtime, provider) = (EmbedderRuntime::default(), GatedProvider::default());
    let cache = runtime.cache(&provider);
    let mut call = Call::of(&cache, &jane());
    call.assert_pending();
    drop(runtime.0.lock().unwrap().remove(0));
    let time_limit = runtime.0.lock().unwrap().remove(0);
    assert!(time_limit.now_or_never().is_some());
    run([&mut call]);
    let error = call.error();
    assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
}

/// The crate can only tell from tokio's panics.
#[test]
fn a_provider_that_needs_tokio_outside_of_tokio_is_an_error_that_names_the_feature() {
    let without_timers = runtime_without_timers();
    for in_a_runtime in [false, true] {
        let _entered = in_a_runtime.then(|| without_timers.enter());
        let harness = Harness::over(ScriptedProvider::needs_tokio(), Clock::default());
        let error = harness.error(&jane());
        assert!(matches!(error, Error::TokioRequired), "{error}");
        assert!(error.to_string().contains("`rt-tokio`"), "{error}");
    }
}

#[test]
fn a_panic_of_spawn_with_is_a_panic_of_the_caller_and_the_next_call_starts_a_fetch() {
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
