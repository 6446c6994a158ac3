//! `Signer` with any credentials at any time, for both services: what it signs has its form, whatever was put in.
#![no_main]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use rds_iam::{Credentials, Login, Service, Signer};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: Option<&'a str>,
    expires_at: Option<i64>,
    region: &'a str,
    made_at: i64,
    signed_at: i64,
    user: &'a str,
    is_for_dsql: bool,
    is_signer_of_dsql: bool,
}

fuzz_target!(|input: Input<'_>| {
    let credentials = Credentials::new(
        input.access_key_id,
        input.secret_access_key,
        input.session_token.map(str::to_owned),
        input.expires_at.and_then(instant),
        "fuzz",
    );
    let (Some(made_at), Some(signed_at)) = (instant(input.made_at), instant(input.signed_at)) else {
        return;
    };
    let (host, authority) = match input.is_for_dsql {
        true => ("abc.dsql.us-east-1.on.aws", "abc.dsql.us-east-1.on.aws/"),
        false => ("mydb.us-east-1.rds.amazonaws.com", "mydb.us-east-1.rds.amazonaws.com:5432/"),
    };
    let login = Login::new(host, 5432, input.user);
    let service = if input.is_signer_of_dsql { Service::Dsql } else { Service::RdsDb };
    // Half of all regions are good ones, to get on.
    let region = if input.region.len() % 2 == 0 { "us-east-1" } else { input.region };
    let (Ok(login), Ok(signer)) = (login, Signer::for_service(service, &credentials, region, made_at)) else {
        return;
    };
    match signer.sign(&login, signed_at) {
        Ok(token) => {
            let (host_and_path, query) = token.as_str().split_once('?').expect("a query");
            assert_eq!(host_and_path, authority);
            let names: Vec<_> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
            let has_session_token = input.session_token.is_some_and(|token| !token.is_empty());
            let len = 7 + usize::from(has_session_token) + usize::from(!input.is_for_dsql);
            assert_eq!(names.len(), len);
            assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%&=".contains(&b)));
            assert!(token.expires_at() <= signed_at + Duration::from_secs(900));
            assert!(token.expires_at() > signed_at - Duration::from_secs(1));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn instant(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}
