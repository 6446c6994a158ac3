//! The certificates of the crate against independent lists, and against what the crate says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rds_roots::{AMAZON_ROOT_CERTS, RDS_ROOT_CERTS, region_root_certs, regions, to_pem};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// The regions of AWS's bundle of August 2026 that the crate lacks. If an update adds them, shorten the list here and in
/// the README.
const MISSING_REGIONS: [&str; 7] = [
    "ap-east-2",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-west-1",
    "il-central-1",
    "mx-central-1",
];

/// A certificate in AWS's bundle of August 2026: `tests/data/README.md`.
struct Published {
    name: &'static str,
    /// As in the comments of `certificates.rs`: `2061-05-25`.
    expiry_date: String,
    sha256: &'static str,
}

fn published() -> Vec<Published> {
    include_str!("data/global-bundle.tsv")
        .lines()
        .skip(1)
        .map(|line| {
            let [name, not_after, _, sha256] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not four columns: {line}");
            };
            Published {
                name,
                expiry_date: date(not_after),
                sha256,
            }
        })
        .collect()
}

/// `May  7 00:20:09 2062 GMT` as `2062-05-07`.
fn date(not_after: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let [month, day, _, year, "GMT"] = not_after.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("not a date: {not_after}");
    };
    format!(
        "{year}-{:02}-{day:0>2}",
        MONTHS.find(month).unwrap() / 3 + 1
    )
}

/// The word before "Root CA" in a name.
fn region(name: &str) -> &str {
    let (before, _) = name.split_once(" Root CA ").unwrap();
    before.rsplit(' ').next().unwrap()
}

fn sha256(cert: &CertificateDer<'_>) -> String {
    Sha256::digest(cert)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What the source of the crate says about each certificate, in its order: name, expiry date, fingerprint.
fn described(source: &'static str) -> Vec<(&'static str, &'static str, &'static str)> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    lines
        .windows(3)
        .filter(|lines| lines[2].starts_with("CertificateDer::from_slice(include_bytes!("))
        .map(|lines| {
            let (name, expiry_date) = lines[0]
                .strip_prefix("// ")
                .unwrap()
                .split_once(", expires ")
                .unwrap();
            (
                name,
                expiry_date,
                lines[1].strip_prefix("// SHA-256 ").unwrap(),
            )
        })
        .collect()
}

fn described_rds() -> Vec<(&'static str, &'static str, &'static str)> {
    described(include_str!("../src/certificates.rs"))
}

#[test]
fn each_comment_has_the_fingerprint_of_its_certificate() {
    for (certs, described) in [
        (RDS_ROOT_CERTS, described_rds()),
        (AMAZON_ROOT_CERTS, described(include_str!("../src/lib.rs"))),
    ] {
        let described: Vec<_> = described.iter().map(|(_, _, sha256)| *sha256).collect();
        assert_eq!(certs.iter().map(sha256).collect::<Vec<_>>(), described);
    }
}

/// An update may add certificates that are not in the bundle of August 2026. No update may exchange a certificate.
#[test]
fn each_rds_certificate_is_the_published_certificate_of_its_name() {
    let described: BTreeMap<_, _> = described_rds()
        .into_iter()
        .map(|(name, date, sha256)| (name, (date, sha256)))
        .collect();
    assert_eq!(described.len(), RDS_ROOT_CERTS.len(), "each name once");
    for published in published() {
        if let Some(described) = described.get(published.name) {
            assert_eq!(
                *described,
                (&*published.expiry_date, published.sha256),
                "{}",
                published.name
            );
        }
    }
}

#[test]
fn exactly_21_published_certificates_of_7_regions_are_missing() {
    let fingerprints: BTreeSet<_> = RDS_ROOT_CERTS.iter().map(sha256).collect();
    let published = published();
    assert_eq!(published.len(), 108);
    let missing: Vec<_> = published
        .iter()
        .filter(|published| !fingerprints.contains(published.sha256))
        .map(|published| published.name)
        .collect();
    assert_eq!(missing.len(), 21, "{missing:?}");
    let regions: BTreeSet<_> = missing.into_iter().map(region).collect();
    assert_eq!(regions, BTreeSet::from(MISSING_REGIONS));
}

#[test]
fn no_certificate_had_expired_by_the_release() {
    for (name, expiry_date, _) in described_rds()
        .into_iter()
        .chain(described(include_str!("../src/lib.rs")))
    {
        assert!(expiry_date > "2027-01-01", "{name}, {expiry_date}");
    }
}

