//! Tokens for code without async.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use aws_credential_types::provider::error::CredentialsError;
use tokio::runtime;

use crate::credentials::{Caller, current_runtime};
use crate::{Error, Login, Token, TokenCache};

/// [`token`](crate::token()) for code without async.
///
/// # Errors
///
/// As [`token`](crate::token()).
#[cfg(feature = "aws-config")]
pub fn token(host: &str, port: u16, user: &str) -> Result<Token, Error> {
    let cache = crate::shared_cache();
    match cache.fresh(&crate::login::LoginParts { host, port, user }) {
        Some(token) => Ok(token),
        None => cache.blocking_token(&Login::new(host, port, user)?),
    }
}

impl TokenCache {
    /// [`token`](TokenCache::token) for code without async.
    ///
    /// A token that is fresh is returned at once. Else the calling thread stands still while another renews it, so
    /// this may be called where a runtime runs as well, and then keeps one of its threads. A fetch that this runtime has
    /// moved on may not get on meanwhile: it is left alone where there is a usable token, else another takes its place.
    ///
    /// # Errors
    ///
    /// As [`token`](TokenCache::token); [`Error::CredentialsFailed`] also where no thread can be started.
    pub fn blocking_token(&self, login: &Login) -> Result<Token, Error> {
        match self.fresh(login) {
            Some(token) => Ok(token),
            None => self.renew_on_a_thread(login),
        }
    }

    /// On a runtime of its own: the provider may need one, and that of the calling thread stands still.
    fn renew_on_a_thread(&self, login: &Login) -> Result<Token, Error> {
        let caller = Caller::Blocking {
            standing_still: current_runtime(),
        };
        let renew = move || -> io::Result<Result<Token, Error>> {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(self.renew(login, caller)))
        };
        let renewed = thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("rds-iam-blocking".to_owned())
                .spawn_scoped(scope, renew)?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        renewed.map_err(CredentialsError::provider_error)?
    }
}
