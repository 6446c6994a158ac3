use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::{Date, OffsetDateTime};
use zeroize::Zeroizing;

use crate::error::utc;
use crate::login::percent_encode;
use crate::{Error, Login, Token, region};

const SERVICE: &str = "rds-db";

/// How long RDS accepts a token: 15 minutes after it was signed, whatever longer time is asked for ([Amazon RDS user
/// guide, *IAM database
/// authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)).
pub(crate) const LIFETIME: Duration = Duration::from_secs(900);

// The token between its values, its parameters in the sorted order that SigV4 signs them in.
const PATH: &str = "/?";
const USER: &str = "Action=connect&DBUser=";
const CREDENTIAL: &str = "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=";
const DATE: &str = "&X-Amz-Date=";
const EXPIRES: &str = "&X-Amz-Expires=900";
const SECURITY_TOKEN: &str = "&X-Amz-Security-Token=";
const SIGNED_HEADERS: &str = "&X-Amz-SignedHeaders=host";
const SIGNATURE: &str = "&X-Amz-Signature=";

/// Of a SHA-256 hash in hexadecimal.
const HEX_LEN: usize = 64;
type Hex = [u8; HEX_LEN];

/// `YYYYMMDDTHHMMSSZ`
type AmzDate = [u8; 16];

/// SHA-256 of the empty payload, in hexadecimal.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs tokens with one set of credentials in one region: pure computation, no clock, no environment, no I/O.
///
/// Made once and used for every login: it keeps the key of its day and all that does not change from token to token.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use rds_iam::{Credentials, Login, Signer};
///
/// let credentials = Credentials::new("akid", "secret", None, None, "example");
/// let now = UNIX_EPOCH + Duration::from_secs(1_724_709_600);
/// let login = Login::new("prod-instance.us-east-1.rds.amazonaws.com", 3306, "peccy")?;
///
/// let token = Signer::new(&credentials, "us-east-1", now)?.sign(&login, now)?;
/// assert!(token.as_str().starts_with("prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy&"));
/// assert_eq!(token.expires_at(), now + Duration::from_secs(900));
/// # Ok::<(), rds_iam::Error>(())
/// ```
#[derive(Clone)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    encoded_session_token: Option<Zeroizing<String>>,
    scope: Scope,
}

impl Signer {
    /// A signer with the key of the UTC day of `now`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRegion`]; [`Error::ClockOutOfRange`] for a `now` before 1970 or after 9999.
    pub fn new(credentials: &Credentials, region: &str, now: SystemTime) -> Result<Signer, Error> {
        region::validate(region)?;
        let encoded_session_token = credentials
            .session_token()
            .filter(|token| !token.is_empty())
            .map(|token| Zeroizing::new(percent_encode(token).to_string()));
        Ok(Signer {
            scope: Scope::new(credentials, region, date_time(now)?.date()),
            credentials: credentials.clone(),
            region: region.to_owned(),
            encoded_session_token,
        })
    }

    /// A token for `login`, signed for this signer's region, whichever the login names.
    ///
    /// Every call on the UTC day that the signer was made on is as cheap as it can be. A call on another day is right
    /// as well, and derives that day's key for itself.
    ///
    /// # Errors
    ///
    /// [`Error::CredentialsExpired`] where the credentials' expiry is not after `now`; [`Error::ClockOutOfRange`] for
    /// a `now` before 1970 or after 9999.
    pub fn sign(&self, login: &Login, now: SystemTime) -> Result<Token, Error> {
        let expires_at = self.expires_at(now)?;
        Ok(Token::new(
            self.signed_text(login, date_time(now)?),
            expires_at,
        ))
    }

    /// When a token that is signed now will expire.
    pub(crate) fn expires_at(&self, now: SystemTime) -> Result<SystemTime, Error> {
        // The server counts from the date in the token, which is a whole second.
        let lifetime_ends = SystemTime::from(date_time(now)?) + LIFETIME;
        match self.credentials.expiry() {
            Some(expired_at) if expired_at <= now => Err(Error::CredentialsExpired { expired_at }),
            Some(expiry) => Ok(expiry.min(lifetime_ends)),
            None => Ok(lifetime_ends),
        }
    }

    /// Whether this signer's key is that of the UTC day of `now`.
    pub(crate) fn is_of_the_day_of(&self, now: SystemTime) -> bool {
        utc(now).is_some_and(|utc| utc.date() == self.scope.date)
    }

