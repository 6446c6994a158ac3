//! Other signers, each asked for a token of the same login with the same keys, as a program that uses it would ask.

#[path = "../../support/mod.rs"]
mod support;

use std::env;
use std::hint::black_box;
use std::pin::pin;
use std::process::{self, Command};
use std::time::Duration;

use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use aws_smithy_async::time::StaticTimeSource;
use aws_types::SdkConfig;
use aws_types::region::Region;
use jiff::Timestamp;
use rds_iam::{Credentials, Login, SharedCredentialsProvider, Signer};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};
pub use support::with_environment_keys;
use support::{Floor, HOST, KEY_ID, PORT, REGION, SECRET, USER, poll_once, signature_of};
use tokio::runtime;
use url::Url;

/// A signer's name, and how it makes a token and drops it.
pub type Peer = (&'static str, Box<dyn Fn()>);

/// Runs this program once for each kind of key, with the keys in the environment, where one of the peers looks for
/// them. Only that of a child can be set without unsafe code.
pub fn with_each_kind_of_key(run: impl FnOnce(&str, &Credentials)) {
    let is_child = env::var("AWS_ACCESS_KEY_ID").as_deref() == Ok(KEY_ID);
    for (kind, credentials) in support::keys() {
        let session_token = credentials.session_token();
        if !is_child {
            let mut child = Command::new(env::current_exe().expect("the path of this program"));
            let child = with_environment_keys(&mut child, session_token);
            let status = child.args(env::args_os().skip(1)).status();
            if !status.expect("the program starts again").success() {
                process::exit(1);
            }
        } else if env::var("AWS_SESSION_TOKEN").ok().as_deref() == session_token {
            return run(kind, &credentials);
        }
    }
}

/// Ours, the least that any signer has to do, and the others.
pub fn peers(credentials: &Credentials) -> Vec<Peer> {
    vec![
        ("rds-iam", rds_iam(credentials)),
        ("SHA-256 and HMAC alone", floor(credentials)),
        (
            "rds-iam, new Signer and Login",
            rds_iam_from_nothing(credentials),
        ),
        ("rusty-s3", rusty_s3(credentials)),
        ("reqsign-aws-v4", reqsign(credentials)),
        ("aws-sdk-rds", aws_sdk_rds(credentials)),
        ("aws-rds-signer", aws_rds_signer()),
    ]
}

fn rds_iam(credentials: &Credentials) -> Box<dyn Fn()> {
    let signer = Signer::new(credentials, REGION, support::now()).expect("a signer");
    let login = support::login();
    Box::new(move || {
        let token = signer.sign(black_box(&login), black_box(support::now()));
        drop(black_box(token));
    })
}

fn rds_iam_from_nothing(credentials: &Credentials) -> Box<dyn Fn()> {
    let credentials = credentials.clone();
    Box::new(move || {
        let now = black_box(support::now());
        let token = Login::new(black_box(HOST), PORT, USER)
            .and_then(|login| Signer::new(&credentials, REGION, now)?.sign(&login, now));
        drop(black_box(token));
    })
}

fn floor(credentials: &Credentials) -> Box<dyn Fn()> {
    let floor = Floor::of(credentials);
    Box::new(move || {
        black_box(black_box(&floor).hash());
    })
}

/// Signs for S3 whatever it signs, which is as much work.
fn rusty_s3(credentials: &Credentials) -> Box<dyn Fn()> {
    let session_token = credentials.session_token().map(str::to_owned);
    let url = Url::parse(&format!("https://{HOST}:{PORT}/")).expect("a URL");
    let now = Timestamp::try_from(support::now()).expect("a time");
    Box::new(move || {
        drop(black_box(rusty_s3::signing::sign(
            black_box(&now),
            rusty_s3::Method::Get,
            url.clone(),
            KEY_ID,
            SECRET,
            session_token.as_deref(),
            REGION,
            900,
            [("Action", "connect"), ("DBUser", USER)].into_iter(),
            std::iter::empty(),
        )));
    })
}

fn reqsign(credentials: &Credentials) -> Box<dyn Fn()> {
    let credential = Credential {
        access_key_id: KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
        expires_in: None,
    };
    let signer = RequestSigner::new("rds-db", REGION);
    let context = Context::new();
    let url = format!("https://{HOST}:{PORT}/?Action=connect&DBUser={USER}");
    Box::new(move || {
        let request = http::Request::get(black_box(&url)).body(());
        let (mut request, ()) = request.expect("a request").into_parts();
        let lifetime = Some(Duration::from_secs(900));
        let signed = signer.sign_request(&context, &mut request, Some(&credential), lifetime);
        poll_once(pin!(signed)).expect("a signature");
        drop(black_box(request));
    })
}

fn aws_sdk_rds(credentials: &Credentials) -> Box<dyn Fn()> {
    let config = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .region(Region::new(REGION))
        .time_source(StaticTimeSource::new(support::now()))
        .build();
    let login = Config::builder()
        .hostname(HOST)
        .port(PORT.into())
        .username(USER)
        .build()
        .expect("nothing is missing");
    let generator = AuthTokenGenerator::new(login);

    let token = poll_once(pin!(generator.auth_token(&config))).expect("a token");
    let ours = Signer::new(credentials, REGION, support::now())
        .and_then(|signer| signer.sign(&support::login(), support::now()))
        .expect("a token");
    assert_eq!(signature_of(token.as_str()), signature_of(ours.as_str()));

    Box::new(move || {
        drop(black_box(poll_once(pin!(
            generator.auth_token(black_box(&config))
        ))));
    })
}

/// It builds the SDK's default chain for each token, which finds the keys in the environment.
fn aws_rds_signer() -> Box<dyn Fn()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let signer = aws_rds_signer::Signer::builder()
        .host(HOST)
        .port(PORT)
        .user(USER)
        .region(REGION)
        .build();
    Box::new(move || {
        let token = runtime.block_on(signer.fetch_token());
        drop(black_box(token.expect("a token")));
    })
}
