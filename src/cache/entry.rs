//! A cached token, and how long the cache returns it.

use std::time::{Duration, SystemTime};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, UnitWeighter};

use crate::{Login, Token};

pub(super) const DEFAULT_CAPACITY: usize = 1024;

/// How far a token's date may lie ahead of the clock. Databases reject dates in the future.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct CachedToken {
    pub(super) token: Token,
    /// The number of the fetch that brought the credentials.
    fetch: u64,
    // Absolute times, so that a hit only compares.
    valid_from: SystemTime,
    fresh_until: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    Valid,
    /// Expired, or signed in the future: the clock was set back (rule 5).
    Expired,
}

impl CachedToken {
    pub(super) fn new(
        token: Token,
        fetch: u64,
        signed_at: SystemTime,
        refresh_margin: Duration,
    ) -> CachedToken {
        CachedToken {
            fetch,
            valid_from: signed_at - CLOCK_TOLERANCE,
            fresh_until: token.expires_at() - refresh_margin,
            token,
        }
    }

    #[inline]
    pub(super) fn freshness(&self, now: SystemTime) -> Freshness {
        if self.valid_from <= now && now < self.fresh_until {
            Freshness::Fresh
        } else if self.valid_from <= now && now < self.token.expires_at() {
            Freshness::Valid
        } else {
            Freshness::Expired
        }
    }

    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.freshness(now) != Freshness::Expired
    }

    /// Whether the cache keeps this token instead of a new token. The new token expires at `expires_at`, and the
    /// credentials of `fetch` sign the new token.
    pub(super) fn is_kept(&self, fetch: u64, expires_at: SystemTime, now: SystemTime) -> bool {
        // A faster call may have had newer credentials.
        let is_newer = self.fetch > fetch;
        // Rule 4
        is_newer || (self.is_valid(now) && self.token.expires_at() >= expires_at)
    }
}

/// Tokens by login, at most `capacity` of them (rule 7).
pub(super) fn bounded(capacity: usize) -> Cache<Login, CachedToken> {
    let expected = capacity.min(DEFAULT_CAPACITY);
    let cache = Cache::with(
        expected,
        capacity as u64,
        UnitWeighter,
        DefaultHashBuilder::default(),
        DefaultLifecycle::default(),
    );
    // quick_cache rounds each shard's capacity up. Round down first, so that the total is not exceeded.
    let shards = cache.num_shards() as u64;
    cache.set_capacity(capacity as u64 / shards * shards);
    cache
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(10_000 + seconds)
    }

    /// Signed at 100 s with the credentials of the fetch, valid until 500 s.
    fn cached(fetch: u64) -> CachedToken {
        let token = Token::new("token".into(), at(500));
        CachedToken::new(token, fetch, at(100), Duration::from_secs(60))
    }

    #[test]
    fn a_token_is_fresh_then_valid_then_expired_and_expired_if_it_was_signed_in_the_future() {
        use Freshness::{Expired, Fresh, Valid};

        for (now, freshness) in [
            (0, Expired),
            (39, Expired),
            (40, Fresh),
            (439, Fresh),
            (440, Valid),
            (499, Valid),
            (500, Expired),
        ] {
            assert_eq!(cached(1).freshness(at(now)), freshness, "{now}");
        }
    }

    #[test]
    fn a_token_is_kept_if_its_credentials_are_newer_or_the_new_one_does_not_expire_later() {
        for (fetch, expires_at, now, is_kept) in [
            // With credentials of the same fetch or of a later fetch, only a later expiry counts.
            (2, 500, 100, true),
            (2, 501, 100, false),
            (3, 500, 100, true),
            (3, 501, 100, false),
            // An older fetch never counts, also if the caller's clock is behind.
            (1, 501, 100, true),
            (1, 900, 39, true),
            (1, 900, 500, true),
            // With the same fetch or a later fetch, an expired token is not kept.
            (2, 400, 500, false),
            (2, 400, 39, false),
        ] {
            let outcome = cached(2).is_kept(fetch, at(expires_at), at(now));
            assert_eq!(outcome, is_kept, "{fetch} {expires_at} {now}");
        }
    }
}
