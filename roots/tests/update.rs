//! The script `update`, with bundles from a server on loopback.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const US: &str = "Amazon RDS us-east-1 Root CA RSA2048 G1";
const US_BETA: &str = "Amazon RDS Beta us-east-1 Root CA ECC384 G1";
const EU: &str = "Amazon RDS eu-central-1 Root CA RSA4096 G1";
const GOVCLOUD: &str = "Amazon RDS us-gov-west-1 Root CA RSA2048 G1";
const CHINA: &str = "Amazon RDS cn-northwest-1 Root CA RSA2048 G1";

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Amazon Web Services, Inc.");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn self_signed(params: CertificateParams) -> Certificate {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn root(name: &str) -> Certificate {
    self_signed(authority(name))
}

/// An issuer with the name, and its own certificate.
fn issuer(name: &str) -> (Issuer<'static, KeyPair>, Certificate) {
    let key = KeyPair::generate().unwrap();
    let cert = authority(name).self_signed(&key).unwrap();
    (Issuer::new(authority(name), key), cert)
}

fn issued(params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Certificate {
    params
        .signed_by(&KeyPair::generate().unwrap(), issuer)
        .unwrap()
}

fn pem<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let certs: Vec<_> = ders.into_iter().map(CertificateDer::from).collect();
    rds_roots::to_pem(&certs)
}

fn bundle<'a>(certs: impl IntoIterator<Item = &'a Certificate>) -> String {
    pem(certs.into_iter().map(|cert| &**cert.der()))
}

/// The certificate with another signature.
fn tampered(cert: &Certificate) -> Vec<u8> {
    let mut der = cert.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    der
}

fn ok(body: impl Into<String>) -> String {
    let body = body.into();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers each request with a response. Counts the requests.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn http(response: String) -> Self {
        Self::start("http", move |mut stream| answer(&mut stream, &response))
    }

    fn https(config: rustls::ServerConfig, response: String) -> Self {
        let config = Arc::new(config);
        Self::start("https", move |mut stream| {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls_stream = rustls::Stream::new(&mut tls, &mut stream);
            answer(&mut tls_stream, &response)?;
            tls_stream.conn.send_close_notify();
            tls_stream.flush()
        })
    }

    fn start(
        scheme: &str,
        serve: impl Fn(std::net::TcpStream) -> std::io::Result<()> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "{scheme}://{}/global-bundle.pem",
            listener.local_addr().unwrap()
        );
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                // A client that rejects the server's certificate ends the connection.
                let _ = serve(stream.unwrap());
            }
        });
        Self { url, requests }
    }
}

fn answer(stream: &mut (impl Read + Write), response: &str) -> std::io::Result<()> {
    let mut request = BufReader::new(&mut *stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    stream.write_all(response.as_bytes())?;
    stream.flush()
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A crate that `update` writes to.
struct Crate {
    folder: PathBuf,
}

impl Crate {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("update-{test}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("data/rds")).unwrap();
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("README.md"), include_str!("../README.md")).unwrap();
        Self { folder }
    }

    /// A crate with the roots of a bundle.
    fn with(test: &str, certs: &[&Certificate]) -> Self {
        let this = Self::new(test);
        let run = this.update(&[&Server::http(ok(bundle(certs.iter().copied())))]);
        assert_eq!((run.code, &*run.stderr), (0, ""));
        this
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/update"))
            .arg("--crate")
            .arg(&self.folder)
            .args(arguments)
            .env("no_proxy", "127.0.0.1")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn run_with<'a>(&self, mut arguments: Vec<&'a str>, servers: &[&'a Server]) -> Run {
        for server in servers {
            arguments.extend(["--bundle", &server.url]);
        }
        self.run(&arguments, &[])
    }

    fn update(&self, servers: &[&Server]) -> Run {
        self.run_with(vec!["--allow-http"], servers)
    }

    fn check(&self, servers: &[&Server]) -> Run {
        let before = self.files();
        let run = self.run_with(vec!["--allow-http", "--check"], servers);
        assert!(self.files() == before, "--check wrote something");
        run
    }

    /// All files with their content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, files);
                } else {
                    files.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        collect(&self.folder, &mut files);
        files
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.join(path)).unwrap()
    }

    fn data(&self) -> BTreeMap<String, Vec<u8>> {
        self.folder
            .join("data/rds")
            .read_dir()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().into_string().unwrap(),
                    std::fs::read(entry.path()).unwrap(),
                )
            })
            .collect()
    }

    /// Asserts that an update from the servers ends with an error that has all the words, and writes nothing. The error
    /// names the URL of the last server.
    #[track_caller]
    fn assert_fails(&self, servers: &[&Server], words: &[&str]) {
        let before = self.files();
        let run = self.update(servers);
        assert_eq!(run.code, 2, "{}{}", run.stdout, run.stderr);
        assert!(
            run.stderr.starts_with("error: ") && !run.stderr.contains("Traceback"),
            "{}",
            run.stderr
        );
        for word in words.iter().chain([&&*servers.last().unwrap().url]) {
            assert!(
                run.stderr.contains(word),
                "{word} is not in: {}",
                run.stderr
            );
        }
        assert!(
            self.files() == before,
            "an update that failed wrote something"
        );
    }
}

