//! How often memory is allocated. The counter counts the allocations of the calling thread only. Growth of a
//! buffer counts as an allocation.

mod support;

use std::env;
use std::process::Command;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use futures_util::FutureExt;
use rds_iam::{Credentials, Signer, TokenCache};
use support::clock::at;
use support::tokens::{HOST, jane};

const PORT: u16 = 5432;
const USER: &str = "app";
const KEY_ID: &str = "akid";

fn credentials(session_token: Option<String>) -> Credentials {
    Credentials::new(KEY_ID, "secret", session_token, None, "test")
}

#[test]
fn signing_allocates_at_most_twice_and_the_token_at_its_full_size() {
    for session_token in [None, Some("token/".repeat(200))] {
        let now = at(Duration::ZERO);
        let signer = Signer::new(&credentials(session_token), "us-east-1", now).unwrap();
        let login = jane();
        let mut token_len = 0;
        let made = measure(|| token_len = signer.sign(&login, now).unwrap().as_str().len());
        assert!(made.count_total <= 2, "{made:?}");
        assert_eq!((made.count_current, made.bytes_current), (0, 0), "{made:?}");
        // Besides the text: its address, its length, the count of clones, and little more.
        let beside = made.bytes_total - token_len as u64;
        assert!(beside <= 64, "{beside} of {made:?}");
    }
}

#[test]
fn a_cache_hit_allocates_nothing() {
    let cache = TokenCache::builder(credentials(None)).build().unwrap();
    let login = jane();
    pollster::block_on(cache.token(&login)).unwrap();
    let made = measure(|| drop(cache.token(&login).now_or_never().unwrap().unwrap()));
    assert_eq!(made, AllocationInfo::default());
}

/// In a child process whose environment has keys, because setting the environment of this process is unsafe.
#[test]
fn a_hit_of_the_process_wide_cache_allocates_nothing() {
    if env::var("AWS_ACCESS_KEY_ID").as_deref() != Ok(KEY_ID) {
        let output = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "a_hit_of_the_process_wide_cache_allocates_nothing",
            ])
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env_remove("AWS_SESSION_TOKEN")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("1 passed; 0 failed"), "{report}");
        return;
    }
    rds_iam::blocking::token(HOST, PORT, USER).unwrap();
    let made = measure(|| drop(rds_iam::blocking::token(HOST, PORT, USER).unwrap()));
    assert_eq!(made, AllocationInfo::default(), "blocking::token");
    let token = |host: &str| rds_iam::token(host, PORT, USER).now_or_never().unwrap();
    let made = measure(|| drop(token(HOST).unwrap()));
    assert_eq!(made, AllocationInfo::default(), "token");
    // The host in lower case is allocated, and no `Login`.
    for host in [HOST.to_uppercase(), format!("{HOST}.")] {
        let made = measure(|| drop(token(&host).unwrap()));
        assert_eq!(made.count_total, 1, "{host}: {made:?}");
    }
}

/// Growth would leave a part of the token in freed memory.
#[test]
fn the_buffer_of_a_url_does_not_grow_while_the_token_is_written() {
    let token = |session_token: usize| {
        let credentials = credentials(Some("token/".repeat(session_token)));
        let now = at(Duration::ZERO);
        let signer = Signer::new(&credentials, "us-east-1", now).unwrap();
        signer.sign(&jane(), now).unwrap()
    };
    let written = |token: &rds_iam::Token| {
        let mut url = url::Url::parse("postgres://app@localhost:5432/app?a=b").unwrap();
        measure(|| token.set_as_password(&mut url).unwrap())
    };
    let [short, long] = [10, 1000].map(|session_token| written(&token(session_token)));
    assert_eq!(short.count_total, long.count_total, "{short:?} {long:?}");
}