    fn signed_text(&self, login: &Login, signed_at: OffsetDateTime) -> Zeroizing<String> {
        let scope = self.scope_on(signed_at.date());
        let amz_date = amz_date(signed_at);
        let session_token = self.encoded_session_token.as_deref().map(String::as_str);
        let unsigned = [
            login.authority(),
            PATH,
            USER,
            login.encoded_user(),
            CREDENTIAL,
            &scope.encoded_credential,
            DATE,
            ascii(&amz_date),
            EXPIRES,
            session_token.map_or("", |_| SECURITY_TOKEN),
            session_token.unwrap_or_default(),
            SIGNED_HEADERS,
        ];
        let len = unsigned.iter().map(|part| part.len()).sum::<usize>() + SIGNATURE.len() + HEX_LEN;
        // Of its full length at once: a buffer that grew would leave secret bytes behind, unwiped.
        let mut text = Zeroizing::new(String::with_capacity(len));
        for part in unsigned {
            text.push_str(part);
        }
        let (_, query) = text.split_at(login.authority().len() + PATH.len());
        let request_hash = canonical_request_hash(login.authority(), query);
        let signature = Zeroizing::new(scope.signature(&amz_date, &request_hash));
        text.push_str(SIGNATURE);
        text.push_str(ascii(&*signature));
        text
    }

    fn scope_on(&self, date: Date) -> Cow<'_, Scope> {
        if date == self.scope.date {
            Cow::Borrowed(&self.scope)
        } else {
            Cow::Owned(Scope::new(&self.credentials, &self.region, date))
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.credentials.access_key_id())
            .field("region", &self.region)
            .field("expiry", &self.credentials.expiry())
            .finish_non_exhaustive()
    }
}

/// What one set of credentials signs with in one region on one day.
#[derive(Clone)]
struct Scope {
    date: Date,
    /// The derived key, as the HMAC state that every signature starts from.
    key: Hmac<Sha256>,
    /// `YYYYMMDD/REGION/rds-db/aws4_request`
    credential_scope: String,
    /// The access key id and the credential scope, encoded.
    encoded_credential: String,
}

impl Scope {
    fn new(credentials: &Credentials, region: &str, date: Date) -> Scope {
        let key = generate_signing_key(
            credentials.secret_access_key(),
            date.midnight().assume_utc().into(),
            region,
            SERVICE,
        );
        let credential_scope = format!(
            "{:04}{:02}{:02}/{region}/{SERVICE}/aws4_request",
            date.year(),
            u8::from(date.month()),
            date.day()
        );
        let credential = format!("{}/{credential_scope}", credentials.access_key_id());
        Scope {
            date,
            key: hmac_state(key.as_ref()),
            encoded_credential: percent_encode(&credential).to_string(),
            credential_scope,
        }
    }

    /// The signature, in hexadecimal, of a canonical request.
    fn signature(&self, amz_date: &AmzDate, canonical_request_hash: &Hex) -> Hex {
        let mut hmac = self.key.clone();
        hmac.update(b"AWS4-HMAC-SHA256\n");
        hmac.update(amz_date);
        hmac.update(b"\n");
        hmac.update(self.credential_scope.as_bytes());
        hmac.update(b"\n");
        hmac.update(canonical_request_hash);
        hex(hmac.finalize().into_bytes().into())
    }
}

/// Whether `credentials` signed `token`.
pub(crate) fn has_signed(credentials: &Credentials, token: &Token) -> bool {
    let credential = format!(
        "{CREDENTIAL}{}%2F",
        percent_encode(credentials.access_key_id())
    );
    token.as_str().contains(&credential)
}

fn canonical_request_hash(authority: &str, query: &str) -> Hex {
    let mut sha256 = Sha256::new();
    sha256.update("GET\n/\n");
    sha256.update(query);
    sha256.update("\nhost:");
    sha256.update(authority);
    sha256.update("\n\nhost\n");
    sha256.update(EMPTY_PAYLOAD);
    hex(sha256.finalize().into())
}

fn hmac_state(key: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros. Doing so here leaves no length that it could refuse.
    let mut block = Zeroizing::new([0; 64]);
    for (byte, key_byte) in block.iter_mut().zip(key) {
        *byte = *key_byte;
    }
    Hmac::new((&*block).into())
}

fn date_time(now: SystemTime) -> Result<OffsetDateTime, Error> {
    utc(now).ok_or(Error::ClockOutOfRange { now })
}

fn amz_date(utc: OffsetDateTime) -> AmzDate {
    let (year, month, day) = utc.to_calendar_date();
    let (hour, minute, second) = utc.to_hms();
    let [c0, c1] = two_digits((year / 100) as u8);
    let [y0, y1] = two_digits((year % 100) as u8);
    let [m0, m1] = two_digits(month.into());
    let [d0, d1] = two_digits(day);
    let [h0, h1] = two_digits(hour);
    let [n0, n1] = two_digits(minute);
    let [s0, s1] = two_digits(second);
    [
        c0, c1, y0, y1, m0, m1, d0, d1, b'T', h0, h1, n0, n1, s0, s1, b'Z',
    ]
}

fn two_digits(number: u8) -> [u8; 2] {
    [b'0' + number / 10, b'0' + number % 10]
}

fn hex(bytes: [u8; 32]) -> Hex {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    };
    let mut hex = [0; HEX_LEN];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    hex
}

#[expect(
    clippy::expect_used,
    reason = "no input reaches it: digits and letters that this module wrote"
)]
fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("dates and hexadecimal are ASCII")
}
