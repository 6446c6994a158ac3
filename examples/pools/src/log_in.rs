//! The rule for rejected logins: one more try, with a new token.

use std::error::Error;
use std::fmt;

use rds_iam::{Login, Token, TokenCache};
use tokio_postgres::error::SqlState;

/// Connects with a token of the cache. If the database rejects the token, the credentials may have been revoked, so a new
/// token is tried once.
pub async fn log_in<C, E: Rejection, Connecting: Future<Output = Result<C, E>>>(
    cache: &TokenCache,
    login: &Login,
    connect: impl Fn(&Token) -> Connecting,
) -> Result<C, LoginError<E>> {
    let token = cache.token(login).await.map_err(LoginError::NoToken)?;
    let outcome = match connect(&token).await {
        Err(error) if error.is_rejection() => {
            cache.invalidate(login, &token);
            let token = cache.token(login).await.map_err(LoginError::NoToken)?;
            connect(&token).await
        }
        outcome => outcome,
    };
    outcome.map_err(LoginError::Driver)
}

/// [`log_in`] for drivers without async.
pub fn log_in_blocking<C, E: Rejection>(
    cache: &TokenCache,
    login: &Login,
    connect: impl Fn(&Token) -> Result<C, E>,
) -> Result<C, LoginError<E>> {
    let token = cache.blocking_token(login).map_err(LoginError::NoToken)?;
    let outcome = match connect(&token) {
        Err(error) if error.is_rejection() => {
            cache.invalidate(login, &token);
            let token = cache.blocking_token(login).map_err(LoginError::NoToken)?;
            connect(&token)
        }
        outcome => outcome,
    };
    outcome.map_err(LoginError::Driver)
}

/// A driver's error.
pub trait Rejection {
    /// Whether the database rejected the login.
    fn is_rejection(&self) -> bool;
}

/// MySQL and MariaDB: `ER_ACCESS_DENIED_ERROR`, with SQLSTATE 28000.
const ACCESS_DENIED: u16 = 1045;

impl Rejection for tokio_postgres::Error {
    fn is_rejection(&self) -> bool {
        self.code().is_some_and(|code| {
            // RDS checks tokens through PAM, and reports a rejection with the first.
            *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                || *code == SqlState::INVALID_PASSWORD
        })
    }
}

impl Rejection for mysql_async::Error {
    fn is_rejection(&self) -> bool {
        matches!(self, mysql_async::Error::Server(error) if error.code == ACCESS_DENIED)
    }
}

impl Rejection for mysql::Error {
    fn is_rejection(&self) -> bool {
        matches!(self, mysql::Error::MySqlError(error) if error.code == ACCESS_DENIED)
    }
}

impl Rejection for sqlx::Error {
    fn is_rejection(&self) -> bool {
        // The code is the SQLSTATE, of MySQL too.
        self.as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| ["28000", "28P01"].contains(&&*code))
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum LoginError<E> {
    NoToken(rds_iam::Error),
    Driver(E),
}

/// The text has all causes, because some pools keep only the text of an error. So `source()` is empty.
impl<E: Error> fmt::Display for LoginError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error: &dyn Error = match self {
            LoginError::NoToken(error) => error,
            LoginError::Driver(error) => error,
        };
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl<E: Error> Error for LoginError<E> {}
