//! A cache whose clock, provider and sleep are in the test's hands, and callers that are polled by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_smithy_async::rt::sleep::Sleep;
use rds_iam::{
    AsyncSleep, Credentials, Error, Login, ProvideCredentials, Signer, TimeSource, Token,
    TokenCache, TokenCacheBuilder,
};

/// The least that the clocks of all systems tell apart; that of Windows counts in this.
pub const TICK: Duration = Duration::from_nanos(100);
pub const DAY: Duration = Duration::from_secs(86_400);

/// 2024-08-26T22:00:00Z, where every clock starts.
const START: Duration = Duration::from_secs(1_724_709_600);

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The first and the last instant in whole seconds that the system can name.
pub fn ends_of_time() -> [SystemTime; 2] {
    [SystemTime::checked_sub, SystemTime::checked_add].map(|step| {
        let as_far = |time, power| step(&time, s(1_u64 << power)).unwrap_or(time);
        (0..63).rev().fold(UNIX_EPOCH, as_far)
    })
}

/// The instant that long after the start.
pub fn at(since_start: Duration) -> SystemTime {
    UNIX_EPOCH + START + since_start
}

// Logins, credentials and tokens

pub fn login(user: &str) -> Login {
    Login::new("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 5432, user).unwrap()
}

/// The logins of the tests that need one, two or three.
pub fn jane() -> Login {
    login("jane")
}

pub fn joe() -> Login {
    login("joe")
}

pub fn kim() -> Login {
    login("kim")
}

/// Credentials that tell no expiry.
pub fn keys(access_key_id: &str) -> Credentials {
    Credentials::new(access_key_id, "secret", None, None, "test")
}

/// Credentials that expire that long after the start.
pub fn keys_until(access_key_id: &str, expiry: Duration) -> Credentials {
    let expiry = Some(at(expiry));
    Credentials::new(
        access_key_id,
        "secret",
        Some("session".into()),
        expiry,
        "test",
    )
}

/// What nothing may show.
pub const SECRETS: [&str; 3] = [
    "MarkerOfTheSecretKey",
    "MarkerOfTheSessionToken",
    "MarkerOfTheProvider",
];

/// Credentials that hold the first two of them, and expire that long after the start.
pub fn marked_keys_until(expiry: Duration) -> Credentials {
    let [secret_key, session_token, _] = SECRETS;
    let session_token = Some(session_token.into());
    Credentials::new("akid", secret_key, session_token, Some(at(expiry)), "test")
}

/// What is secret in a token besides the session token.
pub fn signature(token: &Token) -> &str {
    let (_, signature) = token.as_str().split_once("&X-Amz-Signature=").unwrap();
    signature
}

/// What a `Signer` alone makes of it.
pub fn signed(credentials: &Credentials, login: &Login, since_start: Duration) -> Token {
    let now = at(since_start);
    let region = login.region().unwrap();
    Signer::new(credentials, region, now)
        .unwrap()
        .sign(login, now)
        .unwrap()
}

/// The access key id of the credentials that signed it.
pub fn key(token: &Token) -> &str {
    let (_, credential) = token.as_str().split_once("&X-Amz-Credential=").unwrap();
    let (access_key_id, _) = credential.split_once("%2F").unwrap();
    access_key_id
}

#[track_caller]
pub fn assert_same(token: &Token, expected: &Token) {
    assert_eq!(token.as_str(), expected.as_str());
    assert_eq!(token.expires_at(), expected.expires_at());
}

#[track_caller]
pub fn assert_differs(token: &Token, other: &Token) {
    assert_ne!(token.as_str(), other.as_str());
}

// What the test decides

/// Stands still until the test sets it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    pub fn set(&self, now: SystemTime) {
        *self.0.lock().unwrap() = now;
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock(Arc::new(Mutex::new(at(Duration::ZERO))))
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A future that is done when the test opens it, before or after it was first polled.
pub struct Gate<T>(Arc<Mutex<GateState<T>>>);

struct GateState<T> {
    outcome: Option<T>,
    waiting: Option<Waker>,
}

impl<T> Gate<T> {
    fn open(&self, outcome: T) {
        let mut state = self.0.lock().unwrap();
        state.outcome = Some(outcome);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Gate<T> {
        Gate(Arc::clone(&self.0))
    }
}

impl<T> Default for Gate<T> {
    fn default() -> Gate<T> {
        Gate(Arc::new(Mutex::new(GateState {
            outcome: None,
            waiting: None,
        })))
    }
}

impl<T> Future for Gate<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock().unwrap();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
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

/// A failure as a test that looks no closer needs one.
pub fn failure() -> Answer {
    CredentialsError::provider_error("no route to host").into()
}

/// Each of its calls waits until the test answers it, maybe for ever.
#[derive(Clone, Default)]
pub struct Provider(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    made: usize,
    open: usize,
    most_open: usize,
    gates: BTreeMap<usize, Gate<Answer>>,
}

impl Provider {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap()
    }

    /// Answers the first call, the second, … maybe before it is made.
    pub fn answer(&self, call: usize, answer: impl Into<Answer>) {
        let gate = self.lock().gates.entry(call).or_default().clone();
        gate.open(answer.into());
    }

    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.lock().made
    }

    /// How many calls are neither answered nor dropped.
    pub fn open(&self) -> usize {
        self.lock().open
    }

    /// How many calls were open at once.
    pub fn most_open(&self) -> usize {
        self.lock().most_open
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let mut calls = self.lock();
        calls.made += 1;
        calls.open += 1;
        calls.most_open = calls.most_open.max(calls.open);
        let call = calls.made;
        let gate = calls.gates.entry(call).or_default().clone();
        let open = OpenCall(self);
        future::ProvideCredentials::new(async move {
            let _open = open;
            match gate.await {
                Answer::Credentials(credentials) => Ok(credentials),
                Answer::Error(error) => Err(error),
                Answer::Panic => panic!("the provider panics, as the test wants it to"),
            }
        })
    }
}

