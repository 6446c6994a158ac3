//! Fetches on the crate's own threads (rules 1 and 8): they make progress whatever their callers and the callers'
//! runtimes do. The test controls the provider and the time limits.

mod support;

use std::collections::HashMap;
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::process;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::TokioSleep;
use futures_util::FutureExt;
use pollster::block_on;
use rds_iam::{
    AsyncSleep, Credentials, CredentialsError, Error, Sleep, TimeSource, Token, TokenCache,
    TokenCacheBuilder, provider,
};
use support::harness::*;
use support::runtime::{current_thread_runtime, runtime_of, runtime_without_timers};
use tokio::sync::{Notify, oneshot};

/// Ends the program if `test` hangs. No test takes 60 s on any machine.
fn watched(test: impl FnOnce()) {
    let (done, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a test hangs");
            process::abort();
        }
    });
    test();
    drop(done);
}

/// Time limits under the test's control. Each fetch sleeps on a thread of its own.
#[derive(Clone, Debug, Default)]
struct Limits(Arc<Notify>);

impl Limits {
    fn cache(&self, provider: &ScriptedProvider) -> TokenCache {
        let builder = TokenCache::builder(provider.clone()).sleep_impl(self.clone());
        builder.build().unwrap()
    }

    /// Ends the time limit of the fetch in flight, or of the next fetch.
    fn end_one(&self) {
        self.0.notify_one();
    }
}

impl AsyncSleep for Limits {
    fn sleep(&self, _: Duration) -> Sleep {
        let end = Arc::clone(&self.0);
        Sleep::new(async move { end.notified().await })
    }
}

/// I/O in steps, as providers do: each step needs tokio's timer, or a task of the current runtime.
async fn answer_in_steps(go_on: Arc<Notify>) -> provider::Result {
    tokio::time::sleep(Duration::from_nanos(1)).await;
    tokio::spawn(async move { go_on.notified().await })
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_nanos(1)).await;
    Ok(keys("akid"))
}

// Progress

#[test]
fn a_wake_up_during_a_poll_of_the_provider_is_not_lost_if_another_caller_polls() {
    /// A flag for the provider, and a waker for the change.
    #[derive(Default)]
    struct Event {
        is_done: Mutex<bool>,
        waker: Mutex<Option<std::task::Waker>>,
    }

    watched(|| {
        let event = Arc::new(Event::default());
        let (in_poll, polls) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Arc::new(Mutex::new(may_go_on));
        let provider = {
            let event = Arc::clone(&event);
            ScriptedProvider::new(move |call| {
                let (event, in_poll) = (Arc::clone(&event), in_poll.clone());
                let may_go_on = Arc::clone(&may_go_on);
                poll_fn(move |cx| {
                    if call == 1 {
                        return Poll::Ready(Ok(keys_until("old", s(900))));
                    }
                    *event.waker.lock().unwrap() = Some(cx.waker().clone());
                    if *event.is_done.lock().unwrap() {
                        return Poll::Ready(Ok(keys("new")));
                    }
                    in_poll.send(()).unwrap();
                    let _ = may_go_on.lock().unwrap().recv();
                    Poll::Pending
                })
            })
        };
        let clock = Clock::default();
        let cache = TokenCache::builder(provider)
            .time_source(clock.clone())
            .build()
            .unwrap();
        cache.blocking_token(&jane()).unwrap();
        clock.set(at(s(850)));
        thread::scope(|scope| {
            let starter = scope.spawn(|| block_on(cache.token(&jane())).unwrap());
            polls.recv().unwrap();
            // A second caller polls. Then the answer arrives, while the provider's poll has not returned.
            let other = scope.spawn(|| Call::of(&cache, &jane()).poll().is_some());
            assert!(other.join().unwrap());
            *event.is_done.lock().unwrap() = true;
            event.waker.lock().unwrap().take().unwrap().wake();
            drop(go_on);
            assert_eq!(key(&starter.join().unwrap()), "new");
        });
    });
}

