//! A client as a child process. The client has our terminal and is in our process group, so a shell's job control and the
//! terminal's signals reach the client as if the shell had started it.

use std::fs;
use std::io;
use std::process::{Child, ExitCode};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, setrlimit, waitpid,
};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// The signals of a terminal's keys. The client gets them from the terminal too.
const OF_TERMINAL: [i32; 3] = [SIGINT, SIGQUIT, SIGTSTP];

/// The other signals that would end this process.
const OF_PROCESSES: [i32; 4] = [SIGHUP, SIGTERM, SIGUSR1, SIGUSR2];

/// The signals to this process from now on. None of them ends this process.
#[derive(Debug)]
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    pub fn new() -> io::Result<Signals> {
        let ignored = ignored_signals();
        let is_ignored = |signal: &i32| ignored & (1 << (signal - 1)) != 0;
        // A handler would end at the client, and so the client would no longer ignore what `nohup` made it ignore.
        let signals = OF_TERMINAL
            .into_iter()
            .chain(OF_PROCESSES)
            .filter(|signal| !is_ignored(signal))
            .chain([SIGCHLD]);
        Ok(Signals(SignalsInfo::new(signals)?))
    }

    /// Takes the signals that have come before there is a client.
    pub fn take(&mut self) -> Vec<Origin> {
        self.0.pending().collect()
    }
}

/// The signals that this process was started to ignore, as a mask. Only Linux tells.
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

    /// Ends this process in the same way, or returns the exit code. Call this after all files are removed.
    pub fn follow(self) -> ExitCode {
        match self {
            Ended::Exited(status) => ExitCode::from(status),
            Ended::Killed(signal) => {
                // The memory of this process holds the token, and the client may have dumped its own core.
                let no_core = Rlimit {
                    current: Some(0),
                    maximum: Some(0),
                };
                let _ = setrlimit(Resource::Core, no_core);
                // Returns only for signals that are not known everywhere. A shell's exit status says the same.
                let _ = emulate_default_handler(signal);
                ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or_default()))
            }
        }
    }
}

/// Waits for a client's end, and sends the client all signals that it has not got. `early` came before the client's start.
pub fn supervise(child: &Child, early: Vec<Origin>, signals: &mut Signals) -> io::Result<Ended> {
    for origin in early {
        forward(child, origin.signal);
    }
    loop {
        if let Some(ended) = wait(child)? {
            return Ok(ended);
        }
        for origin in signals.0.wait() {
            let is_of_terminal = OF_TERMINAL.contains(&origin.signal);
            if !is_of_terminal || matches!(origin.cause, Cause::Sent(_)) {
                forward(child, origin.signal);
            }
        }
    }
}

fn forward(child: &Child, signal: i32) {
    if signal != SIGCHLD
        && let Some(signal) = Signal::from_named_raw(signal)
    {
        // A client that has ended is still there until `wait`. A client of another user cannot be sent signals.
        let _ = kill_process(Pid::from_child(child), signal);
    }
}

/// Returns how the client has ended. If the client has stopped, stops this process too, as the shell expects.
fn wait(child: &Child) -> io::Result<Option<Ended>> {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
    let Some((_, status)) = waitpid(Some(Pid::from_child(child)), options)? else {
        return Ok(None);
    };
    if let Some(status) = status.exit_status() {
        return Ok(Some(Ended::Exited(u8::try_from(status).unwrap_or(u8::MAX))));
    }
    if let Some(signal) = status.terminating_signal() {
        return Ok(Some(Ended::Killed(signal)));
    }
    // Whoever sends SIGSTOP to the client alone may send SIGCONT to the client alone.
    if status.stopping_signal() != Some(SIGSTOP) {
        emulate_default_handler(SIGTSTP)?;
    }
    Ok(None)
}
