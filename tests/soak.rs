//! Three days in seconds: 8 threads and 200 logins, a provider that fails a third of the time, takes its time, hangs and
//! mixes short- and long-lived credentials, refused tokens, and a clock that steps back twice. `--nocapture` shows the
//! figures.
//!
//! Threads race with the clock. So a caller reads it before and after its call, and what is judged is what must hold
//! whenever in between the cache has read it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_smithy_async::rt::sleep::Sleep;
use futures_util::future::poll_fn;
use rds_iam::{
    AsyncSleep, Credentials, Login, ProvideCredentials, Signer, TimeSource, Token, TokenCache,
};

const THREADS: usize = 8;
const LOGINS: usize = 200;
const REGION: &str = "eu-west-3";

/// 2024-08-26T00:00:00Z
const START: Duration = Duration::from_secs(1_724_630_400);
const SECOND: u64 = 1000;
const DAY: u64 = 86_400 * SECOND;
/// How far the clock steps back when the first and when the second day is over.
const STEPS_BACK: [u64; 2] = [2 * 3600 * SECOND, 90 * SECOND];

/// That many milliseconds after the start.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + START + Duration::from_millis(millis)
}

/// SplitMix64: chance that is the same in each run.
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

// The clock

/// What the clock says, and how often it has been set back: times of different ages cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    age: u64,
    millis: u64,
}

impl Reading {
    fn pack(self) -> u64 {
        self.age << 48 | self.millis
    }

    fn unpack(packed: u64) -> Reading {
        Reading {
            age: packed >> 48,
            millis: packed & ((1 << 48) - 1),
        }
    }

    /// Whether that much has passed since, as far as can be told.
    fn has_passed(self, millis: u64, since: Reading) -> bool {
        self.age != since.age || self.millis >= since.millis + millis
    }
}

#[derive(Clone, Debug, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn read(&self) -> Reading {
        Reading::unpack(self.0.load(Ordering::SeqCst))
    }

    fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Steps back if a day is over for the first time. Whether the last one is.
    fn end_of_days(&self) -> bool {
        let reading = self.read();
        if reading.millis < DAY * (reading.age + 1) {
            return false;
        }
        let Some(back) = STEPS_BACK.get(reading.age as usize) else {
            return true;
        };
        let stepped = Reading {
            age: reading.age + 1,
            millis: reading.millis - back,
        };
        // Another thread may have been here first, or the clock gone on: the next call will see.
        let _ = self.0.compare_exchange(
            reading.pack(),
            stepped.pack(),
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        false
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let now = at(self.read().millis);
        // Others may overtake who has read the clock.
        thread::yield_now();
        now
    }
}

