//! The process-wide cache behind `rds_iam::token`, over the AWS SDK's default chain, and caches over an `SdkConfig`.
//!
//! The process-wide cache reads the environment of the process. So each test of the cache runs in a process of its own.

mod support;

use std::error::Error as _;
use std::future::{Future, pending, ready};
use std::panic;
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{Region, SdkConfig};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, StaticTimeSource};
use futures_util::FutureExt;
use futures_util::future::join_all;
use pollster::block_on;
use rds_iam::{
    AsyncSleep, Credentials, Error, Login, SharedCredentialsProvider, Sleep, Token, TokenCache,
    TokenCacheBuilder, shared_cache,
};
#[cfg(unix)]
use support::alone::in_forked_child;
use support::alone::{Home, alone};
use support::aws::{Behaviour, Keys, Request, StandIn};
use support::clock::{far_future, s};
use support::log::listen;
use support::provider::ScriptedProvider;
use support::runtime::{current_thread_runtime, runtime_without_timers};
use support::tokens::{key, parameter, region};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tracing::Level;

const HOST: &str = "mydb.abcdefghijkl.eu-west-1.rds.amazonaws.com";
const OTHER_HOST: &str = "other.abcdefghijkl.us-east-1.rds.amazonaws.com";
/// A host whose name has no region.
const CNAME: &str = "db.example.com";
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/app";
const IMDS_REGION: &str = "ap-south-2";

/// An environment with keys.
const ENVIRONMENT_KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "key-of-the-environment"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment"),
];

/// The requests of the search for a region in the instance metadata.
const IMDS_SEARCH: [&str; 2] = [
    "PUT /latest/api/token",
    "GET /latest/meta-data/placement/region",
];

/// Makes this process run on an EC2 instance without a role.
fn instance(home: &Home) -> StandIn {
    let imds = StandIn::imds(IMDS_REGION);
    home.configure(&format!("ec2_metadata_service_endpoint = {}", imds.url()));
    imds
}

/// Makes this process run on an EC2 instance with a role.
fn instance_with_role(home: &Home) -> StandIn {
    let imds = instance(home);
    imds.hand_out(Some(&keys("of-the-instance")));
    imds
}

/// Gives this process a profile with a role. Returns the STS with the role's keys.
fn assumed_role(home: &Home) -> StandIn {
    home.write("credentials", &profile("user", "of-the-user"));
    let sts = StandIn::sts_assume_role(ROLE_ARN, "key-of-the-user");
    sts.hand_out(Some(&keys("of-the-role")));
    home.configure(&format!("role_arn = {ROLE_ARN}"));
    home.configure("source_profile = user");
    home.configure(&format!("endpoint_url = {}", sts.url()));
    sts
}

fn profile(name: &str, whose: &str) -> String {
    format!("[{name}]\naws_access_key_id = key-{whose}\naws_secret_access_key = secret-{whose}\n")
}

fn keys(whose: &str) -> Keys {
    Keys {
        access_key_id: format!("key-{whose}"),
        secret_access_key: format!("secret-{whose}"),
        session_token: Some(format!("session+token/{whose}==")),
        expires_at: far_future(),
    }
}

/// Keys until 2001-09-09T01:46:40Z.
fn expired_keys() -> Keys {
    Keys {
        expires_at: UNIX_EPOCH + s(1_000_000_000),
        ..keys("of-the-past")
    }
}

fn login(host: &str) -> Login {
    Login::new(host, 5432, "app").expect("a valid login")
}

async fn token(host: &str) -> Token {
    rds_iam::token(host, 5432, "app").await.expect("a token")
}

/// The error and its causes, as text.
async fn failure(host: &str) -> String {
    let error = rds_iam::token(host, 5432, "app")
        .await
        .expect_err("no token");
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said += &format!(": {error}");
        cause = error.source();
    }
    said
}

/// Asserts the key and the region of a token, as `KEY/REGION`.
#[track_caller]
fn assert_signed(token: &Token, key_and_region: &str) {
    let signed_with = format!("{}/{}", key(token), region(token));
    assert_eq!(signed_with, key_and_region);
}

/// Drives `future` on a tokio runtime of several threads.
fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().expect("a runtime").block_on(future)
}

