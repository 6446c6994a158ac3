//! Credentials that are cached and refreshed (rule 5).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::time::SharedTimeSource;

use crate::Error;
use crate::error::ErrorChain;
use crate::fetch::{FETCH_TIMEOUT, FetchExecutor, InFlight, Outcome};
use crate::signer::LIFETIME;

/// How long after a failed fetch the next one starts, if a token or credentials are valid.
const FAILURE_BACKOFF: Duration = Duration::from_secs(5);

/// Between the starts of two fetches that bring short-lived credentials, or that rejections ask for.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) struct CredentialsCache {
    provider: SharedCredentialsProvider,
    clock: SharedTimeSource,
    executor: FetchExecutor,
    /// Credentials that expire sooner cannot sign a token that is fresh for its full time.
    min_remaining: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<CachedCredentials>,
    in_flight: Option<InFlightFetch>,
    fetches: u64,
    last_failed_at: Option<SystemTime>,
    /// How often the database has rejected tokens of the credentials that were cached then.
    rejections: u64,
    last_started_for_rejection: Option<SystemTime>,
}

/// Credentials, and the fetch that brought them.
#[derive(Clone)]
pub(crate) struct CachedCredentials {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) fetch: FetchStart,
}

#[derive(Clone, Copy)]
pub(crate) struct FetchStart {
    /// Counts from 1. No two fetches have the same number.
    pub(crate) number: u64,
    at: SystemTime,
    /// How many rejections there had been.
    rejections: u64,
}

/// What a caller without a fresh token has to do.
pub(crate) enum Refresh {
    /// The cached credentials are good enough.
    NotDue,
    /// Others wait for a fetch, and this caller need not.
    InFlight,
    Wait(InFlightFetch),
}

#[derive(Clone)]
pub(crate) struct InFlightFetch {
    start: FetchStart,
    fetch: InFlight<CachedCredentials>,
    /// False for a fetch that started before a rejection: the keys may have been rotated since.
    pub(crate) started_after_rejection: bool,
}

impl InFlightFetch {
    pub(crate) async fn outcome(self) -> Result<CachedCredentials, Error> {
        self.fetch.outcome().await
    }
}

impl CredentialsCache {
    pub(crate) fn new(
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
        executor: FetchExecutor,
        min_remaining: Duration,
    ) -> Arc<CredentialsCache> {
        Arc::new(CredentialsCache {
            provider,
            clock,
            executor,
            min_remaining,
            state: Mutex::default(),
        })
    }

    /// The cached credentials, unless they have expired.
    pub(crate) fn valid(&self, now: SystemTime) -> Option<CachedCredentials> {
        self.state().valid(now).cloned()
    }

    /// Starts a fetch if one is due, and waits for the one in flight if the caller has nothing to fall back to.
    pub(crate) fn join_or_start(self: &Arc<Self>, has_valid_token: bool) -> Refresh {
        let mut state = self.state();
        // Read under the lock, or a start by another thread could seem to lie in the future.
        let now = self.clock.now();
        let valid = state.valid(now);
        let is_valid = has_valid_token || valid.is_some();
        // The database rejects what rejected credentials sign, so they only serve if no others can be fetched.
        let can_fall_back = has_valid_token || valid.is_some_and(|it| !state.is_rejected(it));
        if let Some(in_flight) = state.in_flight.as_ref().filter(|it| !it.fetch.has_ended()) {
            if can_fall_back {
                return Refresh::InFlight;
            }
            return Refresh::Wait(InFlightFetch {
                started_after_rejection: in_flight.start.rejections == state.rejections,
                ..in_flight.clone()
            });
        }
        if is_valid && !state.is_due(self.min_remaining, now) {
            return Refresh::NotDue;
        }
        let (outcome, in_flight) = state.start(now);
        drop(state);
        self.run(in_flight.start, outcome);
        Refresh::Wait(in_flight)
    }

    fn run(self: &Arc<Self>, start: FetchStart, outcome: Outcome<CachedCredentials>) {
        let provider = self.provider.clone();
        let work = async move {
            tracing::debug!("fetching AWS credentials");
            let answer = provider.provide_credentials().await;
            match &answer {
                Ok(credentials) => {
                    tracing::debug!(expiry = ?credentials.expiry(), "fetched AWS credentials")
                }
                Err(error) => {
                    tracing::debug!(error = %ErrorChain(error), "fetching AWS credentials failed")
                }
            }
            answer.map_err(map_provider_error)
        };
        // A provider that hangs must not keep the secrets of a cache that has been dropped.
        let cache = Arc::downgrade(self);
        self.executor.run(work, move |answer| {
            if let Some(cache) = cache.upgrade() {
                outcome.send_replace(Some(cache.complete(start, answer)));
            }
        });
    }

