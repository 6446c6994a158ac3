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
    /// may call this method inside a runtime: you block a thread of yours, and a fetch runs on threads of this crate. With
    /// [`spawn_with`](crate::TokenCacheBuilder::spawn_with) a fetch runs on your threads. Do not block all of them.
    ///
    /// # Errors
    ///
    /// As [`token`](TokenCache::token).
    pub fn blocking_token(&self, login: &Login) -> Result<Token, Error> {
        match self.fresh(login) {
            Some(token) => Ok(token),
            // A task of tokio without budget would wait for a turn, and gets none while the thread is blocked.
            None => pollster::block_on(unconstrained(self.refresh(login))),
        }
    }
}
