//! The credentials of one provider, kept and renewed, one fetch at a time.
//!
//! A fetch is a future that whoever polls it drives and that files its own outcome when it is done. So a caller that
//! polls it once and never again holds nobody up, and no lock is held while anything is awaited or logged.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_async::time::SharedTimeSource;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Shared, select};

use crate::Error;
use crate::error::Chain;
use crate::signer::LIFETIME;

/// How long a fetch may take before it is given up: longer than a source in good health takes with the SDK's retries,
/// and as long as a caller can be asked to wait.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_secs(30);

/// How long no fetch starts after a failed one, while there is something to make do with.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The least time between the starts of fetches that bring short-lived credentials, or that refusals ask for.
const PAUSE_BETWEEN_FETCHES: Duration = Duration::from_secs(30);

pub(crate) struct CredentialsKeeper {
    provider: SharedCredentialsProvider,
    clock: SharedTimeSource,
    sleep: Option<SharedAsyncSleep>,
    /// Credentials that expire sooner than this cannot sign a token of full length that serves until it is renewed.
    least_life: Duration,
    provider_runs_on_its_own: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    fetch: Option<Fetch>,
    fetches_started: u64,
    last_failed_at: Option<SystemTime>,
    /// The database refused a token of the credentials kept then, and no fetch begun since has succeeded.
    refused: bool,
    last_started_for_refusal: Option<SystemTime>,
}

/// Credentials, and which fetch brought them when.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) credentials: Arc<Credentials>,
    /// The number of the fetch: other credentials have another.
    pub(crate) fetch: u64,
    started_at: SystemTime,
}

#[derive(Clone)]
struct Fetch {
    number: u64,
    started_at: SystemTime,
    begun_before_refusal: bool,
    /// Those that have polled it. Each of them may have to run for it to get on.
    runtimes: Vec<RuntimeId>,
    outcome: Outcome,
}

#[cfg(feature = "blocking")]
pub(crate) type RuntimeId = tokio::runtime::Id;
#[cfg(not(feature = "blocking"))]
pub(crate) type RuntimeId = std::convert::Infallible;

/// The runtime that may stand still when this thread does: it has one thread, or all of them may wait like this one.
#[cfg(feature = "blocking")]
pub(crate) fn current_runtime() -> Option<RuntimeId> {
    tokio::runtime::Handle::try_current()
        .ok()
        .map(|handle| handle.id())
}

#[cfg(not(feature = "blocking"))]
pub(crate) fn current_runtime() -> Option<RuntimeId> {
    None
}

/// How a caller polls a fetch that is under way.
#[derive(Clone, Copy)]
pub(crate) enum Caller {
    Async,
    /// On a runtime made for this one call. `standing_still` is the one that the calling thread keeps from running.
    #[cfg(feature = "blocking")]
    Blocking {
        standing_still: Option<RuntimeId>,
    },
}

impl Caller {
    fn standing_still(self) -> Option<RuntimeId> {
        match self {
            Caller::Async => None,
            #[cfg(feature = "blocking")]
            Caller::Blocking { standing_still } => standing_still,
        }
    }
}

/// The credentials that a fetch brought, for each of those who wait for it.
type Outcome = Shared<BoxFuture<'static, Result<Kept, Error>>>;

/// A fetch that is under way, as one caller sees it.
pub(crate) struct UnderWay {
    fetch: Fetch,
    caller: Caller,
    /// How long until it is given up.
    left: Duration,
    /// Whether the caller is to wait for it, having started it or having nothing to make do with.
    pub(crate) is_waited_for: bool,
}

impl UnderWay {
    /// Whether it fetches anew where the credentials at hand were refused before this caller came.
    pub(crate) fn settles_refusal(&self) -> bool {
        !self.fetch.begun_before_refusal
    }

    /// Moves the fetch on, also where nobody else would; its outcome if it is done.
    pub(crate) fn poll_once(self) -> Option<Result<Kept, Error>> {
        match self.caller {
            Caller::Async => self.fetch.outcome.now_or_never(),
            // What it would begin next would end with the runtime of this call.
            #[cfg(feature = "blocking")]
            Caller::Blocking { .. } => None,
        }
    }
}

impl CredentialsKeeper {
    /// `least_life` is how long credentials must live at least not to be renewed. A provider that runs on its own
    /// gets on whichever runtime stands still.
    pub(crate) fn new(
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
        sleep: Option<SharedAsyncSleep>,
        least_life: Duration,
        provider_runs_on_its_own: bool,
    ) -> Arc<CredentialsKeeper> {
        Arc::new(CredentialsKeeper {
            provider,
            clock,
            sleep,
            least_life,
            provider_runs_on_its_own,
            state: Mutex::default(),
        })
    }

