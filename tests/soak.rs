//! Three days in seconds: callers of every kind, 200 logins, a provider that takes its time, fails, panics, hangs and mixes
//! short- and long-lived credentials, rejected tokens, runtimes that end, and a clock that is set forward and back.
//! `--nocapture` shows the figures.
//!
//! Threads race with the clock. So a call notes the clock when it begins and when it ends, and is judged by what must hold
//! whenever in between the cache read the clock. Only the end of a fetch is known exactly, because the cache then reads the
//! clock on the thread that slept for the fetch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::io::{Write, stderr};
use std::ops::Range;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{panic, process, thread};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_smithy_async::rt::sleep::Sleep;
use futures_util::FutureExt;
use futures_util::future::{Either, poll_fn, select};
use rds_iam::{
    AsyncSleep, Credentials, Error, Login, ProvideCredentials, Signer, TimeSource, Token,
    TokenCache,
};
use tokio::runtime::Builder;

const LOGINS: usize = 200;
const REGION: &str = "eu-west-3";

/// 2024-08-26T00:00:00Z
const START: Duration = Duration::from_secs(1_724_630_400);
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// How far the clock is set back when the first and when the second day is over.
const STEPS_BACK: [u64; 2] = [2 * HOUR, 90 * SECOND];
/// How far callers advance the clock while a call waits or a healthy provider works. So a slow machine does not look like
/// a slow cache.
const LAG: u64 = 5 * SECOND;
/// More than ten times what the soak takes.
const WATCHDOG: Duration = Duration::from_secs(900);

/// The instant that many milliseconds after the start.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + START + Duration::from_millis(millis)
}

/// SplitMix64: the same sequence in each run.
#[derive(Default)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Gives way to other tasks and threads that many times.
async fn yields(mut times: u64) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        thread::yield_now();
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// The world: its clock, the calls and the fetches

/// Moments are ordered as they happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    /// How often the clock was set back. Readings of different ages cannot be compared.
    age: u64,
    millis: u64,
    /// How many rejections the cache had been told of.
    rejections: u64,
}

impl Moment {
    /// Whether that much time has passed since, as far as can be known.
    fn has_elapsed(self, millis: u64, since: Moment) -> bool {
        self.age != since.age || self.millis >= since.millis + millis
    }
}

/// The clock, the sleep and the provider of the cache.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    chance: Chance,
    now: Moment,
    days: usize,
    set_back: u64,
    is_over: bool,
    /// How often something happened that can delay or fail a call: a fetch that is not healthy, or a step of the clock.
    troubles: u64,
    /// How much time has passed because the provider took it.
    provider_millis: u64,
    /// When each call in progress began.
    calls: BTreeMap<u64, Moment>,
    /// The earliest beginning of a call that was dropped since the last fetch started or ended.
    dropped: Option<Moment>,
    fetches: Vec<Fetch>,
    sleeps: usize,
    /// The fetch that brought the cached credentials.
    cached: Option<usize>,
    /// When the last fetch failed, unless the last fetch brought credentials.
    failed_at: Option<Moment>,
    started_for_rejection: Option<Moment>,
    figures: Figures,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Figures {
    calls: u64,
    reused: u64,
    failed: u64,
    failed_because_threads_hang: u64,
    abandoned: u64,
    rejections: u64,
    runtimes_ended: u64,
    runtimes_ended_in_flight: u64,
    with_a_healthy_provider: u64,
    their_longest_wait_in_fake_time: Duration,
    their_longest_wait_in_real_time: Duration,
    provider_calls: BTreeMap<&'static str, u64>,
    wrong_tokens: u64,
}

#[derive(Debug, Default)]
struct Fetch {
    plan: Plan,
    /// Not later than the start.
    began: Moment,
    called: Moment,
    /// How many troubles there had been, including this fetch.
    troubles: u64,
    /// Whether the provider's future exists.
    is_open: bool,
    answer: Option<Credentials>,
    /// Whether the provider's thread has ended, and has passed the answer on before.
    has_answered: bool,
    has_timed_out: bool,
    /// When the cache noted the outcome.
    ended: Option<Moment>,
    is_cached: bool,
    /// Whether the thread of the fetch has ended, and has passed the outcome on before.
    is_delivered: bool,
}

