//! Sleeps under the test's control.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rds_iam::{AsyncSleep, Sleep};

/// A future for an outcome from the test, which the test may give before or after the first poll.
pub struct Gate<T>(Arc<Mutex<GateState<T>>>);

struct GateState<T> {
    outcome: Option<T>,
    waiting: Option<Waker>,
}

impl<T> Gate<T> {
    pub fn open(&self, outcome: T) {
        let mut state = self.0.lock().unwrap();
        state.outcome = Some(outcome);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Gate<T> {
        Gate(Arc::clone(&self.0))
    }
}

impl<T> Default for Gate<T> {
    fn default() -> Gate<T> {
        Gate(Arc::new(Mutex::new(GateState {
            outcome: None,
            waiting: None,
        })))
    }
}

impl<T> Future for Gate<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock().unwrap();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Records all sleeps. The test ends them.
#[derive(Clone, Default)]
pub struct Sleeps(Arc<Mutex<Vec<StartedSleep>>>);

type StartedSleep = (Duration, Gate<()>);

impl Sleeps {
    pub fn durations(&self) -> Vec<Duration> {
        let sleeps = self.0.lock().unwrap();
        sleeps.iter().map(|(duration, _)| *duration).collect()
    }

    /// Ends the sleep with this number, from 1 on.
    pub fn end(&self, sleep: usize) {
        let (_, gate) = self.0.lock().unwrap()[sleep - 1].clone();
        gate.open(());
    }

    pub fn end_all(&self) {
        for sleep in 1..=self.durations().len() {
            self.end(sleep);
        }
    }
}

impl fmt::Debug for Sleeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleeps")
    }
}

impl AsyncSleep for Sleeps {
    fn sleep(&self, duration: Duration) -> Sleep {
        let gate = Gate::default();
        self.0.lock().unwrap().push((duration, gate.clone()));
        Sleep::new(gate)
    }
}
