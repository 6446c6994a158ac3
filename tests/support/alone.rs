//! Runs a test in a process of its own.

use std::any::type_name;
use std::fs::{self, File};
use std::io::Write;
#[cfg(unix)]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, iter, process, thread};

/// The environment variable with the path of a child's home folder.
const HOME_OF_CHILD: &str = "RDS_IAM_TEST_HOME";

/// No test takes longer on any machine, unless it hangs.
const CHILD_BOUND: Duration = Duration::from_secs(90);

/// Runs `test` in a process of its own with only `environment`. So each test has a new process-wide cache.
///
/// The child process is this test binary with the name of the calling test. In the child, this function calls `test`.
#[track_caller]
pub fn alone<F: FnOnce(&Home)>(environment: &[(&str, &str)], test: F) {
    if let Some(folder) = env::var_os(HOME_OF_CHILD) {
        thread::spawn(|| {
            thread::sleep(CHILD_BOUND);
            eprintln!("the test took longer than {CHILD_BOUND:?}");
            process::abort()
        });
        return test(&Home(folder.into()));
    }
    let home = TemporaryHome::new();
    // A low limit, so that a test can open all files.
    let output = Command::new("/bin/sh")
        .args(["-c", r#"ulimit -n 256 && exec "$0" "$@""#])
        .arg(env::current_exe().expect("the path of this test"))
        .args(["--exact", name_of_test(&test), "--nocapture"])
        .env_clear()
        .envs(environment.iter().copied())
        .env(HOME_OF_CHILD, &home.0)
        .env("HOME", &home.0)
        .env("AWS_CONFIG_FILE", home.0.join("config"))
        .env("AWS_SHARED_CREDENTIALS_FILE", home.0.join("credentials"))
        .output()
        .expect("the test runs in a child");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}

/// Runs `act` in a forked child, whose only thread is the calling thread, and `meanwhile` in this process. For tests
/// that run [`alone`].
#[cfg(unix)]
pub fn in_forked_child(act: impl FnOnce(), meanwhile: impl FnOnce()) {
    use fork::{Fork, WEXITSTATUS, WIFEXITED, fork, waitpid};

    let Fork::Parent(child) = fork().expect("a child") else {
        thread::spawn(|| {
            thread::sleep(CHILD_BOUND / 2);
            eprintln!("the forked child hangs");
            process::abort()
        });
        let outcome = catch_unwind(AssertUnwindSafe(act));
        process::exit(i32::from(outcome.is_err()))
    };
    meanwhile();
    let status = waitpid(child).expect("the child's status");
    assert!(WIFEXITED(status) && WEXITSTATUS(status) == 0, "{status}");
}

/// The name of the test around a closure.
fn name_of_test<F>(_: &F) -> &'static str {
    // `BINARY::TEST::{{closure}}`
    let path = type_name::<F>();
    path.split("::").nth(1).expect("a closure in a test")
}

/// The home folder of a test in its own process, with the files of the AWS SDK.
pub struct Home(PathBuf);

impl Home {
    /// Writes or replaces a file of the home folder, `config` or `credentials`.
    pub fn write(&self, name: &str, text: &str) {
        let (new, path) = (self.0.join("new"), self.0.join(name));
        fs::write(&new, text).expect("a file in the home folder");
        fs::rename(new, path).expect("a file in the home folder");
    }

    /// Adds a setting to the profile `default`, in the file `config`.
    pub fn configure(&self, setting: &str) {
        let mut config = File::options()
            .append(true)
            .open(self.0.join("config"))
            .expect("the file `config`");
        writeln!(config, "{setting}").expect("a file that can be written");
    }

    /// Replaces a file by a pipe without a writer, so that to read the file takes forever, as on a hung file system.
    pub fn replace_by_fifo(&self, name: &str) {
        let path = self.0.join(name);
        fs::remove_file(&path).expect("a file in the home folder");
        let status = Command::new("mkfifo").arg(&path).status();
        assert!(status.expect("mkfifo is installed").success());
    }

    /// Opens files until no more can be opened.
    pub fn open_all_files(&self) -> Vec<File> {
        iter::from_fn(|| File::open(self.0.join("config")).ok()).collect()
    }
}

struct TemporaryHome(PathBuf);

impl TemporaryHome {
    fn new() -> TemporaryHome {
        static HOMES: AtomicUsize = AtomicUsize::new(0);
        let number = HOMES.fetch_add(1, Ordering::Relaxed);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("home-{}-{number}", process::id()));
        // A killed process with the same id may have left a folder.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a new home folder");
        fs::write(folder.join("config"), "[default]\n").expect("a file in the home folder");
        TemporaryHome(folder)
    }
}

impl Drop for TemporaryHome {
    fn drop(&mut self) {
        // Files left in the target folder's `tmp` do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
