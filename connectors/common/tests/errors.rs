//! How a driver's error is sorted: token, TLS, rejection or database.

use std::error::Error as StdError;
use std::{fmt, io};

use rds_iam::LogInError;
use rds_iam_connector::{Endpoint, Error, InvalidOptions, Options, Protocol};
use rustls::CertificateError;

const HOST: &str = "mydb.abc123xyz.eu-west-1.rds.amazonaws.com";
const HOST_WITHOUT_ROOTS: &str = "mydb.abc123xyz.ca-west-1.rds.amazonaws.com";

/// A driver's error.
#[derive(Debug)]
enum DriverError {
    Rejected,
    Tls,
    Other,
    Io(io::Error),
    Boxed(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the driver's error")
    }
}

impl StdError for DriverError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            DriverError::Io(error) => Some(error),
            DriverError::Boxed(error) => Some(&**error),
            _ => None,
        }
    }
}

fn endpoint(options: Options<()>, host: &str) -> Endpoint {
    let (_, endpoint) = options
        .into_endpoint(Protocol::Postgres, host, 5432, "app")
        .unwrap();
    endpoint
}

fn sort_at(endpoint: &Endpoint, error: DriverError) -> Error<DriverError> {
    Error::sort(
        LogInError::Connect(error),
        endpoint,
        |error| matches!(error, DriverError::Rejected),
        |error| matches!(error, DriverError::Tls),
    )
}

fn sort(error: DriverError) -> Error<DriverError> {
    sort_at(&endpoint(Options::new(()), HOST), error)
}

fn unknown_issuer() -> rustls::Error {
    CertificateError::UnknownIssuer.into()
}

/// Drivers wrap errors in different ways.
fn wrappings(error: impl StdError + Clone + Send + Sync + 'static) -> [DriverError; 4] {
    let io = || io::Error::other(error.clone());
    [
        DriverError::Io(io()),
        DriverError::Boxed(error.clone().into()),
        DriverError::Io(io::Error::other(io())),
        DriverError::Io(io::Error::other(DriverError::Io(io()))),
    ]
}

#[test]
fn error_without_a_connection_is_the_tokens() {
    let endpoint = endpoint(Options::new(()), HOST);
    let error = LogInError::Token(rds_iam::Error::InvalidPort);
    let error: Error<DriverError> = Error::sort(error, &endpoint, |_| true, |_| true);
    assert!(
        matches!(error, Error::Token(rds_iam::Error::InvalidPort)),
        "{error:?}"
    );
}

#[test]
fn error_of_the_token_is_found_in_the_drivers() {
    for error in wrappings(rds_iam::Error::InvalidPort) {
        let error = sort(error);
        assert!(
            matches!(error, Error::Token(rds_iam::Error::InvalidPort)),
            "{error:?}"
        );
    }
}

#[test]
fn error_of_rustls_is_found_in_the_drivers() {
    for error in wrappings(unknown_issuer()) {
        let error = sort(error);
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
    }
    let error = sort(DriverError::Tls);
    assert!(matches!(error, Error::Tls(DriverError::Tls)), "{error:?}");
}

#[test]
fn unknown_issuer_in_a_region_without_roots_names_the_region() {
    let named = endpoint(Options::new(()), HOST_WITHOUT_ROOTS);
    let given = endpoint(Options::new(()).region("ca-west-1"), "db.example.com");
    for endpoint in [named, given] {
        for error in wrappings(unknown_issuer()) {
            let error = sort_at(&endpoint, error);
            let text = error.to_string();
            assert!(
                text.contains("for the region ca-west-1. Download"),
                "{text}"
            );
            assert!(matches!(error, Error::NoRoots { .. }), "{error:?}");
        }
    }
}

#[test]
fn region_without_roots_explains_no_other_error() {
    let missing = endpoint(Options::new(()), HOST_WITHOUT_ROOTS);
    let expired: rustls::Error = CertificateError::Expired.into();
    let error = sort_at(&missing, DriverError::Io(io::Error::other(expired)));
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    let error = sort_at(&missing, DriverError::Rejected);
    assert!(matches!(error, Error::Rejected(_)), "{error:?}");
}

#[test]
fn given_roots_are_not_missing() {
    let roots = rds_roots::RDS_ROOT_CERTS[..1].iter().cloned();
    let given = endpoint(Options::new(()).roots(roots), HOST_WITHOUT_ROOTS);
    let error = sort_at(&given, DriverError::Boxed(unknown_issuer().into()));
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
}

#[test]
fn other_errors_are_rejections_or_the_databases() {
    let error = sort(DriverError::Rejected);
    assert!(
        matches!(error, Error::Rejected(DriverError::Rejected)),
        "{error:?}"
    );
    for other in [
        DriverError::Other,
        DriverError::Io(io::ErrorKind::ConnectionRefused.into()),
        DriverError::Io(io::Error::other("text")),
        DriverError::Boxed("text".into()),
    ] {
        let error = sort(other);
        assert!(matches!(error, Error::Database(_)), "{error:?}");
    }
}

#[test]
fn each_error_has_one_line_and_its_cause() {
    let tls = |host| {
        sort_at(
            &endpoint(Options::new(()), host),
            wrappings(unknown_issuer()).into_iter().next().unwrap(),
        )
    };
    for (error, cause) in [
        (
            Error::from(InvalidOptions::NoRoots),
            InvalidOptions::NoRoots.to_string(),
        ),
        (
            Error::Token(rds_iam::Error::InvalidPort),
            rds_iam::Error::InvalidPort.to_string(),
        ),
        (tls(HOST), DriverError::Other.to_string()),
        (tls(HOST_WITHOUT_ROOTS), DriverError::Other.to_string()),
        (sort(DriverError::Rejected), DriverError::Other.to_string()),
        (sort(DriverError::Other), DriverError::Other.to_string()),
    ] {
        assert_eq!(error.source().unwrap().to_string(), cause, "{error:?}");
        assert_is_one_line(&error);
    }
    for error in [
        InvalidOptions::Url { reason: "reason" },
        InvalidOptions::Scheme {
            schemes: &["mysql", "mariadb"],
        },
        InvalidOptions::TlsMode {
            name: "sslmode".to_owned(),
            verified: "verify-full",
        },
        InvalidOptions::Parameter {
            name: "name".to_owned(),
            reason: "reason",
        },
        InvalidOptions::Driver {
            option: "option",
            reason: "reason",
        },
        InvalidOptions::DriverUrl {
            source: "cause".into(),
        },
        InvalidOptions::Dial {
            address: "line\nfeed".to_owned(),
        },
        InvalidOptions::EmptyRootFile {
            file: "line\nfeed".into(),
        },
        InvalidOptions::NoRoots,
    ] {
        assert_is_one_line(&error);
    }
}

fn assert_is_one_line(error: &dyn StdError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
}
