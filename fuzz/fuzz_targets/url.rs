//! `Login::from_url` and `Token::set_as_password` on any URL.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use rds_iam::{Credentials, Login, Signer};
use url::Url;

fuzz_target!(|input: (&str, &str)| {
    let (url, session_token) = input;
    let url = Url::parse(url).or_else(|_| Url::parse(&format!("postgres://{url}")));
    let Ok(mut url) = url else {
        return;
    };
    let Ok(login) = Login::from_url(&url) else {
        return;
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let credentials = Credentials::new("akid", "secret", Some(session_token.to_owned()), None, "fuzz");
    let token = Signer::new(&credentials, "us-east-1", now)
        .and_then(|signer| signer.sign(&login, now))
        .expect("a login that is valid can be signed");
    token.set_as_password(&mut url).expect("a URL with a host can have a password");
    let reparsed = Url::parse(url.as_str()).expect("a URL is a URL");
    let decoded = percent_encoding::percent_decode_str(reparsed.password().unwrap_or_default());
    assert_eq!(&*decoded.decode_utf8_lossy(), token.as_str());
    assert_eq!(Login::from_url(&reparsed).ok(), Some(login));
});
