//! How many instructions a token costs beyond the hashes that no signer can leave out, and how many a hit costs, counted
//! by valgrind, which is not disturbed by whatever else the machine does. Fails where one is over its limit:
//! `cargo run --release --package rds-iam-instructions`

#[path = "../../support/mod.rs"]
mod support;

use std::env;
use std::hint::black_box;
use std::pin::pin;
use std::process::{self, Command};

use rds_iam::{Signer, TokenCache};
use support::{Floor, REGION};

/// What is counted; the work whose instructions do not count; how many may be left at most.
///
/// The limits are a little above what was counted last, for other compilers and C libraries. The hashes are left out
/// since valgrind's processor cannot hash by itself, and so spends far more on them than a real one.
const LIMITS: [(&str, &str, i64); 3] = [
    ("sign, long-term key", "floor, long-term key", 1_560),
    ("sign, session token", "floor, session token", 2_130),
    ("hit", "nothing", 520),
];

/// Enough that what happens only once, and differs from run to run, does not show.
const TIMES: i64 = 200;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => process::exit(i32::from(!is_within_limits())),
        [work, times] => repeat(work, times.parse().expect("a number")),
        _ => panic!("usage: rds-iam-instructions"),
    }
}

fn is_within_limits() -> bool {
    let mut is_within = true;
    for (work, floor, limit) in LIMITS {
        let beyond = instructions(work) - instructions(floor);
        let verdict = if beyond <= limit { "within" } else { "OVER" };
        println!("{work}: {beyond} instructions beyond {floor}, {verdict} the limit of {limit}");
        is_within &= beyond <= limit;
    }
    is_within
}

/// Of doing the work once, without what starting the program and preparing the work costs.
fn instructions(work: &str) -> i64 {
    (total_instructions(work, 2 * TIMES) - total_instructions(work, TIMES)) / TIMES
}

/// Of a run of this program that does the work so many times.
fn total_instructions(work: &str, times: i64) -> i64 {
    let program = env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([work, &times.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    report
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count in {report}"))
}

fn repeat(work: &str, times: u32) {
    let now = support::now();
    let login = support::login();
    let (kind, key) = work.split_once(", ").unwrap_or((work, "long-term key"));
    let (_, credentials) = support::keys()
        .into_iter()
        .find(|(name, _)| *name == key)
        .expect("a kind of key");
    let signer = Signer::new(&credentials, REGION, now).expect("a signer");
    let floor = Floor::of(&credentials);
    // Only for hits, because the threads of a fetch change the allocator's state.
    let cache = (kind == "hit").then(|| {
        let cache = TokenCache::builder(credentials).build().expect("a cache");
        cache.blocking_token(&login).expect("a token");
        cache
    });
    for _ in 0..times {
        match kind {
            "sign" => drop(black_box(signer.sign(black_box(&login), black_box(now)))),
            "floor" => drop(black_box(black_box(&floor).hash())),
            "nothing" => {}
            _ => {
                let cache = cache
                    .as_ref()
                    .unwrap_or_else(|| panic!("{work} is no work"));
                let token = pin!(cache.token(black_box(&login)));
                drop(black_box(support::poll_once(token)));
            }
        }
    }
}
