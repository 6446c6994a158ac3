//! What a test decides: the time and the sleeps that end with it, what the source of credentials hands out, and which
//! keys the servers know.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_smithy_async::rt::sleep::Sleep;
use rds_iam::{AsyncSleep, Credentials, Login, ProvideCredentials, TimeSource, Token, TokenCache};
use serde_json::{Map, Value, json};
use tokio::runtime::EnterGuard;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::pools::{Pool, Target, runtime};
use crate::servers::Servers;

/// Nothing that a test waits for takes as long on any machine.
const BOUND: Duration = Duration::from_secs(60);

pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

// The time

/// Moves only when the test says so, and then ends the sleeps whose time has passed.
#[derive(Clone)]
pub struct Clock(Arc<(Mutex<Time>, Condvar)>);

struct Time {
    now: SystemTime,
    /// Until when, and how to end it.
    sleeps: Vec<(SystemTime, oneshot::Sender<()>)>,
}

impl Clock {
    fn set_to(now: SystemTime) -> Clock {
        let sleeps = Vec::new();
        Clock(Arc::new((Mutex::new(Time { now, sleeps }), Condvar::new())))
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.0.lock().unwrap()
    }

    fn advance(&self, duration: Duration) {
        let mut time = self.time();
        time.now += duration;
        let now = time.now;
        for (_, sleep) in time.sleeps.extract_if(.., |(until, _)| *until <= now) {
            // Whoever slept may be gone.
            let _ = sleep.send(());
        }
    }

    /// Waits until `count` sleep for that long from now.
    fn wait_for_sleeps_of(&self, duration: Duration, count: usize) {
        let (time, changed) = &*self.0;
        let is_missing = |time: &mut Time| {
            let end = time.now + duration;
            let until_end = time.sleeps.iter().filter(|(until, _)| *until == end);
            until_end.filter(|(_, sleep)| !sleep.is_closed()).count() < count
        };
        let (_time, waited) = changed
            .wait_timeout_while(time.lock().unwrap(), BOUND, is_missing)
            .unwrap();
        assert!(
            !waited.timed_out(),
            "fewer than {count} sleep for {duration:?}"
        );
    }

    /// Waits until all who sleep are gone.
    pub fn wait_until_nobody_sleeps(&self) {
        let sleeps = std::mem::take(&mut self.time().sleeps);
        for (_, mut sleep) in sleeps {
            runtime()
                .block_on(async { timeout(BOUND, sleep.closed()).await })
                .expect("somebody sleeps on");
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.time().now
    }
}

impl AsyncSleep for Clock {
    fn sleep(&self, duration: Duration) -> Sleep {
        let (sender, receiver) = oneshot::channel();
        let mut time = self.time();
        let until = time.now + duration;
        time.sleeps.push((until, sender));
        self.0.1.notify_all();
        Sleep::new(async {
            // An error when the clock is gone.
            let _ = receiver.await;
        })
    }
}

// The source of credentials

#[derive(Clone)]
pub struct Source(Arc<Mutex<SourceState>>);

struct SourceState {
    answer: Result<Credentials, &'static str>,
    fetches: usize,
}

impl Source {
    /// It fails from now on, for that reason.
    pub fn goes_down(&self, reason: &'static str) {
        self.state().answer = Err(reason);
    }

    pub fn fetches(&self) -> usize {
        self.state().fetches
    }

    fn state(&self) -> MutexGuard<'_, SourceState> {
        self.0.lock().unwrap()
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
        let mut state = self.state();
        state.fetches += 1;
        let answer = state.answer.clone();
        future::ProvideCredentials::ready(answer.map_err(CredentialsError::provider_error))
    }
}

// The keys of the servers

/// The id of an access key that the servers know.
pub struct Key(String);

const SECRET: &str = "the secret of each of these keys";

impl Key {
    pub fn new() -> Key {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("POOLS{number:015}");
        edit_keys(|keys| {
            let key =
                json!({ "access_key_id": id, "secret_access_key": SECRET, "session_token": null });
            keys.insert(id.clone(), key);
        });
        Key(id)
    }

    pub fn revoke(&self) {
        edit_keys(|keys| drop(keys.remove(&self.0)));
    }
}

fn edit_keys(edit: impl FnOnce(&mut Map<String, Value>)) {
    static EDITED: Mutex<()> = Mutex::new(());
    let _edited = EDITED.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = env::var_os("RDS_IAM_TEST_SERVERS").unwrap();
    let state = Path::new(&servers).join("state");
    let (old, new) = (state.join("keys.json"), state.join("keys.json.new"));
    let mut keys = serde_json::from_str(&fs::read_to_string(&old).unwrap()).unwrap();
    edit(&mut keys);
    fs::write(&new, serde_json::to_string(&keys).unwrap()).unwrap();
    fs::rename(&new, &old).unwrap();
}

