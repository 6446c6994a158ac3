//! Tokio's runtimes.

use tokio::runtime::{Builder, Runtime};

pub fn current_thread_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn runtime_of(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

/// A runtime without timers and sockets.
pub fn runtime_without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}
