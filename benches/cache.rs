//! How fast a token is found that has been signed before, beside `moka`, and how long a thousand logins to a hundred
//! databases take on a cold cache: `cargo bench --all-features --bench cache`

mod support;
#[path = "support/throughput.rs"]
mod throughput;

use std::env;
use std::hint::black_box;
use std::pin::pin;
use std::process::{self, Command};
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use rds_iam::{Credentials, Login, TokenCache};
use support::{HOST, KEY_ID, PORT, REGION, SECRET, USER, poll_once};

fn main() {
    // The process-wide cache takes its keys from the environment, and only that of a child can be set without unsafe code.
    if env::var("AWS_ACCESS_KEY_ID").as_deref() != Ok(KEY_ID) {
        let mut again = Command::new(env::current_exe().expect("the path of this bench"));
        let status = support::with_environment_keys(again.args(env::args_os().skip(1)), None)
            .status()
            .expect("the bench starts again");
        process::exit(status.code().unwrap_or(1));
    }
    let mut criterion = throughput::criterion();
    hits(&mut criterion);
    cold_herd(&mut criterion);
    criterion.final_summary();
}

/// What a program would key its own cache by.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    host: String,
    port: u16,
    user: String,
}

fn hits(criterion: &mut Criterion) {
    let login = support::login();
    let cache = cold_cache();
    let token = cache.blocking_token(&login).expect("a token");
    rds_iam::blocking::token(HOST, PORT, USER).expect("a token with the keys of the environment");

    let key = || Key {
        host: HOST.to_owned(),
        port: PORT,
        user: USER.to_owned(),
    };
    let moka = moka::sync::Cache::new(1024);
    moka.insert(key(), token.clone());
    let expiring_moka = moka::sync::Cache::builder()
        .max_capacity(1024)
        .time_to_live(Duration::from_secs(840))
        .build();
    expiring_moka.insert(key(), token);
    let key = key();

    let (host, user) = black_box((HOST, USER));

    // What is returned is looked at where it lies: moving it would be measured too.
    throughput::measure(
        criterion,
        "hit",
        &[
            ("TokenCache::token", &|| {
                black_box(&poll_once(pin!(cache.token(black_box(&login)))));
            }),
            ("moka", &|| {
                black_box(&moka.get(black_box(&key)));
            }),
            // It looks at the clock, as ours does.
            ("moka with time_to_live", &|| {
                black_box(&expiring_moka.get(black_box(&key)));
            }),
            ("rds_iam::token", &|| {
                black_box(&poll_once(pin!(rds_iam::token(host, PORT, user))));
            }),
            ("blocking::token", &|| {
                black_box(&rds_iam::blocking::token(host, PORT, user));
            }),
        ],
    );
}

/// Ten of the thousand ask for the same token.
fn cold_herd(criterion: &mut Criterion) {
    let logins: Vec<Login> = (0..1000)
        .map(|n| format!("db-{}.abcdefghijkl.{REGION}.rds.amazonaws.com", n % 100))
        .map(|host| Login::new(&host, PORT, USER).expect("a valid login"))
        .collect();
    criterion.bench_function("cold herd", |bencher| {
        bencher.iter_batched(
            cold_cache,
            |cache| {
                for login in &logins {
                    black_box(&cache.blocking_token(login));
                }
                cache
            },
            BatchSize::PerIteration,
        );
    });
}

/// Its provider is ready at once.
fn cold_cache() -> TokenCache {
    let credentials = Credentials::new(KEY_ID, SECRET, None, None, "bench");
    TokenCache::builder(credentials).build().expect("a cache")
}
