//! The tokio runtime that providers run in, for as long as the process lives.

#[cfg(feature = "rt-tokio")]
pub(crate) use with_tokio::of_process;
#[cfg(not(feature = "rt-tokio"))]
pub(crate) use without_tokio::of_process;

#[cfg(feature = "rt-tokio")]
mod with_tokio {
    use std::sync::{Mutex, PoisonError};
    use std::{io, mem, process};

    use tokio::runtime::{Builder, Handle, Runtime};

    /// The I/O, timers and tasks of providers belong to this runtime, so they outlive each fetch and each caller's
    /// runtime. The SDK's HTTP connections do.
    pub(crate) fn of_process() -> io::Result<Handle> {
        static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);
        let process = process::id();
        let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, runtime)) = runtime.as_ref().filter(|(of, _)| *of == process) {
            return Ok(runtime.handle().clone());
        }
        let new = Builder::new_multi_thread()
            // A task that blocks one of them does not stop the timers.
            .worker_threads(2)
            .thread_name("rds-iam-tokio")
            .enable_all()
            .build()?;
        let handle = new.handle().clone();
        // Dropping the parent's runtime in a forked child would wait for threads that the child does not have.
        mem::forget(runtime.replace((process, new)));
        Ok(handle)
    }
}

#[cfg(not(feature = "rt-tokio"))]
mod without_tokio {
    use std::io;

    /// Providers run without a runtime.
    #[derive(Clone)]
    pub(crate) struct NoRuntime;

    pub(crate) struct Entered;

    pub(crate) fn of_process() -> io::Result<NoRuntime> {
        Ok(NoRuntime)
    }

    impl NoRuntime {
        pub(crate) fn enter(&self) -> Entered {
            Entered
        }
    }
}
