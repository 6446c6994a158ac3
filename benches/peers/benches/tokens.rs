//! How long a token takes, from each signer in this process, and from the example and the AWS CLI as whole processes:
//! `cargo bench --bench tokens` in this folder

use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::Criterion;
use rds_iam::Credentials;

const HOST: &str = "mydb.abcdefghijkl.us-east-1.rds.amazonaws.com";

fn main() {
    rds_iam_peers::with_each_kind_of_key(|kind, credentials| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3))
            .configure_from_args();
        let mut group = criterion.benchmark_group(kind);
        for (name, token) in rds_iam_peers::peers(credentials) {
            group.bench_function(name, |bencher| bencher.iter(&token));
        }
        group.finish();
        processes(&mut criterion, kind, credentials);
        criterion.final_summary();
    });
}

/// A person's way to a token: one process, which finds the keys in its environment, prints the token and ends.
fn processes(criterion: &mut Criterion, kind: &str, credentials: &Credentials) {
    let mut example = Command::new(env!("CARGO_BIN_EXE_token"));
    example.args([HOST, "5432", "app"]);
    let mut aws = Command::new("aws");
    aws.args(["rds", "generate-db-auth-token", "--region", "us-east-1"])
        .args(["--hostname", HOST, "--port", "5432", "--username", "app"]);

    let mut group = criterion.benchmark_group(format!("process, {kind}"));
    group.sample_size(10);
    for (name, mut program) in [
        ("examples/token", example),
        ("aws rds generate-db-auth-token", aws),
    ] {
        rds_iam_peers::with_environment_keys(&mut program, credentials.session_token())
            .stdout(Stdio::null());
        match program.status() {
            Ok(status) => assert!(status.success(), "{program:?}"),
            Err(error) => {
                println!("{name} is left out: {error}");
                continue;
            }
        }
        group.bench_function(name, |bencher| bencher.iter(|| program.status()));
    }
    group.finish();
}
