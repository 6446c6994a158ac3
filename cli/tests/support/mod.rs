//! Runs `rds-iam` in an environment and a home of its own.
#![allow(
    dead_code,
    reason = "each test binary that includes this module uses a part of it"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

pub const HOST: &str = "mydb.abc123xyz.eu-central-1.rds.amazonaws.com";
pub const DSQL_HOST: &str = "abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// No run takes longer on any machine, unless the program hangs.
const BOUND: Duration = Duration::from_secs(60);

/// Directories of a single test: the home, a directory for temporary files, and a directory of programs that comes first in
/// `PATH`.
pub struct Sandbox {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A program that handles all signals as usual. If the tests run in the background of a shell, they ignore SIGINT, and so
/// would the program.
pub fn with_default_signals(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", program]);
    command
}

impl Sandbox {
    /// A sandbox with a long-term key in the environment.
    pub fn new() -> Sandbox {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["home", "tmp", "bin", "record"] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let mut sandbox = Sandbox {
            directory,
            environment: Vec::new(),
        };
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", sandbox.path("bin"));
        sandbox.set("PATH", &path);
        sandbox.set("HOME", &sandbox.path("home"));
        sandbox.set("TMPDIR", &sandbox.path("tmp"));
        sandbox.set("RECORD", &sandbox.path("record"));
        sandbox.set("AWS_EC2_METADATA_DISABLED", "true");
        sandbox.set("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
        sandbox.set("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        sandbox
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != name);
    }

    /// Lets the SDK's default chain run a shell script for the credentials.
    pub fn set_credential_process(&mut self, script: &str) {
        self.unset("AWS_ACCESS_KEY_ID");
        self.program("credentials", script);
        let process = self.path("bin/credentials");
        let file = self.path("config");
        let config = format!("[default]\ncredential_process = {process}\n");
        fs::write(&file, config).expect("a file");
        self.set("AWS_CONFIG_FILE", &file);
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The text of a file that a program has written into the directory `record`.
    pub fn record(&self, name: &str) -> String {
        let path = self.directory.path().join("record").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names of the temporary files and directories.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.directory.path().join("tmp")).expect("the directory");
        files.map(|file| file.expect("a file").path()).collect()
    }

    /// Makes a program of a shell script.
    pub fn program(&self, name: &str, script: &str) {
        // Another process writes the file. If this process had the file open while another test forks, the program could not be run.
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$0" > "$1" && chmod 755 "$1""#,
            ])
            .args([script, &self.path(&format!("bin/{name}"))])
            .status();
        assert!(status.expect("a shell").success());
    }

    /// The command `rds-iam`, with an empty standard input and all outputs in pipes.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = with_default_signals(env!("CARGO_BIN_EXE_rds-iam"));
        command.args(args);
        self.prepare(&mut command);
        command
    }

    pub fn prepare(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs `rds-iam` to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        wait(self.command(args).spawn().expect("rds-iam starts"))
    }

    /// Runs `rds-iam doctor` to its end. Its output must have none of the secrets in the environment, and no signature.
    #[track_caller]
    pub fn doctor(&self, args: &[&str]) -> Output {
        const SECRETS: [&str; 4] = [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "MYSQL_PWD",
            "PGPASSWORD",
        ];
        let output = self.run(&[&["doctor"], args].concat());
        let environment = self.environment.iter();
        let secrets = environment.filter(|(name, _)| SECRETS.contains(&&**name));
        let secrets = secrets.map(|(_, secret)| &**secret);
        for secret in secrets.chain(["X-Amz-Signature", "hunter2"]) {
            for text in [&output.stdout, &output.stderr] {
                assert!(secret.is_empty() || !text.contains(secret), "{text}");
            }
        }
        output
    }

    /// Runs `rds-iam` to its end, which must be a success. Returns its standard output.
    #[track_caller]
    pub fn output(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, "");
        output.stdout
    }

    /// Runs a shell script with the sandbox's environment. Returns its standard output.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        let mut command = Command::new("/bin/sh");
        self.prepare(&mut command);
        let mut shell = command.stdin(Stdio::piped()).spawn().expect("a shell");
        // Not an argument, which other users could read.
        let mut stdin = shell.stdin.take().expect("a pipe");
        stdin.write_all(script.as_bytes()).expect("a pipe");
        drop(stdin);
        let output = wait(shell);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

/// Waits for the end of a child whose outputs are pipes.
pub fn wait(mut child: Child) -> Output {
    let stdout = child.stdout.take().map(text_of);
    let stderr = child.stderr.take().map(text_of);
    let [stdout, stderr] = [stdout, stderr].map(|text| match text {
        None => String::new(),
        Some(text) => text.recv_timeout(BOUND).unwrap_or_else(|_| {
            // The child may have exited just now.
            let _ = child.kill();
            panic!("the child took longer than {BOUND:?}")
        }),
    });
    Output {
        status: child.wait().expect("the exit status of a child"),
        stdout,
        stderr,
    }
}

/// Reads in a thread until the child, and all that it has started, have exited.
fn text_of(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).expect("a pipe");
        // The receiver is dropped after a timeout.
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    const INTERVAL: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while !condition() {
        assert!(waited < BOUND, "{what} took longer than {BOUND:?}");
        thread::sleep(INTERVAL);
        waited += INTERVAL;
    }
}

/// The mode of a file or directory, such as 0o600.
#[cfg(unix)]
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).expect("the file");
    metadata.permissions().mode() & 0o7777
}