/// What the provider does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Plan {
    #[default]
    Answer,
    /// After about 30 s.
    AnswerLate,
    /// With credentials that have expired, or expire on their way.
    AnswerExpired,
    Fail,
    Panic,
    Hang,
    /// Hang and block the thread.
    Block,
}

impl Fetch {
    /// Whether this fetch cannot fail or time out.
    fn is_healthy(&self, troubles: u64) -> bool {
        self.plan == Plan::Answer && self.troubles == troubles
    }

    fn is_valid(&self, millis: u64) -> bool {
        let answer = self.answer.as_ref();
        answer.is_some_and(|it| it.expiry().is_none_or(|expiry| expiry > at(millis)))
    }
}

impl State {
    fn in_flight(&self) -> Option<&Fetch> {
        self.fetches.last().filter(|fetch| fetch.ended.is_none())
    }

    /// The fetch that brought the cached credentials, if they are valid for sure.
    fn valid(&self) -> Option<usize> {
        self.cached.filter(|number| {
            let fetch = &self.fetches[*number];
            let is_comparable = fetch.ended.is_some_and(|ended| ended.age == self.now.age);
            is_comparable && fetch.is_valid(self.now.millis)
        })
    }

    /// Before a call, seconds pass, sometimes minutes, rarely an hour, or the clock is set back.
    fn let_time_pass(&mut self, chance: &mut Chance) {
        if self.now.millis >= DAY * (self.days as u64 + 1) {
            match STEPS_BACK.get(self.days) {
                Some(back) => self.step_back(*back),
                None => self.is_over = true,
            }
            self.days += 1;
        }
        let is_in_flight = self.in_flight().is_some();
        match chance.below(40_000) {
            0 => self.step_forward(HOUR),
            1..=5 => self.step_back(1),
            6..=200 if !is_in_flight => self.step_forward(chance.below(300 * SECOND)),
            _ => {
                let most = if is_in_flight { 20 } else { 3 * SECOND };
                let later = self.now.millis + chance.below(most);
                let fetch = self.in_flight().filter(|it| it.is_healthy(self.troubles));
                let waiting = self.calls.values().chain(fetch.map(|fetch| &fetch.called));
                let mut waiting = waiting.filter(|since| since.age == self.now.age);
                if waiting.all(|since| later <= since.millis + LAG) {
                    self.now.millis = later;
                }
            }
        }
    }

    fn step_forward(&mut self, millis: u64) {
        self.troubles += 1;
        self.now.millis += millis;
    }

    fn step_back(&mut self, millis: u64) {
        let millis = millis.min(self.now.millis);
        self.troubles += 1;
        self.set_back += millis;
        self.now.age += 1;
        self.now.millis -= millis;
    }

    /// Judges whether the rules allow the fetch whose provider is called now. The cache read the clock before, but whatever
    /// allowed the start then allows it now.
    fn judge_start(&mut self) {
        let now = self.now;
        if self.in_flight().is_some() {
            self.violation(format!("two fetches in flight at {now:?}"));
        }
        if self.fetches.iter().filter(|fetch| fetch.is_open).count() >= 4 {
            self.violation(format!("a fetch while four hang at {now:?}"));
        }
        let Some(cached) = self.valid().map(|number| &self.fetches[number]) else {
            return self.count_start("nothing valid");
        };
        let has_elapsed = |millis, since: Option<Moment>| {
            since.is_none_or(|since| now.has_elapsed(millis, since))
        };
        let is_due = match cached.answer.as_ref().and_then(Credentials::expiry) {
            Some(expiry) => {
                let remaining = expiry.duration_since(at(now.millis)).unwrap().as_millis() as u64;
                let interval = (30 * SECOND).min(2 * remaining);
                remaining <= 960 * SECOND && now.has_elapsed(interval, cached.began)
            }
            None => now.has_elapsed(900 * SECOND, cached.began),
        };
        let is_rejected = self.figures.rejections > cached.began.rejections
            && has_elapsed(30 * SECOND, self.started_for_rejection);
        if !has_elapsed(5 * SECOND, self.failed_at) || !(is_due || is_rejected) {
            self.violation(format!("a fetch too early at {now:?}"));
        } else if !is_due {
            self.count_start("rejection");
            self.started_for_rejection = Some(self.earliest_start());
        } else if self.failed_at.is_none() {
            self.count_start("short-lived or old");
        } else if self.fetches.last().is_some_and(|last| last.has_timed_out) {
            self.count_start("5 s after a timeout");
        } else {
            self.count_start("5 s after a failure");
        }
    }

