//! The text of Aurora DSQL's tokens. The expected tokens come from boto3, and from the SDK on random input.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dsql::auth_token::{AuthTokenGenerator, Config};
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::FutureExt;
use proptest::prelude::*;
use rds_iam::{Credentials, Login, Service, SharedCredentialsProvider, Signer, TimeSource, Token};
use serde_json::Value;
use support::tokens::{DSQL_HOST, HOST, as_we_write_it, parameter};

/// 2024-08-26T22:00:00Z
const NOW: u64 = 1_724_709_600;

fn unix(epoch: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(epoch)
}

fn credentials(session_token: Option<&str>) -> Credentials {
    Credentials::new(
        "akid",
        "secret",
        session_token.map(Into::into),
        None,
        "test",
    )
}

fn signer(service: Service) -> Signer {
    Signer::for_service(
        service,
        &credentials(Some("session")),
        "us-east-1",
        unix(NOW),
    )
    .unwrap()
}

fn token(login: &Login) -> Token {
    signer(Service::Dsql).sign(login, unix(NOW)).unwrap()
}

#[test]
fn a_dsql_token_has_the_host_without_the_port_and_the_action_without_the_user() {
    let login = Login::new(DSQL_HOST, 5432, "jane").unwrap();
    let token = token(&login);
    let (signed, signature) = token.as_str().split_once("&X-Amz-Signature=").unwrap();
    assert_eq!(
        signed,
        "abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws/?Action=DbConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Fdsql%2Faws4_request&X-Amz-Date=20240826T220000Z\
         &X-Amz-Expires=900&X-Amz-Security-Token=session&X-Amz-SignedHeaders=host"
    );
    assert_eq!(signature.len(), 64);
    assert_eq!(token.expires_at(), unix(NOW + 900));
}

#[test]
fn the_user_admin_and_no_other_has_an_action_of_its_own() {
    for (user, action) in [
        ("admin", "DbConnectAdmin"),
        ("Admin", "DbConnect"),
        ("admin ", "DbConnect"),
        ("administrator", "DbConnect"),
        ("jane", "DbConnect"),
        ("we/ird us+er@x%é", "DbConnect"),
    ] {
        for login in [
            Login::new(DSQL_HOST, 5432, user).unwrap(),
            Login::for_dsql("db.example.com", 5432, user).unwrap(),
        ] {
            assert_eq!(parameter(&token(&login), "Action"), Some(action), "{user}");
            assert_eq!(parameter(&token(&login), "DBUser"), None);
        }
    }
    let rds = Login::new(HOST, 5432, "admin").unwrap();
    let token = signer(Service::RdsDb).sign(&rds, unix(NOW)).unwrap();
    assert_eq!(parameter(&token, "Action"), Some("connect"));
}

#[test]
fn the_port_and_the_user_do_not_change_a_dsql_token() {
    let token_of = |port, user| token(&Login::new(DSQL_HOST, port, user).unwrap());
    let jane = token_of(5432, "jane");
    for other in [token_of(443, "jane"), token_of(5432, "joe")] {
        assert_eq!(other.as_str(), jane.as_str());
    }
}

#[test]
fn a_signer_signs_logins_of_any_service() {
    let dsql = Login::new(DSQL_HOST, 5432, "jane").unwrap();
    let rds = Login::new(HOST, 5432, "jane").unwrap();
    let [of_rds, of_dsql] = [Service::RdsDb, Service::Dsql].map(signer);
    for login in [&dsql, &rds] {
        for now in [NOW, NOW + 86_400] {
            let sign = |signer: &Signer| signer.sign(login, unix(now)).unwrap();
            assert_eq!(sign(&of_rds).as_str(), sign(&of_dsql).as_str(), "{login}");
        }
    }
    let new = Signer::new(&credentials(Some("session")), "us-east-1", unix(NOW)).unwrap();
    assert_eq!(format!("{new:?}"), format!("{of_rds:?}"));
    assert_ne!(format!("{new:?}"), format!("{of_dsql:?}"));
}

#[test]
fn dsql_tokens_are_equal_to_those_of_boto3() {
    let rows = include_str!("data/boto3-dsql-vectors.jsonl").lines();
    for row in rows.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let text = |name: &str| row[name].as_str().unwrap();
        let session_token = row["session_token"].as_str().map(Into::into);
        let keys = [text("access_key"), text("secret_key")];
        let credentials = Credentials::new(keys[0], keys[1], session_token, None, "test");
        let login = Login::new(text("host"), 5432, text("user")).unwrap();
        assert_eq!(login.service(), Service::Dsql);
        let now = unix(row["epoch"].as_u64().unwrap());
        let token = Signer::for_service(Service::Dsql, &credentials, text("region"), now)
            .and_then(|signer| signer.sign(&login, now))
            .unwrap();
        assert_eq!(token.as_str(), as_we_write_it(text("expected")), "{row}");
    }
}

#[derive(Debug)]
struct FixedTime(SystemTime);

impl TimeSource for FixedTime {
    fn now(&self) -> SystemTime {
        self.0
    }
}

/// The token of the SDK.
fn oracle(host: &str, user: &str, region: &str, credentials: Credentials, now: u64) -> String {
    let sdk_config = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .time_source(FixedTime(unix(now)))
        .build();
    let config = Config::builder()
        .hostname(host)
        .region(Region::new(region.to_owned()))
        .build()
        .unwrap();
    let generator = AuthTokenGenerator::new(config);
    let token = match user {
        "admin" => generator.db_connect_admin_auth_token(&sdk_config).boxed(),
        _ => generator.db_connect_auth_token(&sdk_config).boxed(),
    };
    as_we_write_it(token.now_or_never().unwrap().unwrap().as_str())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_dsql_token_is_equal_to_the_token_of_the_sdk(
        cluster in "[a-z0-9]{1,26}",
        suffix in "(-[a-z0-9]{1,8})?",
        region in "[a-z]{2,4}(-[a-z]{1,10}){1,2}-[0-9]{1,2}",
        user in prop_oneof!["admin", "[!-~]{1,60}"],
        // The SDK leaves a few characters of the access key id unencoded. AWS's ids have letters and digits.
        keys in ("[A-Z0-9]{1,128}", "[!-~]{1,128}", prop::option::of("[A-Za-z0-9+/=]{1,1500}")),
        now in 0..=253_402_300_799u64,
    ) {
        let host = format!("{cluster}.dsql{suffix}.{region}.on.aws");
        let credentials = Credentials::new(keys.0, keys.1, keys.2, None, "test");
        let login = Login::for_dsql(&host, 5432, &user).unwrap();
        let token = Signer::for_service(Service::Dsql, &credentials, &region, unix(now))
            .and_then(|signer| signer.sign(&login, unix(now)))
            .unwrap();
        prop_assert_eq!(token.as_str(), oracle(&host, &user, &region, credentials, now));
    }
}