/// Time passes while somebody sleeps.
impl AsyncSleep for Clock {
    fn sleep(&self, duration: Duration) -> Sleep {
        let (clock, began) = (self.clone(), self.read());
        // A whole millisecond at the least, so that it does not end early.
        let millis = duration.as_millis() as u64 + 1;
        Sleep::new(poll_fn(move |cx| {
            if clock.read().has_passed(millis, began) {
                return Poll::Ready(());
            }
            clock.advance(20);
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

// The provider

thread_local! {
    /// A fetch that has ended in the poll that goes on in this thread.
    static ENDED: Cell<Option<(usize, End)>> = const { Cell::new(None) };
}

#[derive(Clone)]
struct Provider {
    clock: Clock,
    fetches: Arc<Mutex<Fetches>>,
}

struct Fetches {
    chance: Chance,
    all: Vec<Fetch>,
    /// What the clock said before the calls that go on now, one for each thread.
    calling_since: [Option<Reading>; THREADS],
    refusals: u64,
    /// When the last fetch began that only a refusal can have asked for, and how many there had been by then.
    last_for_a_refusal: Option<(Reading, u64)>,
    figures: Figures,
    violations: Vec<String>,
}

struct Fetch {
    /// Not later than when the cache has begun it, maybe in another thread than the one that polls it first.
    began: Reading,
    is_open: bool,
    /// Known once the cache has noted it for sure.
    end: Option<End>,
    /// Those that it was answered with, if it was.
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy)]
enum End {
    Failed { at: Reading },
    Credentials { at: Reading, until: Option<u64> },
}

/// How many fetches began, by what allows them to.
#[derive(Debug, Default)]
struct Figures {
    nothing_known_to_live: u64,
    short_lived_or_old: u64,
    after_a_failure: u64,
    after_giving_up: u64,
    refused: u64,
}

impl Provider {
    fn new(clock: Clock) -> Provider {
        let fetches = Fetches {
            chance: Chance(0),
            all: Vec::new(),
            calling_since: [None; THREADS],
            refusals: 0,
            last_for_a_refusal: None,
            figures: Figures::default(),
            violations: Vec::new(),
        };
        Provider {
            clock,
            fetches: Arc::new(Mutex::new(fetches)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap()
    }

    /// Notes how a fetch has ended, now that the poll in which it did is over and so the cache has noted it, too. Unless
    /// it has been given up before: then nothing is known.
    fn note_end(&self) {
        let Some((number, end)) = ENDED.take() else {
            return;
        };
        let mut fetches = self.lock();
        let is_last = number + 1 == fetches.all.len();
        let fetch = &mut fetches.all[number];
        if is_last && !self.clock.read().has_passed(30 * SECOND, fetch.began) {
            fetch.end = Some(end);
        }
    }
}

impl Fetches {
    /// The fetch that brought the credentials that the cache has at hand for sure, and until when they live.
    fn known_to_live(&self, now: Reading) -> Option<(usize, u64)> {
        for (number, fetch) in self.all.iter().enumerate().rev() {
            match fetch.end {
                Some(End::Credentials { at, until }) => {
                    let until = until.unwrap_or(u64::MAX);
                    let lives = at.age == now.age && until > now.millis;
                    return lives.then_some((number, until));
                }
                // These may have taken the place of those before, or may not.
                None if fetch.credentials.is_some() => return None,
                _ => {}
            }
        }
        None
    }

    fn is_under_way(&self) -> bool {
        self.all.last().is_some_and(|fetch| fetch.is_open)
    }

    fn began_at_the_earliest(&self, now: Reading) -> Reading {
        let calls = self.calling_since.iter().flatten();
        *calls.min().unwrap_or(&now)
    }

    /// Whether the contract lets a fetch begin. What it asks of the cache's own reading holds for `now` as well, which
    /// is later.
    fn judge_start(&mut self, now: Reading) {
        let is_young = |fetch: &Fetch| fetch.is_open && !now.has_passed(30 * SECOND, fetch.began);
        if self.all.iter().any(is_young) {
            self.violations
                .push(format!("two fetches at once at {now:?}"));
        }
        let (Some(last), Some((_, until))) = (self.all.last(), self.known_to_live(now)) else {
            self.figures.nothing_known_to_live += 1;
            return;
        };
        let (is_allowed, figure) = match last.end {
            None => (true, &mut self.figures.after_giving_up),
            Some(End::Failed { at }) => (
                now.has_passed(5 * SECOND, at),
                &mut self.figures.after_a_failure,
            ),
            Some(End::Credentials { until: None, .. }) => (
                now.has_passed(900 * SECOND, last.began),
                &mut self.figures.short_lived_or_old,
            ),
            Some(End::Credentials { .. }) => (
                until - now.millis <= 960 * SECOND && now.has_passed(30 * SECOND, last.began),
                &mut self.figures.short_lived_or_old,
            ),
        };
        if is_allowed {
            *figure += 1;
            return;
        }
        self.figures.refused += 1;
        let is_asked_for = match self.last_for_a_refusal {
            None => self.refusals > 0,
            Some((began, refusals)) => {
                self.refusals > refusals && now.has_passed(30 * SECOND, began)
            }
        };
        if !is_asked_for {
            self.violations
                .push(format!("a fetch too early at {now:?}"));
        }
        self.last_for_a_refusal = Some((self.began_at_the_earliest(now), self.refusals));
    }

    fn answer(&mut self, number: usize, now: Reading) -> Result<Credentials, CredentialsError> {
        if self.chance.one_in(3) {
            ENDED.set(Some((number, End::Failed { at: now })));
            return Err(CredentialsError::provider_error("as chance wills it"));
        }
        let chance = &mut self.chance;
        let until = match chance.below(20) {
            0 => None,
            1 | 2 => Some(now.millis.saturating_sub(chance.below(100 * SECOND))),
            3..16 => Some(now.millis + 40 * SECOND + chance.below(300 * SECOND)),
            _ => Some(now.millis + 1000 * SECOND + chance.below(1000 * SECOND)),
        };
        let end = match until {
            Some(until) if until <= now.millis => End::Failed { at: now },
            _ => End::Credentials { at: now, until },
        };
        ENDED.set(Some((number, end)));
        let credentials = Credentials::new(
            format!("AKID{number}"),
            format!("secret of {number}"),
            chance.one_in(2).then(|| format!("session of {number}")),
            until.map(at),
            "test",
        );
        self.all[number].credentials = Some(credentials.clone());
        Ok(credentials)
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
        let mut fetches = self.lock();
        let now = self.clock.read();
        fetches.judge_start(now);
        let number = fetches.all.len();
        let began = fetches.began_at_the_earliest(now);
        fetches.all.push(Fetch {
            began,
            is_open: true,
            end: None,
            credentials: None,
        });
        let mut steps = fetches.chance.below(4);
        let hangs = fetches.chance.one_in(30);
        let open = OpenFetch(self, number);
        future::ProvideCredentials::new(async move {
            let OpenFetch(provider, number) = &open;
            poll_fn(|cx| {
                if hangs {
                    return Poll::Pending;
                }
                if steps == 0 {
                    return Poll::Ready(());
                }
                steps -= 1;
                provider.clock.advance(300);
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            let now = provider.clock.read();
            provider.lock().answer(*number, now)
        })
    }
}

struct OpenFetch<'a>(&'a Provider, usize);

impl Drop for OpenFetch<'_> {
    fn drop(&mut self) {
        let OpenFetch(provider, number) = self;
        provider.lock().all[*number].is_open = false;
    }
}

// The callers

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until there is an outcome, or `polls` times.
fn drive<T>(provider: &Provider, future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for poll in 0..polls {
        if poll > 0 {
            thread::park();
        }
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        provider.note_end();
        if let Poll::Ready(outcome) = polled {
            return Some(outcome);
        }
    }
    None
}

/// What the callers know of a login's token.
#[derive(Clone, Default)]
struct Known {
    token: Option<(Token, Reading)>,
    /// Whether the cache has handed it out twice, and so holds it.
    is_held: bool,
    refused: Option<(Token, Reading)>,
    refusals: u64,
}

struct Soak {
    clock: Clock,
    provider: Provider,
    cache: TokenCache,
    logins: Vec<(Login, Mutex<Known>)>,
    calls: AtomicU64,
    reused: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

impl Soak {
    fn new() -> Soak {
        let clock = Clock::default();
        let provider = Provider::new(clock.clone());
        let cache = TokenCache::builder(provider.clone())
            .region(REGION)
            .time_source(clock.clone())
            .sleep_impl(clock.clone())
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
            clock,
            provider,
            cache,
            calls: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }

    /// What one thread does.
    fn run(&self, thread: usize, mut chance: Chance) {
        while !self.clock.end_of_days() {
            // Most of the time passes between the fetches, or most of them would be given up.
            let is_under_way = self.provider.lock().is_under_way();
            self.clock.advance(match (is_under_way, chance.below(400)) {
                (true, 0) => chance.below(10 * SECOND),
                (true, _) => chance.below(3),
                (false, 0 | 1) => chance.below(300 * SECOND),
                (false, _) => chance.below(3 * SECOND),
            });
            let (login, known) = &self.logins[chance.below(LOGINS as u64) as usize];
            let known_before = known.lock().unwrap().clone();
            let before = self.clock.read();
            let live_before = self.provider.lock().known_to_live(before);
            self.provider.lock().calling_since[thread] = Some(before);
            let polls = if chance.one_in(5) { 1 } else { usize::MAX };
            let outcome = drive(&self.provider, self.cache.token(login), polls);
            self.provider.lock().calling_since[thread] = None;
            let after = self.clock.read();
            self.calls.fetch_add(1, Ordering::Relaxed);
            match outcome {
                None => {
                    self.abandoned.fetch_add(1, Ordering::Relaxed);
                }
                Some(Err(error)) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let live_after = self.provider.lock().known_to_live(after);
                    let refusals = known.lock().unwrap().refusals;
                    let is_refused = refusals != known_before.refusals;
                    for (what, serves) in [
                        (
                            "live credentials",
                            live_before.is_some() && live_before == live_after,
                        ),
                        ("a token", !is_refused && known_before.serves(before, after)),
                    ] {
                        if serves {
                            let when = format!("from {before:?} to {after:?}");
                            self.violation(format!(
                                "{login} failed {when} in spite of {what}: {error}"
                            ));
                        }
                    }
                }
                Some(Ok(token)) => {
                    self.judge(login, &token, &known_before, before, after);
                    self.note(known, &known_before, &token, before, after);
                    if chance.one_in(300) {
                        // Its own, or one with which another caller was refused before.
                        let refused = match known_before.token {
                            Some((old, _)) if chance.one_in(2) => old,
                            _ => token,
                        };
                        self.refuse(login, known, refused);
                    }
                }
            }
        }
    }

    fn judge(&self, login: &Login, token: &Token, known: &Known, before: Reading, after: Reading) {
        let signed_at = signed_at(token);
        let was_judged = known
            .token
            .as_ref()
            .is_some_and(|(before, _)| before.as_str() == token.as_str());
        if !was_judged && !self.is_of(login, token, signed_at) {
            self.violation(format!("{login} got another's token from {before:?} on"));
        }
        // Else no reading in between is known.
        if before.age == after.age {
            if token.expires_at() <= at(before.millis) {
                self.violation(format!("{login} got an expired token from {before:?} on"));
            }
            if signed_at > after.millis + 60 * SECOND {
                self.violation(format!(
                    "{login} got a token of the future from {before:?} on"
                ));
            }
            // One that is signed anew in the second in which it was refused is the same.
            let is_refused = |(refused, at): &(Token, Reading)| {
                refused.as_str() == token.as_str()
                    && at.age == before.age
                    && at.millis >= signed_at + SECOND
            };
            if known.refused.as_ref().is_some_and(is_refused) {
                self.violation(format!("{login} got a refused token from {before:?} on"));
            }
        }
    }

    /// Whether it is what the credentials that it names sign for the login.
    fn is_of(&self, login: &Login, token: &Token, signed_at: u64) -> bool {
        let (_, number) = token.as_str().split_once("Credential=AKID").unwrap();
        let (number, _) = number.split_once('%').unwrap();
        let number: usize = number.parse().unwrap();
        let credentials = self.provider.lock().all[number].credentials.clone();
        let region = login.region().unwrap_or(REGION);
        let expected = Signer::new(&credentials.unwrap(), region, at(signed_at))
            .and_then(|signer| signer.sign(login, at(signed_at)))
            .unwrap();
        (token.as_str(), token.expires_at()) == (expected.as_str(), expected.expires_at())
    }

    fn note(
        &self,
        known: &Mutex<Known>,
        known_before: &Known,
        token: &Token,
        before: Reading,
        after: Reading,
    ) {
        let mut known = known.lock().unwrap();
        if known.refusals != known_before.refusals || before.age != after.age {
            return;
        }
        let is_same = |(held, _): &(Token, Reading)| held.as_str() == token.as_str();
        // Two that are signed in the same second are the same, too.
        known.is_held =
            known.token.as_ref().is_some_and(is_same) && signed_at(token) + SECOND <= before.millis;
        if known.is_held {
            self.reused.fetch_add(1, Ordering::Relaxed);
        }
        known.token = Some((token.clone(), before));
    }

    fn refuse(&self, login: &Login, known: &Mutex<Known>, refused: Token) {
        // Before the cache knows, since the calls of other threads are judged meanwhile.
        let mut noted = known.lock().unwrap();
        noted.token = None;
        noted.is_held = false;
        noted.refusals += 1;
        drop(noted);
        self.provider.lock().refusals += 1;
        let at = self.clock.read();
        self.cache.invalidate(login, &refused);
        known.lock().unwrap().refused = Some((refused, at));
    }

    fn violation(&self, what: String) {
        self.provider.lock().violations.push(what);
    }
}

impl Known {
    /// Whether the cache holds a token that is valid all the while.
    fn serves(&self, before: Reading, after: Reading) -> bool {
        let Some((token, seen)) = &self.token else {
            return false;
        };
        let is_of_this_age = seen.age == before.age && before.age == after.age;
        self.is_held && is_of_this_age && token.expires_at() > at(after.millis)
    }
}

/// The second in a token's date, as milliseconds since the start. All days are of one month.
fn signed_at(token: &Token) -> u64 {
    let (_, date) = token.as_str().split_once("&X-Amz-Date=202408").unwrap();
    let number = |digits: Range<usize>| date[digits].parse::<u64>().unwrap();
    let (day, hour) = (number(0..2), number(3..5));
    let (minute, second) = (number(5..7), number(7..9));
    (day - 26) * DAY + ((hour * 60 + minute) * 60 + second) * SECOND
}

#[test]
fn nobody_gets_a_wrong_token_or_waits_or_asks_too_often_in_three_days() {
    let soak = Soak::new();
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let soak = &soak;
            threads.spawn(move || soak.run(thread, Chance(1 + thread as u64)));
        }
    });
    let fetches = soak.provider.lock();
    let [calls, reused, failed, abandoned] =
        [&soak.calls, &soak.reused, &soak.failed, &soak.abandoned]
            .map(|counter| counter.load(Ordering::Relaxed));
    println!(
        "{calls} calls: {reused} reused a token, {failed} failed, {abandoned} were abandoned; {} refusals",
        fetches.refusals
    );

    // Each fetch was judged when it began. What this comes to in so much time: one in 30 s after a good answer, in 5 s
    // after a failure, in 30 s after one that was given up and in 30 s for refusals. Where nothing lives, the fetch before
    // was given up, or failed its caller, or brought what lived for 40 s at the least.
    let time = 3 * DAY + STEPS_BACK.iter().sum::<u64>();
    let in_time = [30, 5, 30, 30, 40].map(|seconds| time / (seconds * SECOND));
    let allowed = 1 + in_time.iter().sum::<u64>() + failed + abandoned;
    println!(
        "{} provider calls of {allowed} at the most: {:?}",
        fetches.all.len(),
        fetches.figures
    );
    assert!(fetches.all.len() as u64 <= allowed);

    let violations = &fetches.violations;
    assert!(
        violations.is_empty(),
        "{} violations, the first of which: {:#?}",
        violations.len(),
        violations.iter().take(20).collect::<Vec<_>>()
    );
}
