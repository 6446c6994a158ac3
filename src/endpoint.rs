//! The service and the region in the name of an AWS endpoint.

use crate::{Service, region};

/// The DNS suffix of the commercial partition and of GovCloud (US).
const DEFAULT_DNS_SUFFIX: &str = "amazonaws.com";

/// The other partitions: the prefix of their regions' names, and their DNS suffix.
///
/// Source: `partitions.json` of the AWS SDKs. There is no list of regions, so tomorrow's regions work today.
const PARTITIONS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
];

/// The DNS suffix of Aurora DSQL's clusters ([Aurora DSQL user guide, *Generating an authentication
/// token*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html)). AWS has published no
/// names for other partitions. GovCloud (US) shares the suffix here, as it shares the suffix of RDS.
const DSQL_DNS_SUFFIX: &str = "on.aws";

/// Returns the service and the region in the name of an endpoint, or `None` if the name is not such an endpoint.
///
/// `host` is in lower case, without a trailing dot.
pub(crate) fn parse(host: &str) -> Option<(Service, &str)> {
    let rds = region_of_rds(host).map(|region| (Service::RdsDb, region));
    rds.or_else(|| Some((Service::Dsql, region_of_dsql(host)?)))
        .filter(|_| host.split('.').all(is_dns_label))
}

fn region_of_rds(host: &str) -> Option<&str> {
    let (name, dns_suffix) = split_dns_suffix(host)?;
    let mut labels = name.rsplit('.');
    let (last, last_but_one) = (labels.next()?, labels.next()?);
    let (region, min_labels_before) = if is_rds(last) {
        (last_but_one, 1)
    } else if is_rds(last_but_one) {
        // With a single label before the region, this is the name of RDS's own API, not of a database.
        (last, 2)
    } else {
        return None;
    };
    (region::has_shape(region)
        && dns_suffix_of(region) == dns_suffix
        && labels.count() >= min_labels_before)
        .then_some(region)
}

/// `CLUSTER.dsql.REGION.on.aws`, or `CLUSTER.dsql-SUFFIX.REGION.on.aws` for AWS PrivateLink.
fn region_of_dsql(host: &str) -> Option<&str> {
    let name = host.strip_suffix(DSQL_DNS_SUFFIX)?.strip_suffix('.')?;
    let mut labels = name.split('.');
    let (_cluster, dsql, region) = (labels.next()?, labels.next()?, labels.next()?);
    (labels.next().is_none()
        && (dsql == "dsql" || dsql.starts_with("dsql-"))
        && region::has_shape(region)
        // No region of a partition with another DNS suffix.
        && dns_suffix_of(region) == DEFAULT_DNS_SUFFIX)
        .then_some(region)
}

fn split_dns_suffix(host: &str) -> Option<(&str, &'static str)> {
    PARTITIONS
        .iter()
        .map(|(_, dns_suffix)| *dns_suffix)
        .chain([DEFAULT_DNS_SUFFIX])
        .find_map(|dns_suffix| {
            let name = host.strip_suffix(dns_suffix)?.strip_suffix('.')?;
            Some((name, dns_suffix))
        })
}

fn dns_suffix_of(region: &str) -> &'static str {
    PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix))
        .map_or(DEFAULT_DNS_SUFFIX, |(_, dns_suffix)| dns_suffix)
}

fn is_rds(label: &str) -> bool {
    matches!(label, "rds" | "rds-fips")
}

fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