fn no_request() -> Vec<String> {
    Vec::new()
}

// How many requests are sent

#[test]
fn a_hundred_concurrent_first_calls_for_fifty_databases_cost_one_fetch() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        let call = |number| async move {
            let host = format!("db{}.abcdefghijkl.eu-west-1.rds.amazonaws.com", number % 50);
            let token = token(&host).await;
            assert!(token.as_str().starts_with(&format!("{host}:5432/?")));
            assert_signed(&token, "key-of-the-role/eu-west-1");
        };
        on_tokio(async {
            let calls: Vec<_> = (0..100).map(|number| tokio::spawn(call(number))).collect();
            for call in calls {
                call.await.expect("a call that succeeds");
            }
        });
        assert_eq!(sts.request_lines(), ["POST /"]);
    });
}

#[test]
fn environment_keys_and_a_host_that_names_its_region_cost_no_request() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let imds = instance(home);
        imds.behave(Behaviour::Hang);
        let token = on_tokio(token(HOST));
        assert_signed(&token, "key-of-the-environment/eu-west-1");
        assert_eq!(imds.request_lines(), no_request());
    });
}

#[test]
fn a_host_in_mixed_case_or_with_a_trailing_dot_gets_the_token_of_the_normalized_host() {
    alone(&ENVIRONMENT_KEYS, |_| {
        on_tokio(async {
            let first = token("MyDB.abcdefghijkl.EU-WEST-1.rds.amazonaws.com").await;
            for host in [HOST, &format!("{HOST}."), &HOST.to_uppercase()] {
                assert_eq!(token(host).await.as_str(), first.as_str());
            }
            let cache = format!("{:?}", shared_cache());
            assert!(cache.contains("logins: 1,"), "{cache}");
        });
    });
}

#[test]
fn a_login_for_dsql_shares_no_token_with_the_same_host_of_rds() {
    let environment = [ENVIRONMENT_KEYS.as_slice(), &[("AWS_REGION", "us-east-2")]].concat();
    alone(&environment, |_| {
        on_tokio(async {
            let login = Login::for_dsql(CNAME, 5432, "app").expect("a valid login");
            let dsql = shared_cache().token(&login).await.expect("a token");
            assert!(
                dsql.as_str()
                    .starts_with(&format!("{CNAME}/?Action=DbConnect&"))
            );
            let rds = token(CNAME).await;
            assert!(
                rds.as_str()
                    .starts_with(&format!("{CNAME}:5432/?Action=connect&"))
            );
        });
    });
}

// The region, if the host names none

#[test]
fn the_environment_names_the_region_and_wins_over_the_profile() {
    let environment = [ENVIRONMENT_KEYS.as_slice(), &[("AWS_REGION", "us-east-2")]].concat();
    alone(&environment, |home| {
        let imds = instance(home);
        home.configure("region = ca-central-1");
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/us-east-2");
        assert_eq!(imds.request_lines(), no_request());
    });
}

#[test]
fn a_region_variable_that_is_set_to_nothing_names_none() {
    let environment = [ENVIRONMENT_KEYS.as_slice(), &[("AWS_REGION", "")]].concat();
    alone(&environment, |home| {
        home.configure("region = ca-central-1");
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/ca-central-1");
    });
}

#[test]
fn a_region_variable_that_is_set_to_nothing_does_not_hide_the_other() {
    let regions = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "us-east-2")];
    alone(&[ENVIRONMENT_KEYS.as_slice(), &regions].concat(), |_| {
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/us-east-2");
    });
}

#[test]
fn a_region_of_the_profile_that_is_set_to_nothing_names_none() {
    alone(&ENVIRONMENT_KEYS, |home| {
        home.configure("region =");
        let imds = instance(home);
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/ap-south-2");
        assert_eq!(imds.request_lines(), IMDS_SEARCH);
    });
}

#[test]
fn the_profile_names_the_region_if_the_environment_does_not() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let imds = instance(home);
        home.configure("region = ca-central-1");
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/ca-central-1");
        assert_eq!(imds.request_lines(), no_request());
    });
}