    /// The credentials at hand, unless they have expired.
    pub(crate) fn live(&self, now: SystemTime) -> Option<Kept> {
        self.state().live(now).cloned()
    }

    /// The fetch that is under way, started now if one is due. There always is one where the caller has no token to
    /// make do with and no credentials live; it is not one that needs a runtime that the caller keeps from running.
    pub(crate) fn renew(
        self: &Arc<Self>,
        has_usable_token: bool,
        caller: Caller,
    ) -> Option<UnderWay> {
        // Dropped after the lock is: it is the provider's code that runs then.
        let _given_up;
        let mut state = self.state();
        let now = self.clock.now();
        let is_live = state.live(now).is_some();
        // Refused credentials sign only what is refused again, so they serve only while none can be fetched.
        let can_make_do = has_usable_token || (is_live && !state.refused);
        _given_up = state.fetch.take_if(|fetch| {
            let standing_still = caller.standing_still();
            let is_stuck = standing_still.is_some_and(|it| fetch.runtimes.contains(&it));
            has_passed(FETCH_LIMIT, fetch.started_at, now) || (is_stuck && !can_make_do)
        });
        if let (Some(fetch), Caller::Async) = (&mut state.fetch, caller) {
            let runtime = self.polling_runtime();
            fetch
                .runtimes
                .extend(runtime.filter(|it| !fetch.runtimes.contains(it)));
        }
        let (fetch, is_waited_for) = match &state.fetch {
            Some(fetch) => (fetch.clone(), !can_make_do),
            None if (has_usable_token || is_live) && !self.is_due(&state, now) => return None,
            None => (self.start(&mut state, now), true),
        };
        let age = now.duration_since(fetch.started_at).unwrap_or_default();
        Some(UnderWay {
            fetch,
            caller,
            left: FETCH_LIMIT.saturating_sub(age),
            is_waited_for,
        })
    }

