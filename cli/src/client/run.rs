//! A client as a child process. The client has our terminal and is in our process group, so a shell's job control and the
//! terminal's signals reach the client as if the shell had started it.

use std::fs;
use std::io::{self, IsTerminal};
use std::process::{self, Child, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::process::DumpableBehavior;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, setrlimit,
    waitid, waitpid,
};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGSTOP, SIGSYS, SIGTERM,
    SIGTRAP, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::Origin;

/// The signals of a terminal's keys. The client gets them from the terminal too.
const TERMINAL_SIGNALS: [i32; 3] = [SIGINT, SIGQUIT, SIGTSTP];

/// The other signals that would end this process and leave the client and its files behind.
const OTHER_SIGNALS: [i32; 13] = [
    SIGABRT, SIGALRM, SIGHUP, SIGIO, SIGPROF, SIGSYS, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGXCPU, SIGXFSZ,
];

/// The signals to this process from now on. None of them ends this process.
#[derive(Debug)]
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    pub fn new() -> io::Result<Signals> {
        let ignored = ignored_signals();
        let is_ignored = |signal: &i32| ignored & (1 << (signal - 1)) != 0;
        // A started program keeps ignored signals, but not handlers. With a handler here, a client under `nohup` would no
        // longer ignore SIGHUP.
        let signals = TERMINAL_SIGNALS
            .into_iter()
            .chain(OTHER_SIGNALS)
            .filter(|signal| !is_ignored(signal))
            // A client can be waited for only if SIGCHLD is not ignored.
            .chain([SIGCHLD]);
        Ok(Signals(SignalsInfo::new(signals)?))
    }

    /// Takes the signals that came until now.
    pub fn take(&mut self) -> Vec<Origin> {
        self.0.pending().collect()
    }
}

/// Returns the signals that this process was started to ignore, as a mask. Returns 0 on systems without `/proc`.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// How a client has ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    Exited(u8),
    Killed(i32),
}

impl Ended {
    pub fn is_success(self) -> bool {
        matches!(self, Ended::Exited(0))
    }

    /// Ends this process as the client has ended, or returns the exit code. Call this after all files are removed.
    pub fn end_as_client(self) -> ExitCode {
        match self {
            Ended::Exited(status) => ExitCode::from(status),
            Ended::Killed(signal) => {
                // The kernel ignores the signals that the first process of a container sends to itself.
                if process::id() != 1 {
                    prevent_core_dump();
                    // If signal-hook does not know the signal, return a shell's exit status for the signal.
                    let _ = emulate_default_handler(signal);
                }
                ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or_default()))
            }
        }
    }
}

/// The memory of this process holds the token. The client's own core, if any, is complete.
fn prevent_core_dump() {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, no_core);
    // A program that collects the cores of a system does not see the limit.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Waits for a client's end, and forwards the signals that only this process got. `early` came before the client's start, or
/// during the start.
pub fn supervise(child: &Child, early: Vec<Origin>, signals: Signals) -> io::Result<Ended> {
    let client = Pid::from_child(child);
    let (sender, events) = mpsc::channel();
    // SIGCHLD may be blocked. So a thread waits for the client, and another thread for signals.
    let of_client = sender.clone();
    thread::Builder::new().spawn(move || {
        loop {
            let change = wait(client);
            let is_last = !matches!(change, Ok(Change::Stopped(_)));
            if of_client.send(Event::Client(change)).is_err() || is_last {
                break;
            }
        }
    })?;
    thread::Builder::new().spawn(move || {
        let mut signals = signals.0;
        for origin in signals.forever() {
            if sender.send(Event::Signal(origin)).is_err() {
                break;
            }
        }
    })?;
    for origin in early {
        forward(client, origin.signal);
    }
    for event in events {
        match event {
            Event::Client(change) => match change? {
                Change::Ended(ended) => {
                    waitpid(Some(client), WaitOptions::empty())?;
                    return Ok(ended);
                }
                Change::Stopped(signal) => stop_with_client(client, signal)?,
            },
            Event::Signal(origin) => {
                let is_of_terminal = TERMINAL_SIGNALS.contains(&origin.signal);
                // The terminal itself is no process.
                if !is_of_terminal || origin.process.is_some() {
                    forward(client, origin.signal);
                }
            }
        }
    }
    Err(io::Error::other(
        "the thread that waits for the client has ended",
    ))
}

enum Event {
    Client(io::Result<Change>),
    Signal(Origin),
}

/// What a client has done.
enum Change {
    Ended(Ended),
    Stopped(i32),
}

/// Waits until the client ends or stops. A client that has ended keeps its process id, so that no signal reaches a stranger.
fn wait(client: Pid) -> io::Result<Change> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    loop {
        let status = match waitid(WaitId::Pid(client), options) {
            Ok(Some(status)) => status,
            Ok(None) | Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(status) = status.exit_status() {
            let status = u8::try_from(status).unwrap_or(u8::MAX);
            return Ok(Change::Ended(Ended::Exited(status)));
        }
        if let Some(signal) = status.terminating_signal() {
            return Ok(Change::Ended(Ended::Killed(signal)));
        }
        if let Some(signal) = status.stopping_signal() {
            // Otherwise the same stop would be reported again.
            waitid(
                WaitId::Pid(client),
                WaitIdOptions::STOPPED | WaitIdOptions::NOHANG,
            )?;
            return Ok(Change::Stopped(signal));
        }
    }
}

fn forward(client: Pid, signal: i32) {
    if signal != SIGCHLD
        && let Some(signal) = Signal::from_named_raw(signal)
    {
        // A client of another user cannot be sent signals.
        let _ = kill_process(client, signal);
    }
}

/// Stops this process too, as a shell at a terminal expects.
fn stop_with_client(client: Pid, signal: i32) -> io::Result<()> {
    if signal == SIGSTOP && !is_stopped_alone(client) {
        return Ok(());
    }
    emulate_default_handler(SIGTSTP)?;
    // The SIGCONT may have come to this process alone.
    let _ = kill_process(client, Signal::CONT);
    Ok(())
}

/// Whether a client has stopped itself with SIGSTOP, and a shell at a terminal waits for this process to stop.
fn is_stopped_alone(client: Pid) -> bool {
    /// Signals to a group of processes reach all of them within this time.
    const SPREAD: Duration = Duration::from_millis(50);
    if !io::stdin().is_terminal() {
        // A SIGCONT may come to the client alone.
        return false;
    }
    // If the SIGSTOP was for the whole group, this process is stopped here until the SIGCONT for the whole group.
    thread::sleep(SPREAD);
    thread::sleep(SPREAD);
    let options = WaitOptions::NOHANG | WaitOptions::CONTINUED;
    let has_continued = matches!(waitpid(Some(client), options), Ok(Some(_)));
    !has_continued
}