#[test]
fn the_instance_is_searched_once_for_the_region_that_nothing_else_names() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let imds = instance(home);
        on_tokio(async {
            // All calls start before the first answer.
            let hosts: Vec<_> = (0..50)
                .map(|number| format!("db{number}.example.com"))
                .collect();
            for token in join_all(hosts.iter().map(|host| token(host))).await {
                assert_signed(&token, "key-of-the-environment/ap-south-2");
            }
            token("later.example.com").await;
        });
        assert_eq!(imds.request_lines(), IMDS_SEARCH);
    });
}

#[test]
fn a_failed_search_for_the_region_is_an_error_and_the_next_call_searches_again() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let imds = instance(home);
        on_tokio(async {
            imds.behave(Behaviour::Status(403));
            for said in join_all([failure(CNAME), failure(CNAME)]).await {
                assert!(said.contains("no region for db.example.com"), "{said}");
            }
            assert_eq!(imds.request_lines(), ["PUT /latest/api/token"]);
            imds.behave(Behaviour::Hang);
            let said = failure(CNAME).await;
            assert!(said.contains("no region for db.example.com"), "{said}");
            imds.behave(Behaviour::Answer);
            assert_signed(&token(CNAME).await, "key-of-the-environment/ap-south-2");
        });
    });
}

#[test]
fn a_failed_search_for_the_region_is_not_cached_if_its_caller_was_dropped() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let (fail, failed) = mpsc::channel();
        listen(move |line| {
            if line.target == "aws_config::imds::region" && line.level == Level::WARN {
                let _ = fail.send(());
            }
        });
        let imds = instance(home);
        imds.behave(Behaviour::Hold);
        on_tokio(async {
            let caller = tokio::spawn(token(CNAME));
            imds.wait_for_requests(1);
            caller.abort();
            imds.behave(Behaviour::Status(403));
            failed.recv().expect("a search that fails");
            imds.behave(Behaviour::Answer);
            // The search has failed and is about to end.
            let token = loop {
                if let Ok(token) = rds_iam::token(CNAME, 5432, "app").await {
                    break token;
                }
            };
            assert_signed(&token, "key-of-the-environment/ap-south-2");
        });
    });
}

#[test]
fn a_region_is_cached_if_the_caller_of_the_search_was_dropped() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let imds = instance(home);
        imds.behave(Behaviour::Hold);
        on_tokio(async {
            let caller = tokio::spawn(token(CNAME));
            imds.wait_for_requests(1);
            caller.abort();
            imds.behave(Behaviour::Answer);
            for _ in 0..2 {
                assert_signed(&token(CNAME).await, "key-of-the-environment/ap-south-2");
            }
        });
        assert_eq!(imds.request_lines(), IMDS_SEARCH);
    });
}

#[test]
fn a_malformed_region_of_the_profile_is_an_error_until_it_is_fixed() {
    alone(&ENVIRONMENT_KEYS, |home| {
        home.write("config", "[default]\nregion = Frankfurt\n");
        let said = on_tokio(failure(CNAME));
        assert!(said.contains("invalid region \"Frankfurt\""), "{said}");
        home.write("config", "[default]\nregion = eu-central-1\n");
        let token = on_tokio(token(CNAME));
        assert_signed(&token, "key-of-the-environment/eu-central-1");
    });
}

#[test]
fn a_search_for_the_region_does_not_wait_for_a_fetch_in_flight() {
    alone(&[], |home| {
        let imds = instance(home);
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hold);
        on_tokio(async {
            let fetch = tokio::spawn(token(HOST));
            sts.wait_for_requests(1);
            let search = tokio::spawn(token(CNAME));
            imds.wait_for_requests(1);
            sts.behave(Behaviour::Answer);
            fetch.await.expect("a token");
            search.await.expect("a token");
        });
        assert_eq!(sts.request_lines(), ["POST /"]);
    });
}

// Instance metadata

