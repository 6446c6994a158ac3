//! What a cache is built with, how much it holds (rule 8 of the contract), and what it shows.

use std::fmt::Debug;
use std::time::Duration;

use aws_credential_types::provider::future;
use rds_iam::{Error, Login, ProvideCredentials, TokenCache};

use crate::stage::*;

// Regions

/// The region that a token was signed for.
fn region(token: &str) -> &str {
    let (_, credential) = token.split_once("&X-Amz-Credential=").unwrap();
    credential.split("%2F").nth(2).unwrap()
}

#[test]
fn the_region_is_the_one_given_with_the_login_else_the_hosts_else_the_caches() {
    for (host, given, signed_for) in [
        ("localhost", Some("eu-west-1"), "eu-west-1"),
        (
            "mydb.abc123xyz.us-east-1.rds.amazonaws.com",
            Some("eu-west-1"),
            "eu-west-1",
        ),
        (
            "mydb.abc123xyz.us-east-1.rds.amazonaws.com",
            None,
            "us-east-1",
        ),
        ("localhost", None, "ap-south-2"),
        (
            "mydb.global-abc123xyz.global.rds.amazonaws.com",
            None,
            "ap-south-2",
        ),
    ] {
        let stage = Stage::with(|builder| builder.region("ap-south-2"));
        stage.provider.answer(1, keys("akid"));
        let login = Login::new(host, 5432, "jane").unwrap();
        let login = match given {
            Some(region) => login.with_region(region).unwrap(),
            None => login,
        };
        assert_eq!(region(stage.token(&login).as_str()), signed_for, "{login}");
    }
}

#[test]
fn else_it_is_an_error_that_names_the_host_and_costs_no_provider_call() {
    let stage = Stage::new();
    let login = Login::new("db7.example.com", 5432, "jane").unwrap();
    for _ in 0..2 {
        let error = stage.error(&login);
        assert!(error.to_string().contains("db7.example.com"), "{error}");
        let Error::NoRegion { host } = error else {
            panic!("{error}")
        };
        assert_eq!(host, "db7.example.com");
    }
    assert_eq!(stage.provider.calls(), 0);
}

#[test]
fn each_region_endpoint_and_user_has_tokens_of_its_own() {
    let stage = Stage::with(|builder| builder.region("us-east-1"));
    stage.provider.answer(1, keys("akid"));
    let login = |host: &str, port, user: &str| Login::new(host, port, user).unwrap();
    let logins = [
        login("db7", 5432, "jane"),
        login("db7", 5432, "jan"),
        login("db7", 543, "2jane"),
        login("db7", 5433, "jane"),
        login("db", 5432, "jane"),
        login("db7", 5432, "jane").with_region("eu-west-1").unwrap(),
        login("db7", 5432, "jane").with_region("eu-west-2").unwrap(),
    ];
    for _ in 0..2 {
        for login in &logins {
            let region = login.region().unwrap_or("us-east-1");
            let signed_for = login.clone().with_region(region).unwrap();
            assert_same(
                &stage.token(login),
                &signed(&keys("akid"), &signed_for, s(0)),
            );
        }
        stage.at(s(1));
    }
}

// The builder

