//! The contract of `TokenCache`: each test is a sentence of it. The clock, the provider and the sleep are in the test's
//! hands and callers are polled by hand, so that what happens is decided, not hoped for.

mod credentials;
mod fetch;
mod refusals;
mod settings;
mod stage;
mod tokens;
mod words;

use rds_iam::{Login, TokenCache, TokenCacheBuilder};

// What the compiler is asked

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