    fn count_start(&mut self, allowed_by: &'static str) {
        *self.figures.provider_calls.entry(allowed_by).or_default() += 1;
    }

    /// When the fetch whose provider is called now started at the earliest: after a call began that is in progress or was
    /// dropped, and after the last fetch ended.
    fn earliest_start(&self) -> Moment {
        let calls = self.calls.values().chain(&self.dropped);
        let call = *calls.min().unwrap_or(&self.now);
        let last = self.fetches.last().and_then(|last| last.ended);
        last.map_or(call, |ended| call.max(ended))
    }

    /// The cache notes the outcome of a fetch.
    fn end_fetch(&mut self, number: usize) {
        let (now, troubles) = (self.now, self.troubles);
        let fetch = self.fetches.get_mut(number);
        let Some(fetch) = fetch.filter(|fetch| fetch.ended.is_none()) else {
            return;
        };
        fetch.ended = Some(now);
        fetch.is_cached = !fetch.has_timed_out && fetch.is_valid(now.millis);
        let (is_cached, is_healthy) = (fetch.is_cached, fetch.is_healthy(troubles));
        if is_cached {
            self.cached = Some(number);
        } else if is_healthy {
            self.violation(format!("a healthy fetch failed at {now:?}"));
        }
        self.failed_at = (!is_cached).then_some(now);
        self.dropped = None;
    }

    fn answer(&mut self, number: usize) -> Credentials {
        let now = self.now.millis;
        let chance = &mut self.chance;
        let expiry = match self.fetches[number].plan {
            Plan::AnswerExpired => Some((now + LAG).saturating_sub(chance.below(20 * SECOND))),
            _ => match chance.below(20) {
                0 | 1 => None,
                2..5 => Some(now + 15 * SECOND + chance.below(30 * SECOND)),
                5..16 => Some(now + 45 * SECOND + chance.below(300 * SECOND)),
                _ => Some(now + 1000 * SECOND + chance.below(1000 * SECOND)),
            },
        };
        let session_token = format!("session token of {number}");
        let credentials = Credentials::new(
            format!("AKID{number}"),
            format!("secret of {number}"),
            chance.one_in(2).then_some(session_token),
            expiry.map(at),
            "test",
        );
        self.fetches[number].answer = Some(credentials.clone());
        credentials
    }

    fn provider_takes(&mut self, millis: u64) {
        self.now.millis += millis;
        self.provider_millis += millis;
    }

    fn violation(&mut self, what: String) {
        if !self.has_failed() {
            self.violations.push(what);
        }
        self.is_over |= self.has_failed();
    }

    /// More violations would tell no more.
    fn has_failed(&self) -> bool {
        self.violations.len() >= 20
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }

