//! The text and the expiry of tokens. The expected tokens come from other signers: from the tests of other SDKs, from
//! boto3, and from the SDK's own presign on random input.

mod support;

use std::error::Error as _;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use proptest::prelude::*;
use rds_iam::{Credentials, Error, Login, Signer, Token};
use serde_json::Value;
use support::clock::TICK;
use support::tokens::{
    HOST, SECRETS, as_we_write_it, assert_shows_no_secret, login, marked_keys, parameter,
};

const REGION: &str = "us-east-1";
const LIFETIME: Duration = Duration::from_secs(900);

/// 2024-08-26T22:00:00Z
const NOW: u64 = 1_724_709_600;

/// 9999-12-31T23:59:59Z, the last second in the format of `X-Amz-Date`.
const LAST_SECOND: u64 = 253_402_300_799;

fn unix(epoch: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(epoch)
}

fn credentials(session_token: Option<&str>, expiry: Option<SystemTime>) -> Credentials {
    Credentials::new(
        "akid",
        "secret",
        session_token.map(Into::into),
        expiry,
        "test",
    )
}

/// A token from a new signer.
fn token_of(
    credentials: &Credentials,
    region: &str,
    login: &Login,
    now: SystemTime,
) -> Result<Token, Error> {
    Signer::new(credentials, region, now)?.sign(login, now)
}

/// The token of `login` at `NOW`, signed with long-term credentials.
fn token(login: &Login) -> Token {
    token_of(&credentials(None, None), REGION, login, unix(NOW)).unwrap()
}

// Tokens of other signers

/// Signs the login of each row, and compares the token byte for byte.
fn reproduce(vectors: &str) {
    for row in vectors
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        let text = |name: &str| row[name].as_str().unwrap();
        let credentials = Credentials::new(
            text("access_key"),
            text("secret_key"),
            row["session_token"].as_str().map(Into::into),
            None,
            "test",
        );
        let port = row["port"].as_u64().unwrap().try_into().unwrap();
        let login = Login::new(text("host"), port, text("user")).unwrap();
        let now = unix(row["epoch"].as_u64().unwrap());
        let token = token_of(&credentials, text("region"), &login, now).unwrap();
        assert_eq!(token.as_str(), as_we_write_it(text("expected")), "{row}");
    }
}

#[test]
fn tokens_are_equal_to_those_in_the_tests_of_other_sdks() {
    reproduce(include_str!("data/sdk-vectors.jsonl"));
}

#[test]
fn tokens_are_equal_to_those_of_boto3() {
    reproduce(include_str!("data/boto3-vectors.jsonl"));
}

/// All input of a token. If a property fails, proptest prints the input.
#[derive(Debug)]
struct Input {
    host: String,
    port: u16,
    user: String,
    region: String,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    signer_made: SystemTime,
    now: SystemTime,
}

fn any_host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9-]{1,30}\\.[a-z0-9]{1,12}\\.us-east-1\\.rds\\.amazonaws\\.com",
        "[a-zA-Z0-9_-]{1,60}(\\.[a-zA-Z0-9_-]{1,60}){0,3}",
        any::<Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ]
}

fn any_user() -> impl Strategy<Value = String> {
    let character = prop_oneof![any::<char>(), prop::char::range(' ', '~')];
    prop::collection::vec(character, 1..80)
        .prop_map(String::from_iter)
        .prop_filter("users have no control characters", |user| {
            !user.contains(char::is_control)
        })
}

fn any_time() -> impl Strategy<Value = SystemTime> {
    let seconds = prop_oneof![0..=LAST_SECOND, NOW - 200_000..NOW + 200_000];
    (seconds, 0..1_000_000_000u32)
        .prop_map(|(seconds, nanos)| unix(seconds) + Duration::from_nanos(nanos.into()))
}

fn any_input() -> impl Strategy<Value = Input> {
    let login = (any_host(), 1..=u16::MAX, any_user());
    let region = "[a-z]{2,4}(-[a-z]{1,10}){1,2}-[0-9]{1,2}";
    let keys = (
        "[!-~]{1,128}",
        "[!-~]{1,128}",
        prop::option::of("[A-Za-z0-9+/=]{1,1500}"),
    );
    (login, region, keys, any_time(), any_time()).prop_map(
        |(
            (host, port, user),
            region,
            (access_key, secret_key, session_token),
            signer_made,
            now,
        )| Input {
            host,
            port,
            user,
            region,
            access_key,
            secret_key,
            session_token,
            signer_made,
            now,
        },
    )
}