// All of it

/// A cache, and a user of the servers whom no other test uses meanwhile.
pub struct Harness {
    pub servers: Servers,
    pub clock: Clock,
    pub source: Source,
    cache: TokenCache,
    started_at: SystemTime,
    server: &'static str,
    pub user: &'static str,
    received_before: usize,
    _alone: MutexGuard<'static, ()>,
    /// What the drivers drop runs on.
    _runtime: EnterGuard<'static>,
}

impl Harness {
    /// The pool's user at the server with TLS.
    pub fn of<P: Pool>() -> Harness {
        Harness::at(P::ENGINE.server(), P::USER)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the servers judge by the real time"
    )]
    pub fn at(server: &'static str, user: &'static str) -> Harness {
        static USERS: Mutex<BTreeMap<&str, &Mutex<()>>> = Mutex::new(BTreeMap::new());
        // The lock of the map ends before the wait for the user, because a test may use two users.
        let user_lock = *USERS
            .lock()
            .unwrap()
            .entry(user)
            .or_insert_with(|| Box::leak(Box::default()));
        let alone = user_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = Servers::running();
        // A token is signed for a whole second, so that a sleep until its last minute takes whole minutes.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let started_at = UNIX_EPOCH + Duration::from_secs(since_1970.as_secs());
        // Another test program may have left it elsewhere.
        servers.move_clock(user, 0);
        let clock = Clock::set_to(started_at);
        let source = Source(Arc::new(Mutex::new(SourceState {
            answer: Err("nothing to hand out yet"),
            fetches: 0,
        })));
        Harness {
            cache: TokenCache::builder(source.clone())
                .time_source(clock.clone())
                .sleep_impl(clock.clone())
                .build()
                .unwrap(),
            received_before: servers.received(server, user).len(),
            server,
            user,
            servers,
            clock,
            source,
            started_at,
            _alone: alone,
            _runtime: runtime().enter(),
        }
    }

    /// The source hands out `key` from now on, with that long to live where its life is to end.
    pub fn hand_out(&self, key: &Key, life: Option<Duration>) {
        let expiry = life.map(|life| self.clock.now() + life);
        self.source.state().answer = Ok(Credentials::new(&key.0, SECRET, None, expiry, "test"));
    }

    /// The server, under its own name.
    pub fn target(&self) -> Target<'_> {
        self.target_at(self.server)
    }

    /// The server of that name.
    pub fn target_at(&self, server: &str) -> Target<'_> {
        Target {
            cache: &self.cache,
            host: self.servers.host_of(server),
            port: self.servers.port_of(server),
            user: self.user,
            database: self.servers.database(),
            ca: Some(self.servers.all_cas()),
        }
    }

    pub fn cache(&self) -> &TokenCache {
        &self.cache
    }

    /// The cached token of a user of the server.
    pub fn token(&self, user: &str) -> Token {
        let Target { host, port, .. } = self.target();
        let login = Login::new(host, port, user).unwrap();
        runtime().block_on(self.cache.token(&login)).unwrap()
    }

    pub fn open<P: Pool>(&self) -> P {
        let pool = P::open(self.target()).unwrap();
        self.settle::<P>();
        pool
    }

    /// Moves the servers' clock for the user, and the cache's.
    pub fn advance<P: Pool>(&self, duration: Duration) {
        self.advance_without_credentials(duration);
        self.settle::<P>();
    }

    /// The same where `keep_fresh` can't get far.
    pub fn advance_without_credentials(&self, duration: Duration) {
        let since_start = self.clock.now().duration_since(self.started_at).unwrap() + duration;
        let seconds = since_start.as_secs().try_into().unwrap();
        self.servers.move_clock(self.user, seconds);
        self.clock.advance(duration);
    }

    /// Waits for the pool's task, whose parts sleep for a minute when they have done their work.
    pub fn settle<P: Pool>(&self) {
        self.clock.wait_for_sleeps_of(minutes(1), P::SLEEPS);
    }

    /// What became of each password that the server has received since the start.
    pub fn received(&self) -> Vec<String> {
        let mut received = self.servers.received(self.server, self.user);
        received.split_off(self.received_before)
    }

    /// Asserts that the server has accepted `logins` since the start, and rejected none. A pool's task may have
    /// logged in as often.
    #[track_caller]
    pub fn assert_accepted<P: Pool>(&self, logins: usize) {
        let received = self.received();
        assert!(received.iter().all(|it| it == "accepted"), "{received:?}");
        match P::SLEEPS {
            0 => assert_eq!(received.len(), logins),
            _ => assert!(
                (logins..=2 * logins).contains(&received.len()),
                "{received:?}"
            ),
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.servers.move_clock(self.user, 0);
    }
}
