//! Fetches that run on their own: whatever happens to their callers and the callers' runtimes, each ends within 30 s.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use std::{fmt, io, process, thread};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use futures_util::FutureExt;
use futures_util::future::{Either, abortable, select};
use oneshot::RecvTimeoutError;
use tokio::sync::watch;
use tracing::instrument::WithSubscriber;

use crate::{Error, runtime};

/// Longer than a healthy source takes with the SDK's retries, and as long as a caller can be asked to wait.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// How many threads may hang in a provider. Otherwise it would use up the threads of the process.
const MAX_HUNG_THREADS: usize = 4;

type SpawnWith = dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync;

/// Runs fetches: on threads of the crate, or with the closure of an embedder.
#[derive(Clone, Default)]
pub(crate) struct FetchExecutor {
    pub(crate) spawn_with: Option<Arc<SpawnWith>>,
    pub(crate) sleep: Option<SharedAsyncSleep>,
    hung_threads: Arc<Mutex<Vec<ProviderThread>>>,
}

impl FetchExecutor {
    /// Runs `work` and calls `complete` once: with its answer, or with an error after 30 s at the latest.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        complete: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let completion = Arc::new(Completion::new(complete));
        let work = AssertUnwindSafe(work)
            .catch_unwind()
            .map(|answer| answer.unwrap_or_else(|panic| Err(error_of_panic(&*panic))))
            .with_current_subscriber();
        match (&self.spawn_with, &self.sleep) {
            (Some(spawn), Some(sleep)) => spawn_tasks(&**spawn, sleep.clone(), work, completion),
            _ => self.spawn_threads(work, completion),
        }
    }

    /// The time limit has a thread of its own, since the provider may block its thread.
    fn spawn_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        completion: Arc<Completion<T>>,
    ) {
        let (executor, completes) = (self.clone(), completion.clone());
        let run = move || completes.complete(executor.run_on_provider_thread(work));
        let started = match self.check_hung_threads() {
            Ok(()) => spawn_thread("rds-iam-fetch", run),
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            completion.complete(Err(error));
        }
    }

    fn run_on_provider_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = runtime::of_process().map_err(cannot_run)?;
        let _entered = runtime.enter();
        let (work, abort) = abortable(work);
        let (sender, answer) = oneshot::channel();
        let (is_running, thread) = ProviderThread::new();
        let runtime_of_provider = runtime.clone();
        spawn_thread("rds-iam-provider", move || {
            let _is_running = is_running;
            let _entered = runtime_of_provider.enter();
            if let Ok(answer) = pollster::block_on(work) {
                // Nobody waits for an answer that comes too late.
                let _ = sender.send(answer);
            }
        })?;
        let answer = match &self.sleep {
            Some(sleep) => pollster::block_on(within_limit(answer, sleep)),
            None => answer
                .recv_timeout(FETCH_TIMEOUT)
                .unwrap_or_else(|error| match error {
                    RecvTimeoutError::Timeout => Err(timed_out()),
                    RecvTimeoutError::Disconnected => Err(ended_without_answer()),
                }),
        };
        if matches!(answer, Err(Error::FetchTimedOut { .. })) {
            abort.abort();
            lock(&self.hung_threads).push(thread);
        }
        answer
    }

    fn check_hung_threads(&self) -> Result<(), Error> {
        let mut hung_threads = lock(&self.hung_threads);
        hung_threads.retain(ProviderThread::is_running);
        match hung_threads.len() {
            fetches @ MAX_HUNG_THREADS.. => Err(Error::ProviderHangs { fetches }),
            _ => Ok(()),
        }
    }

    /// A pause of `keep_fresh`, wherever it is polled.
    #[cfg(feature = "rt-tokio")]
    pub(crate) fn sleep(&self, duration: Duration) -> aws_smithy_async::rt::sleep::Sleep {
        if let (Some(_), Some(sleep)) = (&self.spawn_with, &self.sleep) {
            return sleep.sleep(duration);
        }
        let Ok(runtime) = runtime::of_process() else {
            return thread_sleep(duration);
        };
        let _entered = runtime.enter();
        match &self.sleep {
            Some(sleep) => sleep.sleep(duration),
            None => AsyncSleep::sleep(&aws_smithy_async::rt::sleep::TokioSleep::new(), duration),
        }
    }
}

