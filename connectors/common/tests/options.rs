//! From options to an endpoint: login, roots, and the address to dial.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rds_iam::Service;
use rds_iam_connector::{Address, Endpoint, InvalidOptions, Options, Protocol, UrlParameters};
use rustls::pki_types::CertificateDer;

const HOST: &str = "mydb.abc123xyz.eu-west-1.rds.amazonaws.com";
const DSQL_HOST: &str = "abc1de2fghij3klmn4opqrstuv.dsql.ca-west-1.on.aws";
const HOST_WITHOUT_ROOTS: &str = "mydb.abc123xyz.ca-west-1.rds.amazonaws.com";

fn endpoint(options: Options<()>, host: &str) -> Result<Endpoint, InvalidOptions> {
    let ((), endpoint) = options.into_endpoint(Protocol::Postgres, host, 5432, "app")?;
    Ok(endpoint)
}

fn new() -> Options<()> {
    Options::new(())
}

/// The roots of a host, without Amazon's public ones.
fn rds_roots_of(options: Options<()>, host: &str) -> Vec<CertificateDer<'static>> {
    let roots = endpoint(options, host).unwrap().roots;
    roots.to_store().unwrap();
    let public = rds_roots::AMAZON_ROOT_CERTS;
    let rds = roots.certs().strip_suffix(public);
    rds.expect("Amazon's public roots").to_vec()
}

#[test]
fn region_in_the_hosts_name_chooses_the_built_in_roots() {
    let expected = rds_roots::region_root_certs("eu-west-1");
    assert!(!expected.is_empty());
    assert_eq!(rds_roots_of(new(), HOST), expected);
    // The region of the signature is not the server's.
    assert_eq!(rds_roots_of(new().region("us-east-1"), HOST), expected);
}

#[test]
fn host_without_a_region_has_all_built_in_roots() {
    let all = rds_roots::RDS_ROOT_CERTS;
    for host in [
        "db.example.com",
        "10.0.0.1",
        "mydb.global-abc.global.rds.amazonaws.com",
    ] {
        assert_eq!(rds_roots_of(new(), host), all, "{host}");
        assert_eq!(rds_roots_of(new().region("eu-west-1"), host), all, "{host}");
    }
}

#[test]
fn missing_region_has_public_roots_alone() {
    assert!(rds_roots_of(new(), HOST_WITHOUT_ROOTS).is_empty());
}

#[test]
fn dsql_has_amazons_public_roots_alone() {
    for endpoint in [
        endpoint(new(), DSQL_HOST),
        endpoint(new().for_dsql(), "db.example.com"),
    ] {
        let endpoint = endpoint.unwrap();
        assert_eq!(endpoint.roots.certs(), rds_roots::AMAZON_ROOT_CERTS);
    }
}

#[test]
fn dsql_is_known_by_its_name_or_by_its_setting() {
    let service = |endpoint: Endpoint| endpoint.login.service();
    assert_eq!(service(endpoint(new(), DSQL_HOST).unwrap()), Service::Dsql);
    let dsql = endpoint(new().for_dsql().region("eu-west-1"), "db.example.com").unwrap();
    assert_eq!(dsql.login.region(), Some("eu-west-1"));
    assert_eq!(service(dsql), Service::Dsql);
    assert!(endpoint(new().for_dsql(), HOST).is_err());
}

#[test]
fn connections_to_dsql_are_replaced_after_55_minutes() {
    let max_lifetime = |host| endpoint(new(), host).unwrap().max_lifetime;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(max_lifetime(DSQL_HOST), Some(minutes(55)));
    assert_eq!(max_lifetime(HOST), None);
    let given = endpoint(new().max_lifetime(minutes(1)), DSQL_HOST).unwrap();
    assert_eq!(given.max_lifetime, Some(minutes(1)));
}

#[test]
fn dsql_over_the_protocol_of_mysql_is_an_error() {
    for (options, host) in [(new(), DSQL_HOST), (new().for_dsql(), "db.example.com")] {
        let error = options.into_endpoint(Protocol::MySql, host, 3306, "app");
        let error = error.unwrap_err();
        assert!(matches!(error, InvalidOptions::DsqlOverMySql), "{error:?}");
    }
    let rds = new().into_endpoint(Protocol::MySql, HOST, 3306, "app");
    assert!(rds.is_ok());
}

#[test]
fn given_roots_replace_the_built_in_roots() {
    let given = &rds_roots::RDS_ROOT_CERTS[..2];
    let endpoint = endpoint(new().roots(given.iter().cloned()), HOST).unwrap();
    assert_eq!(endpoint.roots.certs(), given);
}

#[test]
fn given_roots_are_checked() {
    let error = endpoint(new().roots([]), HOST).unwrap_err();
    assert!(matches!(error, InvalidOptions::NoRoots), "{error:?}");
    let error = endpoint(new().roots([vec![1, 2, 3].into()]), HOST).unwrap_err();
    assert!(matches!(error, InvalidOptions::InvalidRoot(_)), "{error:?}");
    assert!(error.source().is_some());
}

/// A file that is removed when dropped.
struct File(PathBuf);

