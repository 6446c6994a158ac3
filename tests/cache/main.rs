//! The rules of the cache. The test controls the clock, the provider and the time limits, runs fetches in its own
//! thread and polls the callers. So each step happens in a fixed order.

mod credentials;
mod errors_and_events;
mod fetch;
mod rejections;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod tokens;

use rds_iam::{Login, TokenCache, TokenCacheBuilder};

// Checked at compile time

const _: () = {
    const fn shared_by_threads<T: Send + Sync + 'static>() {}
    const fn sent_to_threads<T: Send + 'static>() {}
    const fn cloned<T: Clone>() {}
    shared_by_threads::<TokenCache>();
    sent_to_threads::<TokenCacheBuilder>();
    cloned::<TokenCache>();
};

const _: fn(TokenCache, Login) = |cache, login| {
    fn sent_to_threads(_: impl Send + 'static) {}
    sent_to_threads(async move { cache.token(&login).await });
};
