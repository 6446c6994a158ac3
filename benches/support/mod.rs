//! What the benches share: throw-away keys, one login, and the floor that signing is measured against.

// Not every bench needs all of it.
#![allow(dead_code)]

use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use hmac::{Hmac, KeyInit, Mac};
use rds_iam::{Credentials, Login, Signer};
use sha2::{Digest, Sha256};

pub const HOST: &str = "mydb.abcdefghijkl.us-east-1.rds.amazonaws.com";
pub const PORT: u16 = 5432;
pub const USER: &str = "app";
pub const REGION: &str = "us-east-1";

/// As long as a real one, which the floor depends on.
pub const KEY_ID: &str = "THROWAWAYKEYOF20CHAR";
pub const SECRET: &str = "a throw-away secret of forty characters!";

const SIGNATURE: &str = "&X-Amz-Signature=";

/// 2024-08-26T22:00:00Z
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_724_709_600)
}

/// 1100 bytes, of which one in six is to be encoded.
pub fn session_token() -> String {
    "token/".repeat(184)[..1100].to_owned()
}

/// Each kind of key with the name that it has in the figures.
pub fn keys() -> [(&'static str, Credentials); 2] {
    let credentials =
        |session_token| Credentials::new(KEY_ID, SECRET, session_token, None, "bench");
    [
        ("long-term key", credentials(None)),
        ("session token", credentials(Some(session_token()))),
    ]
}

pub fn login() -> Login {
    Login::new(HOST, PORT, USER).expect("a valid login")
}

/// `program` with the keys in its environment, whatever the machine's own configuration is.
pub fn with_environment_keys<'a>(
    program: &'a mut Command,
    session_token: Option<&str>,
) -> &'a mut Command {
    program
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .envs(session_token.map(|token| ("AWS_SESSION_TOKEN", token)))
}

/// The output of a future that waits for nothing, so that no runtime is measured. It stays where it was made, as with
/// `.await`.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}

/// What no SigV4 signer can leave out: the SHA-256 of the canonical request, and the HMAC of the string to sign.
pub struct Floor {
    canonical_request: String,
    string_to_sign: String,
    key: Hmac<Sha256>,
}

impl Floor {
    pub fn of(credentials: &Credentials) -> Floor {
        let token = Signer::new(credentials, REGION, now())
            .and_then(|signer| signer.sign(&login(), now()))
            .expect("a token");
        let signature = signature_of(token.as_str());
        let unsigned = token
            .as_str()
            .strip_suffix(signature)
            .and_then(|rest| rest.strip_suffix(SIGNATURE));
        let (authority, query) = unsigned
            .and_then(|url| url.split_once("/?"))
            .expect("a token");
        let canonical_request = format!(
            "GET\n/\n{query}\nhost:{authority}\n\nhost\n{}",
            sha256_in_hex("")
        );
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256\n20240826T220000Z\n20240826/{REGION}/rds-db/aws4_request\n{}",
            sha256_in_hex(&canonical_request)
        );
        let key = generate_signing_key(SECRET, now(), REGION, "rds-db");
        // Else the floor would be that of another request.
        assert_eq!(
            calculate_signature(&key, string_to_sign.as_bytes()),
            signature
        );
        Floor {
            key: Hmac::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length"),
            canonical_request,
            string_to_sign,
        }
    }

    pub fn hash(&self) -> [[u8; 32]; 2] {
        let hmac = self.key.clone().chain_update(&self.string_to_sign);
        [
            Sha256::digest(&self.canonical_request).into(),
            hmac.finalize().into_bytes().into(),
        ]
    }
}

/// Signers differ in where they put the session token, but not in the signature.
pub fn signature_of(token: &str) -> &str {
    let (_, rest) = token.split_once(SIGNATURE).expect("a signature");
    &rest[..64]
}

fn sha256_in_hex(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