/// Encodes each character except the unreserved characters of RFC 3986 as the `%XX` of its UTF-8 bytes.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The token of the SDK's own presign.
fn oracle(input: &Input, credentials: &Credentials) -> String {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&input.region)
        .name("rds-db")
        .time(input.now)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let authority = format!("{}:{}", input.host.to_ascii_lowercase(), input.port);
    let uri = format!(
        "https://{authority}/?Action=connect&DBUser={}",
        percent_encoded(&input.user)
    );
    // Without a `host` header, the presign would take the host from the URI, and drop `:443`.
    let headers = [("host", authority.as_str())].into_iter();
    let request = SignableRequest::new("GET", &uri, headers, SignableBody::empty()).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut presigned = http::Request::get(&uri).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut presigned);
    as_we_write_it(
        presigned
            .uri()
            .to_string()
            .strip_prefix("https://")
            .unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_token_is_equal_to_the_token_of_the_sdks_presign(input in any_input()) {
        let (access_key, secret_key) = (&input.access_key, &input.secret_key);
        let credentials = Credentials::new(access_key, secret_key, input.session_token.clone(), None, "test");
        let login = Login::new(&input.host, input.port, &input.user).unwrap();
        let signer = Signer::new(&credentials, &input.region, input.signer_made).unwrap();
        let token = signer.sign(&login, input.now).unwrap();
        prop_assert_eq!(token.as_str(), oracle(&input, &credentials));
        let whole_second = input.now.duration_since(UNIX_EPOCH).unwrap().as_secs();
        prop_assert_eq!(token.expires_at(), unix(whole_second) + LIFETIME);
    }
}

// Parameters

#[test]
fn the_parameters_of_a_token_are_sorted_and_the_signature_comes_last() {
    let credentials = credentials(Some("session"), None);
    let token = token_of(&credentials, REGION, &login("jane"), unix(NOW)).unwrap();
    let (signed, signature) = token.as_str().split_once("&X-Amz-Signature=").unwrap();
    assert_eq!(
        signed,
        "mydb.abc123xyz.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=jane\
         &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request\
         &X-Amz-Date=20240826T220000Z&X-Amz-Expires=900&X-Amz-Security-Token=session&X-Amz-SignedHeaders=host"
    );
    assert_eq!(signature.len(), 64);
    assert!(
        signature
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    );
}

#[test]
fn every_value_in_a_token_is_encoded_once_and_strictly() {
    for (user, encoded) in [
        ("AZaz09-_.~", "AZaz09-_.~"),
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("%2F", "%252F"),
        ("x&DBUser=admin", "x%26DBUser%3Dadmin"),
        ("we/ird us+er@x%é", "we%2Fird%20us%2Ber%40x%25%C3%A9"),
        ("!*'()", "%21%2A%27%28%29"),
        ("?#:;,$\"\\|", "%3F%23%3A%3B%2C%24%22%5C%7C"),
        ("数", "%E6%95%B0"),
        ("🦀", "%F0%9F%A6%80"),
    ] {
        assert_eq!(
            parameter(&token(&login(user)), "DBUser"),
            Some(encoded),
            "{user}"
        );
    }

    let credentials = Credentials::new("a/k+id", "secret", Some("a+b/c==".into()), None, "test");
    let token = token_of(&credentials, REGION, &login("jane"), unix(NOW)).unwrap();
    let credential = "a%2Fk%2Bid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request";
    assert_eq!(parameter(&token, "X-Amz-Credential"), Some(credential));
    assert_eq!(
        parameter(&token, "X-Amz-Security-Token"),
        Some("a%2Bb%2Fc%3D%3D")
    );
}

#[test]
fn a_missing_or_empty_session_token_leaves_no_parameter() {
    let [none, empty, some] = [None, Some(""), Some("session")].map(|session_token| {
        let credentials = credentials(session_token, None);
        token_of(&credentials, REGION, &login("jane"), unix(NOW)).unwrap()
    });
    assert_eq!(parameter(&none, "X-Amz-Security-Token"), None);
    assert_eq!(none.as_str(), empty.as_str());
    assert_eq!(parameter(&some, "X-Amz-Security-Token"), Some("session"));
}

#[test]
fn the_port_is_always_in_the_token() {
    for port in [1, 80, 443, 3306, 5432, 65535] {
        let token = token(&Login::new(HOST, port, "jane").unwrap());
        assert!(
            token.as_str().starts_with(&format!("{HOST}:{port}/?")),
            "{port}"
        );
    }
}

