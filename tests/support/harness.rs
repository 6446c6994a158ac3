//! A cache with a clock, a provider and time limits under the test's control, and calls polled by the test.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rds_iam::{
    Credentials, Error, Login, ProvideCredentials, Token, TokenCache, TokenCacheBuilder,
};

pub use super::clock::*;
pub use super::provider::*;
pub use super::sleep::*;
pub use super::tokens::*;

/// Runs fetches in the test's thread: polls each future when it is spawned and when it is woken.
struct Task {
    future: Mutex<BoxFuture<'static, ()>>,
    is_woken: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        // A thread with the lock polls again.
        while self.is_woken.load(Ordering::SeqCst)
            && let Ok(mut future) = self.future.try_lock()
        {
            if self.is_woken.swap(false, Ordering::SeqCst) {
                let waker = Waker::from(Arc::clone(&self));
                let _ = future.poll_unpin(&mut Context::from_waker(&waker));
            }
        }
    }
}

/// Lets the test drive the fetches.
pub fn by_hand(builder: TokenCacheBuilder) -> TokenCacheBuilder {
    builder.spawn_with(|future| {
        let task = Task {
            future: Mutex::new(future.fuse().boxed()),
            is_woken: AtomicBool::new(false),
        };
        Arc::new(task).wake();
    })
}

pub struct Harness<P = GatedProvider> {
    pub clock: Clock,
    pub provider: P,
    pub sleeps: Sleeps,
    pub cache: TokenCache,
}

impl Harness {
    pub fn new() -> Harness {
        Harness::with(|builder| builder)
    }

    pub fn with(set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder) -> Harness {
        Harness::build(GatedProvider::default(), Clock::default(), set)
    }

    /// A cache after a fetch of `credentials` and a signed token for jane, both at the start.
    pub fn after_a_fetch_of(credentials: Credentials) -> (Harness, Token) {
        let harness = Harness::new();
        harness.provider.answer(1, credentials);
        let token = harness.token(&jane());
        (harness, token)
    }

    /// A cache with a token for jane that expires in `left`, signed by credentials `old` with the same expiry. No
    /// fetch is in flight, and the next call may start a fetch.
    pub fn with_a_valid_token(left: Duration) -> (Harness, Token) {
        let (harness, token) = Harness::after_a_fetch_of(keys_until("old", s(900)));
        harness.set_clock(s(900) - left);
        (harness, token)
    }
}

impl<P: ProvideCredentials + Clone + 'static> Harness<P> {
    pub fn over(provider: P, clock: Clock) -> Harness<P> {
        Harness::build(provider, clock, |builder| builder)
    }

    fn build(
        provider: P,
        clock: Clock,
        set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder,
    ) -> Harness<P> {
        let sleeps = Sleeps::default();
        let builder = TokenCache::builder(provider.clone())
            .time_source(clock.clone())
            .sleep_impl(sleeps.clone());
        Harness {
            cache: set(by_hand(builder)).build().unwrap(),
            clock,
            provider,
            sleeps,
        }
    }

    /// Sets the clock to `since_start` after the start.
    pub fn set_clock(&self, since_start: Duration) {
        self.clock.set(at(since_start));
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A call before its first poll.
    pub fn call(&self, login: &Login) -> Call {
        Call::of(&self.cache, login)
    }

    /// A call after its first poll. The poll must be pending.
    #[track_caller]
    pub fn pending_call(&self, login: &Login) -> Call {
        let mut call = self.call(login);
        call.assert_pending();
        call
    }

    /// The token of a new call. The first poll must be ready.
    #[track_caller]
    pub fn token(&self, login: &Login) -> Token {
        self.call(login).token()
    }

    /// The error of a new call. The first poll must be ready.
    #[track_caller]
    pub fn error(&self, login: &Login) -> Error {
        self.call(login).error()
    }
}

pub type Outcome = Result<Token, Error>;

/// A call of the cache, polled by the test.
pub struct Call {
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    outcome: Option<Outcome>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Call {
    /// A call of `cache` before its first poll.
    pub fn of(cache: &TokenCache, login: &Login) -> Call {
        let (cache, login) = (cache.clone(), login.clone());
        Call::new(async move { cache.token(&login).await })
    }

    pub fn new(future: impl Future<Output = Outcome> + Send + 'static) -> Call {
        Call {
            future: Box::pin(future),
            outcome: None,
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// Polls the call, unless it was ready before. Returns the outcome of a ready call.
    pub fn poll(&mut self) -> Option<&Outcome> {
        if self.outcome.is_none() {
            self.woken.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&self.woken));
            let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(outcome) = polled {
                self.outcome = Some(outcome);
            }
        }
        self.outcome.as_ref()
    }

    #[track_caller]
    pub fn assert_pending(&mut self) {
        assert!(self.poll().is_none(), "ready: {:?}", self.outcome);
    }

    #[track_caller]
    pub fn token(&mut self) -> Token {
        let outcome = self.poll().expect("the call is pending");
        outcome.as_ref().expect("the call failed").clone()
    }

    #[track_caller]
    pub fn error(&mut self) -> Error {
        let outcome = self.poll().expect("the call is pending");
        outcome.as_ref().expect_err("there is a token").clone()
    }
}

/// Runs the calls as an executor does: polls each woken call, until no call is woken.
pub fn run<'a>(calls: impl IntoIterator<Item = &'a mut Call>) {
    let mut calls: Vec<_> = calls.into_iter().collect();
    loop {
        let mut idle = true;
        for call in &mut calls {
            if call.outcome.is_none() && call.woken.0.load(Ordering::SeqCst) {
                call.poll();
                idle = false;
            }
        }
        if idle {
            return;
        }
    }
}
