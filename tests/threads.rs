//! Fetches on the crate's own threads (rules 1 and 8): they make progress whatever their callers and the callers'
//! runtimes do. The provider and the time limit are in the test's hands.

#[allow(dead_code, reason = "shared with the tests of the cache")]
#[path = "cache/stage.rs"]
mod stage;

use std::collections::HashMap;
use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use std::{fmt, process};

use aws_credential_types::provider::{self, future};
use aws_smithy_async::rt::sleep::{Sleep, TokioSleep};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::{AsyncSleep, Credentials, Error, ProvideCredentials, TokenCache};
use stage::*;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

/// Ends a program that hangs. No test takes as long on any machine.
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

/// A provider whose calls do what the test says for each number, from 1 on.
#[derive(Clone)]
struct Source {
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

type Answer = BoxFuture<'static, provider::Result>;

impl Source {
    fn new<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> Source
    where
        F: Future<Output = provider::Result> + Send + 'static,
    {
        Source {
            answer: Arc::new(move |call| answer(call).boxed()),
            calls: Arc::default(),
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn cache(&self) -> TokenCache {
        TokenCache::builder(self.clone()).build().unwrap()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        future::ProvideCredentials::new((self.answer)(call))
    }
}

/// Time limits that the test ends, each on the thread of its fetch.
#[derive(Clone, Debug, Default)]
struct Limits(Arc<Notify>);

impl Limits {
    /// Ends the time limit of the fetch in flight, or of the next.
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

fn current_thread_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn runtime_of(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// What providers do: I/O in steps, each with tokio's timer or tasks of the runtime that runs then.
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
fn a_caller_that_looks_in_while_the_provider_answers_costs_no_wake_up() {
    /// Done when it is set, and slow to say that it is not.
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
            Source::new(move |call| {
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
            // Another caller looks in. Then the answer is there, while the provider is still polled.
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
fn a_fetch_outlives_the_runtime_of_its_caller_and_any_that_only_looked_in() {
    watched(|| {
        for is_dropped in [false, true] {
            for runtime in [current_thread_runtime(), runtime_of(1)] {
                let go_on = Arc::new(Notify::new());
                let provider = {
                    let go_on = Arc::clone(&go_on);
                    Source::new(move |_| answer_in_steps(Arc::clone(&go_on)))
                };
                let cache = provider.cache();
                let looks_in = async { cache.token(&jane()).now_or_never().is_some() };
                assert!(!runtime.block_on(looks_in));
                // It is blocked from now on, or gone.
                let _blocked = (!is_dropped).then_some(runtime);
                let visitor = current_thread_runtime();
                let looks_in = async { cache.token(&joe()).now_or_never().is_some() };
                assert!(!visitor.block_on(looks_in));
                drop(visitor);
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
    const CALLERS: usize = 20;

    watched(|| {
        let go_on = Arc::new(Notify::new());
        let provider = {
            let go_on = Arc::clone(&go_on);
            Source::new(move |_| answer_in_steps(Arc::clone(&go_on)))
        };
        let cache = provider.cache();
        let runtime = runtime_of(2);
        let (called, calls) = mpsc::channel();
        let mut callers = Vec::new();
        for n in 0..CALLERS {
            let login = login(&format!("user{n}"));
            let (task, its_login, its_called) = (cache.clone(), login.clone(), called.clone());
            callers.push(runtime.spawn(async move {
                let mut token = Box::pin(task.token(&its_login));
                assert!(token.as_mut().now_or_never().is_none());
                its_called.send(()).unwrap();
                token.await
            }));
            let (cache, called) = (cache.clone(), called.clone());
            callers.push(runtime.spawn_blocking(move || {
                called.send(()).unwrap();
                cache.blocking_token(&login)
            }));
        }
        for _ in 0..2 * CALLERS {
            calls.recv().unwrap();
        }
        go_on.notify_one();
        for caller in callers {
            let token = runtime.block_on(caller).unwrap().unwrap();
            assert_eq!(key(&token), "akid");
        }
        assert_eq!(provider.calls(), 1);
    });
}

/// Such a task waits for its turn, which does not come while the task blocks its thread.
#[test]
fn a_task_that_has_used_up_its_budget_may_call_blocking_token() {
    watched(|| {
        let go_on = Arc::new(Notify::new());
        let provider = {
            let go_on = Arc::clone(&go_on);
            Source::new(move |_| answer_in_steps(Arc::clone(&go_on)))
        };
        let cache = provider.cache();
        current_thread_runtime().block_on(async {
            let task = tokio::spawn(async move {
                while tokio::task::coop::has_budget_remaining() {
                    tokio::task::coop::consume_budget().await;
                }
                let waits = cache.token(&joe()).now_or_never().is_none();
                go_on.notify_one();
                (waits, cache.blocking_token(&jane()).unwrap())
            });
            let (waits, token) = task.await.unwrap();
            assert!(waits);
            assert_eq!(key(&token), "akid");
        });
    });
}

#[test]
fn a_caller_on_a_runtime_without_timers_may_ask_a_provider_that_needs_them() {
    watched(|| {
        let go_on = Arc::new(Notify::new());
        go_on.notify_one();
        let cache = Source::new(move |_| answer_in_steps(Arc::clone(&go_on))).cache();
        let without_timers = Builder::new_current_thread().build().unwrap();
        let token = without_timers.block_on(cache.token(&jane())).unwrap();
        assert_eq!(key(&token), "akid");
    });
}

#[test]
fn connections_and_tasks_of_a_provider_live_on_between_its_fetches() {
    watched(|| {
        let questions = Arc::new(Mutex::new(None));
        let provider = Source::new(move |call| {
            let questions = Arc::clone(&questions);
            async move {
                let channel: tokio::sync::mpsc::Sender<oneshot::Sender<usize>> = {
                    let mut questions = questions.lock().unwrap();
                    // As the SDK's HTTP client keeps a connection, which a task of its runtime drives.
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

// A provider that blocks

#[test]
fn blocking_work_that_a_provider_has_left_behind_holds_nobody_up() {
    watched(|| {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let cache = Source::new(move |_| {
            let ended = Arc::clone(&ended);
            async move {
                // As the slower of two look-ups of a name.
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

/// A provider whose calls block their thread until they are told to go on, except as many as do not.
struct Blocking {
    source: Source,
    /// By the call's number.
    go_on: Arc<Mutex<HashMap<usize, Sender<()>>>>,
    has_begun: Receiver<usize>,
}

fn blocking_for_calls(blocking: usize) -> Blocking {
    let (begun, has_begun) = mpsc::channel();
    let go_on = Arc::new(Mutex::new(HashMap::new()));
    let channels = Arc::clone(&go_on);
    let source = Source::new(move |call| {
        let (go_on, may_go_on) = mpsc::channel();
        channels.lock().unwrap().insert(call, go_on);
        begun.send(call).unwrap();
        if call <= blocking {
            let _ = may_go_on.recv();
        }
        async { Ok(keys("akid")) }
    });
    Blocking {
        source,
        go_on,
        has_begun,
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
        let cache = TokenCache::builder(provider.source.clone())
            .sleep_impl(limits.clone())
            .build()
            .unwrap();
        thread::scope(|scope| {
            let blocking = scope.spawn(|| cache.blocking_token(&jane()));
            provider.has_begun.recv().unwrap();
            let of_async = scope.spawn(|| current_thread_runtime().block_on(cache.token(&joe())));
            limits.end_one();
            assert!(is_timed_out(&blocking.join().unwrap().unwrap_err()));
            // It has joined the fetch, or started the next.
            if let Err(error) = of_async.join().unwrap() {
                assert!(is_timed_out(&error), "{error}");
            }
        });
        assert_eq!(key(&cache.blocking_token(&jane()).unwrap()), "akid");
        assert_eq!(provider.source.calls(), 2);
        provider.go_on.lock().unwrap().clear();
    });
}

#[test]
fn while_four_fetches_have_timed_out_and_hang_no_other_starts() {
    watched(|| {
        let provider = blocking_for_calls(4);
        let limits = Limits::default();
        let cache = TokenCache::builder(provider.source.clone())
            .sleep_impl(limits.clone())
            .build()
            .unwrap();
        for fetch in 1..=4 {
            thread::scope(|scope| {
                let call = scope.spawn(|| cache.blocking_token(&jane()));
                assert_eq!(provider.has_begun.recv(), Ok(fetch));
                limits.end_one();
                assert!(is_timed_out(&call.join().unwrap().unwrap_err()));
            });
        }
        let error = cache.blocking_token(&jane()).unwrap_err();
        assert!(error.to_string().contains("4 fetches"), "{error}");
        assert!(matches!(error, Error::ProviderHangs { fetches: 4 }));
        assert_eq!(provider.source.calls(), 4);
        // One of them returns, at last.
        provider.go_on.lock().unwrap().remove(&2);
        let token = loop {
            match cache.blocking_token(&jane()) {
                Ok(token) => break token,
                Err(Error::ProviderHangs { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(key(&token), "akid");
        assert_eq!(provider.source.calls(), 5);
        provider.go_on.lock().unwrap().clear();
    });
}

#[test]
fn a_fetch_that_waits_without_blocking_leaves_no_thread_when_it_times_out() {
    struct Dropped(Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    watched(|| {
        let ((begun, has_begun), (sender, dropped)) = (mpsc::channel(), mpsc::channel());
        let limits = Limits::default();
        let provider = Source::new(move |_| {
            begun.send(()).unwrap();
            let dropped = Dropped(sender.clone());
            async move {
                let _dropped = dropped;
                pending().await
            }
        });
        let cache = TokenCache::builder(provider.clone())
            .sleep_impl(limits.clone())
            .build()
            .unwrap();
        for fetch in 1..=10 {
            let error = thread::scope(|scope| {
                let call = scope.spawn(|| {
                    loop {
                        match cache.blocking_token(&jane()).unwrap_err() {
                            // The thread of the fetch before is about to end.
                            Error::ProviderHangs { .. } => thread::yield_now(),
                            error => break error,
                        }
                    }
                });
                has_begun.recv().unwrap();
                limits.end_one();
                call.join().unwrap()
            });
            assert!(is_timed_out(&error), "{error}");
            dropped.recv().unwrap();
            assert_eq!(provider.calls(), fetch);
        }
    });
}

#[test]
fn a_task_of_a_provider_that_blocks_a_thread_of_the_runtime_does_not_stop_the_time_limit() {
    watched(|| {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let provider = Source::new(move |_| {
            let ended = Arc::clone(&ended);
            async move {
                let _ = tokio::spawn(async move { ended.lock().unwrap().recv() }).await;
                Ok(keys("akid"))
            }
        });
        /// Tokio's timer, for which 30 s are over at once.
        #[derive(Debug)]
        struct Fast;

        impl AsyncSleep for Fast {
            fn sleep(&self, duration: Duration) -> Sleep {
                TokioSleep::new().sleep(duration / 1000)
            }
        }

        let cache = TokenCache::builder(provider)
            .sleep_impl(Fast)
            .build()
            .unwrap();
        assert!(is_timed_out(&cache.blocking_token(&jane()).unwrap_err()));
        drop(end);
    });
}

#[test]
fn a_provider_that_is_driven_by_another_executor_inside_may_be_asked() {
    watched(|| {
        let cache = Source::new(|_| async {
            // As a provider without async does that calls a library with it.
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

// The end of a cache

#[test]
fn a_fetch_whose_cache_was_dropped_ends_and_lets_go_of_the_provider() {
    watched(|| {
        let provider = blocking_for_calls(1);
        let cache = provider.source.cache();
        assert!(Call::of(&cache, &jane()).poll().is_none());
        provider.has_begun.recv().unwrap();
        drop(cache);
        let go_on = provider.go_on.lock().unwrap().remove(&1);
        drop(go_on);
        // The fetch ends, and nobody is there for its answer.
        let Blocking { source, .. } = provider;
        while Arc::strong_count(&source.calls) > 1 {
            thread::yield_now();
        }
    });
}

// Races

/// Threads sign for one login, one with credentials that are about to be replaced.
#[test]
fn no_token_of_older_credentials_replaces_one_of_newer() {
    const ROUNDS: usize = 3000;

    watched(|| {
        for round in 0..ROUNDS {
            let clock = Clock::default();
            let provider = Source::new(move |call| async move {
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
            let builder = TokenCache::builder(provider)
                .time_source(clock.clone())
                .sleep_impl(Sleeps::default());
            let cache = by_hand(builder).build().unwrap();
            Call::of(&cache, &jane()).token();
            // 961 s remain, so no fetch is due, and one is soon after.
            clock.set(at(s(39)));
            let start = std::sync::Barrier::new(2);
            let drive = |sets_clock: bool| {
                let mut call = Call::of(&cache, &joe());
                start.wait();
                if sets_clock {
                    clock.set(at(s(41)));
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
            let cached = Call::of(&cache, &joe()).token();
            let replaced_by_old = key(&old) == "old" && key(&new) == "new" && key(&cached) == "old";
            // Unless both expire at the same time: then the first token is kept.
            assert!(
                !replaced_by_old || cached.expires_at() == new.expires_at(),
                "in round {round}"
            );
        }
    });
}