#[test]
fn a_failure_of_the_instance_metadata_is_a_clear_error_and_the_next_call_tries_again() {
    alone(&[], |home| {
        let imds = instance_with_role(home);
        on_tokio(async {
            let no_session = "failed to load IMDS session token";
            for (trouble, words) in [
                (Behaviour::Status(429), no_session),
                (Behaviour::Status(500), no_session),
                (Behaviour::Status(503), no_session),
                (Behaviour::Hang, "could not communicate with IMDS"),
                (Behaviour::Truncate, "invalid JSON"),
            ] {
                imds.behave(trouble);
                let start = Instant::now();
                let said = failure(HOST).await;
                assert!(said.contains("no AWS credentials"), "{said}");
                assert!(said.contains(words), "{words}: {said}");
                assert!(start.elapsed() < Duration::from_secs(60), "{words}");
            }
            imds.behave(Behaviour::Answer);
            assert_signed(&token(HOST).await, "key-of-the-instance/eu-west-1");
        });
    });
}

#[test]
fn a_failure_of_the_instance_metadata_does_not_matter_while_tokens_and_credentials_are_valid() {
    alone(&[], |home| {
        let imds = instance_with_role(home);
        on_tokio(async {
            let valid = token(HOST).await;
            let requests = imds.request_lines();
            for trouble in [Behaviour::Status(500), Behaviour::Hang, Behaviour::Truncate] {
                imds.behave(trouble);
                assert_eq!(token(HOST).await.as_str(), valid.as_str());
                assert_signed(&token(OTHER_HOST).await, "key-of-the-instance/us-east-1");
            }
            assert_eq!(imds.request_lines(), requests);
        });
    });
}

#[test]
fn valid_credentials_of_an_instance_replace_a_rejected_token_if_the_metadata_fails() {
    alone(&[], |home| {
        let imds = instance_with_role(home);
        on_tokio(async {
            let rejected = token(HOST).await;
            imds.behave(Behaviour::Status(503));
            shared_cache().invalidate(&login(HOST), &rejected);
            assert_signed(&token(HOST).await, "key-of-the-instance/eu-west-1");
        });
    });
}

#[test]
fn expired_credentials_of_an_instance_are_an_error_that_reports_their_expiry() {
    alone(&[], |home| {
        let imds = instance(home);
        imds.hand_out(Some(&expired_keys()));
        on_tokio(async {
            let said = failure(HOST).await;
            assert!(said.contains("expired at 2001-09-09T01:46:40Z"), "{said}");
            imds.hand_out(Some(&keys("of-the-instance")));
            assert_signed(&token(HOST).await, "key-of-the-instance/eu-west-1");
        });
    });
}

#[test]
fn expired_credentials_of_an_instance_do_not_replace_valid_ones() {
    alone(&[], |home| {
        let imds = instance_with_role(home);
        on_tokio(async {
            let rejected = token(HOST).await;
            imds.hand_out(Some(&expired_keys()));
            shared_cache().invalidate(&login(HOST), &rejected);
            assert_signed(&token(HOST).await, "key-of-the-instance/eu-west-1");
        });
    });
}

/// In whole seconds, because the stand-ins send whole seconds.
fn ten_minutes_ahead() -> SystemTime {
    let now = SharedTimeSource::default().now();
    let since_1970 = now.duration_since(UNIX_EPOCH).expect("a time after 1970");
    UNIX_EPOCH + s(since_1970.as_secs() + 600)
}

#[test]
fn credentials_of_an_instance_that_expire_in_10_minutes_sign_tokens_until_then() {
    alone(&[], |home| {
        let imds = instance(home);
        let expires_at = ten_minutes_ahead();
        imds.hand_out(Some(&Keys {
            expires_at,
            ..keys("of-the-instance")
        }));
        let token = on_tokio(token(HOST));
        assert_signed(&token, "key-of-the-instance/eu-west-1");
        assert_eq!(token.expires_at(), expires_at);
    });
}

// STS

#[test]
fn an_sts_that_never_answers_is_an_error_after_30_s_and_the_next_call_tries_again() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hang);
        let timed_failure = async || {
            let start = Instant::now();
            (failure(HOST).await, start.elapsed())
        };
        // For a caller on a tokio runtime, and for a caller without a runtime.
        let outcomes = thread::scope(|scope| {
            let on_tokio = scope.spawn(|| on_tokio(timed_failure()));
            let without_runtime = scope.spawn(|| block_on(timed_failure()));
            [on_tokio, without_runtime].map(|caller| caller.join().expect("a caller's outcome"))
        });
        for (said, after) in outcomes {
            assert!(said.contains("no AWS credentials"), "{said}");
            assert!((29..60).contains(&after.as_secs()), "{after:?}");
        }
        assert_eq!(sts.request_lines(), ["POST /"]);
        sts.wait_for_hang_ups();

        sts.behave(Behaviour::Answer);
        let token = on_tokio(token(HOST));
        assert_signed(&token, "key-of-the-role/eu-west-1");
        assert_eq!(sts.request_lines(), ["POST /", "POST /"]);
    });
}

