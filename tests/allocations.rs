//! How often memory is allocated. The counter counts those of the calling thread alone, and a buffer that grows as an
//! allocation.

use std::env;
use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use allocation_counter::{AllocationInfo, measure};
use rds_iam::{Credentials, Login, Signer, TokenCache};

const HOST: &str = "mydb.abcdefghijkl.us-east-1.rds.amazonaws.com";
const PORT: u16 = 5432;
const USER: &str = "app";
const KEY_ID: &str = "akid";

/// 2024-08-26T22:00:00Z
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_724_709_600)
}

fn login() -> Login {
    Login::new(HOST, PORT, USER).unwrap()
}

fn credentials(session_token: Option<String>) -> Credentials {
    Credentials::new(KEY_ID, "secret", session_token, None, "test")
}

fn poll_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}

#[test]
fn signing_allocates_at_most_twice_and_the_token_at_its_full_size() {
    for session_token in [None, Some("token/".repeat(200))] {
        let signer = Signer::new(&credentials(session_token), "us-east-1", now()).unwrap();
        let login = login();
        let mut token_len = 0;
        let made = measure(|| token_len = signer.sign(&login, now()).unwrap().as_str().len());
        assert!(made.count_total <= 2, "{made:?}");
        assert_eq!((made.count_current, made.bytes_current), (0, 0), "{made:?}");
        // Beside the text there is room for little more than its address, its length and a count of its clones.
        let beside = made.bytes_total - token_len as u64;
        assert!(beside <= 64, "{beside} of {made:?}");
    }
}

#[test]
fn a_hit_of_a_cache_allocates_nothing() {
    let cache = TokenCache::builder(credentials(None)).build().unwrap();
    let login = login();
    pollster::block_on(cache.token(&login)).unwrap();
    let made = measure(|| drop(poll_once(cache.token(&login)).unwrap()));
    assert_eq!(made, AllocationInfo::default());
}

/// In a child process, where the SDK's default chain finds keys: setting the environment of this one is unsafe.
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
    let made = measure(|| drop(poll_once(rds_iam::token(HOST, PORT, USER)).unwrap()));
    assert_eq!(made, AllocationInfo::default(), "token");
    // The name in lower case, and no `Login`.
    for host in [HOST.to_uppercase(), format!("{HOST}.")] {
        let made = measure(|| drop(poll_once(rds_iam::token(&host, PORT, USER)).unwrap()));
        assert_eq!(made.count_total, 1, "{host}: {made:?}");
    }
}

/// A buffer that grows leaves the part of the token that it holds in freed memory.
#[test]
fn a_url_s_buffer_has_grown_before_the_token_is_written() {
    let token = |session_token: usize| {
        let credentials = credentials(Some("token/".repeat(session_token)));
        let signer = Signer::new(&credentials, "us-east-1", now()).unwrap();
        signer.sign(&login(), now()).unwrap()
    };
    let written = |token: &rds_iam::Token| {
        let mut url = url::Url::parse("postgres://app@localhost:5432/app?a=b").unwrap();
        measure(|| token.set_as_password(&mut url).unwrap())
    };
    let [short, long] = [10, 1000].map(|session_token| written(&token(session_token)));
    assert_eq!(short.count_total, long.count_total, "{short:?} {long:?}");
}
