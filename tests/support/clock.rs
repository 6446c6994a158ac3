//! Instants, and a clock under the test's control.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rds_iam::TimeSource;

/// The smallest step of all systems' clocks: a tick of Windows.
pub const TICK: Duration = Duration::from_nanos(100);
pub const DAY: Duration = Duration::from_secs(86_400);

/// 2024-08-26T22:00:00Z, when each test starts.
const START: Duration = Duration::from_secs(1_724_709_600);

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The instant `since_start` after the start.
pub fn at(since_start: Duration) -> SystemTime {
    UNIX_EPOCH + START + since_start
}

/// In the year 2100.
pub fn far_future() -> SystemTime {
    UNIX_EPOCH + s(4_102_444_800)
}

/// The first and the last `SystemTime` in whole seconds.
pub fn ends_of_time() -> [SystemTime; 2] {
    [SystemTime::checked_sub, SystemTime::checked_add].map(|step| {
        let as_far = |time, power| step(&time, s(1_u64 << power)).unwrap_or(time);
        (0..63).rev().fold(UNIX_EPOCH, as_far)
    })
}

/// A clock that moves only when the test sets or advances it. Clones share the time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    pub fn set(&self, now: SystemTime) {
        *self.0.lock().unwrap() = now;
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock(Arc::new(Mutex::new(at(Duration::ZERO))))
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}