#[test]
fn a_margin_of_450_s_and_more_is_an_error() {
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
fn a_spawn_without_a_sleep_is_an_error_because_nothing_would_end_a_fetch() {
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
fn the_clock_is_the_systems_where_none_is_given() {
    let builder = TokenCache::builder(keys("akid")).sleep_impl(Sleeps::default());
    let cache = by_hand(builder).build().unwrap();
    let token = Call::of(&cache, &jane()).token();
    assert!(token.expires_at() > at(365 * DAY));
}

#[test]
fn clones_share_one_cache() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    let clone = Stage {
        cache: stage.cache.clone(),
        ..Stage::new()
    };
    stage.at(s(1));
    assert_same(&clone.token(&jane()), &token);
    clone.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    clone.waiting_call(&joe());
    assert_eq!(stage.provider.calls(), 2);
}

// Bounded

/// How many of so many logins a cache holds tokens for, when each has been asked for once.
fn held_of(logins: usize, stage: &Stage) -> usize {
    let logins: Vec<_> = (0..logins).map(|n| login(&format!("user{n}"))).collect();
    stage.provider.answer(1, keys("akid"));
    for login in &logins {
        stage.token(login);
    }
    assert_eq!(stage.provider.calls(), 1);
    // From now on there are no live credentials, so that asking adds none.
    stage.at(s(1));
    let refused = signed(&keys("akid"), &kim(), s(1));
    stage.cache.invalidate(&kim(), &refused);
    stage.provider.answer(2, keys_until("short", s(2)));
    stage.token(&kim());
    stage.at(s(2));
    let is_held = |login: &&Login| {
        stage.provider.answer(stage.provider.calls() + 1, failure());
        stage.call(login).poll().unwrap().is_ok()
    };
    logins.iter().filter(is_held).count()
}

#[test]
fn it_holds_at_most_capacity_logins() {
    for capacity in [1, 2, 10, 100, 1001] {
        let stage = Stage::with(|builder| builder.capacity(capacity));
        // Kim's has been added since, for which another may have made room.
        let held = held_of(3 * capacity, &stage);
        assert!(held <= capacity, "{held} of {capacity}");
        assert!(held >= capacity * 3 / 4, "{held} of {capacity}");
    }
}

#[test]
fn it_holds_1024_logins_where_no_capacity_is_given() {
    let held = held_of(3000, &Stage::new());
    assert!((768..=1024).contains(&held), "{held}");
}

#[test]
fn a_token_that_had_to_make_room_during_the_wait_for_its_renewal_is_still_in_hand() {
    let stage = Stage::with(|builder| builder.capacity(1));
    stage.provider.answer(1, keys_until("old", s(900)));
    let token = stage.token(&jane());
    stage.at(s(840));
    stage.provider.answer(2, keys_until("short", s(880)));
    assert_same(&stage.token(&jane()), &token);
    stage.at(s(870));
    let mut starter = stage.waiting_call(&jane());
    stage.token(&joe());
    stage.at(s(880));
    stage.provider.answer(3, failure());
    run([&mut starter]);
    assert_same(&starter.token(), &token);
}

#[test]
fn the_least_useful_go_first() {
    let stage = Stage::with(|builder| builder.capacity(100));
    stage.provider.answer(1, keys("akid"));
    let useful: Vec<_> = (0..20).map(|n| login(&format!("useful{n}"))).collect();
    let signed: Vec<_> = useful.iter().map(|login| stage.token(login)).collect();
    for second in 1..500 {
        stage.at(s(second));
        stage.token(&login(&format!("once{second}")));
        for (login, signed) in useful.iter().zip(&signed) {
            assert_same(&stage.token(login), signed);
        }
    }
}

// What it shows

/// Shows its secret, as a provider with a derived `Debug` does.
#[derive(Debug)]
struct Careless {
    _password: &'static str,
}

impl ProvideCredentials for Careless {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(marked_keys_until(s(900))))
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
    assert_shows_no_secret(&builder, "");
    let cache = builder.build().unwrap();
    assert_shows_no_secret(&cache, "");
    let token = Call::of(&cache, &jane()).token();
    assert!(
        token.as_str().contains(SECRETS[1]),
        "the marker would be seen"
    );
    assert_shows_no_secret(&(cache, token.clone()), signature(&token));
}

#[test]
fn debug_shows_the_settings_and_how_many_logins_there_are() {
    let builder = TokenCache::builder(marked_keys_until(s(900)))
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

fn assert_shows_no_secret(value: &impl Debug, signature: &str) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(
            signature.is_empty() || !shown.contains(signature),
            "{shown}"
        );
    }
}