impl Drop for Crate {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

#[test]
fn roots_of_all_bundles_are_written() {
    let [us, beta, eu, china] = [US, US_BETA, EU, CHINA].map(root);
    let (govcloud_issuer, govcloud) = issuer(GOVCLOUD);
    let intermediate = issued(
        authority("Amazon RDS us-gov-west-1 RSA2048 G1"),
        &govcloud_issuer,
    );
    let crate_ = Crate::new("all-bundles");

    let run = crate_.update(&[
        &Server::http(ok(bundle([&us, &eu, &beta]))),
        &Server::http(ok(bundle([&intermediate, &govcloud]))),
        // Line ends and empty lines do not matter.
        &Server::http(ok(format!(
            "\r\n{}\r\n",
            bundle([&china]).replace('\n', "\r\n")
        ))),
    ]);

    assert_eq!((run.code, &*run.stderr), (0, ""));
    for name in [US, US_BETA, EU, CHINA, GOVCLOUD] {
        assert!(
            run.stdout.contains(&format!("new: {name}, expires ")),
            "{}",
            run.stdout
        );
    }
    let left_out =
        "left out, because it is not a root: Amazon RDS us-gov-west-1 RSA2048 G1, expires ";
    assert!(run.stdout.contains(left_out), "{}", run.stdout);
    let expected = [
        ("cn-northwest-1-rsa2048-g1.der", &china),
        ("eu-central-1-rsa4096-g1.der", &eu),
        ("us-east-1-beta-ecc384-g1.der", &beta),
        ("us-east-1-rsa2048-g1.der", &us),
        ("us-gov-west-1-rsa2048-g1.der", &govcloud),
    ];
    assert_eq!(
        crate_.data(),
        expected
            .map(|(name, cert)| (name.to_owned(), cert.der().to_vec()))
            .into()
    );
    let source = crate_.text("src/certificates.rs");
    assert_eq!(
        source
            .lines()
            .filter_map(|line| line.strip_prefix("    // Amazon RDS "))
            .collect::<Vec<_>>(),
        [
            "cn-northwest-1 Root CA RSA2048 G1, expires 4096-01-01",
            "eu-central-1 Root CA RSA4096 G1, expires 4096-01-01",
            "Beta us-east-1 Root CA ECC384 G1, expires 4096-01-01",
            "us-east-1 Root CA RSA2048 G1, expires 4096-01-01",
            "us-gov-west-1 Root CA RSA2048 G1, expires 4096-01-01",
        ]
    );
    assert!(
        source.contains("    (\"us-east-1\", 2),\n    (\"us-gov-west-1\", 1),\n];"),
        "{source}"
    );
    let readme = crate_.text("README.md");
    let list = "5 certificates for 4 regions:\n\n`cn-northwest-1`, `eu-central-1`, `us-east-1`, `us-gov-west-1`.\n";
    assert!(readme.contains(list), "{readme}");
    assert!(
        readme.ends_with("Not affiliated with Amazon Web Services.\n"),
        "{readme}"
    );
}

#[test]
fn a_bundle_can_be_a_local_file() {
    let us = root(US);
    let crate_ = Crate::new("file");
    let file = crate_.folder.join("bundle.pem");
    std::fs::write(&file, bundle([&us])).unwrap();
    let run = crate_.run(&["--bundle", file.to_str().unwrap()], &[]);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    assert_eq!(
        crate_.data(),
        [("us-east-1-rsa2048-g1.der".into(), us.der().to_vec())].into()
    );
}

#[test]
fn the_present_data_is_as_the_script_writes_it() {
    let crate_ = Crate::new("present");
    let file = crate_.folder.join("bundle.pem");
    std::fs::write(&file, rds_roots::to_pem(rds_roots::RDS_ROOT_CERTS)).unwrap();
    let file = file.to_str().unwrap();
    let run = crate_.run(
        &[
            "--check",
            "--bundle",
            file,
            "--crate",
            env!("CARGO_MANIFEST_DIR"),
        ],
        &[],
    );
    assert_eq!((run.code, &*run.stderr), (0, ""), "{}", run.stdout);
}

#[test]
fn roots_that_aws_no_longer_publishes_are_removed() {
    let [us, eu] = [US, EU].map(root);
    let crate_ = Crate::with("removed", &[&us, &eu]);
    let run = crate_.update(&[&Server::http(ok(bundle([&us])))]);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    assert!(
        run.stdout.starts_with(&format!("removed: {EU}, expires ")),
        "{}",
        run.stdout
    );
    assert_eq!(
        crate_.data(),
        [("us-east-1-rsa2048-g1.der".into(), us.der().to_vec())].into()
    );
    assert!(!crate_.text("src/certificates.rs").contains("eu-central-1"));
}

#[test]
fn an_expired_certificate_is_left_out() {
    let mut params = authority("Amazon RDS Root 2019 CA");
    params.not_after = date_time_ymd(2024, 8, 22);
    let expired = self_signed(params);
    let us = root(US);
    let crate_ = Crate::new("expired");
    let run = crate_.update(&[&Server::http(ok(bundle([&expired, &us])))]);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    let line =
        "left out, because it has expired: Amazon RDS Root 2019 CA, expires 2024-08-22, SHA-256 ";
    assert!(run.stdout.contains(line), "{}", run.stdout);
    assert_eq!(
        crate_.data(),
        [("us-east-1-rsa2048-g1.der".into(), us.der().to_vec())].into()
    );

    crate_.assert_fails(
        &[&Server::http(ok(bundle([&expired])))],
        &["contains no root that is valid today"],
    );
}

#[test]
fn a_certificate_of_no_authority_is_an_error() {
    let crate_ = Crate::with("authority", &[&root(US)]);
    let mut no_authority = authority(EU);
    no_authority.is_ca = IsCa::ExplicitNoCa;
    let mut signs_nothing = authority(EU);
    signs_nothing.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for params in [no_authority, signs_nothing] {
        let bundle = bundle([&root(US), &self_signed(params)]);
        crate_.assert_fails(
            &[&Server::http(ok(bundle))],
            &[EU, "not the certificate of an authority"],
        );
    }
}

#[test]
fn a_certificate_without_a_valid_signature_is_an_error() {
    let crate_ = Crate::with("signature", &[&root(US)]);
    let tampered_root = tampered(&root(EU));
    crate_.assert_fails(
        &[&Server::http(ok(pem([&*tampered_root])))],
        &[EU, "not verified", "signature failure"],
    );

    // The issuer has the same name, and another key.
    let (same_name, same_name_root) = issuer(EU);
    let not_self_signed = issued(authority(EU), &same_name);
    crate_.assert_fails(
        &[&Server::http(ok(bundle([&not_self_signed])))],
        &[EU, "not verified"],
    );
    crate_.assert_fails(
        &[&Server::http(ok(bundle([
            &not_self_signed,
            &same_name_root,
        ])))],
        &[EU, "not verified"],
    );
}

#[test]
fn an_intermediate_certificate_needs_its_root_in_the_bundle() {
    let crate_ = Crate::with("intermediate", &[&root(US)]);
    let (eu_issuer, eu) = issuer(EU);
    let name = "Amazon RDS eu-central-1 RSA4096 G1";
    let intermediate = issued(authority(name), &eu_issuer);
    crate_.assert_fails(
        &[&Server::http(ok(bundle([&root(US), &intermediate])))],
        &[name, "not self-signed, and its issuer is not in the bundle"],
    );
    crate_.assert_fails(
        &[&Server::http(ok(pem([
            &**eu.der(),
            &tampered(&intermediate),
        ])))],
        &[name, "not verified", "signature failure"],
    );
}

#[test]
fn an_unexpected_name_is_an_error() {
    let crate_ = Crate::with("name", &[&root(US)]);
    for name in [
        "Amazon RDS Root 2019 CA",
        "Amazon RDS us-east-1 Root CA",
        "Amazon RDS Gamma us-east-1 Root CA RSA2048 G1",
        "Amazon RDS US-EAST-1 Root CA RSA2048 G1",
        "Amazon RDS us-east-1 Root CA RSA2048 G1 ",
        "Amazon RDS us-east-1/../x Root CA RSA2048 G1",
        "Amazon Root CA 1",
        "x,CN=Amazon RDS us-east-1 Root CA RSA2048 G1",
        "Amazon RDS us-east-1 Root CA RSA2048 G1\n",
    ] {
        crate_.assert_fails(
            &[&Server::http(ok(bundle([&root(name)])))],
            &["unexpected name"],
        );
    }
}

#[test]
fn a_duplicate_is_an_error() {
    let crate_ = Crate::with("duplicate", &[&root(US)]);
    let eu = root(EU);
    let server = |certs: &[&Certificate]| Server::http(ok(bundle(certs.iter().copied())));
    crate_.assert_fails(&[&server(&[&eu, &eu])], &[EU, "duplicate"]);
    crate_.assert_fails(&[&server(&[&eu, &root(EU)])], &[EU, "duplicate"]);
    crate_.assert_fails(
        &[&server(&[&eu]), &server(&[&root(US), &eu])],
        &[EU, "duplicate"],
    );
}

#[test]
fn a_truncated_bundle_is_an_error() {
    let crate_ = Crate::with("truncated", &[&root(US)]);
    let whole = bundle([&root(US), &root(EU)]);
    let end = whole.len() - "\n-----END CERTIFICATE-----\n".len();
    // Within the second certificate, within a line of four characters, before and within its last line.
    for length in [end - 100, end - 102, end, end + 5] {
        let server = Server::http(ok(&whole[..length]));
        crate_.assert_fails(&[&server], &["truncated. The certificate at line "]);
    }
    let between = whole.rfind("-----BEGIN").unwrap();
    crate_.assert_fails(
        &[&Server::http(ok(&whole[..between + 8]))],
        &["not a bundle", "'-----BEG'"],
    );

    // Between the certificates only the header shows what is missing.
    let response = ok(&*whole);
    let cut = response.len() - (whole.len() - between);
    crate_.assert_fails(
        &[&Server::http(response[..cut].to_owned())],
        &["IncompleteRead"],
    );
}

#[test]
fn damaged_certificates_are_an_error() {
    let crate_ = Crate::with("damaged", &[&root(US)]);
    let whole = bundle([&root(EU)]);
    // A reader that skips what is not base64 would find a valid certificate.
    let damaged = whole.replacen("MII", "M*II", 1);
    crate_.assert_fails(
        &[&Server::http(ok(damaged))],
        &["line 1 is not valid base64"],
    );
    crate_.assert_fails(
        &[&Server::http(ok(pem([&b"no certificate"[..]])))],
        &["certificate 1: `openssl x509` failed"],
    );
    crate_.assert_fails(
        &[&Server::http(ok(format!("{whole}é\n")))],
        &["not a bundle of PEM certificates"],
    );
}

#[test]
fn a_response_that_is_no_bundle_is_an_error() {
    let crate_ = Crate::with("response", &[&root(US)]);
    let page = "<!DOCTYPE html>\n<html><body>Service unavailable</body></html>\n";
    crate_.assert_fails(
        &[&Server::http(ok(page))],
        &["not a bundle of PEM certificates", "<!DOCTYPE html>"],
    );
    crate_.assert_fails(&[&Server::http(ok(""))], &["empty"]);
    crate_.assert_fails(&[&Server::http(ok("\n\n"))], &["empty"]);

    let valid = ok(bundle([&root(US)]));
    for (status, words) in [
        ("404 Not Found", "404"),
        ("503 Slow Down", "503"),
        ("204 No Content", "204"),
    ] {
        let server = Server::http(valid.replacen("200 OK", status, 1));
        crate_.assert_fails(&[&server], &[if words == "204" { "empty" } else { words }]);
    }
    let elsewhere = Server::http(valid);
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url
    );
    crate_.assert_fails(&[&Server::http(redirect)], &["302"]);
    assert_eq!(elsewhere.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error() {
    let crate_ = Crate::with("unreachable", &[&root(US)]);
    let mut server = Server::http(ok(""));
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    server.url = format!("http://{unused}/global-bundle.pem");
    crate_.assert_fails(&[&server], &["download failed", "refused"]);
}

#[test]
fn a_later_bundle_that_fails_leaves_the_crate_as_it_was() {
    let crate_ = Crate::with("later", &[&root(US)]);
    let good = Server::http(ok(bundle([&root(US), &root(EU)])));
    crate_.assert_fails(&[&good, &Server::http(ok("<html>"))], &["not a bundle"]);
}

#[test]
fn a_readme_without_the_list_is_an_error_before_anything_is_written() {
    let crate_ = Crate::with("readme", &[&root(US)]);
    std::fs::write(crate_.folder.join("README.md"), "# rds-roots\n").unwrap();
    let before = crate_.files();
    let run = crate_.update(&[&Server::http(ok(bundle([&root(US), &root(EU)])))]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("README.md: the lines "),
        "{}",
        run.stderr
    );
    assert!(crate_.files() == before);
}

#[test]
fn http_without_tls_needs_an_option() {
    let crate_ = Crate::with("http", &[&root(US)]);
    let before = crate_.files();
    let server = Server::http(ok(bundle([&root(US), &root(EU)])));
    for url in [
        server.url.clone(),
        server.url.replace("http:", "HTTP:"),
        server.url.replace("http:", "ftp:"),
    ] {
        let run = crate_.run(&["--bundle", &url], &[]);
        assert_eq!(
            (run.code, run.stderr),
            (
                2,
                format!("error: {url}: not an HTTPS URL. Use https://.\n")
            )
        );
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    assert!(crate_.files() == before);
}

#[test]
fn an_https_server_is_verified() {
    let (trusted, trusted_root) = issuer("The authority of the test");
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &trusted).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let server = Server::https(config, ok(bundle([&root(US)])));
    let crate_ = Crate::new("https");
    let authorities = crate_.folder.join("authorities.pem");

    for (authority, code) in [(&root("Another authority"), 2), (&trusted_root, 0)] {
        std::fs::write(&authorities, bundle([authority])).unwrap();
        let run = crate_.run(
            &["--bundle", &server.url],
            &[("SSL_CERT_FILE", authorities.to_str().unwrap())],
        );
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        assert_eq!(
            run.stderr.contains("CERTIFICATE_VERIFY_FAILED"),
            code == 2,
            "{}",
            run.stderr
        );
        assert_eq!(crate_.data().len(), usize::from(code == 0));
    }
}

#[test]
fn check_succeeds_if_the_crate_has_the_published_roots() {
    let [us, eu] = [US, EU].map(root);
    let crate_ = Crate::with("check-equal", &[&us, &eu]);
    let run = crate_.check(&[
        &Server::http(ok(bundle([&eu]))),
        &Server::http(ok(bundle([&us]))),
    ]);
    assert_eq!(
        (run.code, &*run.stderr, &*run.stdout),
        (0, "", "up to date: 2 roots\n")
    );
}

#[test]
fn check_names_each_new_and_each_removed_root() {
    let [us, us_again, eu, china] = [US, US, EU, CHINA].map(root);
    let crate_ = Crate::with("check-other", &[&us, &eu]);
    let check = |certs: &[&Certificate]| {
        let run = crate_.check(&[&Server::http(ok(bundle(certs.iter().copied())))]);
        assert_eq!((run.code, &*run.stderr), (1, ""));
        let names: Vec<_> = run
            .stdout
            .lines()
            .map(|line| line.split(", ").next().unwrap().to_owned())
            .collect();
        names
    };
    assert_eq!(check(&[&us, &eu, &china]), [format!("new: {CHINA}")]);
    assert_eq!(check(&[&us]), [format!("removed: {EU}")]);
    assert_eq!(
        check(&[&us_again, &eu]),
        [format!("removed: {US}"), format!("new: {US}")]
    );
}

#[test]
fn check_names_each_edited_file() {
    let us = root(US);
    for path in ["src/certificates.rs", "README.md", "data/rds/added"] {
        let crate_ = Crate::with("check-edited", &[&us]);
        let file = crate_.folder.join(path);
        let content = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, content.replace("us-east-1", "us-east-2")).unwrap();
        let run = crate_.check(&[&Server::http(ok(bundle([&us])))]);
        assert_eq!((run.code, &*run.stderr), (1, ""));
        assert_eq!(run.stdout, format!("not as written by `update`: {path}\n"));
    }
}

#[test]
fn check_reports_errors_as_errors() {
    let crate_ = Crate::with("check-error", &[&root(US)]);
    let run = crate_.check(&[&Server::http(ok("<html>"))]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("not a bundle of PEM certificates"),
        "{}",
        run.stderr
    );
}