#[test]
fn credentials_of_sts_that_expire_in_10_minutes_sign_tokens_until_then() {
    alone(&[], |home| {
        let imds = instance_with_role(home);
        let sts = assumed_role(home);
        let expires_at = ten_minutes_ahead();
        sts.hand_out(Some(&Keys {
            expires_at,
            ..keys("of-the-role")
        }));
        let token = on_tokio(token(HOST));
        assert_signed(&token, "key-of-the-role/eu-west-1");
        assert_eq!(token.expires_at(), expires_at);
        assert_eq!(imds.request_lines(), no_request());
    });
}

/// The regions in the signatures of all requests to STS.
fn signing_regions(sts: &StandIn) -> Vec<String> {
    let requests = sts.requests();
    let regions = requests.iter().filter_map(Request::signing_region);
    regions.map(str::to_owned).collect()
}

#[test]
fn sts_is_asked_in_the_region_of_the_environment() {
    alone(&[("AWS_REGION", "us-east-2")], |home| {
        let sts = assumed_role(home);
        home.configure("region = ca-central-1");
        assert_signed(&on_tokio(token(HOST)), "key-of-the-role/eu-west-1");
        assert_eq!(signing_regions(&sts), ["us-east-2"]);
    });
}

#[test]
fn sts_is_asked_in_the_region_of_the_profile_if_the_environment_names_none() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        home.configure("region = ca-central-1");
        assert_signed(&on_tokio(token(HOST)), "key-of-the-role/eu-west-1");
        assert_eq!(signing_regions(&sts), ["ca-central-1"]);
    });
}

#[test]
fn sts_is_asked_in_the_region_of_the_first_host_that_names_one_if_nothing_else_does() {
    alone(&[], |home| {
        let imds = instance(home);
        let sts = assumed_role(home);
        on_tokio(async {
            token(HOST).await;
            token(OTHER_HOST).await;
            assert_eq!(imds.request_lines(), no_request());
            let rejected = token(CNAME).await;
            shared_cache().invalidate(&login(CNAME), &rejected);
            assert_signed(&token(CNAME).await, "key-of-the-role/ap-south-2");
        });
        assert_eq!(signing_regions(&sts), ["eu-west-1", "eu-west-1"]);
    });
}

#[test]
fn sts_is_asked_in_the_region_of_the_instance_if_no_host_names_one() {
    alone(&[], |home| {
        let imds = instance(home);
        let sts = assumed_role(home);
        assert_signed(&on_tokio(token(CNAME)), "key-of-the-role/ap-south-2");
        assert_eq!(signing_regions(&sts), ["ap-south-2"]);
        assert_eq!(imds.request_lines(), IMDS_SEARCH);
    });
}

// Recovery

#[test]
fn a_rewritten_credentials_file_is_read_after_a_rejection() {
    alone(&[], |home| {
        home.write("credentials", &profile("default", "of-yesterday"));
        on_tokio(async {
            let rejected = token(HOST).await;
            assert_signed(&rejected, "key-of-yesterday/eu-west-1");
            home.write("credentials", &profile("default", "of-today"));
            assert_eq!(token(HOST).await.as_str(), rejected.as_str());
            shared_cache().invalidate(&login(HOST), &rejected);
            assert_signed(&token(HOST).await, "key-of-today/eu-west-1");
        });
    });
}

#[test]
fn a_malformed_profile_is_an_error_that_says_so_until_it_is_fixed() {
    alone(&[], |home| {
        home.write("credentials", "[default\n");
        on_tokio(async {
            let said = failure(HOST).await;
            assert!(said.contains("could not parse profile file"), "{said}");
            home.write("credentials", &profile("default", "of-the-profile"));
            assert_signed(&token(HOST).await, "key-of-the-profile/eu-west-1");
        });
    });
}

