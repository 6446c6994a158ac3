//! The cached credentials, and the fetch in flight.

mod schedule;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::time::SharedTimeSource;

use crate::Error;
use crate::error::ErrorChain;
use crate::fetch::{FETCH_TIMEOUT, FetchExecutor, InFlight, OutcomeSender};
use schedule::{Cached, History};

pub(crate) struct CredentialsCache {
    provider: SharedCredentialsProvider,
    clock: SharedTimeSource,
    executor: FetchExecutor,
    /// A token's lifetime plus the refresh margin. If the credentials expire sooner, a fetch is due (rule 3).
    min_remaining: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<CachedCredentials>,
    in_flight: Option<InFlightFetch>,
    fetches: u64,
    last_failed_at: Option<SystemTime>,
    /// Counts rejections of credentials, and is never reset. Credentials are rejected if their fetch started at a lower
    /// count.
    rejections: u64,
    last_started_for_rejection: Option<SystemTime>,
}

/// Credentials, and the fetch that brought them.
#[derive(Clone)]
pub(crate) struct CachedCredentials {
    pub(crate) credentials: Arc<Credentials>,
    fetch: FetchStart,
}

impl CachedCredentials {
    /// The number of the fetch that brought these credentials. A later fetch has a higher number.
    pub(crate) fn fetch(&self) -> u64 {
        self.fetch.number
    }
}

#[derive(Clone, Copy)]
struct FetchStart {
    number: u64,
    at: SystemTime,
    /// The value of `State::rejections` when the fetch started.
    rejections: u64,
}

struct InFlightFetch {
    start: FetchStart,
    in_flight: InFlight,
}

/// What a caller without a fresh token has to do.
pub(crate) enum Refresh {
    /// Sign with the cached credentials.
    NotDue,
    /// Fall back to the valid token or to the cached credentials. The caller that started the fetch waits for the outcome.
    InFlight,
    /// Wait for the fetch.
    Wait {
        fetch: InFlight,
        /// `false` if the fetch was in flight before the rejection, so it may bring the rejected keys.
        started_after_rejection: bool,
    },
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

    /// Returns the cached credentials, unless they have expired.
    pub(crate) fn valid(&self, now: SystemTime) -> Option<CachedCredentials> {
        self.state().valid(now).cloned()
    }

    /// Joins the fetch in flight if the caller has nothing to fall back to. Starts a fetch if one is due.
    pub(crate) fn join_or_start(self: &Arc<Self>, has_valid_token: bool) -> Refresh {
        let mut state = self.state();
        // Read under the lock. Otherwise a fetch of a second thread could seem to start in the future.
        let now = self.clock.now();
        let valid = state.valid(now);
        let has_valid = has_valid_token || valid.is_some();
        // Rule 6: rejected credentials are no fallback.
        let can_fall_back = has_valid_token || valid.is_some_and(|it| !state.is_rejected(it));
        if let Some(fetch) = state
            .in_flight
            .as_ref()
            .filter(|it| !it.in_flight.has_ended())
        {
            if can_fall_back {
                return Refresh::InFlight;
            }
            return Refresh::Wait {
                fetch: fetch.in_flight.clone(),
                started_after_rejection: fetch.start.rejections == state.rejections,
            };
        }
        if has_valid && !state.history().is_due(self.min_remaining, now) {
            return Refresh::NotDue;
        }
        let (start, outcome, in_flight) = state.start(now);
        let fetch = in_flight.clone();
        let ended = state.in_flight.replace(InFlightFetch { start, in_flight });
        drop(state);
        // Not under the lock, because to drop a provider's error may run the provider's code.
        drop(ended);
        self.run(start, outcome);
        Refresh::Wait {
            fetch,
            started_after_rejection: true,
        }
    }

    fn run(self: &Arc<Self>, start: FetchStart, outcome: OutcomeSender) {
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
        // A hanging fetch must not keep the secrets of a dropped cache.
        let cache = Arc::downgrade(self);
        self.executor.run(work, move |answer| {
            if let Some(cache) = cache.upgrade() {
                outcome.send_replace(Some(cache.complete(start, answer)));
            }
        });
    }

    fn complete(&self, fetch: FetchStart, answer: Result<Credentials, Error>) -> Result<(), Error> {
        let mut state = self.state();
        let now = self.clock.now();
        match answer.and_then(|credentials| reject_expired(credentials, now)) {
            Ok(credentials) => {
                let credentials = Arc::new(credentials);
                state.cached = Some(CachedCredentials { credentials, fetch });
                state.last_failed_at = None;
                Ok(())
            }
            Err(error) => {
                state.last_failed_at = Some(now);
                Err(error)
            }
        }
    }

    /// Reports that the database rejected a token. If the cached credentials signed the token, a fetch is due.
    ///
    /// A rejection that was already reported asks for no second fetch.
    pub(crate) fn report_rejection(
        &self,
        already_reported: bool,
        has_signed: impl FnOnce(&Credentials) -> bool,
    ) {
        let mut state = self.state();
        let Some(cached) = &state.cached else {
            return;
        };
        let is_known = already_reported && state.is_rejected(cached);
        if has_signed(&cached.credentials) && !is_known {
            state.rejections += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only the clock can panic while the state is locked, and no change is left half done.
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

    fn history(&self) -> History {
        let cached = self.cached.as_ref().map(|cached| Cached {
            fetched_at: cached.fetch.at,
            expiry: cached.credentials.expiry(),
            is_rejected: self.is_rejected(cached),
        });
        History {
            cached,
            last_failed_at: self.last_failed_at,
            last_started_for_rejection: self.last_started_for_rejection,
        }
    }

    fn start(&mut self, now: SystemTime) -> (FetchStart, OutcomeSender, InFlight) {
        self.fetches += 1;
        if self.cached.as_ref().is_some_and(|it| self.is_rejected(it)) {
            self.last_started_for_rejection = Some(now);
        }
        let start = FetchStart {
            number: self.fetches,
            at: now,
            rejections: self.rejections,
        };
        let (outcome, in_flight) = InFlight::new();
        (start, outcome, in_flight)
    }
}

/// Maps a provider's own timeout of 30 s or more to `FetchTimedOut`.
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

/// A provider that returns expired credentials has failed (rule 3). IMDS returns them if its own refresh fails.
fn reject_expired(credentials: Credentials, now: SystemTime) -> Result<Credentials, Error> {
    match credentials.expiry().filter(|expiry| *expiry <= now) {
        Some(expired_at) => Err(Error::CredentialsExpired { expired_at }),
        None => Ok(credentials),
    }
}
