use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use crate::encoding::{percent_encode, percent_encode_secret};
use crate::{Error, Login, Service, Token, region};

/// RDS accepts a token for 15 minutes after the signing, even if a longer time is requested ([Amazon RDS user
/// guide, *IAM database
/// authentication*](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html)). Aurora DSQL
/// accepts up to a week, if requested ([Aurora DSQL user guide, *Generating an authentication
/// token*](https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html)). This crate requests
/// the same lifetime for both.
pub(crate) const LIFETIME: Duration = Duration::from_secs(900);

// The query between the values. The parameters are sorted, as SigV4 demands. A `Login` has the beginning of the query, and
// the texts before and after the query.
const CREDENTIAL: &str = "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=";
const DATE: &str = "&X-Amz-Date=";
const EXPIRES: &str = "&X-Amz-Expires=900";
const SECURITY_TOKEN: &str = "&X-Amz-Security-Token=";
const SIGNED_HEADERS: &str = "&X-Amz-SignedHeaders=host";
const SIGNATURE: &str = "&X-Amz-Signature=";

/// The length of a SHA-256 hash in hexadecimal.
const HEX_LEN: usize = 64;
type Hex = [u8; HEX_LEN];

/// `HHMMSSZ`
type TimeOfDay = [u8; 7];

/// Signs tokens with one set of credentials in one region, for any service. Pure computation: no clock, no environment, no I/O.
///
/// Make a signer once, for all logins. The signer stores the key of a day and a service, and the texts that do not change from token to
/// token.
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
    /// The query between the date and the signature.
    query_end: Zeroizing<Box<str>>,
    scope: Scope,
}

impl Signer {
    /// Makes a signer with the key of the UTC day of `now`, for Amazon RDS.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidRegion`].
    /// - [`Error::ClockOutOfRange`] if `now` is before 1970 or after 9999.
    pub fn new(credentials: &Credentials, region: &str, now: SystemTime) -> Result<Signer, Error> {
        Signer::for_service(Service::RdsDb, credentials, region, now)
    }

    /// Makes a signer with the key of the UTC day of `now`, for `service`. The signer signs logins of the other service too,
    /// but derives a key for each.
    ///
    /// # Errors
    ///
    /// As [`new`](Signer::new).
    pub fn for_service(
        service: Service,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
    ) -> Result<Signer, Error> {
        region::validate(region)?;
        let made_at = UnixTime::of(now)?;
        let session_token = credentials
            .session_token()
            .filter(|token| !token.is_empty());
        let session_token = session_token.map(percent_encode_secret);
        let query_end = match &session_token {
            Some(session_token) => {
                [EXPIRES, SECURITY_TOKEN, session_token, SIGNED_HEADERS].concat()
            }
            None => [EXPIRES, SIGNED_HEADERS].concat(),
        };
        Ok(Signer {
            scope: Scope::new(service, credentials, region, made_at),
            credentials: credentials.clone(),
            region: region.to_owned(),
            query_end: Zeroizing::new(query_end.into_boxed_str()),
        })
    }

    /// Signs a token for `login`, for this signer's region, even if the login names a different region.
    ///
    /// A call on the signer's own UTC day, with a login of the signer's own service, is cheapest. Any other call derives a
    /// new key.
    ///
    /// # Errors
    ///
    /// - [`Error::CredentialsExpired`] if the credentials' expiry is not after `now`.
    /// - [`Error::ClockOutOfRange`] if `now` is before 1970 or after 9999.
    pub fn sign(&self, login: &Login, now: SystemTime) -> Result<Token, Error> {
        let signed_at = UnixTime::of(now)?;
        let expires_at = expiry_of_token(&self.credentials, signed_at, now)?;
        Ok(Token::new(self.signed_text(login, signed_at), expires_at))
    }