    fn enter_thread(&self, fetch: usize, calls_provider: bool) {
        let world = self.clone();
        THREAD.set(Some(CrateThread {
            world,
            fetch,
            calls_provider,
        }));
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

thread_local! {
    static THREAD: RefCell<Option<CrateThread>> = const { RefCell::new(None) };
}

/// A thread of the crate, which sleeps for a fetch or calls the provider. Dropped when the thread ends.
struct CrateThread {
    world: World,
    fetch: usize,
    calls_provider: bool,
}

impl Drop for CrateThread {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        if let Some(fetch) = state.fetches.get_mut(self.fetch) {
            fetch.has_answered |= self.calls_provider;
            fetch.is_delivered |= !self.calls_provider;
        }
    }
}

impl TimeSource for World {
    fn now(&self) -> SystemTime {
        let mut state = self.lock();
        THREAD.with_borrow(|thread| match thread {
            Some(thread) if !thread.calls_provider => state.end_fetch(thread.fetch),
            _ => {}
        });
        let now = at(state.now.millis);
        drop(state);
        // Other threads may overtake a thread that has read the clock.
        thread::yield_now();
        now
    }
}

impl AsyncSleep for World {
    /// Sleeps since the provider was called. So the first sleep is of the fetch that calls the provider first, and so on.
    fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.lock();
        let number = state.sleeps;
        state.sleeps += 1;
        drop(state);
        self.enter_thread(number, false);
        let (world, millis) = (self.clone(), duration.as_millis() as u64);
        let (mut since, mut is_late) = (None, false);
        Sleep::new(poll_fn(move |cx| {
            let mut state = world.lock();
            let (now, has_failed) = (state.now, state.has_failed());
            if let Some(fetch) = state.fetches.get_mut(number) {
                if has_failed || now.has_elapsed(millis, *since.get_or_insert(now)) {
                    fetch.has_timed_out = true;
                    return Poll::Ready(());
                }
                // Time passes while the provider hangs, or if the fetch goes on sleeping when the provider has answered.
                let hangs = matches!(fetch.plan, Plan::Hang | Plan::Block);
                let passes = hangs || is_late;
                is_late = fetch.has_answered;
                state.now.millis += if passes { 100 } else { 0 };
            }
            drop(state);
            thread::yield_now();
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

impl ProvideCredentials for World {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let mut state = self.lock();
        state.judge_start();
        let (number, called) = (state.fetches.len(), state.now);
        let is_outage = called.millis % DAY > 22 * HOUR;
        let plan = match state.chance.below(if is_outage { 2 } else { 60 }) {
            0 => Plan::Hang,
            1 => Plan::Block,
            2 => Plan::AnswerLate,
            3..6 => Plan::Panic,
            6..10 => Plan::AnswerExpired,
            10..20 => Plan::Fail,
            _ => Plan::Answer,
        };
        let steps = match plan {
            Plan::AnswerLate => 7 + state.chance.below(8),
            _ => state.chance.below(4),
        };
        let step = SECOND + state.chance.below(2 * SECOND);
        let blocks_for = (31 + state.chance.below(500)) * SECOND;
        state.troubles += u64::from(plan != Plan::Answer);
        let fetch = Fetch {
            plan,
            began: state.earliest_start(),
            called,
            troubles: state.troubles,
            is_open: true,
            ..Fetch::default()
        };
        state.fetches.push(fetch);
        state.dropped = None;
        drop(state);
        self.enter_thread(number, true);
        let open = OpenCall(self, number);
        let is_released = move || {
            let state = self.lock();
            state.is_over || state.now.has_elapsed(blocks_for, called)
        };
        future::ProvideCredentials::new(async move {
            let _open = open;
            for _ in 0..steps {
                self.lock().provider_takes(step);
                yields(1).await;
            }
            match plan {
                Plan::Hang => pending().await,
                Plan::Block => {
                    while !is_released() {
                        thread::yield_now();
                    }
                }
                Plan::Panic => panic!("the provider panics by chance"),
                Plan::Fail => return Err(CredentialsError::provider_error("by chance")),
                _ => {}
            }
            Ok(self.lock().answer(number))
        })
    }
}

struct OpenCall<'a>(&'a World, usize);

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        let OpenCall(world, number) = self;
        world.lock().fetches[*number].is_open = false;
    }
}

// The callers

/// What the callers know of a login's token.
#[derive(Clone, Default)]
struct Known {
    /// A token that a caller got, and when.
    got: Option<(Token, Moment)>,
    /// Whether this token was cached then. Only a better token can have replaced it.
    is_cached: bool,
    rejected: Option<(Token, Moment)>,
    rejections: u64,
}

struct Soak {
    world: World,
    cache: TokenCache,
    logins: Vec<(Login, Mutex<Known>)>,
}

/// A call in progress, and what was known before it.
struct Call<'a> {
    soak: &'a Soak,
    number: u64,
    login: &'a Login,
    shared: &'a Mutex<Known>,
    known: Known,
    before: Moment,
    before_in_real_time: Instant,
    /// How many fetches had started, if the last fetch was in flight.
    in_flight: Option<usize>,
    /// The fetch that brought the cached credentials, if they were valid for sure.
    valid: Option<usize>,
    /// How many troubles there had been, unless the last trouble can still delay or fail this call.
    troubles: Option<u64>,
    provider_millis: u64,
}