#[test]
fn the_host_is_signed_and_sent_in_lower_case_without_its_trailing_dot() {
    let expected = token(&login("jane"));
    let written_otherwise =
        Login::new("MyDB.Abc123XYZ.us-east-1.RDS.amazonaws.com.", 5432, "jane").unwrap();
    assert_eq!(token(&written_otherwise).as_str(), expected.as_str());
}

#[test]
fn an_ipv6_address_is_in_brackets_in_the_token() {
    for host in ["2001:db8::5", "[2001:db8::5]", "2001:DB8:0:0:0:0:0:5"] {
        let token = token(&Login::new(host, 5432, "jane").unwrap());
        assert!(token.as_str().starts_with("[2001:db8::5]:5432/?"), "{host}");
    }
}

#[test]
fn the_signers_region_wins_over_the_logins() {
    let login = login("jane").with_region("eu-west-3").unwrap();
    let token = token_of(&credentials(None, None), "ap-south-2", &login, unix(NOW)).unwrap();
    let credential = "akid%2F20240826%2Fap-south-2%2Frds-db%2Faws4_request";
    assert_eq!(parameter(&token, "X-Amz-Credential"), Some(credential));
}

#[test]
fn a_region_that_cannot_be_one_is_an_error_of_the_signer() {
    for region in [
        "",
        " ",
        "us east 1",
        "us-east-1/rds-db",
        "us-east-1\n",
        "us-east-1é",
    ] {
        let error = Signer::new(&credentials(None, None), region, unix(NOW)).unwrap_err();
        assert!(error.to_string().contains("region"), "{region:?}: {error}");
    }
}

// Time

#[test]
fn a_token_is_valid_for_900_s_from_the_whole_second_of_its_date() {
    for fraction in [0, 1, 999_999_999] {
        let now = unix(NOW) + Duration::from_nanos(fraction);
        let token = token_of(&credentials(None, None), REGION, &login("jane"), now).unwrap();
        assert_eq!(parameter(&token, "X-Amz-Date"), Some("20240826T220000Z"));
        assert_eq!(parameter(&token, "X-Amz-Expires"), Some("900"));
        assert_eq!(token.expires_at(), unix(NOW + 900));
    }
}

#[test]
fn a_token_expires_at_the_latest_with_the_credentials_that_signed_it() {
    for (credentials_expire, token_expires) in [
        (NOW + 1, NOW + 1),
        (NOW + 899, NOW + 899),
        (NOW + 900, NOW + 900),
        (NOW + 901, NOW + 900),
        (LAST_SECOND + 1_000_000, NOW + 900),
    ] {
        let credentials = credentials(Some("session"), Some(unix(credentials_expire)));
        let token = token_of(&credentials, REGION, &login("jane"), unix(NOW)).unwrap();
        assert_eq!(token.expires_at(), unix(token_expires));
        // The signed lifetime is the same, because RDS accepts no other lifetime.
        assert_eq!(parameter(&token, "X-Amz-Expires"), Some("900"));
    }
}

