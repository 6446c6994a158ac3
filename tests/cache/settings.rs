//! The builder's settings, how many logins a cache holds (rule 7), and `Debug`.

use std::time::Duration;

use rds_iam::provider::future;
use rds_iam::{Error, Login, ProvideCredentials, TokenCache};

use crate::support::harness::*;

// Regions

#[test]
fn the_region_comes_from_the_login_then_from_the_host_then_from_the_cache() {
    for (host, given, signed_for) in [
        ("localhost", Some("eu-west-1"), "eu-west-1"),
        (HOST, Some("eu-west-1"), "eu-west-1"),
        (HOST, None, "us-east-1"),
        ("localhost", None, "ap-south-2"),
        (
            "mydb.global-abc123xyz.global.rds.amazonaws.com",
            None,
            "ap-south-2",
        ),
    ] {
        let harness = Harness::with(|builder| builder.region("ap-south-2"));
        harness.provider.answer(1, keys("akid"));
        let login = Login::new(host, 5432, "jane").unwrap();
        let login = match given {
            Some(region) => login.with_region(region).unwrap(),
            None => login,
        };
        assert_eq!(region(&harness.token(&login)), signed_for, "{login}");
    }
}

#[test]
fn a_login_without_any_region_is_an_error_that_names_the_host_and_costs_no_provider_call() {
    let harness = Harness::new();
    let login = Login::new("db7.example.com", 5432, "jane").unwrap();
    for _ in 0..2 {
        let error = harness.error(&login);
        assert!(error.to_string().contains("db7.example.com"), "{error}");
        let Error::NoRegion { host } = error else {
            panic!("{error}")
        };
        assert_eq!(host, "db7.example.com");
    }
    assert_eq!(harness.provider.calls(), 0);
}

#[test]
fn each_service_region_endpoint_and_user_has_tokens_of_its_own() {
    let harness = Harness::with(|builder| builder.region("us-east-1"));
    harness.provider.answer(1, keys("akid"));
    let login = |host: &str, port, user: &str| Login::new(host, port, user).unwrap();
    let logins = [
        login("db7", 5432, "jane"),
        login("db7", 5432, "jan"),
        login("db7", 543, "2jane"),
        login("db7", 5433, "jane"),
        login("db", 5432, "jane"),
        login("db7", 5432, "jane").with_region("eu-west-1").unwrap(),
        login("db7", 5432, "jane").with_region("eu-west-2").unwrap(),
        Login::for_dsql("db7", 5432, "jane").unwrap(),
    ];
    for _ in 0..2 {
        for login in &logins {
            let region = login.region().unwrap_or("us-east-1");
            let signed_for = login.clone().with_region(region).unwrap();
            assert_same(
                &harness.token(login),
                &signed(&keys("akid"), &signed_for, s(0)),
            );
        }
        harness.advance(s(1));
    }
}

// The builder

#[test]
fn a_refresh_margin_of_450_s_or_more_is_an_error() {
    for (margin, is_error) in [
        (Duration::ZERO, false),
        (s(450) - TICK, false),
        (s(450), true),
        (s(900), true),
        (Duration::MAX, true),
    ] {
        let builder = TokenCache::builder(keys("akid")).refresh_margin(margin);
        let Err(error) = builder.build() else {
            assert!(!is_error, "{margin:?}");
            continue;
        };
        assert!(is_error, "{margin:?}: {error}");
        assert_invalid_setting(&error, "refresh_margin");
    }
}

#[test]
fn a_capacity_of_0_is_an_error() {
    let build = |capacity| TokenCache::builder(keys("akid")).capacity(capacity).build();
    assert_invalid_setting(&build(0).unwrap_err(), "capacity");
    assert!(build(1).is_ok() && build(usize::MAX).is_ok());
}

#[test]
fn spawn_with_without_a_sleep_is_an_error_because_no_fetch_would_time_out() {
    let builder = || TokenCache::builder(keys("akid")).spawn_with(drop);
    assert_invalid_setting(&builder().build().unwrap_err(), "spawn_with");
    assert!(builder().sleep_impl(Sleeps::default()).build().is_ok());
}

#[track_caller]
fn assert_invalid_setting(error: &Error, name: &str) {
    assert!(error.to_string().contains(name), "{error}");
    let Error::InvalidSetting { setting, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(*setting, name);
}

#[test]
fn a_region_that_cannot_be_one_is_an_error_that_names_it() {
    for given in ["", "US-EAST-1", "us-east-1a", "us east 1"] {
        let error = TokenCache::builder(keys("akid"))
            .region(given)
            .build()
            .unwrap_err();
        let Error::InvalidRegion { region } = error else {
            panic!("{error}")
        };
        assert_eq!(region, given);
    }
}

#[test]
fn the_clock_is_the_systems_by_default() {
    let builder = TokenCache::builder(keys("akid")).sleep_impl(Sleeps::default());
    let cache = by_hand(builder).build().unwrap();
    let token = Call::of(&cache, &jane()).token();
    assert!(token.expires_at() > at(365 * DAY));
}

#[test]
fn clones_share_one_cache() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    let clone = Harness {
        cache: harness.cache.clone(),
        ..Harness::new()
    };
    harness.advance(s(1));
    assert_same(&clone.token(&jane()), &token);
    clone.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 2);
    clone.pending_call(&joe());
    assert_eq!(harness.provider.calls(), 2);
}

