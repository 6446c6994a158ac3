//! When a fetch is due (rules 2, 3 and 6), as a function of plain values.

use std::time::{Duration, SystemTime};

use crate::signer::LIFETIME;

/// Minimum time between a failed fetch and the next fetch, if a token or credentials are valid.
const FAILURE_BACKOFF: Duration = Duration::from_secs(5);

/// Between the starts of two fetches of short-lived credentials, or of two fetches after rejections.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of the fetches so far.
#[derive(Clone, Copy, Default)]
pub(super) struct History {
    pub(super) cached: Option<Cached>,
    pub(super) last_failed_at: Option<SystemTime>,
    pub(super) last_started_for_rejection: Option<SystemTime>,
}

/// The cached credentials, as far as the schedule needs them.
#[derive(Clone, Copy)]
pub(super) struct Cached {
    pub(super) fetched_at: SystemTime,
    pub(super) expiry: Option<SystemTime>,
    /// Whether the database has rejected a token of these credentials since they were fetched.
    pub(super) is_rejected: bool,
}

impl History {
    /// Whether a fetch is due, although a token or credentials are valid. Credentials that expire within `min_remaining`
    /// are short-lived.
    pub(super) fn is_due(&self, min_remaining: Duration, now: SystemTime) -> bool {
        let has_elapsed = |period, since: Option<SystemTime>| {
            since.is_none_or(|since| elapsed(since, now) >= period)
        };
        // Rule 2
        if !has_elapsed(FAILURE_BACKOFF, self.last_failed_at) {
            return false;
        }
        let Some(cached) = self.cached else {
            return true;
        };
        // Rule 6
        if cached.is_rejected && has_elapsed(MIN_FETCH_INTERVAL, self.last_started_for_rejection) {
            return true;
        }
        // Rule 3
        let age = elapsed(cached.fetched_at, now);
        match cached.expiry {
            Some(expiry) => {
                let remaining = expiry.duration_since(now).unwrap_or_default();
                remaining <= min_remaining && age >= min_interval(remaining)
            }
            None => age > LIFETIME,
        }
    }
}

/// Some sources have new credentials only seconds before the old credentials expire, so the interval shrinks to twice the
/// remaining time. For expired credentials that would be zero, so the full interval applies.
fn min_interval(remaining: Duration) -> Duration {
    if remaining.is_zero() {
        return MIN_FETCH_INTERVAL;
    }
    MIN_FETCH_INTERVAL.min(remaining.saturating_mul(2))
}

/// How long ago `since` was. An instant in the future is infinitely long ago, because the clock has been set back.
fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const MIN_REMAINING: Duration = Duration::from_secs(960);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(10_000 + seconds)
    }

    fn history(cached: Option<Cached>, failed: Option<u64>, for_rejection: Option<u64>) -> History {
        History {
            cached,
            last_failed_at: failed.map(at),
            last_started_for_rejection: for_rejection.map(at),
        }
    }

    /// Credentials that were fetched at 0 s.
    fn cached(expiry: Option<u64>, is_rejected: bool) -> Option<Cached> {
        Some(Cached {
            fetched_at: at(0),
            expiry: expiry.map(at),
            is_rejected,
        })
    }

    #[test]
    fn a_fetch_is_due_as_this_table_says() {
        let short = cached(Some(500), false);
        let long = cached(Some(5000), false);
        let dying = cached(Some(45), false);
        let endless = cached(None, false);
        for (what, history, due_from) in [
            ("nothing is cached", history(None, None, None), 0),
            ("a fetch failed", history(None, Some(10), None), 15),
            ("short-lived", history(short, None, None), 30),
            (
                "short-lived, and a fetch failed",
                history(short, Some(28), None),
                33,
            ),
            ("long-lived", history(long, None, None), 5000 - 960),
            (
                "about to expire, with a third of the time left",
                history(dying, None, None),
                30,
            ),
            (
                "about to expire",
                history(cached(Some(30), false), None, None),
                20,
            ),
            ("without an expiry", history(endless, None, None), 901),
            ("rejected", history(cached(None, true), None, None), 0),
            (
                "rejected twice",
                history(cached(None, true), None, Some(7)),
                37,
            ),
            (
                "rejected, and a fetch failed",
                history(cached(Some(5000), true), Some(3), None),
                8,
            ),
        ] {
            // The clock is not set back before what has happened.
            for second in 10..6000 {
                let is_due = history.is_due(MIN_REMAINING, at(second));
                let has_expired = history
                    .cached
                    .and_then(|it| it.expiry)
                    .is_some_and(|it| it <= at(second));
                if !has_expired {
                    assert_eq!(is_due, second >= due_from, "{what}, at {second} s");
                }
            }
        }
    }

    #[test]
    fn expired_credentials_are_fetched_again_every_30_s_for_callers_with_a_valid_token() {
        let expired = history(cached(Some(5), false), None, None);
        assert!(!expired.is_due(MIN_REMAINING, at(29)));
        assert!(expired.is_due(MIN_REMAINING, at(30)));
    }

    #[test]
    fn nothing_in_the_future_holds_a_fetch_back() {
        for history in [
            history(cached(Some(500), false), None, None),
            history(cached(None, false), None, None),
            history(None, Some(0), None),
            history(cached(Some(5000), true), None, Some(0)),
        ] {
            assert!(history.is_due(MIN_REMAINING, at(0) - Duration::from_nanos(100)));
        }
    }
}