struct OpenCall<'a>(&'a Provider);

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

/// Sleeps that end when the test says so.
#[derive(Clone, Default)]
pub struct Sleeps(Arc<Mutex<Vec<BegunSleep>>>);

type BegunSleep = (Duration, Gate<()>);

impl Sleeps {
    pub fn durations(&self) -> Vec<Duration> {
        let sleeps = self.0.lock().unwrap();
        sleeps.iter().map(|(duration, _)| *duration).collect()
    }

    /// Ends the first sleep, the second, …
    pub fn end(&self, sleep: usize) {
        let (_, gate) = self.0.lock().unwrap()[sleep - 1].clone();
        gate.open(());
    }

    pub fn end_all(&self) {
        for sleep in 1..=self.durations().len() {
            self.end(sleep);
        }
    }
}

impl fmt::Debug for Sleeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleeps")
    }
}

impl AsyncSleep for Sleeps {
    fn sleep(&self, duration: Duration) -> Sleep {
        let gate = Gate::default();
        self.0.lock().unwrap().push((duration, gate.clone()));
        Sleep::new(gate)
    }
}

// The cache and its callers

pub struct Stage {
    pub clock: Clock,
    pub provider: Provider,
    pub sleeps: Sleeps,
    pub cache: TokenCache,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(|builder| builder)
    }

    pub fn with(set: impl FnOnce(TokenCacheBuilder) -> TokenCacheBuilder) -> Stage {
        let (clock, provider, sleeps) = (Clock::default(), Provider::default(), Sleeps::default());
        let builder = TokenCache::builder(provider.clone())
            .time_source(clock.clone())
            .sleep_impl(sleeps.clone());
        Stage {
            cache: set(builder).build().unwrap(),
            clock,
            provider,
            sleeps,
        }
    }

    /// A cache that has fetched `credentials` and signed jane's token with them, both at the start.
    pub fn after_a_fetch_of(credentials: Credentials) -> (Stage, Token) {
        let stage = Stage::new();
        stage.provider.answer(1, credentials);
        let token = stage.token(&jane());
        (stage, token)
    }

    /// A cache with a token of jane's that is usable for `left` more, as are the credentials `old` that signed it. No
    /// fetch is under way, and nothing keeps one from being started.
    pub fn with_a_usable_token(left: Duration) -> (Stage, Token) {
        let (stage, token) = Stage::after_a_fetch_of(keys_until("old", s(900)));
        stage.at(s(900) - left);
        (stage, token)
    }

    /// Sets the clock to that long after the start.
    pub fn at(&self, since_start: Duration) {
        self.clock.set(at(since_start));
    }

    /// A call that has not been polled yet.
    pub fn call(&self, login: &Login) -> Call {
        let (cache, login) = (self.cache.clone(), login.clone());
        Call::new(async move { cache.token(&login).await })
    }

    /// A call that has been polled once, and waits.
    #[track_caller]
    pub fn waiting_call(&self, login: &Login) -> Call {
        let mut call = self.call(login);
        call.waits();
        call
    }

    /// The token of a call that is done when it is first polled.
    #[track_caller]
    pub fn token(&self, login: &Login) -> Token {
        self.call(login).token()
    }

    /// The failure of a call that is done when it is first polled.
    #[track_caller]
    pub fn error(&self, login: &Login) -> Error {
        self.call(login).error()
    }
}

pub type Outcome = Result<Token, Error>;

/// A caller that is polled by hand.
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
    pub fn new(future: impl Future<Output = Outcome> + Send + 'static) -> Call {
        Call {
            future: Box::pin(future),
            outcome: None,
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// Polls it unless it is done, and tells its outcome if it is.
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
    pub fn waits(&mut self) {
        assert!(self.poll().is_none(), "done: {:?}", self.outcome);
    }

    #[track_caller]
    pub fn token(&mut self) -> Token {
        let outcome = self.poll().expect("the call waits");
        outcome.as_ref().expect("the call failed").clone()
    }

    #[track_caller]
    pub fn error(&mut self) -> Error {
        let outcome = self.poll().expect("the call waits");
        outcome.as_ref().expect_err("there is a token").clone()
    }
}

/// Runs the calls as an executor does: who was woken is polled, until nobody is.
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