impl Soak {
    fn new() -> Soak {
        let world = World::default();
        let cache = TokenCache::builder(world.clone())
            .region(REGION)
            .time_source(world.clone())
            .sleep_impl(world.clone())
            .build()
            .unwrap();
        let logins = (0..LOGINS).map(|n| {
            let host = match n % 3 {
                0 => format!("db{}.abc123xyz.us-east-1.rds.amazonaws.com", n / 6),
                1 => format!("db{}.abc123xyz.eu-central-1.rds.amazonaws.com", n / 6),
                _ => format!("db{}.example.com", n / 6),
            };
            let login = Login::new(&host, 5432, &format!("user {n}")).unwrap();
            (login, Mutex::default())
        });
        Soak {
            logins: logins.collect(),
            world,
            cache,
        }
    }

    /// What a thread or a task does.
    async fn make_calls(self: Arc<Self>, seed: u64, most: u64) {
        let mut chance = Chance(seed);
        for _ in 0..most {
            if self.world.is_over() {
                break;
            }
            self.call(&mut chance).await;
            yields(1).await;
        }
    }

    async fn call(&self, chance: &mut Chance) {
        let call = self.begin(chance);
        let token = self.cache.token(call.login);
        let outcome = match chance.below(10) {
            0 => {
                let outcome = token.now_or_never();
                if outcome.is_none() {
                    call.judge_wait();
                }
                outcome
            }
            1 => match select(pin!(token), pin!(yields(chance.below(200)))).await {
                Either::Left((outcome, _)) => Some(outcome),
                Either::Right(_) => None,
            },
            // If this is a task, a thread of its runtime is blocked.
            2..5 => Some(self.cache.blocking_token(call.login)),
            _ => Some(token.await),
        };
        if let Some(outcome) = outcome {
            call.end(outcome, chance);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "for a figure, not for an assertion"
    )]
    fn begin(&self, chance: &mut Chance) -> Call<'_> {
        let (login, shared) = &self.logins[chance.below(LOGINS as u64) as usize];
        let known = shared.lock().unwrap().clone();
        let mut state = self.world.lock();
        state.let_time_pass(chance);
        state.figures.calls += 1;
        let (number, before) = (state.figures.calls, state.now);
        state.calls.insert(number, before);
        let last = state.fetches.last();
        let can_trouble = |last: &Fetch| !last.is_delivered && !last.is_healthy(state.troubles);
        let is_troubled = last.is_some_and(can_trouble);
        Call {
            soak: self,
            number,
            login,
            shared,
            known,
            before,
            before_in_real_time: Instant::now(),
            in_flight: state.in_flight().map(|_| state.fetches.len()),
            valid: state.valid(),
            troubles: (!is_troubled).then_some(state.troubles),
            provider_millis: state.provider_millis,
        }
    }

    fn reject(&self, login: &Login, shared: &Mutex<Known>, token: Token) {
        // Before the cache knows, since the calls of other threads are judged meanwhile.
        self.world.lock().figures.rejections += 1;
        let mut known = shared.lock().unwrap();
        known.got = None;
        known.rejections += 1;
        drop(known);
        let at = self.world.lock().now;
        self.cache.invalidate(login, &token);
        shared.lock().unwrap().rejected = Some((token, at));
        self.world.lock().now.rejections += 1;
    }

    /// Whether the credentials that `token` names were cached, and sign the same token for `login`.
    fn is_of(&self, login: &Login, token: &Token) -> bool {
        let credentials = match &self.world.lock().fetches[fetch_of(token)] {
            fetch if fetch.is_cached => fetch.answer.clone().unwrap(),
            _ => return false,
        };
        let (region, now) = (login.region().unwrap_or(REGION), at(signed_at(token)));
        let expected = Signer::new(&credentials, region, now)
            .and_then(|signer| signer.sign(login, now))
            .unwrap();
        (token.as_str(), token.expires_at()) == (expected.as_str(), expected.expires_at())
    }
}

