//! What happens to the credentials source and to the keys, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rds_iam::provider::future;
use rds_iam::{Credentials, CredentialsError, ProvideCredentials};
use tokio::time::Instant;

/// The lifetime of credentials without a set expiry.
const HOUR: u64 = 3600;
pub const SECRET: &str = "the secret of each of these keys";

/// All times are in seconds since the start.
pub struct Scenario {
    name: &'static str,
    /// What the source answers from a time on.
    answers: &'static [(u64, Answer)],
    /// From when on the server does not know a key.
    revoked: Option<(&'static str, u64)>,
}

#[derive(Clone, Copy)]
enum Answer {
    Key(&'static str),
    KeyUntil(&'static str, u64),
    Down,
}
use Answer::{Down, Key, KeyUntil};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "A: source down for 1 minute",
        answers: &[(0, Key("A1")), (700, Down), (760, Key("A1"))],
        revoked: None,
    },
    Scenario {
        name: "B: source down for 10 minutes, credentials expire",
        answers: &[(0, KeyUntil("B1", 1000)), (700, Down), (1300, Key("B2"))],
        // The expiry is not in the token, so the server rejects the expired key because it is unknown.
        revoked: Some(("B1", 1000)),
    },
    Scenario {
        name: "C: credentials revoked",
        // 330 s before the next refresh of AWS's connector, which takes 360 s on average. `rds-iam-sqlx` tests a used pool
        // 30 s later, the average, and fetches credentials for an unused pool 270 s later, which takes 150 s on average.
        answers: &[(0, Key("C1")), (390, Key("C2"))],
        revoked: Some(("C1", 390)),
    },
];

impl Scenario {
    fn answer_at(&self, seconds: u64) -> Answer {
        let mut until_now = self.answers.iter().filter(|(from, _)| *from <= seconds);
        until_now.next_back().map_or(Down, |(_, answer)| *answer)
    }

    fn is_known(&self, key: &str, seconds: u64) -> bool {
        self.revoked
            .is_none_or(|(revoked, from)| revoked != key || seconds < from)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whether the server knows each of the key ids at a time.
pub fn keys_at(seconds: u64) -> BTreeMap<String, bool> {
    let mut keys = BTreeMap::new();
    for scenario in &SCENARIOS {
        for (_, answer) in scenario.answers {
            if let Key(key) | KeyUntil(key, _) = *answer {
                keys.insert(access_key_id(key), scenario.is_known(key, seconds));
            }
        }
    }
    keys
}

/// After the run.
pub fn no_keys() -> BTreeMap<String, bool> {
    let keys = keys_at(0).into_keys();
    keys.map(|id| (id, false)).collect()
}

/// Two runs at the same server do not share keys.
fn access_key_id(key: &str) -> String {
    format!("OUTAGE{key}{}", std::process::id())
}

/// The time since the start of the scenarios.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_at: SystemTime,
    start: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "AWS's connector and the server have no clock to set"
    )]
    pub fn start() -> Clock {
        Clock {
            started_at: SystemTime::now(),
            start: Instant::now(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn seconds(&self) -> u64 {
        self.elapsed().as_secs()
    }
}

/// The credentials source of a single pool, which answers as a scenario says.
#[derive(Clone)]
pub struct Source {
    scenario: &'static Scenario,
    clock: Clock,
    asked_at: Arc<Mutex<Vec<u64>>>,
}

impl Source {
    pub fn new(scenario: &'static Scenario, clock: Clock) -> Source {
        Source {
            scenario,
            clock,
            asked_at: Arc::default(),
        }
    }

    pub fn asked_at(&self) -> Vec<u64> {
        let asked_at = self.asked_at.lock();
        asked_at.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let now = self.clock.seconds();
        let asked_at = self.asked_at.lock();
        asked_at.unwrap_or_else(PoisonError::into_inner).push(now);
        let (key, expires_at) = match self.scenario.answer_at(now) {
            Key(key) => (key, now + HOUR),
            KeyUntil(key, expires_at) => (key, expires_at),
            Down => {
                let error = CredentialsError::provider_error("the source is down");
                return future::ProvideCredentials::ready(Err(error));
            }
        };
        let expiry = self.clock.started_at + Duration::from_secs(expires_at);
        let id = access_key_id(key);
        let credentials = Credentials::new(id, SECRET, None, Some(expiry), "scenario");
        future::ProvideCredentials::ready(Ok(credentials))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
