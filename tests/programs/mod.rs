//! Runs the example programs, each in a process and an environment of its own.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No run takes longer on any machine, unless the program hangs.
const CHILD_BOUND: Duration = Duration::from_secs(60);

pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the example `program` to its end, with only `environment`.
pub fn run<'a>(
    program: &str,
    arguments: &[&str],
    environment: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Output {
    let mut child = Command::new(path_of(program))
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let stdout = text_of(child.stdout.take().expect("a pipe"));
    let stderr = text_of(child.stderr.take().expect("a pipe"));
    let stdout = within_bound(&mut child, &stdout);
    let stderr = within_bound(&mut child, &stderr);
    let status = child.wait().expect("the exit status of a child");
    Output {
        status,
        stdout,
        stderr,
    }
}

/// Reads in a thread until the child exits.
fn text_of(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text)
            .expect("the child writes UTF-8");
        // The receiver is dropped after a timeout.
        let _ = sender.send(text);
    });
    receiver
}

fn within_bound(child: &mut Child, text: &mpsc::Receiver<String>) -> String {
    text.recv_timeout(CHILD_BOUND).unwrap_or_else(|_| {
        // The child may have exited just now.
        let _ = child.kill();
        panic!("the example took longer than {CHILD_BOUND:?}")
    })
}

/// `cargo test` builds the examples of the package next to the tests.
fn path_of(program: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(2).expect("the test lies in `deps`");
    let path = target
        .join("examples")
        .join(program)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --example {program}`",
        path.display()
    );
    path
}
