//! A token for a pool that holds a fixed password (rule 9).

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::TokenCache;
use crate::error::ErrorChain;
use crate::{Login, Token};

/// Between two reads of the wall clock: timers may stop while the machine is suspended.
const MAX_PAUSE: Duration = Duration::from_secs(60);

const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

impl TokenCache {
    /// Calls `apply` with a valid token now, and with each new token before the last token expires. Never returns.
    ///
    /// For a pool that holds a fixed password:
    ///
    /// ```no_run
    /// # use rds_iam::{Login, TokenCache};
    /// # fn set_password_of_the_pool(password: &str) {}
    /// # fn example(cache: TokenCache, login: Login) {
    /// tokio::spawn(async move {
    ///     cache.keep_fresh(&login, |token| set_password_of_the_pool(token.as_str())).await
    /// });
    /// # }
    /// ```
    ///
    /// - A token is refreshed when no longer fresh, so the refresh margin has to be long enough for a login.
    /// - If a refresh fails, the next try is after about 1 s, then after twice as long each time, up to 30 s. The next try also
    ///   comes when half of the token's remaining time has passed, if that is more than 1 s.
    /// - After [`invalidate`](TokenCache::invalidate), a rejected token is replaced immediately if a valid token is
    ///   available. A rejection does not shorten the wait for the next try.
    /// - The wall clock is read once a minute at least, so that a suspend is noticed.
    ///
    /// Drop the future to end the loop. The future needs no runtime of yours: the crate's timers wake it, or the cache's
    /// [`sleep_impl`](crate::TokenCacheBuilder::sleep_impl).
    pub async fn keep_fresh(&self, login: &Login, mut apply: impl FnMut(&Token)) -> Infallible {
        // Before the first token is requested, so that no rejection is missed.
        let mut rejected = self.0.rejected.subscribe();
        let mut applied: Option<Token> = None;
        let mut backoff = Backoff::default();
        loop {
            let refreshed = self.token(login).await;
            if let Ok(token) = &refreshed
                && is_other(token, applied.as_ref())
            {
                apply(token);
                applied = Some(token.clone());
                backoff = Backoff::default();
            }
            let duration = match &refreshed {
                Ok(token) => self.pause_for(token, &mut backoff),
                Err(error) => {
                    tracing::warn!(%login, error = %ErrorChain(error), "no token to keep fresh");
                    backoff.next()
                }
            };
            let mut pause = self.0.executor.sleep(duration.min(MAX_PAUSE));
            // Rejections of other logins' tokens do not end the pause.
            while let Either::Left((rejected, _)) = select(pin!(rejected.recv()), &mut pause).await
            {
                let is_for_other_login = rejected.is_ok_and(|rejected| *rejected != *login);
                if !is_for_other_login
                    && self.needs_new_token(login, applied.as_ref(), refreshed.is_ok())
                {
                    break;
                }
            }
        }
    }

    /// Sleeps as `keep_fresh` does: without a runtime of the caller, and with the cache's
    /// [`sleep_impl`](crate::TokenCacheBuilder::sleep_impl). For connectors.
    #[doc(hidden)]
    pub async fn sleep(&self, duration: Duration) {
        self.0.executor.sleep(duration).await
    }

    /// How long `token` is fresh. If a refresh could not give a fresh token, how long to wait for the next try.
    fn pause_for(&self, token: &Token, backoff: &mut Backoff) -> Duration {
        let now = self.0.clock.now();
        let left = token.expires_at().duration_since(now).unwrap_or_default();
        match left.saturating_sub(self.0.refresh_margin) {
            Duration::ZERO => backoff.next_before_expiry(left),
            fresh_for => fresh_for,
        }
    }

    /// Whether to ask again: the cache has another valid token, or has dropped the applied token. If the last try failed, a
    /// missing token is no reason.
    fn needs_new_token(&self, login: &Login, applied: Option<&Token>, had_token: bool) -> bool {
        match self.valid(login, self.0.clock.now()) {
            Some(cached) => is_other(&cached.token, applied),
            None => had_token,
        }
    }
}

fn is_other(token: &Token, applied: Option<&Token>) -> bool {
    applied.is_none_or(|applied| applied.as_str() != token.as_str())
}

/// How long to wait before each new try.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(MIN_RETRY_DELAY)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let delay = self.0;
        self.0 = MAX_RETRY_DELAY.min(2 * delay);
        // Up to a quarter less, by chance, so that many programs do not all try in the same moment.
        let chance = RandomState::new().hash_one(()) as u8;
        delay - delay / 4 * u32::from(chance) / 255
    }

    /// Leaves time for more tries before a token expires that is valid for `left`.
    fn next_before_expiry(&mut self, left: Duration) -> Duration {
        let half = MIN_RETRY_DELAY.max(left / 2);
        self.next().min(half).min(left)
    }
}
