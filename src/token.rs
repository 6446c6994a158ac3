use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::login::percent_encode;

/// A password for one login at one database, and when it expires.
///
/// A secret: whoever has it can log in until it expires. So there is neither `Display` nor `Deref`, which would let
/// it slip into a log by accident; [`as_str`](Token::as_str) is the one way to it. `Debug` shows only the expiry,
/// clones share one buffer, and the last one wipes it.
///
/// ```compile_fail,E0277
/// fn show(token: &rds_iam::Token) -> String {
///     token.to_string()
/// }
/// ```
#[derive(Clone)]
pub struct Token {
    text: Arc<Zeroizing<Box<str>>>,
    expires_at: SystemTime,
}

impl Token {
    pub(crate) fn new(text: Box<str>, expires_at: SystemTime) -> Token {
        Token {
            text: Arc::new(Zeroizing::new(text)),
            expires_at,
        }
    }

    /// The token itself, to be sent as the password over verified TLS and nothing else: ASCII, some 350 bytes with a
    /// long-term key, up to several thousand with a session token.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// From when on the database refuses it: 900 s after the second it was signed in, or when the credentials that
    /// signed it expire, whichever is earlier.
    ///
    /// It is looked at when a connection is opened. Connections that are open stay open ([Amazon RDS user guide, *IAM
    /// database
    /// authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)).
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Writes the token into a connection URL as its password, encoded so that a driver that percent-decodes the
    /// URL's password gets [`as_str`](Token::as_str) back to the byte.
    ///
    /// `Url::set_password` with the bare token goes wrong: it leaves `%` alone, and the driver then decodes the
    /// token's own `%2F`. The URL is a secret from here on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`](crate::Error::InvalidUrl) where the URL has no host and so can have no password; it is
    /// left as it was.
    #[cfg(feature = "url")]
    pub fn set_as_password(&self, url: &mut url::Url) -> Result<(), crate::Error> {
        let encoded = percent_encode_secret(self.as_str());
        // The URL's buffer grows for the placeholder, so that no part of the token is left in a smaller one.
        let placeholder = "-".repeat(encoded.len());
        url.set_password(Some(&placeholder))
            .and_then(|()| url.set_password(Some(&encoded)))
            .map_err(|()| crate::Error::InvalidUrl {
                reason: "it can have no password, since it names no host",
            })
    }
}

/// As [`percent_encode`], in a buffer that never grew and so left no copy behind.
pub(crate) fn percent_encode_secret(secret: &str) -> Zeroizing<Box<str>> {
    let len = percent_encode(secret).map(str::len).sum();
    let mut encoded = String::with_capacity(len);
    encoded.extend(percent_encode(secret));
    Zeroizing::new(encoded.into_boxed_str())
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
