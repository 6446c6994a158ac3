//! How fast tokens are signed, beside the AWS SDK's recipe and the hashes that no signer can leave out:
//! `cargo bench --bench signing`

mod support;
#[path = "support/throughput.rs"]
mod throughput;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use rds_iam::{Credentials, Login, Signer};
use support::{Floor, HOST, PORT, REGION, USER, signature_of};
use url::Url;

fn main() {
    let mut criterion = throughput::criterion();
    let login = support::login();
    let now = support::now();
    for (key, credentials) in support::keys() {
        let signer = Signer::new(&credentials, REGION, now).expect("a signer");
        let floor = Floor::of(&credentials);
        let token = signer.sign(&login, now).expect("a token");
        assert_eq!(
            signature_of(token.as_str()),
            signature_of(&sdk_recipe(&credentials, now)),
        );
        throughput::measure(
            &mut criterion,
            &format!("sign, {key}"),
            &[
                ("sign", &|| {
                    drop(black_box(signer.sign(black_box(&login), black_box(now))));
                }),
                ("floor", &|| {
                    black_box(black_box(&floor).hash());
                }),
                ("Signer::new and sign", &|| {
                    let signer = Signer::new(black_box(&credentials), REGION, black_box(now));
                    drop(black_box(
                        signer.and_then(|signer| signer.sign(&login, now)),
                    ));
                }),
                ("Login::new and sign", &|| {
                    let login = Login::new(black_box(HOST), PORT, USER);
                    drop(black_box(login.and_then(|login| signer.sign(&login, now))));
                }),
                ("SDK recipe", &|| {
                    drop(black_box(sdk_recipe(
                        black_box(&credentials),
                        black_box(now),
                    )));
                }),
            ],
        );
    }
    criterion.final_summary();
}

/// What `aws-sdk-rds` does for a token once it has credentials: presigns the whole URL, and appends to it what comes of
/// that.
fn sdk_recipe(credentials: &Credentials, now: SystemTime) -> String {
    let identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(Duration::from_secs(900));
    settings.signature_location = SignatureLocation::QueryParams;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .expect("nothing is missing")
        .into();

    let unsigned = format!("https://{HOST}:{PORT}/?Action=connect&DBUser={USER}");
    let request = SignableRequest::new("GET", &unsigned, std::iter::empty(), SignableBody::empty())
        .expect("a request");
    let (instructions, _) = sign(request, &parameters)
        .expect("a signature")
        .into_parts();
    let mut url = Url::parse(&unsigned).expect("a URL");
    for (name, value) in instructions.params() {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.to_string().split_off("https://".len())
}