#[test]
fn a_fetch_outlives_the_runtime_of_the_caller_that_started_it_and_of_a_second_caller() {
    watched(|| {
        for is_dropped in [false, true] {
            for runtime in [current_thread_runtime(), runtime_of(1)] {
                let go_on = Arc::new(Notify::new());
                let provider = {
                    let go_on = Arc::clone(&go_on);
                    ScriptedProvider::new(move |_| answer_in_steps(Arc::clone(&go_on)))
                };
                let cache = provider.cache();
                let is_ready = async { cache.token(&jane()).now_or_never().is_some() };
                assert!(!runtime.block_on(is_ready));
                // From now on the runtime is dropped or makes no progress.
                let _idle = (!is_dropped).then_some(runtime);
                let second = current_thread_runtime();
                let is_ready = async { cache.token(&joe()).now_or_never().is_some() };
                assert!(!second.block_on(is_ready));
                drop(second);
                go_on.notify_one();
                let token = current_thread_runtime().block_on(cache.token(&jane()));
                assert_eq!(key(&token.unwrap()), "akid");
                assert_eq!(provider.calls(), 1);
            }
        }
    });
}

#[test]
fn blocking_threads_and_tasks_of_one_runtime_share_one_fetch() {
    const CALLERS: usize = 40;

    watched(|| {
        for first_is_blocking in [false, true] {
            let go_on = Arc::new(Notify::new());
            let (started, has_started) = mpsc::channel();
            let provider = {
                let go_on = Arc::clone(&go_on);
                ScriptedProvider::new(move |_| {
                    started.send(()).unwrap();
                    answer_in_steps(Arc::clone(&go_on))
                })
            };
            let cache = provider.cache();
            let runtime = runtime_of(2);
            let (called, calls) = mpsc::channel();
            let mut callers = Vec::new();
            for n in 0..CALLERS {
                let login = login(&format!("user{n}"));
                let (cache, called) = (cache.clone(), called.clone());
                let is_blocking = (n % 2 == 0) == first_is_blocking;
                callers.push(if is_blocking {
                    runtime.spawn_blocking(move || {
                        called.send(()).unwrap();
                        cache.blocking_token(&login)
                    })
                } else {
                    runtime.spawn(async move {
                        let mut token = pin!(cache.token(&login));
                        assert!(token.as_mut().now_or_never().is_none());
                        called.send(()).unwrap();
                        token.await
                    })
                });
                if n == 0 {
                    has_started.recv().unwrap();
                }
            }
            for _ in 0..CALLERS {
                calls.recv().unwrap();
            }
            go_on.notify_one();
            for caller in callers {
                let token = runtime.block_on(caller).unwrap().unwrap();
                assert_eq!(key(&token), "akid");
            }
            assert_eq!(provider.calls(), 1);
        }
    });
}

// `blocking_token` on threads of runtimes

#[track_caller]
fn assert_blocking_token(cache: &TokenCache) {
    assert_eq!(key(&cache.blocking_token(&jane()).unwrap()), "akid");
}

#[test]
fn blocking_token_outside_of_any_runtime_works_with_providers_that_need_tokio_or_not() {
    let needs_no_runtime = ScriptedProvider::new(|_| ready(Ok(keys("akid"))));
    for provider in [ScriptedProvider::needs_tokio(), needs_no_runtime] {
        assert_blocking_token(&provider.cache());
    }
}

#[test]
fn tasks_and_blocking_threads_of_any_runtime_may_call_blocking_token() {
    watched(|| {
        let cache = || ScriptedProvider::needs_tokio().cache();
        for runtime in [current_thread_runtime(), runtime_of(1), runtime_of(2)] {
            runtime.block_on(async { assert_blocking_token(&cache()) });
            let task = runtime.spawn(async move { assert_blocking_token(&cache()) });
            runtime.block_on(task).unwrap();
            let thread = runtime.spawn_blocking(move || assert_blocking_token(&cache()));
            runtime.block_on(thread).unwrap();
        }
    });
}

#[test]
fn blocking_token_joins_a_fetch_that_was_started_on_the_runtime_that_it_blocks() {
    watched(|| {
        for runtime in [current_thread_runtime(), runtime_of(1)] {
            let provider = ScriptedProvider::needs_tokio();
            let cache = provider.cache();
            let task = runtime.spawn(async move {
                let login = jane();
                let mut starter = pin!(cache.token(&login));
                let _ = starter.as_mut().now_or_never();
                assert_blocking_token(&cache);
                starter.await.unwrap();
            });
            runtime.block_on(task).unwrap();
            assert_eq!(provider.calls(), 1);
        }
    });
}

