//! Tokens for code without async.

use tokio::task::coop::unconstrained;

use crate::{Error, Login, Token, TokenCache};

/// [`token`](crate::token()) for code without async.
///
/// # Errors
///
/// As [`token`](crate::token()).
#[cfg(feature = "aws-config")]
pub fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    match crate::default_chain::fresh(host, port, user) {
        Some(token) => Ok(token),
        None => crate::shared_cache().blocking_token(&Login::new(host, port, user)?),
    }
}

impl TokenCache {
    /// [`token`](TokenCache::token) for code without async.
    ///
    /// A fresh token is returned immediately. Otherwise the calling thread is blocked while the token is refreshed. You
    /// may call it inside a runtime, because a fetch runs on threads of this crate, but it blocks a thread of yours. (With
    /// [`spawn_with`](crate::TokenCacheBuilder::spawn_with) a fetch runs where you say. Do not block that thread.)
    ///
    /// # Errors
    ///
    /// As [`token`](TokenCache::token).
    pub fn blocking_token(&self, login: &Login) -> Result<Token, Error> {
        match self.fresh(login) {
            Some(token) => Ok(token),
            // A task of tokio without budget would wait for its turn, which does not come while the thread is blocked.
            None => pollster::block_on(unconstrained(self.refresh(login))),
        }
    }
}