impl Call<'_> {
    fn end(self, outcome: Result<Token, Error>, chance: &mut Chance) {
        let mut state = self.soak.world.lock();
        state.calls.remove(&self.number);
        let after = state.now;
        let is_comparable = self.before.age == after.age;
        let is_healthy = self.troubles == Some(state.troubles);
        let mut wrongs = Vec::new();
        if is_healthy {
            let wait = after.millis - self.before.millis;
            let figures = &mut state.figures;
            figures.with_a_healthy_provider += 1;
            let longest = &mut figures.their_longest_wait_in_fake_time;
            *longest = Duration::from_millis(wait).max(*longest);
            let longest = &mut figures.their_longest_wait_in_real_time;
            *longest = self.before_in_real_time.elapsed().max(*longest);
            if wait > LAG + state.provider_millis - self.provider_millis {
                wrongs.push("waited longer than the provider took".to_owned());
            }
        }
        let known_valid = self.known_valid(&state);
        match &outcome {
            Err(error) => {
                state.figures.failed += 1;
                let hangs = matches!(error, Error::ProviderHangs { .. });
                state.figures.failed_because_threads_hang += u64::from(hangs);
                let have_been_valid = |first: usize| {
                    let mut cached = state.fetches[first..].iter().filter(|it| it.is_cached);
                    cached.all(|fetch| fetch.is_valid(after.millis))
                };
                let are_valid = is_comparable && self.valid.is_some_and(have_been_valid);
                for (what, serves) in [
                    ("valid credentials", are_valid),
                    (
                        "a valid token",
                        known_valid.is_some() && self.known.is_cached,
                    ),
                    ("a healthy provider", is_healthy && !hangs),
                ] {
                    if serves {
                        wrongs.push(format!("failed in spite of {what}: {error}"));
                    }
                }
            }
            Ok(token) => {
                let is_worse = |known: &Token| {
                    let (fetch, known_fetch) = (fetch_of(token), fetch_of(known));
                    let expires_earlier = token.expires_at() < known.expires_at();
                    match self.known.is_cached {
                        true => expires_earlier || fetch < known_fetch,
                        false => expires_earlier && fetch <= known_fetch,
                    }
                };
                if known_valid.is_some_and(is_worse) {
                    wrongs.push("got a worse token than the caller before".to_owned());
                }
            }
        }
        drop(state);
        if let Ok(token) = &outcome {
            wrongs.extend(self.judge(token, after));
            self.note(token, after);
        }
        for wrong in wrongs {
            let what = format!(
                "{} {wrong}, from {:?} to {after:?}",
                self.login, self.before
            );
            self.soak.world.lock().violation(what);
        }
        if let Ok(token) = outcome
            && chance.one_in(300)
        {
            // Its own, or a token with which another caller logged in before.
            let rejected = match &self.known.got {
                Some((old, _)) if chance.one_in(2) => old.clone(),
                _ => token,
            };
            self.soak.reject(self.login, self.shared, rejected);
        }
    }

    /// The token that a caller got before, unless it may have expired or been rejected since.
    fn known_valid(&self, state: &State) -> Option<&Token> {
        let (token, seen) = self.known.got.as_ref()?;
        let is_rejected = state.figures.rejections != self.before.rejections;
        let is_valid = seen.age == state.now.age && token.expires_at() > at(state.now.millis);
        (is_valid && !is_rejected).then_some(token)
    }

    /// Judges a call that waits after its first poll.
    fn judge_wait(&self) {
        let mut state = self.soak.world.lock();
        let is_unrejected = |number: usize| {
            let fetch = &state.fetches[number];
            fetch.began.rejections == state.figures.rejections
        };
        let has_credentials = self.before.age == state.now.age
            && state.valid() == self.valid
            && self.valid.is_some_and(is_unrejected);
        let started = state.in_flight().map(|_| state.fetches.len());
        let has_token = self.known.is_cached && self.known_valid(&state).is_some();
        if (has_credentials || has_token) && started.is_some() && started == self.in_flight {
            let after = state.now;
            state.violation(format!(
                "{} waits for a fetch that it did not start, from {:?} to {after:?}",
                self.login, self.before
            ));
        }
    }

    fn judge(&self, token: &Token, after: Moment) -> Option<String> {
        let (before, signed_at) = (self.before, signed_at(token));
        let is_same = |(other, _): &(Token, Moment)| other.as_str() == token.as_str();
        let was_judged = self.known.got.as_ref().is_some_and(is_same);
        // If a token is signed again in the second in which it was rejected, it is the same.
        let was_rejected = |rejected: &(Token, Moment)| {
            let (_, at) = rejected;
            is_same(rejected) && at.age == before.age && at.millis >= signed_at + SECOND
        };
        let what = if !was_judged && !self.soak.is_of(self.login, token) {
            "another's token"
        } else if before.age != after.age {
            return None;
        } else if token.expires_at() <= at(before.millis) {
            "an expired token"
        } else if signed_at > after.millis + 60 * SECOND {
            "a token of the future"
        } else if self.known.rejected.as_ref().is_some_and(was_rejected) {
            "a rejected token"
        } else {
            return None;
        };
        self.soak.world.lock().figures.wrong_tokens += 1;
        Some(format!("got {what}"))
    }

    fn note(&self, token: &Token, after: Moment) {
        let mut known = self.shared.lock().unwrap();
        let mut state = self.soak.world.lock();
        // If the token was signed before the call, it was cached.
        let is_reused = signed_at(token) + SECOND <= self.before.millis;
        state.figures.reused += u64::from(is_reused);
        // Otherwise a rejection may have removed the token.
        if state.figures.rejections == self.before.rejections
            && known.rejections == self.known.rejections
            && self.before.age == after.age
        {
            known.got = Some((token.clone(), after));
            known.is_cached = is_reused;
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.soak.world.lock();
        if let Some(began) = state.calls.remove(&self.number) {
            state.figures.abandoned += 1;
            state.dropped = Some(state.dropped.map_or(began, |first| first.min(began)));
        }
        if thread::panicking() {
            state.violation(format!("a call for {} panicked", self.login));
        }
    }
}