    /// Waits for a fetch to be done, or until it is given up where there is a sleep to wait with.
    pub(crate) async fn wait(&self, under_way: UnderWay) -> Result<Kept, Error> {
        let UnderWay { fetch, left, .. } = under_way;
        let Some(sleep) = &self.sleep else {
            return fetch.outcome.await;
        };
        match select(fetch.outcome, sleep.sleep(left)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                self.give_up(fetch.number);
                Err(Error::FetchTimedOut { after: FETCH_LIMIT })
            }
        }
    }

    /// The database refused a token. If the credentials at hand signed it, the next renewal fetches anew, and a fetch
    /// that is under way does not count, unless it was this refusal that asked for it.
    pub(crate) fn refuse(
        &self,
        is_told_again: bool,
        has_signed: impl FnOnce(&Credentials) -> bool,
    ) {
        let mut state = self.state();
        if state
            .kept
            .as_ref()
            .is_some_and(|kept| has_signed(&kept.credentials))
        {
            let is_known = state.refused && is_told_again;
            state.refused = true;
            if let Some(fetch) = state.fetch.as_mut().filter(|_| !is_known) {
                fetch.begun_before_refusal = true;
            }
        }
    }

    fn is_due(&self, state: &State, now: SystemTime) -> bool {
        if !has_passed_since(PAUSE_AFTER_FAILURE, state.last_failed_at, now) {
            return false;
        }
        if state.refused
            && has_passed_since(PAUSE_BETWEEN_FETCHES, state.last_started_for_refusal, now)
        {
            return true;
        }
        let Some(kept) = &state.kept else {
            return true;
        };
        match kept.credentials.expiry() {
            Some(expiry) => {
                let is_short_lived = expiry
                    .duration_since(now)
                    .map_or(true, |left| left <= self.least_life);
                is_short_lived && has_passed(PAUSE_BETWEEN_FETCHES, kept.started_at, now)
            }
            // They may have been rotated: it takes a look to know.
            None => now
                .duration_since(kept.started_at)
                .map_or(true, |age| age > LIFETIME),
        }
    }

    fn start(self: &Arc<Self>, state: &mut State, now: SystemTime) -> Fetch {
        state.fetches_started += 1;
        if state.refused {
            state.last_started_for_refusal = Some(now);
        }
        let number = state.fetches_started;
        let provider = self.provider.clone();
        // The state owns the fetch, so the fetch must not own the state.
        let keeper = Arc::downgrade(self);
        let fetched = {
            let keeper = keeper.clone();
            async move {
                tracing::debug!("fetching AWS credentials");
                let answer = provider.provide_credentials().await;
                match &answer {
                    Ok(credentials) => {
                        tracing::debug!(expiry = ?credentials.expiry(), "fetched AWS credentials")
                    }
                    Err(error) => {
                        tracing::debug!(error = %Chain(error), "fetching AWS credentials failed")
                    }
                }
                match keeper.upgrade() {
                    Some(keeper) => keeper.file(number, now, answer),
                    // Whoever could still wait for it would hold the keeper too.
                    None => Err(Error::FetchTimedOut { after: FETCH_LIMIT }),
                }
            }
        };
        // A `Shared` whose future has panicked panics ever after.
        let outcome = AssertUnwindSafe(fetched)
            .catch_unwind()
            .map(move |outcome| {
                outcome.unwrap_or_else(|_| {
                    if let Some(keeper) = keeper.upgrade() {
                        keeper.give_up(number);
                    }
                    Err(CredentialsError::unhandled("the credentials provider panicked").into())
                })
            });
        let fetch = Fetch {
            number,
            started_at: now,
            begun_before_refusal: false,
            runtimes: self.polling_runtime().into_iter().collect(),
            outcome: outcome.boxed().shared(),
        };
        state.fetch = Some(fetch.clone());
        fetch
    }

    /// The runtime that the provider's future may need from here on, being polled here.
    fn polling_runtime(&self) -> Option<RuntimeId> {
        current_runtime().filter(|_| !self.provider_runs_on_its_own)
    }

    /// Files the provider's answer to a fetch. Where another has taken its place, it only tells those who still wait
    /// for it, and not even them when it is late.
    fn file(
        &self,
        number: u64,
        started_at: SystemTime,
        answer: Result<Credentials, CredentialsError>,
    ) -> Result<Kept, Error> {
        let mut state = self.state();
        let now = self.clock.now();
        let answer = answer
            .map_err(error_of)
            .and_then(|credentials| refuse_expired(credentials, now));
        let kept = answer.map(|credentials| Kept {
            credentials: Arc::new(credentials),
            fetch: number,
            started_at,
        });
        match (state.fetch.take_if(|fetch| fetch.number == number), &kept) {
            (Some(fetch), Ok(kept)) => {
                state.kept = Some(kept.clone());
                state.last_failed_at = None;
                state.refused &= fetch.begun_before_refusal;
            }
            (Some(_), Err(_)) => state.last_failed_at = Some(now),
            (None, _) if has_passed(FETCH_LIMIT, started_at, now) => {
                return Err(Error::FetchTimedOut { after: FETCH_LIMIT });
            }
            (None, _) => {}
        }
        kept
    }

    fn give_up(&self, number: u64) {
        let given_up;
        let mut state = self.state();
        given_up = state.fetch.take_if(|fetch| fetch.number == number);
        if given_up.is_some() {
            state.last_failed_at = Some(self.clock.now());
        }
    }

    /// The clock is read under the lock, or a start by another thread could seem to lie in the future.
    fn state(&self) -> MutexGuard<'_, State> {
        // Only the clock can panic while it is held, and no change is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live(&self, now: SystemTime) -> Option<&Kept> {
        self.kept
            .as_ref()
            .filter(|kept| kept.credentials.expiry().is_none_or(|expiry| expiry > now))
    }
}

/// A provider that gives a fetch up itself, after as long as it is waited for, is told of in the same words.
pub(crate) fn error_of(error: CredentialsError) -> Error {
    match &error {
        CredentialsError::ProviderTimedOut(details)
            if details.timeout_duration() >= FETCH_LIMIT =>
        {
            Error::FetchTimedOut {
                after: details.timeout_duration(),
            }
        }
        _ => error.into(),
    }
}

/// A provider that answers with expired credentials has failed: IMDS hands them out when it cannot renew them.
fn refuse_expired(credentials: Credentials, now: SystemTime) -> Result<Credentials, Error> {
    match credentials.expiry().filter(|expiry| *expiry <= now) {
        Some(expired_at) => Err(Error::CredentialsExpired { expired_at }),
        None => Ok(credentials),
    }
}

/// Whether so long has passed. An instant in the future counts as long ago: the clock has been set back since.
fn has_passed(period: Duration, since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).map_or(true, |age| age >= period)
}

fn has_passed_since(period: Duration, since: Option<SystemTime>, now: SystemTime) -> bool {
    since.is_none_or(|since| has_passed(period, since, now))
}
