//! The percent-encoding of SigV4.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use zeroize::Zeroizing;

/// All bytes but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Encodes every byte of `text` outside `A-Z a-z 0-9 - _ . ~` as `%XX` in upper case.
pub(crate) fn percent_encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

/// Encodes a secret in a buffer that never grows, because a buffer that grows leaves a copy in freed memory.
pub(crate) fn percent_encode_secret(secret: &str) -> Zeroizing<Box<str>> {
    let len = percent_encode(secret).map(str::len).sum();
    let mut encoded = String::with_capacity(len);
    encoded.extend(percent_encode(secret));
    Zeroizing::new(encoded.into_boxed_str())
}
