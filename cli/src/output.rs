//! Standard output and standard error. The reader of either may be gone.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use rds_iam_connector::ErrorChain;

/// Prints a text. If the reader is gone, only the exit status says so, as the reader may have read enough.
pub fn print(text: impl AsRef<[u8]>) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
        Err(error) => Err(error).context("standard output cannot be written"),
    }
}

/// Prints an error with all causes in a single line to standard error.
pub fn report(error: &anyhow::Error) {
    note(ErrorChain(&**error));
}

/// Prints a line to standard error.
pub fn note(text: impl Display) {
    // There is no other place to report that standard error is closed.
    let _ = writeln!(io::stderr(), "rds-iam: {text}");
}
