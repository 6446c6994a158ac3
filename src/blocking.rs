//! Tokens for code without async.

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
    /// A fresh token is returned at once. Otherwise the calling thread is blocked while it is refreshed. A fetch does not
    /// need this thread or its runtime, so this may be called inside a runtime too, though it then blocks a thread of
    /// that runtime.
    ///
    /// # Errors
    ///
    /// As [`token`](TokenCache::token).
    pub fn blocking_token(&self, login: &Login) -> Result<Token, Error> {
        match self.fresh(login) {
            Some(token) => Ok(token),
            None => pollster::block_on(self.refresh(login)),
        }
    }
}