    fn complete(
        &self,
        fetch: FetchStart,
        answer: Result<Credentials, Error>,
    ) -> Result<CachedCredentials, Error> {
        let mut state = self.state();
        let now = self.clock.now();
        match answer.and_then(|credentials| reject_expired(credentials, now)) {
            Ok(credentials) => {
                let credentials = Arc::new(credentials);
                let cached = CachedCredentials { credentials, fetch };
                state.cached = Some(cached.clone());
                state.last_failed_at = None;
                Ok(cached)
            }
            Err(error) => {
                state.last_failed_at = Some(now);
                Err(error)
            }
        }
    }

    /// The database rejected a token. If the cached credentials signed it, the next refresh fetches others. A rejection
    /// that was already reported asks for no second fetch.
    pub(crate) fn report_rejection(
        &self,
        already_reported: bool,
        has_signed: impl FnOnce(&Credentials) -> bool,
    ) {
        let mut state = self.state();
        let Some(cached) = state.cached.as_ref() else {
            return;
        };
        let is_known = already_reported && state.is_rejected(cached);
        if has_signed(&cached.credentials) && !is_known {
            state.rejections += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only the clock can panic while it is locked, and no change is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn valid(&self, now: SystemTime) -> Option<&CachedCredentials> {
        let is_valid = |expiry| expiry > now;
        self.cached
            .as_ref()
            .filter(|cached| cached.credentials.expiry().is_none_or(is_valid))
    }

    /// Whether the database has rejected a token of `cached` since their fetch started.
    fn is_rejected(&self, cached: &CachedCredentials) -> bool {
        cached.fetch.rejections < self.rejections
    }

    fn is_due(&self, min_remaining: Duration, now: SystemTime) -> bool {
        let has_elapsed = |period, since: Option<SystemTime>| {
            since.is_none_or(|since| elapsed(since, now) >= period)
        };
        if !has_elapsed(FAILURE_BACKOFF, self.last_failed_at) {
            return false;
        }
        let Some(cached) = &self.cached else {
            return true;
        };
        if self.is_rejected(cached)
            && has_elapsed(MIN_FETCH_INTERVAL, self.last_started_for_rejection)
        {
            return true;
        }
        let age = elapsed(cached.fetch.at, now);
        match cached.credentials.expiry() {
            Some(expiry) => {
                let remaining = expiry.duration_since(now).unwrap_or_default();
                let interval = match remaining {
                    Duration::ZERO => MIN_FETCH_INTERVAL,
                    // Some sources have new ones only seconds before these expire.
                    _ => MIN_FETCH_INTERVAL.min(remaining.saturating_mul(2)),
                };
                remaining <= min_remaining && age >= interval
            }
            // They may have been rotated.
            None => age > LIFETIME,
        }
    }

    fn start(&mut self, now: SystemTime) -> (Outcome<CachedCredentials>, InFlightFetch) {
        self.fetches += 1;
        if self.cached.as_ref().is_some_and(|it| self.is_rejected(it)) {
            self.last_started_for_rejection = Some(now);
        }
        let (outcome, fetch) = InFlight::new();
        let in_flight = InFlightFetch {
            start: FetchStart {
                number: self.fetches,
                at: now,
                rejections: self.rejections,
            },
            fetch,
            started_after_rejection: true,
        };
        self.in_flight = Some(in_flight.clone());
        (outcome, in_flight)
    }
}

/// If a provider times out itself, after at least as long, the error is the same.
fn map_provider_error(error: CredentialsError) -> Error {
    match &error {
        CredentialsError::ProviderTimedOut(details)
            if details.timeout_duration() >= FETCH_TIMEOUT =>
        {
            Error::FetchTimedOut {
                after: details.timeout_duration(),
            }
        }
        _ => error.into(),
    }
}

/// A provider that returns expired credentials has failed: IMDS does, when it cannot refresh them.
fn reject_expired(credentials: Credentials, now: SystemTime) -> Result<Credentials, Error> {
    match credentials.expiry().filter(|expiry| *expiry <= now) {
        Some(expired_at) => Err(Error::CredentialsExpired { expired_at }),
        None => Ok(credentials),
    }
}

/// How long ago `since` was. An instant in the future is infinitely long ago, because the clock has been set back.
fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::MAX)
}