#[test]
fn a_panic_of_the_sdk_is_an_error_and_the_next_call_tries_again() {
    static IS_ARMED: AtomicBool = AtomicBool::new(false);
    alone(&ENVIRONMENT_KEYS, |home| {
        // Nothing else makes the SDK panic. So its own events do.
        listen(|line| {
            let is_of_the_sdk = line.target.starts_with("aws_config");
            if is_of_the_sdk && IS_ARMED.load(Ordering::SeqCst) {
                panic!("the SDK panics");
            }
        });
        on_tokio(async {
            IS_ARMED.store(true, Ordering::SeqCst);
            for said in [failure(HOST).await, failure(CNAME).await] {
                assert!(said.contains("no AWS credentials"), "{said}");
                assert!(said.contains("panicked"), "{said}");
            }
            IS_ARMED.store(false, Ordering::SeqCst);
            assert_signed(&token(HOST).await, "key-of-the-environment/eu-west-1");
            home.configure("region = ca-central-1");
            assert_signed(&token(CNAME).await, "key-of-the-environment/ca-central-1");
        });
    });
}

#[test]
fn a_runtime_without_open_files_is_an_error_and_the_next_call_tries_again() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let files = home.open_all_files();
        let said = block_on(failure(HOST));
        assert!(said.contains("no AWS credentials"), "{said}");
        assert!(said.contains("open files"), "{said}");
        drop(files);
        let token = block_on(token(HOST));
        assert_signed(&token, "key-of-the-environment/eu-west-1");
    });
}

#[cfg(unix)]
#[test]
fn a_configuration_file_that_hangs_is_an_error_after_30_s_and_the_next_call_starts_another_fetch() {
    alone(&[], |home| {
        home.write("credentials", &profile("default", "of-the-profile"));
        home.replace_by_fifo("config");
        thread::scope(|scope| {
            // A fetch, and a search for the region.
            for host in [HOST, CNAME] {
                scope.spawn(move || {
                    let said = block_on(failure(host));
                    assert!(said.contains("has not answered for 30 s"), "{said}");
                });
            }
        });
        home.write("config", "[default]\n");
        assert_signed(&on_tokio(token(HOST)), "key-of-the-profile/eu-west-1");
    });
}

#[cfg(unix)]
#[test]
fn a_forked_child_can_fetch() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hold);
        let in_flight = thread::spawn(|| block_on(token(HOST)));
        sts.wait_for_requests(1);
        in_forked_child(
            || assert_signed(&block_on(token(HOST)), "key-of-the-role/eu-west-1"),
            || {
                sts.wait_for_requests(2);
                sts.behave(Behaviour::Answer);
            },
        );
        in_flight.join().expect("a token");
        assert_eq!(sts.request_lines(), ["POST /", "POST /"]);
    });
}

// Callers of every kind

#[test]
fn the_sdk_runs_on_the_crates_threads_whatever_runtime_its_callers_use() {
    static THREADS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let threads = || THREADS.lock().expect("a listener that does not panic");
    alone(&ENVIRONMENT_KEYS, |home| {
        listen(move |line| {
            if line.target.starts_with("aws_config") {
                let name = thread::current().name().unwrap_or_default().to_owned();
                threads().push(name);
            }
        });
        home.configure("region = ca-central-1");
        let rejected = on_tokio(token(CNAME));
        shared_cache().invalidate(&login(CNAME), &rejected);
        block_on(token(CNAME));
        let mut threads = threads();
        threads.dedup();
        assert_eq!(*threads, ["rds-iam-provider"]);
    });
}

#[test]
fn one_runtime_after_another_may_call_token() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        let rejected = on_tokio(token(HOST));
        shared_cache().invalidate(&login(HOST), &rejected);
        on_tokio(token(HOST));
        assert_eq!(sts.request_lines(), ["POST /", "POST /"]);
    });
}

#[test]
fn two_runtimes_at_the_same_time_share_one_fetch() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hold);
        let both_wait = Barrier::new(2);
        let call = || {
            on_tokio(async {
                let mut token = pin!(token(HOST));
                assert!(token.as_mut().now_or_never().is_none());
                if both_wait.wait().is_leader() {
                    sts.behave(Behaviour::Answer);
                }
                assert_signed(&token.await, "key-of-the-role/eu-west-1");
            });
        };
        thread::scope(|scope| {
            scope.spawn(call);
            scope.spawn(call);
        });
        assert_eq!(sts.request_lines(), ["POST /"]);
    });
}

