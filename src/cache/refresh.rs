//! A cache miss: the credentials are refreshed if a fetch is due, and a token is signed.

use std::sync::PoisonError;
use std::time::SystemTime;

use super::TokenCache;
use super::entry::CachedToken;
use crate::credentials::{CachedCredentials, Refresh};
use crate::error::ErrorChain;
use crate::signer::token_expiry;
use crate::{Error, Login, Signer, Token};

impl TokenCache {
    pub(crate) async fn refresh(&self, login: &Login) -> Result<Token, Error> {
        let region = self.0.region_source.region_of(login).await?;
        let region = region.ok_or_else(|| Error::NoRegion {
            host: login.host().to_owned(),
        })?;
        loop {
            // Repeats if the valid token or credentials expired or were rejected meanwhile.
            if let Some(token) = self.try_refresh(login, &region).await? {
                return Ok(token);
            }
        }
    }

    /// Follows the table of the rules for a token that is not fresh.
    async fn try_refresh(&self, login: &Login, region: &str) -> Result<Option<Token>, Error> {
        let rejections = self.rejections();
        let before = self.valid(login, self.0.clock.now());
        let outcome = match self.0.credentials.join_or_start(before.is_some()) {
            Refresh::NotDue => None,
            Refresh::InFlight if before.is_some() => {
                // The database may have rejected the token in this moment.
                let current = self.valid(login, self.0.clock.now());
                return Ok(current.map(|current| current.token));
            }
            Refresh::InFlight => None,
            Refresh::Wait {
                fetch,
                started_after_rejection,
            } => {
                let outcome = fetch.outcome().await;
                // Rule 6
                if !started_after_rejection {
                    return Ok(None);
                }
                Some(outcome)
            }
        };
        // Rule 2: the cached credentials sign, or the token is still valid, by the clock after the wait.
        let token = match self.sign_with_cached(login, region, rejections)? {
            Some(token) => Some(token),
            None => self.current(login, before, rejections),
        };
        match (token, outcome) {
            (Some(token), Some(Err(error))) => {
                let now = self.0.clock.now();
                let valid_for = token.expires_at().duration_since(now).unwrap_or_default();
                let error = ErrorChain(&error);
                tracing::warn!(%login, %error, ?valid_for, "no new credentials; the token is still valid");
                Ok(Some(token))
            }
            (None, Some(Err(error))) => Err(error),
            (token, _) => Ok(token),
        }
    }

    /// Returns the cached token if valid. Falls back to `before` if the cache evicted the token, but not after a rejection.
    fn current(
        &self,
        login: &Login,
        before: Option<CachedToken>,
        rejections: u64,
    ) -> Option<Token> {
        let now = self.0.clock.now();
        let before =
            before.filter(|before| before.is_valid(now) && self.rejections() == rejections);
        self.valid(login, now)
            .or(before)
            .map(|current| current.token)
    }

    /// Signs a token, unless the cached credentials have expired.
    fn sign_with_cached(
        &self,
        login: &Login,
        region: &str,
        rejections: u64,
    ) -> Result<Option<Token>, Error> {
        let now = self.0.clock.now();
        let credentials = self.0.credentials.valid(now);
        let sign = |credentials| self.sign(login, region, &credentials, rejections, now);
        credentials.map(sign).transpose()
    }

    /// Signs and caches a token, unless the cached token is kept.
    fn sign(
        &self,
        login: &Login,
        region: &str,
        credentials: &CachedCredentials,
        rejections: u64,
        now: SystemTime,
    ) -> Result<Token, Error> {
        let fetch = credentials.fetch();
        let expires_at = token_expiry(&credentials.credentials, now)?;
        let kept = |now| {
            let cached = self.cached(login);
            cached.filter(|cached| cached.is_kept(fetch, expires_at, now))
        };
        if let Some(kept) = kept(now).filter(|kept| kept.is_valid(now)) {
            return Ok(kept.token);
        }
        let signer = Signer::for_service(login.service(), &credentials.credentials, region, now)?;
        let token = signer.sign(login, now)?;
        let counted = self.lock_rejections();
        // Meanwhile the database may have rejected these credentials.
        if *counted != rejections {
            return Ok(token);
        }
        // Or a second call may have been faster, while this call was suspended.
        let later = self.0.clock.now();
        if let Some(kept) = kept(later) {
            let kept = Some(kept).filter(|kept| kept.is_valid(later));
            return Ok(kept.map_or(token, |kept| kept.token));
        }
        let cached = CachedToken::new(token.clone(), fetch, now, self.0.refresh_margin);
        self.0.tokens.insert(login.clone(), cached);
        Ok(token)
    }

    fn rejections(&self) -> u64 {
        *self.lock_rejections()
    }

    pub(super) fn lock_rejections(&self) -> std::sync::MutexGuard<'_, u64> {
        let rejections = self.0.rejections.lock();
        rejections.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cached(&self, login: &Login) -> Option<CachedToken> {
        self.0.tokens.peek(login)
    }

    pub(super) fn valid(&self, login: &Login, now: SystemTime) -> Option<CachedToken> {
        self.cached(login).filter(|cached| cached.is_valid(now))
    }
}
