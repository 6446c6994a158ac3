use crate::Error;
use crate::error::excerpt;

/// A region is a label of the endpoints' names ([RFC 1035, section
/// 2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
const MAX_LEN: usize = 63;

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

/// `[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}`
pub(crate) fn has_shape(region: &str) -> bool {
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
