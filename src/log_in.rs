//! The rule for rejected logins: one more try, with a new token.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use crate::{Error, Login, Token, TokenCache};

/// How databases report a rejected login.
///
/// An error of PostgreSQL or Aurora DSQL is a rejection if [`is_postgres_rejection`](rejection::is_postgres_rejection) says so.
/// An error of MySQL or MariaDB is a rejection if its number is
/// [`ER_ACCESS_DENIED_ERROR`](rejection::ER_ACCESS_DENIED_ERROR), because SQLSTATE `28000` has other causes there.
pub mod rejection {
    /// PostgreSQL's SQLSTATE `invalid_authorization_specification` ([PostgreSQL, Appendix
    /// A](https://www.postgresql.org/docs/current/errcodes-appendix.html)).
    ///
    /// RDS checks tokens through PAM, and PAM reports a rejected token with this code. A `pg_hba.conf` without a matching
    /// entry has the same code, for a connection without TLS for example.
    pub const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";

    /// PostgreSQL's SQLSTATE `invalid_password` ([PostgreSQL, Appendix
    /// A](https://www.postgresql.org/docs/current/errcodes-appendix.html)).
    pub const INVALID_PASSWORD: &str = "28P01";

    /// Error 1045 of MySQL and MariaDB ([`ER_ACCESS_DENIED_ERROR`](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html)).
    pub const ER_ACCESS_DENIED_ERROR: u16 = 1045;

    /// The messages of Aurora DSQL. AWS documents the second ([Aurora DSQL user guide,
    /// *Troubleshooting*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html)), and [an agent skill
    /// of AWS](https://github.com/awslabs/mcp/blob/main/src/aurora-dsql-mcp-server/skills/dsql-skill/references/troubleshooting.md)
    /// has the first. Users report the first with SQLSTATE `08006`, `connection_failure`, which has other causes too.
    const DSQL_MESSAGES: [&str; 2] = [
        "unable to accept connection, access denied",
        "IAM authentication failed",
    ];

    /// Whether an error of PostgreSQL or Aurora DSQL says that the login was rejected.
    ///
    /// `message` is the error's message, without detail and hint. Aurora DSQL reports a rejected login with messages of its
    /// own: `unable to accept connection, access denied` and `IAM authentication failed`.
    pub fn is_postgres_rejection(sqlstate: &str, message: &str) -> bool {
        is_sqlstate(sqlstate) || DSQL_MESSAGES.iter().any(|dsql| message.contains(dsql))
    }

    /// Whether PostgreSQL's SQLSTATE says that the login was rejected. If the database may be Aurora DSQL, use
    /// [`is_postgres_rejection`].
    pub fn is_sqlstate(sqlstate: &str) -> bool {
        [INVALID_AUTHORIZATION_SPECIFICATION, INVALID_PASSWORD].contains(&sqlstate)
    }
}

impl TokenCache {
    /// Connects with a token of the cache. If the database rejects the login, reports the rejection, and connects once more
    /// with a new token.
    ///
    /// The credentials may have been revoked before they expired, and only the database notices. So the second token is
    /// signed with newly fetched credentials, if the cached credentials signed the first token. Rejections make the cache fetch
    /// credentials every 30 s at most.
    ///
    /// `connect` opens a connection with the token as the password. Send a token over verified TLS only. `is_rejection`
    /// tells a rejected login from all other errors of the driver. [`rejection`] has the codes of the databases.
    ///
    /// ```no_run
    /// use rds_iam::{LogInError, Login, TokenCache, rejection};
    /// use tokio_postgres::{Client, Config, Error};
    /// use tokio_postgres_rustls::MakeRustlsConnect;
    ///
    /// async fn connect(
    ///     cache: &TokenCache,
    ///     login: &Login,
    ///     config: &Config,
    ///     tls: &MakeRustlsConnect,
    /// ) -> Result<Client, LogInError<Error>> {
    ///     let connect = async |token: rds_iam::Token| {
    ///         let mut config = config.clone();
    ///         config.password(token.as_str());
    ///         let (client, connection) = config.connect(tls.clone()).await?;
    ///         tokio::spawn(connection);
    ///         Ok(client)
    ///     };
    ///     let is_rejection = |error: &Error| {
    ///         let error = error.as_db_error();
    ///         error.is_some_and(|error| rejection::is_postgres_rejection(error.code().code(), error.message()))
    ///     };
    ///     cache.log_in(login, connect, is_rejection).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LogInError::Token`] if there is no token: the errors of [`token`](TokenCache::token).
    /// - [`LogInError::Connect`] with the error of `connect`. If the database rejected both tokens, this is the second
    ///   rejection.
    pub async fn log_in<C, E, Connecting>(
        &self,
        login: &Login,
        mut connect: impl FnMut(Token) -> Connecting,
        is_rejection: impl Fn(&E) -> bool,
    ) -> Result<C, LogInError<E>>
    where
        Connecting: Future<Output = Result<C, E>>,
    {
        let token = self.token(login).await.map_err(LogInError::Token)?;
        let outcome = match connect(token.clone()).await {
            Err(error) if is_rejection(&error) => {
                self.invalidate(login, &token);
                let token = self.token(login).await.map_err(LogInError::Token)?;
                connect(token).await
            }
            outcome => outcome,
        };
        outcome.map_err(LogInError::Connect)
    }

    /// [`log_in`](TokenCache::log_in) for drivers without async.
    ///
    /// # Errors
    ///
    /// As [`log_in`](TokenCache::log_in).
    #[cfg(feature = "blocking")]
    pub fn blocking_log_in<C, E>(
        &self,
        login: &Login,
        mut connect: impl FnMut(Token) -> Result<C, E>,
        is_rejection: impl Fn(&E) -> bool,
    ) -> Result<C, LogInError<E>> {
        let token = self.blocking_token(login).map_err(LogInError::Token)?;
        let outcome = match connect(token.clone()) {
            Err(error) if is_rejection(&error) => {
                self.invalidate(login, &token);
                let token = self.blocking_token(login).map_err(LogInError::Token)?;
                connect(token)
            }
            outcome => outcome,
        };
        outcome.map_err(LogInError::Connect)
    }
}

/// Why there is no connection: no token, or an error of the driver.
///
/// The cause is in [`source()`](StdError::source), so print the whole chain when you report an error to a person.
#[derive(Clone, Debug)]
pub enum LogInError<E> {
    /// There is no token to connect with.
    Token(Error),
    /// The driver's error.
    Connect(E),
}

impl<E> fmt::Display for LogInError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogInError::Token(_) => "no token to log in with",
            LogInError::Connect(_) => "the connection to the database failed",
        })
    }
}

impl<E: StdError + 'static> StdError for LogInError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match self {
            LogInError::Token(error) => error,
            LogInError::Connect(error) => error,
        })
    }
}