#[test]
fn a_fetch_outlives_the_runtime_of_its_caller() {
    alone(&[], |home| {
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hold);
        let runtime = current_thread_runtime();
        let first = runtime.spawn(token(HOST));
        runtime.block_on(tokio::task::yield_now());
        sts.wait_for_requests(1);
        drop(runtime);
        assert!(on_tokio(first).is_err_and(|ended| ended.is_cancelled()));

        sts.behave(Behaviour::Answer);
        assert_signed(&on_tokio(token(HOST)), "key-of-the-role/eu-west-1");
        assert_eq!(sts.request_lines(), ["POST /"]);
    });
}

#[test]
fn a_caller_on_an_executor_that_is_not_tokios_gets_a_token() {
    alone(&[], |home| {
        let imds = instance(home);
        let sts = assumed_role(home);
        sts.behave(Behaviour::Hold);
        thread::scope(|scope| {
            scope.spawn(|| {
                sts.wait_for_requests(1);
                sts.behave(Behaviour::Answer);
            });
            assert_signed(&block_on(token(CNAME)), "key-of-the-role/ap-south-2");
        });
        assert_eq!(imds.request_lines(), IMDS_SEARCH);
    });
}

// A cache over an `SdkConfig`

fn provider() -> SharedCredentialsProvider {
    let keys = Credentials::new(
        "key-of-the-config",
        "secret-of-the-config",
        None,
        None,
        "test",
    );
    SharedCredentialsProvider::new(keys)
}

#[test]
fn a_cache_uses_the_provider_the_region_and_the_clock_of_its_sdk_config() {
    let config = SdkConfig::builder()
        .credentials_provider(provider())
        .region(Region::new("eu-central-1"))
        .time_source(StaticTimeSource::from_secs(1_000_000_000))
        .build();
    let cache = TokenCacheBuilder::from(&config).build().expect("a cache");
    let token = block_on(cache.token(&login(CNAME))).expect("a token");
    assert_signed(&token, "key-of-the-config/eu-central-1");
    let date = parameter(&token, "X-Amz-Date");
    assert_eq!(date, Some("20010909T014640Z"));
}

/// Panics, as the default sleep of an `SdkConfig` does outside of a tokio runtime.
#[derive(Debug)]
struct Panics;

impl AsyncSleep for Panics {
    fn sleep(&self, _: Duration) -> Sleep {
        panic!("no runtime")
    }
}

#[test]
fn a_cache_over_an_sdk_config_does_not_use_the_sleep_of_the_sdk_config() {
    let never_answers = ScriptedProvider::new(|_| pending());

    #[derive(Debug)]
    struct TimeFlies;

    impl AsyncSleep for TimeFlies {
        fn sleep(&self, _: Duration) -> Sleep {
            Sleep::new(ready(()))
        }
    }

    let config = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(never_answers))
        .sleep_impl(SharedAsyncSleep::new(Panics))
        .build();
    let builder = TokenCacheBuilder::from(&config).sleep_impl(TimeFlies);
    let cache = builder.build().expect("a cache");
    let outcome = block_on(cache.token(&login(HOST)));
    assert!(
        matches!(outcome, Err(Error::FetchTimedOut { .. })),
        "{outcome:?}"
    );
}

/// Each panic ends the program, as in a build with `panic = "abort"`.
#[test]
fn no_default_panics_without_a_runtime_or_on_a_runtime_without_timers() {
    alone(&ENVIRONMENT_KEYS, |_| {
        panic::set_hook(Box::new(|info| {
            eprintln!("{info}");
            process::abort();
        }));
        let without_timers = runtime_without_timers();
        let config = SdkConfig::builder()
            .credentials_provider(provider())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        let caches = || {
            [
                TokenCacheBuilder::from(&config).build().expect("a cache"),
                TokenCache::builder(provider()).build().expect("a cache"),
                shared_cache().clone(),
            ]
        };
        for cache in caches() {
            block_on(cache.token(&login(HOST))).expect("a token");
        }
        for cache in caches() {
            let login = login(OTHER_HOST);
            without_timers
                .block_on(cache.token(&login))
                .expect("a token");
            let mut keep_fresh = pin!(cache.keep_fresh(&login, |_| ()));
            assert!(keep_fresh.as_mut().now_or_never().is_none());
            without_timers.block_on(async {
                assert!(keep_fresh.as_mut().now_or_never().is_none());
            });
        }
    });
}

