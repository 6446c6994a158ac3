//! Keeps the token of a pool fresh, until the pool is closed.

use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rds_iam::Token;
use rds_iam_connector::{Endpoint, ErrorChain, InvalidOptions};
use sqlx::{ConnectOptions as _, Connection, Pool};

use crate::Error;
use crate::driver::{ConnectOptions, Driver, Tls, without_panic};

/// How often a pool is looked at.
const PERIOD: Duration = Duration::from_secs(60);

/// After so many periods without a test of the token, the token is tested, or credentials are fetched again.
const MAX_PERIODS_WITHOUT_TEST: u32 = 5;

pub(crate) struct Refresher<D: Driver> {
    pool: Pool<D>,
    endpoint: Endpoint,
    tls: Tls,
    /// The pool's password. Locked while the password is replaced.
    current: Mutex<Token>,
}

impl<D: Driver> Refresher<D>
where
    ConnectOptions<D>: Clone,
{
    /// Starts a task that ends with the pool. `dropped_at_end` lives as long.
    pub(crate) fn start(
        pool: Pool<D>,
        endpoint: Endpoint,
        tls: Tls,
        current: Token,
        dropped_at_end: impl Send + 'static,
    ) {
        let refresher = Arc::new(Refresher {
            pool,
            endpoint,
            tls,
            current: Mutex::new(current),
        });
        let mut refreshers = lock(D::refreshers());
        refreshers.retain(|refresher| refresher.strong_count() > 0);
        refreshers.push(Arc::downgrade(&refresher));
        drop(refreshers);
        tokio::spawn(async move {
            let _dropped_at_end = dropped_at_end;
            refresher.run().await;
        });
    }

    async fn run(&self) {
        let (cache, login) = (&self.endpoint.cache, &self.endpoint.login);
        tokio::select! {
            () = self.pool.close_event() => {}
            never = cache.keep_fresh(login, |token| self.apply(token)) => match never {},
            () = self.look_for_rejections() => {}
        }
    }

    /// sqlx reports a rejected login only to the caller who needs the connection. So the task finds out by a login.
    async fn look_for_rejections(&self) {
        let mut schedule = Schedule::default();
        loop {
            self.endpoint.cache.sleep(PERIOD).await;
            let (size, idle) = (self.pool.size(), self.pool.num_idle());
            let max = self.pool.options().get_max_connections();
            match schedule.next(size, idle, max) {
                Step::None => {}
                Step::TestLogin => {
                    if self.test_login().await == Outcome::Rejected {
                        schedule.test_again();
                    }
                }
                Step::FetchCredentials => {
                    let current = lock(&self.current).clone();
                    self.replace(&current).await;
                }
            }
        }
    }

    async fn test_login(&self) -> Outcome {
        // After a suspend, `keep_fresh` may not have replaced an expired token yet.
        let Ok(token) = self.endpoint.cache.token(&self.endpoint.login).await else {
            return Outcome::Other;
        };
        self.apply(&token);
        let options = self.pool.connect_options();
        // As long as the pool would wait.
        let timeout = self.pool.options().get_acquire_timeout();
        let login = async { options.connect().await?.close().await };
        match tokio::time::timeout(timeout, without_panic(login)).await {
            Ok(Err(error)) if D::is_rejection(&error) => {
                self.replace(&token).await;
                Outcome::Rejected
            }
            // The pool reports all other errors to the caller who needs a connection.
            _ => Outcome::Other,
        }
    }

    /// Replaces a token. If there is no new token, `keep_fresh` tries again.
    async fn replace(&self, token: &Token) {
        if let Err(error) = self.refresh(token).await {
            tracing::warn!(
                login = %self.endpoint.login,
                error = %ErrorChain(&error),
                "no new token for the pool"
            );
        }
    }

    /// Gives the pool a token of newly fetched credentials, if the cached credentials signed the token to replace.
    async fn refresh(&self, token: &Token) -> Result<(), rds_iam::Error> {
        let (cache, login) = (&self.endpoint.cache, &self.endpoint.login);
        cache.invalidate(login, token);
        let token = cache.token(login).await?;
        self.apply(&token);
        Ok(())
    }

    /// Verified TLS is set again with each token, because the pool's user can replace the options.
    fn apply(&self, token: &Token) {
        let mut current = lock(&self.current);
        let options = ConnectOptions::<D>::clone(&self.pool.connect_options());
        let options = self.tls.apply::<D>(options);
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
    let refresher = lock(D::refreshers())
        .iter()
        .filter_map(std::sync::Weak::upgrade)
        // Clones of a pool share their options.
        .find(|refresher| ptr::eq(refresher.pool.options(), pool.options()));
    let Some(refresher) = refresher else {
        return Err(Error::from(InvalidOptions::Driver {
            option: "pool",
            reason: "the pool is closed, its runtime has ended, or it is not of this crate. Open a new pool with `connect`",
        }));
    };
    let current = lock(&refresher.current).clone();
    refresher.refresh(&current).await.map_err(Error::Token)
}

/// The outcome of a test of the pool's token.
#[derive(PartialEq)]
enum Outcome {
    Rejected,
    /// Accepted, or not about the token.
    Other,
}

#[derive(Debug, PartialEq)]
enum Step {
    None,
    TestLogin,
    FetchCredentials,
}

/// What to do for a pool, once in each period.
#[derive(Debug, Default)]
struct Schedule {
    /// Periods since the last test.
    periods: u32,
    /// Whether the pool had no connection when its token was tested, and none since.
    tested_unused: bool,
}

impl Schedule {
    /// Also if the pool has no connection: the database rejected the token, so it is awake.
    fn test_again(&mut self) {
        self.tested_unused = false;
    }

    fn next(&mut self, size: u32, idle: usize, max: u32) -> Step {
        let is_unused = size == 0;
        let needs_login_for_next_connection = idle == 0 && size < max;
        // Logins of an unused pool would keep a database awake that pauses when nobody is connected.
        let test = needs_login_for_next_connection && !(is_unused && self.tested_unused);
        self.tested_unused = is_unused;
        if test {
            self.periods = 0;
            return Step::TestLogin;
        }
        self.periods += 1;
        match self.periods % MAX_PERIODS_WITHOUT_TEST {
            0 if is_unused => Step::FetchCredentials,
            0 => Step::TestLogin,
            _ => Step::None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Schedule, Step};

    fn steps(samples: impl IntoIterator<Item = (u32, usize)>) -> Vec<Step> {
        let mut schedule = Schedule::default();
        samples
            .into_iter()
            .map(|(size, idle)| schedule.next(size, idle, 10))
            .collect()
    }

    /// The minutes of all steps but `None`.
    fn actions(samples: [(u32, usize); 28]) -> Vec<(u32, Step)> {
        let minutes = (1..).zip(steps(samples));
        minutes.filter(|(_, step)| *step != Step::None).collect()
    }

    #[test]
    fn a_pool_that_needs_a_login_for_the_next_connection_is_tested_each_minute() {
        assert_eq!(steps([(3, 0), (9, 0)]), [Step::TestLogin, Step::TestLogin]);
    }

    #[test]
    fn a_pool_with_an_idle_connection_or_without_room_is_tested_every_5_minutes() {
        for sample in [(3, 1), (10, 0)] {
            let tests = [5, 10, 15, 20, 25].map(|minute| (minute, Step::TestLogin));
            assert_eq!(actions([sample; 28]), tests);
        }
    }

    #[test]
    fn a_pool_without_connections_is_tested_once_and_then_its_credentials_are_fetched_every_5_minutes()
     {
        assert_eq!(
            actions([(0, 0); 28]),
            [
                (1, Step::TestLogin),
                (6, Step::FetchCredentials),
                (11, Step::FetchCredentials),
                (16, Step::FetchCredentials),
                (21, Step::FetchCredentials),
                (26, Step::FetchCredentials),
            ]
        );
    }

    #[test]
    fn a_pool_without_connections_is_tested_again_after_a_rejection() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(0, 0, 10), Step::TestLogin);
        schedule.test_again();
        assert_eq!(schedule.next(0, 0, 10), Step::TestLogin);
        assert_eq!(schedule.next(0, 0, 10), Step::None);
    }

    #[test]
    fn a_pool_that_was_used_again_is_tested_again() {
        let steps = steps([(0, 0), (0, 0), (1, 1), (0, 0)]);
        let tests: Vec<_> = steps.iter().map(|step| *step == Step::TestLogin).collect();
        assert_eq!(tests, [true, false, false, true]);
    }
}