    /// Writes the three texts of SigV4 into the same buffer: first the canonical request, then the string to sign, then the
    /// token.
    ///
    /// The canonical request is exactly as long as the token. So the buffer neither grows nor shrinks, and no
    /// secret bytes are left in freed memory. The token overwrites the other texts.
    fn signed_text(&self, login: &Login, signed_at: UnixTime) -> Box<str> {
        let scope = self.scope_of(login.service(), signed_at);
        let time_of_day = signed_at.time_of_day();
        let time_of_day = ascii(&time_of_day);
        let query = [
            login.query_start(),
            &scope.credential,
            time_of_day,
            &self.query_end,
        ];
        let query_len = query.iter().map(|part| part.len()).sum::<usize>();
        let len = login.token_start().len() + query_len + SIGNATURE.len() + HEX_LEN;

        let mut text = String::with_capacity(len);
        rewrite(&mut text, "GET\n/\n", &query, login.canonical_request_end());
        let request_hash = hex(Sha256::digest(&text).into());
        rewrite(
            &mut text,
            &scope.string_to_sign_start,
            &[time_of_day, &scope.credential_scope_line],
            ascii(&request_hash),
        );
        let hmac = scope.key.clone().chain_update(&text);
        let mut signature = hex(hmac.finalize().into_bytes().into());
        rewrite(&mut text, login.token_start(), &query, SIGNATURE);
        text.push_str(ascii(&signature));
        signature.as_mut_slice().zeroize();
        text.into_boxed_str()
    }

    fn scope_of(&self, service: Service, signed_at: UnixTime) -> Cow<'_, Scope> {
        if service == self.scope.service && signed_at.day() == self.scope.day {
            Cow::Borrowed(&self.scope)
        } else {
            Cow::Owned(Scope::new(
                service,
                &self.credentials,
                &self.region,
                signed_at,
            ))
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("service", &self.scope.service)
            .field("access_key_id", &self.credentials.access_key_id())
            .field("region", &self.region)
            .field("expiry", &self.credentials.expiry())
            .finish_non_exhaustive()
    }
}

/// The key and texts for a service, a set of credentials, a region and a day.
#[derive(Clone)]
struct Scope {
    service: Service,
    /// Days since 1970.
    day: u64,
    /// The derived key, as the HMAC state at the beginning of every signature.
    key: Hmac<Sha256>,
    /// The string to sign up to the time of day.
    string_to_sign_start: String,
    /// The string to sign between the time of day and the hash: the line `YYYYMMDD/REGION/SERVICE/aws4_request`.
    credential_scope_line: String,
    /// The query between the beginning and the time of day.
    credential: String,
}

impl Scope {
    fn new(service: Service, credentials: &Credentials, region: &str, time: UnixTime) -> Scope {
        let date = time.date();
        let date = ascii(&date);
        let credential_scope = format!("{date}/{region}/{service}/aws4_request");
        let credential = format!("{}/{credential_scope}", credentials.access_key_id());
        Scope {
            service,
            day: time.day(),
            key: signing_key(credentials.secret_access_key(), date, region, service),
            string_to_sign_start: format!("AWS4-HMAC-SHA256\n{date}T"),
            credential_scope_line: format!("\n{credential_scope}\n"),
            credential: format!("{CREDENTIAL}{}{DATE}{date}T", percent_encode(&credential)),
        }
    }
}

/// Whole seconds since 1970, in years with four digits, because SigV4 has no date for other years.
#[derive(Clone, Copy)]
struct UnixTime(u64);

impl UnixTime {
    fn of(now: SystemTime) -> Result<UnixTime, Error> {
        /// 9999-12-31T23:59:59Z
        const LAST: u64 = 253_402_300_799;
        match now.duration_since(UNIX_EPOCH) {
            Ok(since_1970) if since_1970.as_secs() <= LAST => Ok(UnixTime(since_1970.as_secs())),
            _ => Err(Error::ClockOutOfRange { now }),
        }
    }

