//! Keeps the token of a pool fresh, until the pool is closed.

use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_iam::Token;
use rds_iam_connector::{Endpoint, InvalidOptions};
use sqlx::{ConnectOptions as _, Connection, Pool};

use crate::Error;
use crate::driver::{ConnectOptions, Driver};

/// How often a pool is looked at.
const PERIOD: Duration = Duration::from_secs(60);

/// After so many periods without any connection, credentials are fetched again. A token lasts for 15.
const MAX_UNUSED_PERIODS: u32 = 14;

pub(crate) struct Keeper<D: Driver> {
    pool: Pool<D>,
    endpoint: Endpoint,
    /// The pool's password. Locked while the password is replaced.
    current: Mutex<Token>,
}

impl<D: Driver> Keeper<D>
where
    ConnectOptions<D>: Clone,
{
    /// Starts a task that ends with the pool. `dropped_at_end` lives as long.
    pub(crate) fn start(
        pool: Pool<D>,
        endpoint: Endpoint,
        current: Token,
        dropped_at_end: impl Send + 'static,
    ) {
        let keeper = Arc::new(Keeper {
            pool,
            endpoint,
            current: Mutex::new(current),
        });
        let mut keepers = lock(D::keepers());
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(Arc::downgrade(&keeper));
        drop(keepers);
        tokio::spawn(async move {
            let _dropped_at_end = dropped_at_end;
            keeper.run().await;
        });
    }

    async fn run(&self) {
        let (cache, login) = (&self.endpoint.cache, &self.endpoint.login);
        tokio::select! {
            () = self.pool.close_event() => {}
            never = cache.keep_fresh(login, |token| self.apply(token)) => match never {},
            () = self.test_logins() => {}
        }
    }

    /// sqlx reports a rejected login only to the caller who needs the connection. So this finds out by a login.
    async fn test_logins(&self) {
        let mut unused = Unused::default();
        loop {
            self.endpoint.cache.sleep(PERIOD).await;
            let (size, idle) = (self.pool.size(), self.pool.num_idle());
            let max = self.pool.options().get_max_connections();
            match unused.next(size, idle, max) {
                Step::None => {}
                Step::TestLogin => self.test_login().await,
                Step::FetchCredentials => self.replace().await,
            }
        }
    }

    async fn test_login(&self) {
        // After a suspend, `keep_fresh` may not have replaced an expired token yet.
        let Ok(token) = self.endpoint.cache.token(&self.endpoint.login).await else {
            return;
        };
        self.apply(&token);
        match self.pool.connect_options().connect().await {
            Ok(connection) => {
                // The login was all that counts.
                let _ = connection.close().await;
            }
            Err(error) if D::is_rejection(&error) => self.replace().await,
            // Not about the token. The pool reports it to whoever needs a connection.
            Err(_) => {}
        }
    }

    /// Gives the pool a token of newly fetched credentials, if the cached ones signed the pool's token. If there is no
    /// token, `keep_fresh` tries again.
    async fn replace(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(login = %self.endpoint.login, %error, "no new token for the pool");
        }
    }

    async fn refresh(&self) -> Result<(), rds_iam::Error> {
        let (cache, login) = (&self.endpoint.cache, &self.endpoint.login);
        cache.invalidate(login, &lock(&self.current));
        let token = cache.token(login).await?;
        self.apply(&token);
        Ok(())
    }

    fn apply(&self, token: &Token) {
        let mut current = lock(&self.current);
        let options = ConnectOptions::<D>::clone(&self.pool.connect_options());
        self.pool
            .set_connect_options(D::with_password(options, token.as_str()));
        *current = token.clone();
    }
}

/// Replaces the token of a pool.
pub(crate) async fn refresh<D: Driver>(pool: &Pool<D>) -> Result<(), Error>
where
    ConnectOptions<D>: Clone,
{
    let keeper = lock(D::keepers())
        .iter()
        .filter_map(std::sync::Weak::upgrade)
        // Clones of a pool share their options.
        .find(|keeper| ptr::eq(keeper.pool.options(), pool.options()));
    match keeper {
        Some(keeper) => keeper.refresh().await.map_err(Error::Token),
        None => Err(Error::from(InvalidOptions::Driver {
            option: "pool",
            reason: "the pool is closed, or is not of this crate. Give a pool of `connect`",
        })),
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    None,
    TestLogin,
    FetchCredentials,
}

/// What to do for a pool, once in each period.
#[derive(Debug, Default)]
struct Unused {
    /// Periods in a row without any connection.
    periods: u32,
}

impl Unused {
    fn next(&mut self, size: u32, idle: usize, max: u32) -> Step {
        if size > 0 {
            self.periods = 0;
            // Whoever needs a connection has to log in.
            return match idle == 0 && size < max {
                true => Step::TestLogin,
                false => Step::None,
            };
        }
        self.periods += 1;
        // Logins of an unused pool would keep a database awake that pauses when nobody is connected.
        match self.periods {
            1 => Step::TestLogin,
            periods if periods % MAX_UNUSED_PERIODS == 0 => Step::FetchCredentials,
            _ => Step::None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Step, Unused};

    fn steps(samples: impl IntoIterator<Item = (u32, usize)>) -> Vec<Step> {
        let mut unused = Unused::default();
        samples
            .into_iter()
            .map(|(size, idle)| unused.next(size, idle, 10))
            .collect()
    }

    #[test]
    fn a_pool_that_needs_a_login_for_the_next_connection_is_tested() {
        assert_eq!(steps([(3, 0), (9, 0)]), [Step::TestLogin, Step::TestLogin]);
    }

    #[test]
    fn a_pool_with_an_idle_connection_or_without_room_is_not_tested() {
        assert_eq!(steps([(3, 1), (10, 0)]), [Step::None, Step::None]);
    }

    #[test]
    fn a_pool_without_connections_is_tested_once_and_then_its_credentials_are_fetched_every_14_minutes()
     {
        let minutes = (1..).zip(steps([(0, 0); 28]));
        let actions: Vec<_> = minutes.filter(|(_, step)| *step != Step::None).collect();
        assert_eq!(
            actions,
            [
                (1, Step::TestLogin),
                (14, Step::FetchCredentials),
                (28, Step::FetchCredentials)
            ]
        );
    }

    #[test]
    fn a_pool_that_was_used_again_is_tested_again() {
        let steps = steps([(0, 0), (0, 0), (1, 1), (0, 0)]);
        let tests: Vec<_> = steps.iter().map(|step| *step == Step::TestLogin).collect();
        assert_eq!(tests, [true, false, false, true]);
    }
}