/// The fetch that brought the credentials that signed the token.
fn fetch_of(token: &Token) -> usize {
    let (_, number) = token.as_str().split_once("Credential=AKID").unwrap();
    let (number, _) = number.split_once('%').unwrap();
    number.parse().unwrap()
}

/// The second in a token's date, as milliseconds since the start. All days are of one month.
fn signed_at(token: &Token) -> u64 {
    let (_, date) = token.as_str().split_once("&X-Amz-Date=202408").unwrap();
    let number = |digits: Range<usize>| date[digits].parse::<u64>().unwrap();
    let (day, hour) = (number(0..2), number(3..5));
    let (minute, second) = (number(5..7), number(7..9));
    (day - 26) * DAY + ((hour * 60 + minute) * 60 + second) * SECOND
}

// Where the callers run

/// Calls from tasks and from blocking threads of a runtime, for three days.
fn run_on(mut builder: Builder, soak: &Arc<Soak>, seed: u64) {
    let runtime = builder.build().unwrap();
    let calls = |n| soak.clone().make_calls(seed + n, u64::MAX);
    let tasks = (0..4).map(|n| runtime.spawn(calls(n)));
    let threads = (4..6).map(calls);
    let threads = threads.map(|calls| runtime.spawn_blocking(|| pollster::block_on(calls)));
    for callers in tasks.chain(threads).collect::<Vec<_>>() {
        runtime.block_on(callers).unwrap();
    }
}