    fn whole_second(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// Days since 1970. Without leap seconds, all days have the same length.
    fn day(self) -> u64 {
        self.0 / 86_400
    }

    /// `HHMMSSZ`
    fn time_of_day(self) -> TimeOfDay {
        let second_of_day = self.0 % 86_400;
        let [h0, h1] = two_digits(second_of_day / 3600);
        let [m0, m1] = two_digits(second_of_day / 60 % 60);
        let [s0, s1] = two_digits(second_of_day % 60);
        [h0, h1, m0, m1, s0, s1, b'Z']
    }

    /// `YYYYMMDD`
    fn date(self) -> [u8; 8] {
        let (year, month, day) = OffsetDateTime::from(self.whole_second()).to_calendar_date();
        let [y0, y1] = two_digits(year as u64 / 100);
        let [y2, y3] = two_digits(year as u64 % 100);
        let [m0, m1] = two_digits(u8::from(month).into());
        let [d0, d1] = two_digits(day.into());
        [y0, y1, y2, y3, m0, m1, d0, d1]
    }
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

fn rewrite(text: &mut String, start: &str, parts: &[&str], end: &str) {
    text.clear();
    text.push_str(start);
    for part in parts {
        text.push_str(part);
    }
    text.push_str(end);
}

/// Returns the expiry of a token that `credentials` sign at `now`.
pub(crate) fn token_expiry(
    credentials: &Credentials,
    now: SystemTime,
) -> Result<SystemTime, Error> {
    expiry_of_token(credentials, UnixTime::of(now)?, now)
}

fn expiry_of_token(
    credentials: &Credentials,
    signed_at: UnixTime,
    now: SystemTime,
) -> Result<SystemTime, Error> {
    // The database counts from the date in the token: a whole second.
    let lifetime_ends = signed_at.whole_second() + LIFETIME;
    match credentials.expiry() {
        Some(expired_at) if expired_at <= now => Err(Error::CredentialsExpired { expired_at }),
        Some(expiry) => Ok(expiry.min(lifetime_ends)),
        None => Ok(lifetime_ends),
    }
}

/// Whether `credentials` signed `token`, by their access key id.
pub(crate) fn has_signed(credentials: &Credentials, token: &Token) -> bool {
    let credential = format!(
        "{CREDENTIAL}{}%2F",
        percent_encode(credentials.access_key_id())
    );
    token.as_str().contains(&credential)
}

/// Derives SigV4's signing key for a day, a region and a service. Returns the HMAC state with this key.
///
/// The function of `aws-sigv4` leaves the secret access key in freed memory.
fn signing_key(
    secret_access_key: &str,
    date: &str,
    region: &str,
    service: Service,
) -> Hmac<Sha256> {
    let secret = Zeroizing::new(["AWS4", secret_access_key].concat());
    [date, region, service.as_str(), "aws4_request"]
        .iter()
        .fold(keyed_hmac(secret.as_bytes()), |key, part| {
            keyed_hmac(&key.chain_update(part).finalize().into_bytes())
        })
}

#[expect(
    clippy::expect_used,
    reason = "no input reaches this: HMAC takes keys of any length"
)]
fn keyed_hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Hexadecimal digits in lower case. Without branches and tables, the compiler handles many bytes at once.
fn hex(bytes: [u8; 32]) -> Hex {
    const LETTERS_AFTER_DIGITS: u8 = b'a' - b'9' - 1;
    let digit = |nibble: u8| b'0' + nibble + u8::from(nibble > 9) * LETTERS_AFTER_DIGITS;
    let mut hex = [0; HEX_LEN];
    let (pairs, _) = hex.as_chunks_mut();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0xf)];
    }
    hex
}

#[expect(
    clippy::expect_used,
    reason = "no input reaches this: digits and letters that this module wrote"
)]
fn ascii(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("dates and hexadecimal are ASCII")
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// AWS's vectors are signed for 450 s. Only one text depends on the lifetime.
    #[test]
    fn dsql_tokens_equal_the_vectors_of_the_sdk() {
        let rows = include_str!("../tests/data/dsql-vectors.jsonl").lines();
        for row in rows.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let text = |name: &str| row[name].as_str().unwrap();
            let keys = [text("access_key"), text("secret_key")];
            let credentials = Credentials::new(keys[0], keys[1], None, None, "test");
            let user = match text("action") {
                "DbConnectAdmin" => "admin",
                _ => "jane",
            };
            let login = Login::new(text("host"), 5432, user).unwrap();
            let now = UNIX_EPOCH + Duration::from_secs(row["epoch"].as_u64().unwrap());
            let mut signer =
                Signer::for_service(Service::Dsql, &credentials, text("region"), now).unwrap();
            let query_end = signer.query_end.replace("=900&", "=450&");
            signer.query_end = Zeroizing::new(query_end.into());
            assert_eq!(signer.sign(&login, now).unwrap().as_str(), text("expected"));
        }
    }
}