impl fmt::Debug for FetchExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchExecutor").finish_non_exhaustive()
    }
}

/// Spawns `work` and its time limit as two tasks of an embedder's runtime.
fn spawn_tasks<T: Send + 'static>(
    spawn: &SpawnWith,
    sleep: SharedAsyncSleep,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
    completion: Arc<Completion<T>>,
) {
    let (work, abort) = abortable(work);
    let (sender, answer) = oneshot::channel();
    spawn(Box::pin(async move {
        if let Ok(answer) = work.await {
            let _ = sender.send(answer);
        }
    }));
    spawn(Box::pin(async move {
        completion.complete(within_limit(answer, &sleep).await);
        abort.abort();
    }));
}

fn spawn_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(cannot_run)
}

/// A thread can sleep even if there are no files left for a runtime.
#[cfg(feature = "rt-tokio")]
fn thread_sleep(duration: Duration) -> aws_smithy_async::rt::sleep::Sleep {
    let (sender, end) = tokio::sync::oneshot::channel::<()>();
    let started = spawn_thread("rds-iam-sleep", move || {
        thread::sleep(duration);
        drop(sender);
    });
    aws_smithy_async::rt::sleep::Sleep::new(async move {
        match started {
            Ok(()) => drop(end.await),
            Err(_) => std::future::pending().await,
        }
    })
}

async fn within_limit<T>(
    answer: oneshot::Receiver<Result<T, Error>>,
    sleep: &SharedAsyncSleep,
) -> Result<T, Error> {
    match select(answer.into_future(), sleep.sleep(FETCH_TIMEOUT)).await {
        Either::Left((answer, _)) => answer.unwrap_or_else(|_| Err(ended_without_answer())),
        Either::Right(_) => Err(timed_out()),
    }
}

/// The thread of a provider that had not returned when its fetch timed out.
struct ProviderThread {
    is_running: Weak<()>,
    /// A forked child has none of its parent's threads.
    process: u32,
}

impl ProviderThread {
    fn new() -> (Arc<()>, ProviderThread) {
        let running = Arc::new(());
        let is_running = Arc::downgrade(&running);
        let process = process::id();
        (
            running,
            ProviderThread {
                is_running,
                process,
            },
        )
    }

    fn is_running(&self) -> bool {
        self.process == process::id() && self.is_running.strong_count() > 0
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

/// The outcome of a fetch, once it is there, for each of its waiters.
#[derive(Clone, Debug)]
pub(crate) struct InFlight<T> {
    outcome: watch::Receiver<Option<Result<T, Error>>>,
    /// A forked child has none of its parent's threads.
    process: u32,
}

pub(crate) type Outcome<T> = watch::Sender<Option<Result<T, Error>>>;

impl<T: Clone> InFlight<T> {
    /// A fetch that is in flight until its outcome is sent or dropped.
    pub(crate) fn new() -> (Outcome<T>, InFlight<T>) {
        let (sender, outcome) = watch::channel(None);
        let process = process::id();
        (sender, InFlight { outcome, process })
    }

    pub(crate) fn has_ended(&self) -> bool {
        let is_dropped = self.outcome.is_closed();
        is_dropped || self.outcome.borrow().is_some() || self.process != process::id()
    }

    pub(crate) async fn outcome(mut self) -> Result<T, Error> {
        let outcome = self.outcome.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(ended_without_answer()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timed_out() -> Error {
    let after = FETCH_TIMEOUT;
    Error::FetchTimedOut { after }
}

fn cannot_run(error: io::Error) -> Error {
    CredentialsError::provider_error(error).into()
}

fn ended_without_answer() -> Error {
    CredentialsError::unhandled("the fetch ended without an answer").into()
}

fn error_of_panic(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    // Tokio reports in no other way that there is no runtime, or none with timers.
    match text.or_else(|| panic.downcast_ref::<&str>().copied()) {
        Some(text) if text.contains("Tokio 1.x") => Error::TokioRequired,
        _ => CredentialsError::unhandled("the credentials provider panicked").into(),
    }
}
