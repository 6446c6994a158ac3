//! Root certificates of Amazon RDS, compiled in.
//!
//! A client that logs in to a database must verify the server's certificate. Servers of Amazon RDS chain to two kinds of
//! roots:
//!
//! | you connect to | roots of the server's certificate |
//! | --- | --- |
//! | RDS instance, Aurora cluster | [`RDS_ROOT_CERTS`]: Amazon's roots for RDS, different in each region ([user guide](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html)) |
//! | RDS Proxy, Aurora Serverless, Aurora DSQL | [`AMAZON_ROOT_CERTS`]: Amazon's public roots ([RDS Proxy](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.howitworks.html#rds-proxy-security.tls), [Aurora Serverless](https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2-administration.html#aurora-serverless-v2.tls)) |
//!
//! Trust both kinds if you do not know which kind of server you connect to. **Some regions are missing**:
//! [the README](https://docs.rs/crate/rds-roots/latest/source/README.md) lists the regions, and [`region_root_certs`]
//! returns an empty slice for a missing region.
//!
//! With rustls (feature `rustls`):
//!
//! ```
//! # #[cfg(feature = "rustls")] {
//! let roots: rustls::RootCertStore = rds_roots::root_cert_store();
//! # }
//! ```
//!
//! For a driver that reads a file in PEM:
//!
//! ```
//! use rds_roots::{AMAZON_ROOT_CERTS, RDS_ROOT_CERTS, to_pem};
//!
//! let pem: String = to_pem(RDS_ROOT_CERTS.iter().chain(AMAZON_ROOT_CERTS));
//! # let file = std::env::temp_dir().join(format!("rds-roots-{}.pem", std::process::id()));
//! std::fs::write(&file, pem)?;
//! # std::fs::remove_file(&file)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod certificates;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::CertificateDer;

/// Amazon's roots for RDS instances and Aurora clusters, sorted by region and name.
///
/// All of them are self-signed and none had expired when this version of the crate was released. Servers send their
/// intermediate certificates, so clients need only the roots.
///
/// Source: AWS's bundles in [the user
/// guide](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html#UsingWithRDS.SSL.CertificatesAllRegions).
pub const RDS_ROOT_CERTS: &[CertificateDer<'static>] = certificates::RDS_ROOT_CERTS;

/// Amazon's public roots, for RDS Proxy, Aurora Serverless and Aurora DSQL: Amazon Root CA 1 to 4, and Starfield Services
/// Root Certificate Authority - G2.
///
/// These servers have certificates of AWS Certificate Manager. RDS instances and Aurora clusters do not chain to these
/// roots.
///
/// Sources: the user guide on [RDS
/// Proxy](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.howitworks.html#rds-proxy-security.tls) and [Aurora
/// Serverless](https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2-administration.html#aurora-serverless-v2.tls),
/// and [Amazon Trust Services](https://www.amazontrust.com/repository/).
pub const AMAZON_ROOT_CERTS: &[CertificateDer<'static>] = &[
    // Amazon Root CA 1, expires 2038-01-17
    // SHA-256 8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e
    CertificateDer::from_slice(include_bytes!("../data/amazon/amazon-root-ca-1.der")),
    // Amazon Root CA 2, expires 2040-05-26
    // SHA-256 1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4
    CertificateDer::from_slice(include_bytes!("../data/amazon/amazon-root-ca-2.der")),
    // Amazon Root CA 3, expires 2040-05-26
    // SHA-256 18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4
    CertificateDer::from_slice(include_bytes!("../data/amazon/amazon-root-ca-3.der")),
    // Amazon Root CA 4, expires 2040-05-26
    // SHA-256 e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092
    CertificateDer::from_slice(include_bytes!("../data/amazon/amazon-root-ca-4.der")),
    // Starfield Services Root Certificate Authority - G2, expires 2037-12-31
    // SHA-256 568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5
    CertificateDer::from_slice(include_bytes!(
        "../data/amazon/starfield-services-root-ca-g2.der"
    )),
];

/// Returns the roots of RDS instances and Aurora clusters in a region, such as `us-east-1`.
///
/// The slice is a part of [`RDS_ROOT_CERTS`]. The slice is **empty if this crate has no roots for the region**. Then
/// connections to instances and clusters there fail, unless you add [the region's
/// bundle](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html#UsingWithRDS.SSL.CertificatesAllRegions).
/// [`AMAZON_ROOT_CERTS`] are the same in all regions.
///
/// ```
/// assert!(!rds_roots::region_root_certs("us-east-1").is_empty());
/// assert!(rds_roots::region_root_certs("nowhere-1").is_empty());
/// ```
pub fn region_root_certs(region: &str) -> &'static [CertificateDer<'static>] {
    let mut rest = RDS_ROOT_CERTS;
    for &(name, count) in certificates::REGIONS {
        let (certs, others) = rest.split_at(count);
        if name == region {
            return certs;
        }
        rest = others;
    }
    &[]
}

/// Returns the regions that have roots in [`RDS_ROOT_CERTS`], sorted.
pub fn regions() -> impl Iterator<Item = &'static str> {
    certificates::REGIONS.iter().map(|&(region, _)| region)
}

/// Returns certificates as PEM, for drivers and tools that read PEM.
///
/// Each certificate has lines of 64 characters, and a line feed after the last line
/// ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468#section-2)).
pub fn to_pem<'a>(certs: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    const BYTES_PER_LINE: usize = 48; // 64 characters of base64
    let mut pem = String::new();
    for cert in certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in cert.chunks(BYTES_PER_LINE) {
            STANDARD.encode_string(line, &mut pem);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// Returns a store of all roots in this crate, [`RDS_ROOT_CERTS`] and [`AMAZON_ROOT_CERTS`], for rustls.
///
/// If a version of rustls cannot read a certificate, the store lacks this certificate.
///
/// ```
/// let config = rustls::ClientConfig::builder_with_provider(provider())
///     .with_safe_default_protocol_versions()?
///     .with_root_certificates(rds_roots::root_cert_store())
///     .with_no_client_auth();
/// # fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
/// #     rustls::crypto::aws_lc_rs::default_provider().into()
/// # }
/// # Ok::<(), rustls::Error>(())
/// ```
#[cfg(feature = "rustls")]
pub fn root_cert_store() -> rustls::RootCertStore {
    let mut store = rustls::RootCertStore::empty();
    // No panic for a single certificate: all other servers stay reachable.
    store.add_parsable_certificates(RDS_ROOT_CERTS.iter().chain(AMAZON_ROOT_CERTS).cloned());
    store
}

// The README's examples must compile.
#[cfg(all(doctest, feature = "rustls"))]
#[doc = include_str!("../README.md")]
struct Readme;
