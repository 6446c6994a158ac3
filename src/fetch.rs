//! Fetches that run on their own (rule 1). On the crate's threads, each fetch ends within 30 s, whatever happens to the
//! callers and their runtimes.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fmt, io, process, thread};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Either, abortable, select};
use tokio::sync::{oneshot, watch};
use tracing::instrument::WithSubscriber;

use crate::{Error, runtime};

/// Longer than a healthy source needs, including the SDK's retries.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Hung fetches of a cache after which no new fetch starts. Limits the blocked threads.
const MAX_HUNG_FETCHES: usize = 4;

/// The same for the process, for programs with many caches.
const MAX_HUNG_FETCHES_OF_PROCESS: usize = 64;

static HUNG_IN_PROCESS: Mutex<Vec<Running>> = Mutex::new(Vec::new());

type SpawnWith = dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync;

/// Runs the fetches of a cache: on threads of the crate, or with the closure of an embedder.
#[derive(Clone, Default)]
pub(crate) struct FetchExecutor {
    pub(crate) spawn_with: Option<Arc<SpawnWith>>,
    pub(crate) sleep: Option<SharedAsyncSleep>,
    hung: Arc<Mutex<Vec<Running>>>,
}

impl FetchExecutor {
    /// Runs `work`. Calls `complete` once: with the answer, or with an error after 30 s at the latest.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        complete: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let completion = Arc::new(Completion::new(complete));
        if let Err(error) = self.start(work, completion.clone()) {
            completion.complete(Err(error));
        }
    }

    /// Starts the provider and the time limit on separate threads or tasks, because the provider may block.
    fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        completion: Arc<Completion<T>>,
    ) -> Result<(), Error> {
        self.check_hung_fetches()?;
        let (work, abort) = abortable(AssertUnwindSafe(work).catch_unwind());
        let (alive, running) = Running::new();
        let provider = async move {
            let answer = work.await.ok()?;
            drop(alive);
            Some(answer.unwrap_or_else(|panic| Err(map_panic(&*panic))))
        };
        let provider = provider.with_current_subscriber();
        let hung = Arc::clone(&self.hung);
        let guard = ProviderGuard {
            abort,
            running,
            hung,
        };
        let sleep = self.sleep.clone();
        match (&self.spawn_with, sleep) {
            (Some(spawn), Some(sleep)) => {
                let (sender, answer) = oneshot::channel();
                spawn(Box::pin(provider.map(|answer| send(sender, answer))));
                spawn(Box::pin(async move {
                    let outcome = within(sleep.sleep(FETCH_TIMEOUT), answer).await;
                    drop(guard);
                    completion.complete(outcome);
                }));
                Ok(())
            }
            (_, sleep) => spawn_thread("rds-iam-fetch", move || {
                let run = || run_with_time_limit(provider, sleep);
                let outcome = catch_unwind(AssertUnwindSafe(run));
                drop(guard);
                completion.complete(outcome.unwrap_or_else(|panic| Err(map_panic(&*panic))));
            }),
        }
    }

    fn check_hung_fetches(&self) -> Result<(), Error> {
        for (hung, limit) in [
            (&*self.hung, MAX_HUNG_FETCHES),
            (&HUNG_IN_PROCESS, MAX_HUNG_FETCHES_OF_PROCESS),
        ] {
            let mut hung = lock(hung);
            hung.retain(Running::is_alive);
            let fetches = hung.len();
            if fetches >= limit {
                return Err(Error::ProviderHangs { fetches });
            }
        }
        Ok(())
    }

    /// A pause of `keep_fresh`, which may be polled outside of any runtime.
    #[cfg(feature = "rt-tokio")]
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        match (&self.spawn_with, &self.sleep) {
            (Some(spawn), Some(sleep)) => sleep_in_task(&**spawn, sleep.clone(), duration),
            (_, sleep) => sleep_inside_timers(sleep.as_ref(), duration),
        }
    }
}

impl fmt::Debug for FetchExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchExecutor").finish_non_exhaustive()
    }
}

/// `None` is the answer of a canceled provider.
fn run_with_time_limit<T: Send + 'static>(
    provider: impl Future<Output = Option<Result<T, Error>>> + Send + 'static,
    sleep: Option<SharedAsyncSleep>,
) -> Result<T, Error> {
    // The provider's thread uses this runtime. If the runtime cannot start, the error is reported here.
    runtime::PROVIDERS.inside(|| ()).map_err(cannot_start)?;
    let Some(sleep) = sleep else {
        let (sender, answer) = mpsc::channel();
        start_provider(provider.map(move |answer| drop(answer.map(|answer| sender.send(answer)))))?;
        return match answer.recv_timeout(FETCH_TIMEOUT) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => Err(ended_without_answer()),
        };
    };
    let run = || {
        // If the sleep needs tokio and there is none, this panics before the provider is called.
        let limit = sleep.sleep(FETCH_TIMEOUT);
        let (sender, answer) = oneshot::channel();
        start_provider(provider.map(|answer| send(sender, answer)))?;
        pollster::block_on(within(limit, answer))
    };
    runtime::TIMERS
        .inside(run)
        .unwrap_or_else(|error| Err(cannot_start(error)))
}

fn start_provider(provider: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    spawn_thread("rds-iam-provider", || {
        let _ = runtime::PROVIDERS.inside(|| pollster::block_on(provider));
    })
}

fn send<T>(sender: oneshot::Sender<Result<T, Error>>, answer: Option<Result<T, Error>>) {
    // Nobody waits for a late answer.
    let _ = answer.map(|answer| sender.send(answer));
}

