//! The tokio runtime of the providers (rule 8).

use std::io;

/// Runs `f` inside the process's runtime, so that tokio's I/O, timers and tasks work in `f`.
///
/// What a provider starts in this runtime outlives each fetch: the SDK keeps HTTP connections open, for example.
#[cfg(feature = "rt-tokio")]
pub(crate) fn inside<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    use std::sync::{Mutex, PoisonError};
    use std::{mem, process};

    use tokio::runtime::{Builder, Runtime};

    static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

    let process = process::id();
    let mut current = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = match &*current {
        Some((of_process, runtime)) if *of_process == process => runtime.handle().clone(),
        _ => {
            let new = Builder::new_multi_thread()
                // If a provider's task blocks the first thread, the second thread keeps I/O and timers going.
                .worker_threads(2)
                .thread_name("rds-iam-tokio")
                .enable_all()
                .build()?;
            let handle = new.handle().clone();
            // In a forked child, dropping the parent's runtime would wait for threads that do not exist.
            mem::forget(current.replace((process, new)));
            handle
        }
    };
    drop(current);
    let _entered = handle.enter();
    Ok(f())
}

/// Runs `f` without a runtime: this build has none.
#[cfg(not(feature = "rt-tokio"))]
pub(crate) fn inside<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    Ok(f())
}