#[test]
fn expired_credentials_are_an_error_that_reports_their_expiry() {
    for (expiry, says) in [
        (unix(NOW), ["2024-08-26", "22:00:00"]),
        (unix(NOW) - TICK, ["2024-08-26", "21:59:59"]),
        (unix(NOW - 86_400), ["2024-08-25", "22:00:00"]),
        (UNIX_EPOCH, ["1970-01-01", "00:00:00"]),
    ] {
        let error = token_of(
            &credentials(None, Some(expiry)),
            REGION,
            &login("jane"),
            unix(NOW),
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(says.iter().all(|said| message.contains(said)), "{message}");
    }
}

#[test]
fn a_signer_whose_credentials_have_expired_signs_no_more() {
    let expiry = unix(NOW + 60);
    let signer = Signer::new(&credentials(None, Some(expiry)), REGION, unix(NOW)).unwrap();
    let last = signer.sign(&login("jane"), expiry - TICK).unwrap();
    assert_eq!(last.expires_at(), expiry);
    assert!(signer.sign(&login("jane"), expiry).is_err());
}

#[test]
fn an_expiry_before_1970_is_reported_without_a_panic() {
    let expiry = UNIX_EPOCH - Duration::from_secs(1 << 33);
    let error = token_of(
        &credentials(None, Some(expiry)),
        REGION,
        &login("jane"),
        unix(NOW),
    )
    .unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn a_clock_before_1970_or_after_9999_is_an_error() {
    let signer = Signer::new(&credentials(None, None), REGION, unix(NOW)).unwrap();
    for now in [
        UNIX_EPOCH - TICK,
        UNIX_EPOCH - LIFETIME,
        unix(LAST_SECOND + 1),
        unix(1 << 39),
    ] {
        let error = signer.sign(&login("jane"), now).unwrap_err();
        assert!(error.to_string().contains("clock"), "{error}");
        assert!(token_of(&credentials(None, None), REGION, &login("jane"), now).is_err());
    }
    for (now, date) in [
        (UNIX_EPOCH, "19700101T000000Z"),
        (unix(LAST_SECOND + 1) - TICK, "99991231T235959Z"),
    ] {
        let token = signer.sign(&login("jane"), now).unwrap();
        assert_eq!(parameter(&token, "X-Amz-Date"), Some(date));
    }
}

#[test]
fn a_signer_signs_on_any_utc_day() {
    let credentials = credentials(Some("session"), None);
    let midnight = NOW + 2 * 3600;
    let signer = Signer::new(&credentials, REGION, unix(midnight - 1)).unwrap();
    for now in [
        midnight - 1,
        midnight,
        midnight + 86_400,
        midnight - 86_401,
        midnight - 1,
        0,
        LAST_SECOND,
    ] {
        let expected = token_of(&credentials, REGION, &login("jane"), unix(now)).unwrap();
        assert_eq!(
            signer.sign(&login("jane"), unix(now)).unwrap().as_str(),
            expected.as_str(),
            "{now}"
        );
    }
}

#[test]
fn signing_the_same_login_at_the_same_time_gives_equal_tokens() {
    let signer = Signer::new(&credentials(Some("session"), None), REGION, unix(NOW)).unwrap();
    let token = signer.sign(&login("jane"), unix(NOW)).unwrap();
    for same in [
        signer.sign(&login("jane"), unix(NOW)).unwrap(),
        signer.clone().sign(&login("jane"), unix(NOW)).unwrap(),
        token.clone(),
    ] {
        assert_eq!(
            (same.as_str(), same.expires_at()),
            (token.as_str(), token.expires_at())
        );
    }
    // A clone outlives the original.
    let clone = token.clone();
    let text = token.as_str().to_owned();
    drop((signer, token));
    assert_eq!(clone.as_str(), text);
}

// Secrets

#[test]
fn debug_shows_no_secret_key_session_token_or_signature() {
    let credentials = marked_keys(None);
    let signer = Signer::new(&credentials, REGION, unix(NOW)).unwrap();
    let token = signer.sign(&login("jane"), unix(NOW)).unwrap();
    assert!(token.as_str().contains(SECRETS[1]), "a marker in the token");
    assert_shows_no_secret(&credentials, Some(&token));
    assert_shows_no_secret(&signer, Some(&token));
    assert_shows_no_secret(&token, Some(&token));
    assert_shows_no_secret(&(signer.clone(), Some(vec![token.clone()])), Some(&token));
}

#[test]
fn debug_shows_which_key_signs_for_which_region_until_when() {
    let expiry = unix(NOW + 600);
    let signer = Signer::new(&marked_keys(Some(expiry)), REGION, unix(NOW)).unwrap();
    let token = signer.sign(&login("jane"), unix(NOW)).unwrap();
    let shown = format!("{signer:?}");
    for part in ["akid", REGION, &format!("{expiry:?}")] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(format!("{token:?}").contains(&format!("{expiry:?}")));
}

#[test]
fn errors_show_no_secret_key_session_token_or_signature() {
    let expired = marked_keys(Some(unix(NOW)));
    let valid = marked_keys(None);
    let signer = Signer::new(&valid, REGION, unix(NOW)).unwrap();
    let token = signer.sign(&login("jane"), unix(NOW)).unwrap();
    for error in [
        token_of(&expired, REGION, &login("jane"), unix(NOW)).unwrap_err(),
        signer
            .sign(&login("jane"), unix(LAST_SECOND + 1))
            .unwrap_err(),
        Signer::new(&valid, "no region", unix(NOW)).unwrap_err(),
    ] {
        assert_shows_no_secret(&error, Some(&token));
        assert_shows_no_secret(&format_args!("{error}"), Some(&token));
        assert!(error.source().is_none(), "{error}");
    }
}

// Checked at compile time

const _: () = {
    const fn shared_by_threads<T: Send + Sync + 'static>() {}
    const fn cloned<T: Clone>() {}
    shared_by_threads::<Login>();
    shared_by_threads::<Signer>();
    shared_by_threads::<Token>();
    shared_by_threads::<Error>();
    cloned::<Login>();
    cloned::<Signer>();
    cloned::<Token>();
    cloned::<Error>();
};