/// Tokio panics if it can open some of its files and not all.
#[test]
fn a_fetch_with_too_few_files_for_a_runtime_is_an_error_and_no_panic() {
    alone(&ENVIRONMENT_KEYS, |home| {
        panic::set_hook(Box::new(|info| {
            eprintln!("{info}");
            process::abort();
        }));
        let mut files = home.open_all_files();
        let failed = |_: &()| block_on(rds_iam::token(HOST, 5432, "app")).is_err();
        let failures = std::iter::repeat(()).take_while(failed);
        // Each try has a file more.
        let tries = failures.map(|()| drop(files.pop())).count();
        assert!(tries > 0);
    });
}

#[test]
fn keep_fresh_recovers_after_no_file_could_be_opened_for_a_runtime() {
    alone(&ENVIRONMENT_KEYS, |home| {
        let (fail, failed) = mpsc::channel();
        listen(move |line| {
            if line.target == "rds_iam::cache::keep_fresh" && line.level == Level::WARN {
                let _ = fail.send(());
            }
        });
        let files = home.open_all_files();
        let (apply, applied) = mpsc::channel();
        thread::spawn(move || {
            let apply = |token: &Token| apply.send(token.clone()).expect("a test that waits");
            match block_on(shared_cache().keep_fresh(&login(HOST), apply)) {}
        });
        failed.recv().expect("a fetch that fails");
        // Now `keep_fresh` sleeps on a thread, because there is no runtime.
        drop(files);
        let token = applied.recv().expect("a token");
        assert_signed(&token, "key-of-the-environment/eu-west-1");
    });
}

#[test]
fn a_cache_over_an_sdk_config_without_a_provider_is_an_error() {
    let config = SdkConfig::builder().build();
    let outcome = TokenCacheBuilder::from(&config).build();
    assert!(
        matches!(outcome, Err(Error::NoCredentialsProvider)),
        "{outcome:?}"
    );
}

#[test]
fn a_host_without_a_region_is_an_error_if_the_sdk_config_has_no_region() {
    // The SDK reads an empty variable as an empty region.
    for region in [None, Some(Region::new(""))] {
        let config = SdkConfig::builder()
            .credentials_provider(provider())
            .region(region)
            .build();
        let cache = TokenCacheBuilder::from(&config).build().expect("a cache");
        let outcome = block_on(cache.token(&login(CNAME)));
        assert!(
            matches!(outcome, Err(Error::NoRegion { .. })),
            "{outcome:?}"
        );
        block_on(cache.token(&login(HOST))).expect("a token");
    }
}

// Events

#[test]
fn fetches_failures_and_rejections_are_logged_without_secrets() {
    static SAID: Mutex<String> = Mutex::new(String::new());
    let said = || SAID.lock().expect("a listener that does not panic");
    alone(&[], |home| {
        listen(move |line| {
            if line.target.starts_with("rds_iam") {
                *said() += &format!("{}\n", line.text);
            }
        });
        let sts = assumed_role(home);
        on_tokio(async {
            sts.behave(Behaviour::Truncate);
            failure(HOST).await;
            sts.behave(Behaviour::Answer);
            sts.hand_out(None);
            failure(HOST).await;
            sts.hand_out(Some(&keys("of-the-role")));
            let rejected = token(HOST).await;
            sts.hand_out(None);
            shared_cache().invalidate(&login(HOST), &rejected);
            token(HOST).await;
        });
        let said = said();
        for words in [
            "fetching AWS credentials\n",
            "fetched AWS credentials",
            "fetching AWS credentials failed",
            "the token was reported as rejected",
            "the token is still valid",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        for secret in [
            "secret-of-the-",
            "session+token",
            "session%2Btoken",
            "X-Amz-Signature",
        ] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    });
}
