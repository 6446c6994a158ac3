//! Logins, credentials, tokens, and assertions on tokens.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use rds_iam::{Credentials, Login, Signer, Token};

use super::clock::at;

pub const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";
pub const DSQL_HOST: &str = "abc1de2fghij3klmn4opqrstuv.dsql.us-east-1.on.aws";

pub fn login(user: &str) -> Login {
    Login::new(HOST, 5432, user).unwrap()
}

/// The first login of a test. The second and the third are `joe` and `kim`.
pub fn jane() -> Login {
    login("jane")
}

pub fn joe() -> Login {
    login("joe")
}

pub fn kim() -> Login {
    login("kim")
}

/// Credentials without an expiry.
pub fn keys(access_key_id: &str) -> Credentials {
    Credentials::new(access_key_id, "secret", None, None, "test")
}

/// Credentials with a session token, until `expiry` after the start.
pub fn keys_until(access_key_id: &str, expiry: Duration) -> Credentials {
    let session_token = Some("session".into());
    Credentials::new(
        access_key_id,
        "secret",
        session_token,
        Some(at(expiry)),
        "test",
    )
}

/// Markers for a secret key, a session token and a secret of a provider. Nothing may show them.
pub const SECRETS: [&str; 3] = [
    "MarkerOfTheSecretKey",
    "MarkerOfTheSessionToken",
    "MarkerOfTheProvider",
];

/// Credentials with the first two markers.
pub fn marked_keys(expiry: Option<SystemTime>) -> Credentials {
    let [secret_key, session_token, _] = SECRETS;
    let session_token = Some(session_token.into());
    Credentials::new("akid", secret_key, session_token, expiry, "test")
}

/// Asserts that `Debug` shows no marker, and not the signature of `token`.
#[track_caller]
pub fn assert_shows_no_secret(value: &impl Debug, token: Option<&Token>) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        for secret in SECRETS.into_iter().chain(token.map(signature)) {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// The token of a `Signer` with `credentials`, `since_start` after the start.
pub fn signed(credentials: &Credentials, login: &Login, since_start: Duration) -> Token {
    let now = at(since_start);
    let region = login.region().unwrap();
    Signer::for_service(login.service(), credentials, region, now)
        .unwrap()
        .sign(login, now)
        .unwrap()
}

/// The parameters of a token in order, with encoded values.
pub fn parameters(token: &str) -> impl Iterator<Item = (&str, &str)> {
    let (_, query) = token.split_once("/?").unwrap();
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap())
}

/// Writes a token of another signer as this crate does. The case of the host and the order of the parameters differ,
/// but do not change the signature.
pub fn as_we_write_it(token: &str) -> String {
    let (endpoint, _) = token.split_once("/?").unwrap();
    let mut parameters: Vec<_> = parameters(token).collect();
    parameters.sort_by_key(|&(name, _)| (name == "X-Amz-Signature", name));
    let query: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{}/?{}", endpoint.to_ascii_lowercase(), query.join("&"))
}

/// The encoded value of the parameter `name`.
pub fn parameter<'a>(token: &'a Token, name: &str) -> Option<&'a str> {
    parameters(token.as_str()).find_map(|(key, value)| (key == name).then_some(value))
}

/// The secret of a token besides the session token.
pub fn signature(token: &Token) -> &str {
    parameter(token, "X-Amz-Signature").unwrap()
}

/// The access key id in a token.
pub fn key(token: &Token) -> &str {
    part_of_credential(token, 0)
}

/// The region in a token.
pub fn region(token: &Token) -> &str {
    part_of_credential(token, 2)
}

/// `X-Amz-Credential` is `KEY/DATE/REGION/SERVICE/aws4_request`.
fn part_of_credential(token: &Token, part: usize) -> &str {
    let credential = parameter(token, "X-Amz-Credential").unwrap();
    credential.split("%2F").nth(part).unwrap()
}

#[track_caller]
pub fn assert_same(token: &Token, expected: &Token) {
    assert_eq!(token.as_str(), expected.as_str());
    assert_eq!(token.expires_at(), expected.expires_at());
}

#[track_caller]
pub fn assert_differs(token: &Token, other: &Token) {
    assert_ne!(token.as_str(), other.as_str());
}