#[test]
fn certificates_are_sorted_by_region_and_name() {
    let order: Vec<_> = described_rds()
        .into_iter()
        .map(|(name, _, _)| (region(name), name))
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_region_has_the_certificates_with_the_region_in_their_names() {
    let described = described_rds();
    let mut all = Vec::new();
    for name in regions() {
        let expected: Vec<_> = described
            .iter()
            .filter(|(cert, _, _)| region(cert) == name)
            .map(|(_, _, sha256)| *sha256)
            .collect();
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(
            region_root_certs(name)
                .iter()
                .map(sha256)
                .collect::<Vec<_>>(),
            expected,
            "{name}"
        );
        all.extend(region_root_certs(name));
    }
    assert_eq!(all, RDS_ROOT_CERTS.iter().collect::<Vec<_>>());
}

#[test]
fn regions_with_an_environment_of_their_own_have_its_certificates_too() {
    assert_eq!(
        region_root_certs("us-east-1").len(),
        6,
        "with those of Beta"
    );
    assert_eq!(
        region_root_certs("us-east-2").len(),
        6,
        "with those of Preview"
    );
    assert_eq!(region_root_certs("eu-central-1").len(), 3);
}

#[test]
fn a_missing_region_has_no_certificates() {
    for region in MISSING_REGIONS.into_iter().chain([
        "",
        "us-east",
        "us-east-11",
        "US-EAST-1",
        "us-gov-west-1",
        "cn-north-1",
    ]) {
        assert!(region_root_certs(region).is_empty(), "{region}");
        assert!(regions().all(|name| name != region), "{region}");
    }
}

#[test]
fn regions_are_sorted_and_different() {
    let regions: Vec<_> = regions().collect();
    assert!(regions.is_sorted_by(|a, b| a < b), "{regions:?}");
}

#[test]
fn amazon_certificates_are_all_that_mozilla_lists() {
    // The organisation in the subject, as DER: "Amazon", and Starfield's name with "Services".
    let issued_by_amazon = |cert: &&CertificateDer<'_>| {
        [
            &b"\x13\x06Amazon"[..],
            b"Starfield Services Root Certificate Authority - G2",
        ]
        .iter()
        .any(|name| cert.windows(name.len()).any(|window| window == *name))
    };
    let listed: BTreeSet<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter(issued_by_amazon)
        .map(|cert| cert.to_vec())
        .collect();
    let included: BTreeSet<_> = AMAZON_ROOT_CERTS.iter().map(|cert| cert.to_vec()).collect();
    assert_eq!(included.len(), 5);
    assert!(included == listed, "{} of Mozilla's list", listed.len());
}

#[test]
fn each_data_file_is_a_certificate_of_the_crate() {
    for (folder, certs) in [("rds", RDS_ROOT_CERTS), ("amazon", AMAZON_ROOT_CERTS)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("data")
            .join(folder);
        let files: BTreeSet<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        let included: BTreeSet<_> = certs.iter().map(|cert| cert.to_vec()).collect();
        assert!(
            files == included,
            "{}: {} files, {} certificates",
            folder.display(),
            files.len(),
            included.len()
        );
    }
}

#[test]
fn pem_is_read_back_as_the_same_certificates() {
    let all = || RDS_ROOT_CERTS.iter().chain(AMAZON_ROOT_CERTS);
    let read: Vec<_> = CertificateDer::pem_slice_iter(to_pem(all()).as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(read.iter().collect::<Vec<_>>(), all().collect::<Vec<_>>());
}

#[test]
fn pem_has_lines_of_64_characters() {
    let bytes = [0; 49];
    let cert = CertificateDer::from(&bytes[..]);
    let expected = format!(
        "-----BEGIN CERTIFICATE-----\n{}\nAA==\n-----END CERTIFICATE-----\n",
        "A".repeat(64)
    );
    assert_eq!(to_pem([&cert]), expected);
    assert_eq!(to_pem([]), "");
}

/// What the README says is included and missing.
#[test]
fn the_readme_names_the_regions() {
    let readme: Vec<_> = include_str!("../README.md").split_whitespace().collect();
    let readme = readme.join(" ");
    let regions: Vec<_> = regions().map(|region| format!("`{region}`")).collect();
    let included = format!(
        "{} certificates for {} regions: {}.",
        RDS_ROOT_CERTS.len(),
        regions.len(),
        regions.join(", ")
    );
    assert!(readme.contains(&included), "{included}");
    let missing = MISSING_REGIONS
        .map(|region| format!("`{region}`"))
        .join(", ");
    assert!(readme.contains(&missing), "{missing}");
}

#[cfg(feature = "rustls")]
#[test]
fn rustls_reads_every_certificate() {
    let store = rds_roots::root_cert_store();
    assert_eq!(store.len(), RDS_ROOT_CERTS.len() + AMAZON_ROOT_CERTS.len());
}
