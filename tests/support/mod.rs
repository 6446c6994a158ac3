//! Shared by the test binaries: clock, sleeps, providers, logins and tokens, the harness of a cache, runtimes, a
//! listener for events, stand-ins for AWS's services, and tests in a process of their own.
#![allow(
    dead_code,
    reason = "each test binary that includes this module uses a part of it"
)]

pub mod alone;
pub mod aws;
pub mod clock;
pub mod harness;
pub mod log;
pub mod provider;
pub mod runtime;
pub mod sleep;
pub mod tokens;