impl File {
    fn new(contents: impl AsRef<[u8]>) -> File {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rds-iam-connector-{}-{number}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, contents).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn options_with_file(file: &Path) -> Options<()> {
    const PARAMETERS: UrlParameters = UrlParameters {
        schemes: &["postgres"],
        tls_mode: &[],
        verified: "",
        root_file: &["sslrootcert"],
        driver: &[],
    };
    let url = format!("postgres://app@{HOST}/?sslrootcert={}", file.display());
    Options::from_url_parts((), PARAMETERS.read(&url).unwrap())
}

fn roots_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidOptions> {
    let endpoint = endpoint(options_with_file(file), HOST)?;
    Ok(endpoint.roots.certs().to_vec())
}

#[test]
fn file_of_roots_replaces_the_built_in_roots() {
    let roots = &rds_roots::RDS_ROOT_CERTS[..2];
    let text = format!("# a comment\n{}", rds_roots::to_pem(roots));
    let file = File::new(text);
    assert_eq!(roots_in(&file.0).unwrap(), roots);
    // The last setting wins.
    let options = options_with_file(&file.0).roots(roots[..1].iter().cloned());
    let endpoint = endpoint(options, HOST).unwrap();
    assert_eq!(endpoint.roots.certs(), &roots[..1]);
}

#[test]
fn file_of_roots_is_checked() {
    let root = &rds_roots::RDS_ROOT_CERTS[..1];
    let pem = rds_roots::to_pem(root);
    let cut = &pem[..pem.len() / 2];
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    for (contents, expected) in [
        (&b""[..], "EmptyRootFile"),
        (b"<html>Not found</html>", "EmptyRootFile"),
        (&root[0], "EmptyRootFile"),
        (key.as_bytes(), "EmptyRootFile"),
        (cut.as_bytes(), "RootFile"),
        (no_base64.as_bytes(), "RootFile"),
        (no_certificate.as_bytes(), "InvalidRoot"),
        ([&pem, no_certificate].concat().as_bytes(), "InvalidRoot"),
    ] {
        let file = File::new(contents);
        let error = roots_in(&file.0).unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
    for missing in [Path::new("/nowhere/roots.pem"), &std::env::temp_dir()] {
        let error = roots_in(missing).unwrap_err();
        assert!(
            matches!(error, InvalidOptions::RootFile { .. }),
            "{error:?}"
        );
        assert!(error.source().is_some());
    }
}

#[test]
fn endpoint_has_login_cache_and_address() {
    let plain = endpoint(new(), HOST).unwrap();
    assert_eq!(plain.login.host(), HOST);
    assert_eq!(plain.login.region(), Some("eu-west-1"));
    assert_eq!(plain.server_name(), HOST);
    assert_eq!(plain.address().to_string(), format!("{HOST}:5432"));

    let options = new().region("us-east-1").dial("localhost:15432");
    let tunnel = endpoint(options, HOST).unwrap();
    assert_eq!(tunnel.login.region(), Some("us-east-1"));
    assert_eq!(tunnel.server_name(), HOST);
    assert_eq!(tunnel.address().to_string(), "localhost:15432");

    let ipv6 = endpoint(new(), "[::1]").unwrap();
    assert_eq!(ipv6.server_name(), "::1");
    assert_eq!(ipv6.address().to_string(), "[::1]:5432");
}

#[test]
fn login_and_region_are_checked() {
    let new = |host: &str, port, user: &str| {
        Options::new(()).into_endpoint(Protocol::Postgres, host, port, user)
    };
    for error in [
        new("", 5432, "app").unwrap_err(),
        new("host name", 5432, "app").unwrap_err(),
        new(HOST, 0, "app").unwrap_err(),
        new(HOST, 5432, "").unwrap_err(),
        endpoint(Options::new(()).region("Ireland"), HOST).unwrap_err(),
    ] {
        assert!(matches!(error, InvalidOptions::Login(_)), "{error:?}");
    }
}

#[test]
fn driver_can_be_changed() {
    let options = Options::new(vec![1]).driver(|mut driver| {
        driver.push(2);
        driver
    });
    assert_eq!(options.as_driver(), &[1, 2]);
    let (driver, _) = options
        .into_endpoint(Protocol::Postgres, HOST, 5432, "app")
        .unwrap();
    assert_eq!(driver, [1, 2]);
}

#[test]
fn debug_shows_neither_the_drivers_options_nor_certificates() {
    let options = Options::new("s3cr3t-marker").roots(rds_roots::RDS_ROOT_CERTS.iter().cloned());
    let debug = format!("{options:?}");
    assert!(!debug.contains("s3cr3t-marker"), "{debug}");
    assert!(debug.len() < 500, "{debug}");
}

#[test]
fn address_is_read_and_written() {
    for (text, host, port) in [
        ("localhost:15432", "localhost", 15432),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:5432", "fe80::1%eth0", 5432),
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!((&*address.host, address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }
}

#[test]
fn all_other_addresses_are_errors() {
    for text in [
        "",
        "localhost",
        "15432",
        ":15432",
        "[]:15432",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:-1",
        "::1:15432",
        "::1",
        "[::1]",
        "[localhost]:15432",
        "two hosts:15432",
        "/run/postgresql:5432",
        "postgres://app:s3cr3t-marker@localhost:15432",
        "postgres://localhost:15432/app?password=s3cr3t-marker",
        "app:s3cr3t-marker@localhost:15432",
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(matches!(error, InvalidOptions::Dial { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("s3cr3t-marker"), "{error:?}");
        let error = endpoint(new().dial(text), HOST).expect_err(text);
        assert!(matches!(error, InvalidOptions::Dial { .. }), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn device_is_no_file_of_roots() {
    let error = roots_in(Path::new("/dev/zero")).unwrap_err();
    let cause = format!("{:?}", std::error::Error::source(&error).unwrap());
    assert!(cause.contains("not a file of at most 16 MB"), "{cause}");
}