/// Starts runtimes, and ends them while their callers wait.
fn end_runtimes(soak: &Arc<Soak>, mut chance: Chance) {
    let is_in_flight = || soak.world.lock().in_flight().is_some();
    while !soak.world.is_over() {
        let mut builder = match chance.below(2) {
            0 => Builder::new_multi_thread(),
            _ => Builder::new_current_thread(),
        };
        let runtime = builder.build().unwrap();
        let mut calls = |most| soak.clone().make_calls(chance.below(u64::MAX), most);
        for _ in 0..3 {
            runtime.spawn(calls(u64::MAX));
        }
        let blocking = calls(2);
        runtime.spawn_blocking(|| pollster::block_on(blocking));
        runtime.block_on(async {
            let mut patience = 500;
            while patience > 0 && !is_in_flight() {
                patience -= 1;
                yields(1).await;
            }
            yields(chance.below(5)).await;
        });
        let mut state = soak.world.lock();
        state.figures.runtimes_ended += 1;
        state.figures.runtimes_ended_in_flight += u64::from(state.in_flight().is_some());
        drop(state);
        if chance.one_in(2) {
            runtime.shutdown_background();
        }
    }
}

/// Ends the process if the soak hangs.
fn watch(world: &World, end: &mpsc::Receiver<()>) {
    if end.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
        let state = world.0.try_lock();
        let state = state
            .as_ref()
            .map(|it| (it.now, &it.calls, it.fetches.last(), &it.violations));
        // Past the test's capture of its output, which would be lost.
        let _ = writeln!(stderr(), "the soak hangs: {state:#?}");
        process::abort();
    }
}

#[test]
fn nobody_gets_a_wrong_token_or_waits_or_asks_too_often_in_three_days() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() != Some("rds-iam-provider") {
            default_hook(panic);
        }
    }));
    let soak = Arc::new(Soak::new());
    let (_running, end) = mpsc::channel();
    let world = soak.world.clone();
    thread::spawn(move || watch(&world, &end));
    thread::scope(|threads| {
        for seed in 1..5 {
            let calls = soak.clone().make_calls(seed, u64::MAX);
            threads.spawn(|| pollster::block_on(calls));
        }
        threads.spawn(|| run_on(Builder::new_multi_thread(), &soak, 10));
        threads.spawn(|| run_on(Builder::new_current_thread(), &soak, 20));
        threads.spawn(|| end_runtimes(&soak, Chance(30)));
        threads.spawn(|| end_runtimes(&soak, Chance(40)));
    });
    // A runtime that was left in the background may still have callers.
    let is_idle = || {
        let state = soak.world.lock();
        let is_done = |fetch: &Fetch| fetch.is_delivered && !fetch.is_open;
        state.has_failed() || (state.calls.is_empty() && state.fetches.iter().all(is_done))
    };
    while !is_idle() {
        thread::yield_now();
    }

    let state = soak.world.lock();
    let (figures, fetches) = (&state.figures, &state.fetches);
    // Each fetch was judged when it started. In total, a fetch starts after a failed fetch, for a rejection, after a fetch
    // of credentials that live for less than 45 s, after a step back of the clock, or 30 s after the start of the last.
    let in_time = (state.now.millis + state.set_back) / (30 * SECOND);
    let counts = |fetch: &&Fetch| {
        let lives_on = fetch.is_valid(fetch.called.millis + 45 * SECOND);
        !fetch.is_cached || !lives_on
    };
    let failed_or_short_lived = fetches.iter().filter(counts).count() as u64;
    let for_rejections = in_time.min(figures.rejections);
    let allowed = 1 + failed_or_short_lived + for_rejections + state.now.age + in_time;
    println!("{figures:#?}");
    println!("{} provider calls of at most {allowed}", fetches.len());
    println!("{} wrong tokens", figures.wrong_tokens);

    assert!(state.violations.is_empty(), "{:#?}", state.violations);
    assert!(fetches.len() as u64 <= allowed);
    // Otherwise the soak has judged less than it should.
    assert!(fetches.len() > 500 && figures.provider_calls.len() == 5);
    assert!(figures.reused > 0 && figures.with_a_healthy_provider > 0);
    assert!(figures.runtimes_ended_in_flight > 0);
}
