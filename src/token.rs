use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

#[cfg(feature = "url")]
use crate::encoding::percent_encode_secret;

/// A password for a login, and the expiry of the password.
///
/// A token is a secret: whoever has the token can log in until the expiry. `Token` has neither `Display` nor `Deref`, so that
/// a token cannot slip into a log. [`as_str`](Token::as_str) is the only access. `Debug` shows only the expiry. Clones
/// share one buffer, and the last clone wipes the buffer.
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

    /// The token itself. Send the token as the password, over verified TLS only.
    ///
    /// The token is ASCII, and has about 350 bytes with a long-term key, and up to several thousand with a session token.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When the token expires: 900 s after the second of the signature, or when the signing credentials expire, whichever is
    /// earlier. From this instant on the database rejects the token.
    ///
    /// The expiry counts when a connection is opened. Open connections stay open ([Amazon RDS user guide, *IAM database
    /// authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)). Aurora DSQL closes a
    /// connection after 60 minutes ([Aurora DSQL user guide, *Cluster quotas and database
    /// limits*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html)).
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Writes the token into a connection URL as its password. From then on the URL is a secret.
    ///
    /// The token is encoded so that a driver that percent-decodes the URL's password gets [`as_str`](Token::as_str) back,
    /// byte for byte. `Url::set_password` with the bare token fails: `%` is not encoded, and the driver then decodes
    /// the token's own `%2F`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`](crate::Error::InvalidUrl) if the URL has no host, because such a URL can have no password. The
    /// URL is not changed.
    #[cfg(feature = "url")]
    pub fn set_as_password(&self, url: &mut url::Url) -> Result<(), crate::Error> {
        let encoded = percent_encode_secret(self.as_str());
        // The URL's buffer grows for the placeholder. Then no part of the token is left in a smaller buffer.
        let placeholder = "-".repeat(encoded.len());
        url.set_password(Some(&placeholder))
            .and_then(|()| url.set_password(Some(&encoded)))
            .map_err(|()| crate::Error::InvalidUrl {
                reason: "it names no host, so it can have no password",
            })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
