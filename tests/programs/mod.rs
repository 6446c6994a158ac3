//! The example programs, run as a person runs them: in a process and an environment of their own.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No run takes as long on any machine; one that does hangs.
const CHILD_BOUND: Duration = Duration::from_secs(60);

pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the example `program` to its end, in `environment` alone.
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

/// Reads to the end, which comes when the child exits, in a thread.
fn text_of(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text)
            .expect("the child writes UTF-8");
        // Nobody listens when the bound has passed.
        let _ = sender.send(text);
    });
    receiver
}

fn within_bound(child: &mut Child, text: &mpsc::Receiver<String>) -> String {
    text.recv_timeout(CHILD_BOUND).unwrap_or_else(|_| {
        // It may have exited in this moment.
        let _ = child.kill();
        panic!("the example took longer than {CHILD_BOUND:?}")
    })
}

/// Cargo builds a package's examples for `cargo test`, and lays them beside the tests.
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