async fn within<T>(limit: Sleep, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
    match select(answer, limit).await {
        Either::Left((answer, _)) => answer.unwrap_or_else(|_| Err(ended_without_answer())),
        Either::Right(_) => Err(timed_out()),
    }
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(cannot_start)
}

/// Sleeps in the embedder's runtime, wherever the sleep is polled.
#[cfg(feature = "rt-tokio")]
fn sleep_in_task(spawn: &SpawnWith, sleep: SharedAsyncSleep, duration: Duration) -> Sleep {
    let (mut sender, end) = oneshot::channel();
    spawn(Box::pin(async move {
        let slept = {
            let dropped = std::pin::pin!(sender.closed());
            matches!(
                select(sleep.sleep(duration), dropped).await,
                Either::Left(_)
            )
        };
        if slept {
            let _ = sender.send(());
        }
    }));
    Sleep::new(async move {
        if end.await.is_err() {
            // The runtime has ended. A pause that ends at once would be an endless loop.
            std::future::pending().await
        }
    })
}

/// Makes and polls a sleep inside the runtime for timers.
#[cfg(feature = "rt-tokio")]
fn sleep_inside_timers(sleep: Option<&SharedAsyncSleep>, duration: Duration) -> Sleep {
    let Ok(timers) = runtime::TIMERS.handle() else {
        // No thread is left. To block the caller for a second is better than to try without a pause.
        thread::sleep(duration.min(Duration::from_secs(1)));
        return Sleep::new(std::future::ready(()));
    };
    let entered = timers.enter();
    let mut pause = match sleep {
        Some(sleep) => sleep.sleep(duration),
        None => Sleep::new(tokio::time::sleep(duration)),
    };
    drop(entered);
    Sleep::new(std::future::poll_fn(move |context| {
        let _entered = timers.enter();
        pause.poll_unpin(context)
    }))
}

/// Cancels the provider when the fetch has ended. A provider that does not stop counts as hung.
struct ProviderGuard {
    abort: AbortHandle,
    running: Running,
    hung: Arc<Mutex<Vec<Running>>>,
}

impl Drop for ProviderGuard {
    fn drop(&mut self) {
        self.abort.abort();
        if self.running.is_alive() {
            lock(&self.hung).push(self.running.clone());
            lock(&HUNG_IN_PROCESS).push(self.running.clone());
        }
    }
}

/// Whether a provider's future still exists.
#[derive(Clone)]
struct Running {
    alive: Weak<()>,
    /// A forked child has none of its parent's threads.
    process: u32,
}

impl Running {
    fn new() -> (Arc<()>, Running) {
        let alive = Arc::new(());
        let running = Running {
            alive: Arc::downgrade(&alive),
            process: process::id(),
        };
        (alive, running)
    }

    fn is_alive(&self) -> bool {
        self.process == process::id() && self.alive.strong_count() > 0
    }
}

type Complete<T> = dyn FnOnce(Result<T, Error>) + Send;

/// Calls a function with the outcome of a fetch: once, and also if an embedder's runtime drops the fetch.
struct Completion<T>(Mutex<Option<Box<Complete<T>>>>);

impl<T> Completion<T> {
    fn new(complete: impl FnOnce(Result<T, Error>) + Send + 'static) -> Completion<T> {
        Completion(Mutex::new(Some(Box::new(complete))))
    }

    fn complete(&self, outcome: Result<T, Error>) {
        let complete = lock(&self.0).take();
        if let Some(complete) = complete {
            complete(outcome);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.complete(Err(ended_without_answer()));
    }
}

/// A fetch in flight, for each waiter.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    /// Only whether the fetch succeeded, so that no secret is kept here.
    outcome: watch::Receiver<Option<Result<(), Error>>>,
    /// A forked child has none of its parent's threads.
    process: u32,
}

pub(crate) type OutcomeSender = watch::Sender<Option<Result<(), Error>>>;

impl InFlight {
    /// A fetch that is in flight until the outcome is sent, or the sender is dropped.
    pub(crate) fn new() -> (OutcomeSender, InFlight) {
        let (sender, outcome) = watch::channel(None);
        let process = process::id();
        (sender, InFlight { outcome, process })
    }

    pub(crate) fn has_ended(&self) -> bool {
        // The process first: the parent may have forked while the outcome was locked.
        self.process != process::id() || self.outcome.is_closed() || self.outcome.borrow().is_some()
    }

    pub(crate) async fn outcome(mut self) -> Result<(), Error> {
        let outcome = self.outcome.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(ended_without_answer()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timed_out() -> Error {
    let after = FETCH_TIMEOUT;
    Error::FetchTimedOut { after }
}

fn ended_without_answer() -> Error {
    CredentialsError::unhandled("the fetch ended without an answer").into()
}

fn cannot_start(error: io::Error) -> Error {
    CredentialsError::provider_error(error).into()
}

/// Maps a panic to an error. Tokio reports in no other way that there is no runtime, or none with I/O and timers.
fn map_panic(panic: &(dyn Any + Send)) -> Error {
    const NO_RUNTIME: [&str; 3] = [
        "no reactor running, must be called from the context of a Tokio",
        "A Tokio 1.x context was found, but timers are disabled",
        "A Tokio 1.x context was found, but IO is disabled",
    ];
    let message = panic.downcast_ref::<String>().map(String::as_str);
    match message.or_else(|| panic.downcast_ref::<&str>().copied()) {
        Some(message) if NO_RUNTIME.iter().any(|text| message.contains(text)) => {
            Error::TokioRequired
        }
        _ => CredentialsError::unhandled("the credentials provider panicked").into(),
    }
}