// Capacity

/// Gets a token for each of `logins` logins, and returns how many of the tokens are still cached.
fn cached_of(logins: usize, harness: &Harness) -> usize {
    let logins: Vec<_> = (0..logins).map(|n| login(&format!("user{n}"))).collect();
    harness.provider.answer(1, keys("akid"));
    for login in &logins {
        harness.token(login);
    }
    assert_eq!(harness.provider.calls(), 1);
    // From now on no valid credentials are cached. So counting adds no token.
    harness.advance(s(1));
    let rejected = signed(&keys("akid"), &kim(), s(1));
    harness.cache.invalidate(&kim(), &rejected);
    harness.provider.answer(2, keys_until("short", s(2)));
    harness.token(&kim());
    harness.advance(s(1));
    let is_cached = |login: &&Login| {
        harness
            .provider
            .answer(harness.provider.calls() + 1, failure());
        harness.call(login).poll().unwrap().is_ok()
    };
    logins.iter().filter(is_cached).count()
}

#[test]
fn a_cache_holds_at_most_capacity_logins() {
    for capacity in [1, 2, 10, 100, 1001] {
        let harness = Harness::with(|builder| builder.capacity(capacity));
        // Kim's token was added as well, and may have evicted a token.
        let cached = cached_of(3 * capacity, &harness);
        assert!(cached <= capacity, "{cached} of {capacity}");
        assert!(cached >= capacity * 3 / 4, "{cached} of {capacity}");
    }
}

#[test]
fn a_cache_holds_1024_logins_by_default() {
    let cached = cached_of(3000, &Harness::new());
    assert!((768..=1024).contains(&cached), "{cached}");
}

#[test]
fn a_token_that_is_evicted_while_its_caller_waits_is_still_returned_if_the_refresh_fails() {
    let harness = Harness::with(|builder| builder.capacity(1));
    harness.provider.answer(1, keys_until("old", s(900)));
    let token = harness.token(&jane());
    harness.set_clock(s(840));
    harness.provider.answer(2, keys_until("short", s(880)));
    assert_same(&harness.token(&jane()), &token);
    harness.set_clock(s(870));
    let mut starter = harness.pending_call(&jane());
    harness.token(&joe());
    harness.set_clock(s(880));
    harness.provider.answer(3, failure());
    run([&mut starter]);
    assert_same(&starter.token(), &token);
}

#[test]
fn the_least_useful_tokens_are_evicted_first() {
    let harness = Harness::with(|builder| builder.capacity(100));
    harness.provider.answer(1, keys("akid"));
    let useful: Vec<_> = (0..20).map(|n| login(&format!("useful{n}"))).collect();
    let signed: Vec<_> = useful.iter().map(|login| harness.token(login)).collect();
    for second in 1..500 {
        harness.advance(s(1));
        harness.token(&login(&format!("once{second}")));
        for (login, signed) in useful.iter().zip(&signed) {
            assert_same(&harness.token(login), signed);
        }
    }
}

// Debug

/// A provider with a secret in its derived `Debug`.
#[derive(Debug)]
struct Careless {
    _password: &'static str,
}

impl ProvideCredentials for Careless {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(marked_keys(Some(at(s(900))))))
    }
}

#[test]
fn debug_shows_no_secret_of_a_cache_or_its_builder() {
    let provider = Careless {
        _password: SECRETS[2],
    };
    let builder = TokenCache::builder(provider)
        .time_source(Clock::default())
        .sleep_impl(Sleeps::default());
    let builder = by_hand(builder);
    assert_shows_no_secret(&builder, None);
    let cache = builder.build().unwrap();
    assert_shows_no_secret(&cache, None);
    let token = Call::of(&cache, &jane()).token();
    assert!(token.as_str().contains(SECRETS[1]), "a marker in the token");
    assert_shows_no_secret(&(cache, token.clone()), Some(&token));
}

#[test]
fn debug_shows_the_settings_and_how_many_logins_there_are() {
    let builder = TokenCache::builder(marked_keys(Some(at(s(900)))))
        .time_source(Clock::default())
        .sleep_impl(Sleeps::default())
        .region("eu-west-3")
        .refresh_margin(s(77))
        .capacity(55);
    let shown = format!("{builder:?}");
    for part in ["eu-west-3", "77s", "55"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let cache = by_hand(builder).build().unwrap();
    assert!(format!("{cache:?}").contains("logins: 0,"), "{cache:?}");
    Call::of(&cache, &jane()).token();
    let shown = format!("{cache:?}");
    for part in ["logins: 1,", "77s"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
