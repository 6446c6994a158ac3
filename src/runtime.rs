//! The tokio runtimes of the crate (rule 8): one for the providers, one for timers.

#[cfg(feature = "rt-tokio")]
pub(crate) use with_tokio::{PROVIDERS, TIMERS};
#[cfg(not(feature = "rt-tokio"))]
pub(crate) use without_tokio::{PROVIDERS, TIMERS};

#[cfg(feature = "rt-tokio")]
mod with_tokio {
    use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
    use std::{io, mem, process, thread};

    use tokio::runtime::{Builder, Handle, Runtime};
    use tokio::sync::oneshot;

    /// Tasks that a provider starts outlive the fetch, such as the SDK's HTTP connections.
    pub(crate) static PROVIDERS: ProcessRuntime = ProcessRuntime::new("rds-iam-tokio", true);

    /// Separate, because a provider's task may block `PROVIDERS`. Time limits and pauses must make progress.
    pub(crate) static TIMERS: ProcessRuntime = ProcessRuntime::new("rds-iam-timers", false);

    /// A runtime and its thread. Both last as long as the process.
    pub(crate) struct ProcessRuntime {
        name: &'static str,
        has_io: bool,
        started: Mutex<Option<Started>>,
    }

    struct Started {
        process: u32,
        handle: Handle,
        /// Ends the runtime and the thread when dropped.
        _stop: oneshot::Sender<()>,
    }

    impl ProcessRuntime {
        const fn new(name: &'static str, has_io: bool) -> ProcessRuntime {
            let started = Mutex::new(None);
            ProcessRuntime {
                name,
                has_io,
                started,
            }
        }

        /// Runs `f` inside the runtime, so that tokio's timers, tasks and I/O work in `f`.
        pub(crate) fn inside<T>(&self, f: impl FnOnce() -> T) -> io::Result<T> {
            let handle = self.handle()?;
            let _entered = handle.enter();
            Ok(f())
        }

        pub(crate) fn handle(&self) -> io::Result<Handle> {
            if let Some(started) = &*self.lock() {
                return Ok(started.handle.clone());
            }
            // Not under the lock: a fork meanwhile would leave the lock held in the child.
            let new = self.start()?;
            let mut started = self.lock();
            // If another thread was faster, dropping `new` ends its runtime.
            let started = started.get_or_insert(new);
            Ok(started.handle.clone())
        }

        fn lock(&self) -> MutexGuard<'_, Option<Started>> {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            let process = process::id();
            if started.as_ref().is_some_and(|it| it.process != process) {
                // A forked child has none of its parent's threads, so there is nothing to end.
                mem::forget(started.take());
            }
            started
        }

        /// The runtime is made and dropped on its thread, because tokio panics if a runtime is dropped inside another.
        fn start(&self) -> io::Result<Started> {
            let has_io = self.has_io;
            let (report, started) = mpsc::sync_channel(1);
            let run = move || match build(has_io) {
                Ok(runtime) => {
                    let (stop, stopped) = oneshot::channel();
                    let started = Started {
                        process: process::id(),
                        handle: runtime.handle().clone(),
                        _stop: stop,
                    };
                    if report.send(Ok(started)).is_ok() {
                        let _ = runtime.block_on(stopped);
                    }
                }
                Err(error) => drop(report.send(Err(error))),
            };
            thread::Builder::new()
                .name(self.name.to_owned())
                .spawn(run)?;
            started.recv().map_err(io::Error::other)?
        }
    }

    fn build(has_io: bool) -> io::Result<Runtime> {
        // With a single thread: tokio panics if a second thread cannot be started.
        let mut builder = Builder::new_current_thread();
        if has_io {
            check_spare_files()?;
            builder.enable_all();
        } else {
            builder.enable_time();
        }
        builder.build()
    }

    /// Tokio panics if file descriptors run out while it starts. It opens six. These four pipes need eight.
    fn check_spare_files() -> io::Result<()> {
        let pipes: io::Result<Vec<_>> = (0..4).map(|_| io::pipe()).collect();
        pipes.map(drop)
    }
}

#[cfg(not(feature = "rt-tokio"))]
mod without_tokio {
    use std::io;

    pub(crate) static PROVIDERS: NoRuntime = NoRuntime;
    pub(crate) static TIMERS: NoRuntime = NoRuntime;

    pub(crate) struct NoRuntime;

    impl NoRuntime {
        /// Runs `f` without a runtime: this build has none.
        pub(crate) fn inside<T>(&self, f: impl FnOnce() -> T) -> io::Result<T> {
            Ok(f())
        }
    }
}
