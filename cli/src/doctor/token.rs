//! The token, and which tools cut it.

use rds_iam::{Credentials, TokenCache};

use super::input::Input;
use super::one_line;
use super::report::Check;

/// The longest password of tools that cut or reject longer ones. `docs/pools.md` has the sources.
const LIMITS: [(&str, usize); 4] = [
    ("older versions of pgagroal", 256),
    ("PgBouncer before 1.17", 996),
    ("phpMyAdmin", 2000),
    ("option files of MariaDB", 4094),
];

/// A cache that signs with the examined credentials.
pub fn cache(credentials: Credentials, input: &Input) -> Result<TokenCache, rds_iam::Error> {
    TokenCache::builder(credentials)
        .region(&input.region)
        .build()
}

pub async fn examine(cache: &TokenCache, input: &Input) -> Check {
    let token = match cache.token(&input.endpoint.login).await {
        Ok(token) => token,
        Err(error) => {
            return Check::wrong("token", one_line(&error), "correct this first");
        }
    };
    let len = token.as_str().len();
    let too_short: Vec<_> = LIMITS
        .iter()
        .filter(|(_, limit)| len > *limit)
        .map(|(tool, limit)| format!("{tool} ({limit})"))
        .collect();
    let text = match too_short[..] {
        [] => format!("{len} bytes"),
        _ => format!("{len} bytes, too long for {}", too_short.join(", ")),
    };
    Check::ok("token", text)
}
