//! Providers whose answers the test decides, call by call.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::provider::{self, future};
use rds_iam::{Credentials, CredentialsError, ProvideCredentials, TokenCache};

use super::sleep::Gate;
use super::tokens::keys;

/// Calls a function of the test with the number of each call, from 1 on.
#[derive(Clone)]
pub struct ScriptedProvider {
    answer: Arc<dyn Fn(usize) -> BoxFuture<'static, provider::Result> + Send + Sync>,
    calls: Arc<AtomicUsize>,
}

impl ScriptedProvider {
    pub fn new<F>(answer: impl Fn(usize) -> F + Send + Sync + 'static) -> ScriptedProvider
    where
        F: Future<Output = provider::Result> + Send + 'static,
    {
        ScriptedProvider {
            answer: Arc::new(move |call| answer(call).boxed()),
            calls: Arc::default(),
        }
    }

    /// Panics outside of a tokio runtime, like most providers with network requests.
    pub fn needs_tokio() -> ScriptedProvider {
        ScriptedProvider::new(|_| async {
            tokio::time::sleep(Duration::from_nanos(1)).await;
            Ok(keys("akid"))
        })
    }

    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// A cache over this provider, otherwise with the defaults.
    pub fn cache(&self) -> TokenCache {
        TokenCache::builder(self.clone()).build().unwrap()
    }

    /// Whether all other clones are dropped.
    pub fn is_last_clone(&self) -> bool {
        Arc::strong_count(&self.calls) == 1
    }
}

impl fmt::Debug for ScriptedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedProvider")
    }
}

impl ProvideCredentials for ScriptedProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        future::ProvideCredentials::new((self.answer)(call))
    }
}

pub enum Answer {
    Credentials(Credentials),
    Error(CredentialsError),
    Panic,
}

impl From<Credentials> for Answer {
    fn from(credentials: Credentials) -> Answer {
        Answer::Credentials(credentials)
    }
}

impl From<CredentialsError> for Answer {
    fn from(error: CredentialsError) -> Answer {
        Answer::Error(error)
    }
}

/// A failed answer without a special cause.
pub fn failure() -> Answer {
    CredentialsError::provider_error("no route to host").into()
}

/// Each call waits until the test answers, maybe forever.
#[derive(Clone)]
pub struct GatedProvider {
    script: ScriptedProvider,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    open: usize,
    most_open: usize,
    gates: BTreeMap<usize, Gate<Answer>>,
}

impl GatedProvider {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap()
    }

    /// Answers the call with this number, from 1 on, even before the call is made.
    pub fn answer(&self, call: usize, answer: impl Into<Answer>) {
        let gate = self.lock().gates.entry(call).or_default().clone();
        gate.open(answer.into());
    }

    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.script.calls()
    }

    /// How many calls are neither answered nor dropped.
    pub fn open(&self) -> usize {
        self.lock().open
    }

    /// The highest number of calls open at the same time.
    pub fn most_open(&self) -> usize {
        self.lock().most_open
    }
}

impl Default for GatedProvider {
    fn default() -> GatedProvider {
        let calls = Arc::new(Mutex::new(Calls::default()));
        let script = {
            let calls = Arc::clone(&calls);
            ScriptedProvider::new(move |call| {
                let gate = {
                    let mut calls = calls.lock().unwrap();
                    calls.open += 1;
                    calls.most_open = calls.most_open.max(calls.open);
                    calls.gates.entry(call).or_default().clone()
                };
                let open = OpenCall(Arc::clone(&calls));
                async move {
                    let _open = open;
                    match gate.await {
                        Answer::Credentials(credentials) => Ok(credentials),
                        Answer::Error(error) => Err(error),
                        Answer::Panic => panic!("the provider panics, as the test wants it to"),
                    }
                }
            })
        };
        GatedProvider { script, calls }
    }
}

impl fmt::Debug for GatedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatedProvider")
    }
}

impl ProvideCredentials for GatedProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.script.provide_credentials()
    }
}

struct OpenCall(Arc<Mutex<Calls>>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.lock().unwrap().open -= 1;
    }
}
