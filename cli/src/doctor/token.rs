//! The token, and which tools cut it.

use rds_iam::TokenCache;

use super::aws::Aws;
use super::input::Input;
use super::report::{Check, Finding};

pub const CHECKS: [&str; 1] = ["token"];

/// The longest password of tools that cut or reject longer ones. `docs/pools.md` has the sources, and `client/option_file.rs` for MariaDB.
const LIMITS: [(&str, usize); 4] = [
    ("older versions of pgagroal", 256),
    ("PgBouncer before 1.17", 996),
    ("phpMyAdmin", 2000),
    ("option files of MariaDB", 4094),
];

/// Returns a cache that signs with the examined credentials.
pub async fn examine(aws: &Aws, input: &Input, checks: &mut Vec<Check>) -> Option<TokenCache> {
    let [name] = CHECKS;
    let cache = TokenCache::builder(aws.credentials.clone())
        .region(&input.region)
        .build();
    let signed = match cache {
        Ok(cache) => {
            let token = cache.token(&input.endpoint.login).await;
            token.map(|token| (cache, token))
        }
        Err(error) => Err(error),
    };
    let (cache, token) = match signed {
        Ok(signed) => signed,
        Err(error) => {
            checks.push(Check::wrong(name, Finding::of_error(&error)));
            return None;
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
    checks.push(Check::ok(name, text));
    Some(cache)
}
