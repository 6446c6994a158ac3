use crate::Error;
use crate::error::excerpt;

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

/// Checks that `region` has the shape of a region's name.
pub(crate) fn validate(region: &str) -> Result<(), Error> {
    if has_shape(region) {
        Ok(())
    } else {
        Err(Error::InvalidRegion {
            region: excerpt(region),
        })
    }
}

/// Returns the region in the name of an RDS endpoint, or `None` if the name holds none.
///
/// `host` is in lower case, without a trailing dot.
pub(crate) fn in_host(host: &str) -> Option<&str> {
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
    (has_shape(region)
        && dns_suffix_of(region) == dns_suffix
        && name.split('.').all(is_dns_label)
        && labels.count() >= min_labels_before)
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

/// A region is a label of the endpoints' names ([RFC 1035, section
/// 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
const MAX_LEN: usize = 63;

/// `[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}`
fn has_shape(region: &str) -> bool {
    if region.len() > MAX_LEN {
        return false;
    }
    let is_lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_number =
        |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default();
    let number = parts.next_back().unwrap_or_default();
    let middle: Vec<&str> = parts.collect();
    (2..=4).contains(&area.len())
        && is_lower(area)
        && (1..=2).contains(&middle.len())
        && middle.into_iter().all(is_lower)
        && is_number(number)
}