#[test]
fn blocking_token_joins_a_fetch_that_was_joined_on_the_runtime_that_it_blocks() {
    watched(|| {
        let provider = ScriptedProvider::new(|_| async {
            tokio::task::yield_now().await;
            tokio::time::sleep(TICK).await;
            Ok(keys("akid"))
        });
        let cache = provider.cache();
        let login = jane();
        // Never polled again.
        let mut starter = pin!(cache.token(&login));
        let _ = starter.as_mut().now_or_never();
        current_thread_runtime().block_on(async {
            let mut joined = pin!(cache.token(&login));
            let _ = joined.as_mut().now_or_never();
            assert_blocking_token(&cache);
            joined.await.unwrap();
        });
        assert_eq!(provider.calls(), 1);
    });
}

#[test]
fn blocking_token_joins_a_fetch_of_a_runtime_whose_threads_are_all_blocked() {
    watched(|| {
        let runtime = runtime_of(2);
        let cache = ScriptedProvider::needs_tokio().cache();
        let both_run = Arc::new(Barrier::new(2));
        let tasks = [(); 2].map(|()| {
            let (cache, both_run) = (cache.clone(), Arc::clone(&both_run));
            runtime.spawn(async move {
                let login = jane();
                let mut starter = pin!(cache.token(&login));
                if both_run.wait().is_leader() {
                    let _ = starter.as_mut().now_or_never();
                }
                // From now on no thread of the runtime drives its timers.
                both_run.wait();
                assert_blocking_token(&cache);
            })
        });
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
}

// What a fetch runs on

/// In such a task, tokio's own futures are never ready before the task yields, and a blocked task does not yield.
#[test]
fn a_task_that_has_used_up_its_budget_may_call_blocking_token() {
    watched(|| {
        let go_on = Arc::new(Notify::new());
        let provider = {
            let go_on = Arc::clone(&go_on);
            ScriptedProvider::new(move |_| answer_in_steps(Arc::clone(&go_on)))
        };
        let cache = provider.cache();
        current_thread_runtime().block_on(async {
            let task = tokio::spawn(async move {
                while tokio::task::coop::has_budget_remaining() {
                    tokio::task::coop::consume_budget().await;
                }
                let is_pending = cache.token(&joe()).now_or_never().is_none();
                go_on.notify_one();
                (is_pending, cache.blocking_token(&jane()).unwrap())
            });
            let (is_pending, token) = task.await.unwrap();
            assert!(is_pending);
            assert_eq!(key(&token), "akid");
        });
    });
}

#[test]
fn a_caller_on_a_runtime_without_timers_may_use_a_provider_that_needs_timers() {
    watched(|| {
        let go_on = Arc::new(Notify::new());
        go_on.notify_one();
        let cache = ScriptedProvider::new(move |_| answer_in_steps(Arc::clone(&go_on))).cache();
        let caller = runtime_without_timers();
        let token = caller.block_on(cache.token(&jane())).unwrap();
        assert_eq!(key(&token), "akid");
    });
}

#[test]
fn connections_and_tasks_of_a_provider_outlive_its_fetches() {
    watched(|| {
        let questions = Arc::new(Mutex::new(None));
        let provider = ScriptedProvider::new(move |call| {
            let questions = Arc::clone(&questions);
            async move {
                let channel: tokio::sync::mpsc::Sender<oneshot::Sender<usize>> = {
                    let mut questions = questions.lock().unwrap();
                    // A task drives the connection, as in the SDK's HTTP client.
                    let connect = || {
                        let (questions, mut asked) = tokio::sync::mpsc::channel(1);
                        tokio::spawn(async move {
                            while let Some(answer) = asked.recv().await {
                                let _ = oneshot::Sender::send(answer, call);
                            }
                        });
                        questions
                    };
                    questions.get_or_insert_with(connect).clone()
                };
                let (question, answer) = oneshot::channel();
                channel.send(question).await.unwrap();
                Ok(keys(&format!("connection{}", answer.await.unwrap())))
            }
        });
        let cache = provider.cache();
        let first = cache.blocking_token(&jane()).unwrap();
        cache.invalidate(&jane(), &first);
        let second = cache.blocking_token(&jane()).unwrap();
        assert_eq!((key(&first), key(&second)), ("connection1", "connection1"));
        assert_eq!(provider.calls(), 2);
    });
}

// Blocking providers

#[test]
fn blocking_work_that_a_provider_leaves_behind_delays_no_caller() {
    watched(|| {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let cache = ScriptedProvider::new(move |_| {
            let ended = Arc::clone(&ended);
            async move {
                // The slower of two DNS look-ups is left behind like this.
                drop(tokio::task::spawn_blocking(move || {
                    ended.lock().unwrap().recv()
                }));
                Ok(keys("akid"))
            }
        })
        .cache();
        assert_eq!(key(&cache.blocking_token(&jane()).unwrap()), "akid");
        drop(end);
    });
}

/// The first calls block their threads until the test lets them go on.
struct BlockingProvider {
    provider: ScriptedProvider,
    /// By the number of the call.
    go_on: Arc<Mutex<HashMap<usize, Sender<()>>>>,
    has_started: Receiver<usize>,
}

fn blocking_for_calls(blocking: usize) -> BlockingProvider {
    let (started, has_started) = mpsc::channel();
    let go_on = Arc::new(Mutex::new(HashMap::new()));
    let channels = Arc::clone(&go_on);
    let provider = ScriptedProvider::new(move |call| {
        let (go_on, may_go_on) = mpsc::channel();
        channels.lock().unwrap().insert(call, go_on);
        started.send(call).unwrap();
        if call <= blocking {
            let _ = may_go_on.recv();
        }
        async { Ok(keys("akid")) }
    });
    BlockingProvider {
        provider,
        go_on,
        has_started,
    }
}

fn is_timed_out(error: &Error) -> bool {
    matches!(error, Error::FetchTimedOut { .. })
}

#[test]
fn a_provider_that_blocks_its_thread_times_out_and_the_next_fetch_has_another_thread() {
    watched(|| {
        let provider = blocking_for_calls(1);
        let limits = Limits::default();
        let cache = limits.cache(&provider.provider);
        thread::scope(|scope| {
            let blocking = scope.spawn(|| cache.blocking_token(&jane()));
            provider.has_started.recv().unwrap();
            let of_async = scope.spawn(|| current_thread_runtime().block_on(cache.token(&joe())));
            limits.end_one();
            assert!(is_timed_out(&blocking.join().unwrap().unwrap_err()));
            // The async caller has joined the fetch, or started the next fetch.
            if let Err(error) = of_async.join().unwrap() {
                assert!(is_timed_out(&error), "{error}");
            }
        });
        assert_eq!(key(&cache.blocking_token(&jane()).unwrap()), "akid");
        assert_eq!(provider.provider.calls(), 2);
        provider.go_on.lock().unwrap().clear();
    });
}

#[test]
fn while_4_fetches_have_timed_out_and_hang_no_other_fetch_starts() {
    watched(|| {
        let provider = blocking_for_calls(4);
        let limits = Limits::default();
        let cache = limits.cache(&provider.provider);
        for fetch in 1..=4 {
            thread::scope(|scope| {
                let call = scope.spawn(|| cache.blocking_token(&jane()));
                assert_eq!(provider.has_started.recv(), Ok(fetch));
                limits.end_one();
                assert!(is_timed_out(&call.join().unwrap().unwrap_err()));
            });
        }
        let error = cache.blocking_token(&jane()).unwrap_err();
        assert!(error.to_string().contains("4 fetches"), "{error}");
        assert!(matches!(error, Error::ProviderHangs { fetches: 4 }));
        assert_eq!(provider.provider.calls(), 4);
        // The second fetch returns at last.
        provider.go_on.lock().unwrap().remove(&2);
        let token = loop {
            match cache.blocking_token(&jane()) {
                Ok(token) => break token,
                Err(Error::ProviderHangs { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(key(&token), "akid");
        assert_eq!(provider.provider.calls(), 5);
        provider.go_on.lock().unwrap().clear();
    });
}

#[test]
fn a_provider_that_waits_without_blocking_leaves_no_thread_when_the_fetch_times_out() {
    struct Dropped(Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    watched(|| {
        let ((started, has_started), (sender, dropped)) = (mpsc::channel(), mpsc::channel());
        let limits = Limits::default();
        let provider = ScriptedProvider::new(move |_| {
            started.send(()).unwrap();
            let dropped = Dropped(sender.clone());
            async move {
                let _dropped = dropped;
                pending().await
            }
        });
        let cache = limits.cache(&provider);
        for fetch in 1..=10 {
            let error = thread::scope(|scope| {
                let call = scope.spawn(|| {
                    loop {
                        match cache.blocking_token(&jane()).unwrap_err() {
                            // The thread of the last fetch is about to end.
                            Error::ProviderHangs { .. } => thread::yield_now(),
                            error => break error,
                        }
                    }
                });
                has_started.recv().unwrap();
                limits.end_one();
                call.join().unwrap()
            });
            assert!(is_timed_out(&error), "{error}");
            dropped.recv().unwrap();
            assert_eq!(provider.calls(), fetch);
        }
    });
}

/// A provider whose task blocks the runtime of the providers, after that runtime has woken the task, until `end` is dropped.
fn provider_whose_task_blocks() -> (Sender<()>, ScriptedProvider) {
    let (end, ended) = mpsc::channel();
    let ended = Arc::new(Mutex::new(ended));
    let provider = ScriptedProvider::new(move |_| {
        let ended = Arc::clone(&ended);
        async move {
            let task = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ended.lock().unwrap().recv()
            });
            let _ = task.await;
            Ok(keys("akid"))
        }
    });
    (end, provider)
}

/// Tokio's timer, a thousand times faster.
#[derive(Debug)]
struct Fast;

impl AsyncSleep for Fast {
    fn sleep(&self, duration: Duration) -> Sleep {
        TokioSleep::new().sleep(duration / 1000)
    }
}

/// Like [`Fast`], but tokio's timer is only used when the sleep is polled.
#[derive(Debug)]
struct LazyFast;

impl AsyncSleep for LazyFast {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(async move { tokio::time::sleep(duration / 1000).await })
    }
}

fn fails_twice() -> ScriptedProvider {
    ScriptedProvider::new(|call| async move {
        match call {
            1..3 => Err(CredentialsError::provider_error("no route to host")),
            _ => Ok(keys("akid")),
        }
    })
}

/// Waits, outside of any runtime, until `keep_fresh` has a token, after two pauses.
fn assert_keeps_fresh(builder: TokenCacheBuilder) {
    let cache = builder.build().unwrap();
    let (apply, applied) = mpsc::channel();
    thread::spawn(move || {
        let apply = |token: &Token| drop(apply.send(token.clone()));
        match block_on(cache.keep_fresh(&jane(), apply)) {}
    });
    assert_eq!(key(&applied.recv().unwrap()), "akid");
}

#[test]
fn a_task_of_a_provider_that_blocks_the_runtime_stops_no_time_limit_and_no_keep_fresh() {
    /// Runs alone, because the other tests use the same runtime.
    const NAME: &str =
        "a_task_of_a_provider_that_blocks_the_runtime_stops_no_time_limit_and_no_keep_fresh";

    if !std::env::args().any(|argument| argument == NAME) {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", NAME];
        let output = process::Command::new(program).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    watched(|| {
        let (end, provider) = provider_whose_task_blocks();
        for is_lazy in [false, true] {
            let builder = TokenCache::builder(provider.clone());
            let builder = match is_lazy {
                false => builder.sleep_impl(Fast),
                true => builder.sleep_impl(LazyFast),
            };
            let cache = builder.build().unwrap();
            assert!(is_timed_out(&cache.blocking_token(&jane()).unwrap_err()));
        }
        // The runtime is still blocked.
        let builder = TokenCache::builder(fails_twice());
        assert_keeps_fresh(builder.sleep_impl(Fast));
        drop(end);
    });
}

#[test]
fn keep_fresh_needs_no_runtime_whichever_sleep_it_has_and_wherever_fetches_run() {
    watched(|| {
        let runtime = runtime_of(1);
        let handle = runtime.handle().clone();
        let builder = || TokenCache::builder(fails_twice());
        assert_keeps_fresh(builder().sleep_impl(Fast));
        assert_keeps_fresh(builder().sleep_impl(LazyFast));
        let builder = builder().sleep_impl(LazyFast);
        assert_keeps_fresh(builder.spawn_with(move |future| drop(handle.spawn(future))));
    });
}

#[test]
fn a_provider_may_block_on_other_executors() {
    watched(|| {
        let cache = ScriptedProvider::new(|_| async {
            // A provider without async uses an async library like this.
            let answer = block_on(async { keys("inner") });
            let handle = tokio::runtime::Handle::current();
            let other = tokio::task::block_in_place(|| handle.block_on(async { keys("outer") }));
            assert_ne!(answer.access_key_id(), other.access_key_id());
            Ok::<Credentials, _>(other)
        })
        .cache();
        assert_eq!(key(&cache.blocking_token(&jane()).unwrap()), "outer");
    });
}

// A dropped cache

#[test]
fn a_fetch_whose_cache_was_dropped_ends_and_drops_the_provider() {
    watched(|| {
        let provider = blocking_for_calls(1);
        let cache = provider.provider.cache();
        Call::of(&cache, &jane()).assert_pending();
        provider.has_started.recv().unwrap();
        drop(cache);
        let go_on = provider.go_on.lock().unwrap().remove(&1);
        drop(go_on);
        // The fetch ends, and no cache is left for its answer.
        while !provider.provider.is_last_clone() {
            thread::yield_now();
        }
    });
}

// Races

/// Two threads sign for the same login, the first with the old credentials just before they are replaced.
#[test]
fn a_token_of_older_credentials_never_replaces_a_token_of_newer_credentials() {
    const ROUNDS: usize = 3000;

    watched(|| {
        for round in 0..ROUNDS {
            let provider = ScriptedProvider::new(move |call| async move {
                Ok(match call {
                    1 => Credentials::new(
                        "old",
                        "secret",
                        Some("token".repeat(400)),
                        Some(at(s(1000))),
                        "test",
                    ),
                    _ => keys_until("new", s(950)),
                })
            });
            let harness = Harness::over(provider, Clock::default());
            harness.token(&jane());
            // No fetch is due while 961 s remain. A fetch is due 1 s later.
            harness.set_clock(s(39));
            let start = Barrier::new(2);
            let drive = |sets_clock: bool| {
                let mut call = harness.call(&joe());
                start.wait();
                if sets_clock {
                    harness.set_clock(s(41));
                }
                block_on(poll_fn(|_| {
                    call.poll().map_or(Poll::Pending, |_| Poll::Ready(()))
                }));
                call.token()
            };
            let [old, new] = thread::scope(|scope| {
                let threads =
                    [false, true].map(|sets_clock| scope.spawn(move || drive(sets_clock)));
                threads.map(|thread| thread.join().unwrap())
            });
            let cached = harness.token(&joe());
            let replaced_by_old = key(&old) == "old" && key(&new) == "new" && key(&cached) == "old";
            // If both tokens expire at the same time, the first token stays cached.
            assert!(
                !replaced_by_old || cached.expires_at() == new.expires_at(),
                "in round {round}"
            );
        }
    });
}

/// A clock that holds the thread `held` after each of its readings, until the test lets the thread go on.
#[derive(Clone, Debug)]
struct HoldingClock {
    clock: Clock,
    readings: Sender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl TimeSource for HoldingClock {
    fn now(&self) -> SystemTime {
        let now = self.clock.now();
        if thread::current().name() == Some("held") && self.readings.send(()).is_ok() {
            let _ = self.go_on.lock().unwrap().recv();
        }
        now
    }
}

#[test]
fn a_call_that_is_suspended_after_a_reading_of_the_clock_does_not_replace_a_newer_token() {
    // Before the signature. The second reading is under a lock of the cache.
    for held_reading in [1, 3] {
        watched(|| {
            let (clock, (readings, has_read)) = (Clock::default(), mpsc::channel());
            let (go_on, may_go_on) = mpsc::channel();
            let holding = HoldingClock {
                clock: clock.clone(),
                readings,
                go_on: Arc::new(Mutex::new(may_go_on)),
            };
            let builder = TokenCache::builder(keys("akid")).time_source(holding);
            let cache = builder.build().unwrap();
            cache.blocking_token(&joe()).unwrap();
            thread::scope(|scope| {
                let held = thread::Builder::new().name("held".to_owned());
                let held = held.spawn_scoped(scope, || cache.blocking_token(&jane()).unwrap());
                for _ in 1..held_reading {
                    has_read.recv().unwrap();
                    go_on.send(()).unwrap();
                }
                has_read.recv().unwrap();
                clock.advance(s(200));
                let newer = cache.blocking_token(&jane()).unwrap();
                drop((go_on, has_read));
                held.unwrap().join().unwrap();
                assert_same(&cache.blocking_token(&jane()).unwrap(), &newer);
            });
        });
    }
}
