//! Credentials kept and renewed (rule 5 of the contract).

use aws_credential_types::provider::error::CredentialsError;
use rds_iam::{Credentials, Error};

use crate::stage::*;

#[test]
fn credentials_are_renewed_when_they_would_expire_within_a_tokens_lifetime_plus_the_margin() {
    for margin in [s(0), s(60), s(449)] {
        for (expiry, is_due) in [
            (s(1000) + s(900) + margin - TICK, true),
            (s(1000) + s(900) + margin + TICK, false),
        ] {
            let stage = Stage::with(|builder| builder.refresh_margin(margin));
            stage.provider.answer(1, keys_until("old", expiry));
            stage.token(&jane());
            stage.at(s(1000));
            stage.provider.answer(2, keys_until("new", DAY));
            let token = stage.token(&joe());
            assert_eq!(key(&token), if is_due { "new" } else { "old" });
            assert_eq!(token.expires_at(), at(s(1900)));
        }
    }
}

#[test]
fn short_lived_ones_are_asked_for_at_most_every_30_s_and_cap_the_tokens() {
    let stage = Stage::new();
    let mut fetches = Vec::new();
    for second in 0..=100 {
        stage.at(s(second));
        let calls_before = stage.provider.calls();
        stage
            .provider
            .answer(calls_before + 1, keys_until("short", s(second + 500)));
        // Another login each time: the 30 s hold for the cache, not for each login.
        let token = stage.token(&login(&format!("user{second}")));
        if stage.provider.calls() > calls_before {
            fetches.push(second);
        }
        assert_eq!(token.expires_at(), at(s(fetches.last().unwrap() + 500)));
    }
    assert_eq!(fetches, [0, 30, 60, 90]);
}

#[test]
fn the_30_s_count_from_the_start_of_the_fetch() {
    let stage = Stage::new();
    let mut starter = stage.waiting_call(&jane());
    stage.at(s(20));
    stage.provider.answer(1, keys_until("short", s(500)));
    run([&mut starter]);
    stage.at(s(30) - TICK);
    stage.token(&joe());
    assert_eq!(stage.provider.calls(), 1);
    stage.at(s(30));
    stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_fetch_in_the_future_holds_none_back() {
    let stage = Stage::new();
    stage.at(s(100));
    stage.provider.answer(1, keys_until("short", s(500)));
    stage.token(&jane());
    stage.at(s(99));
    stage.waiting_call(&joe());
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_failure_before_the_last_success_holds_none_back() {
    let stage = Stage::new();
    stage.provider.answer(1, failure());
    stage.error(&jane());
    stage.provider.answer(2, keys("old"));
    let token = stage.token(&jane());
    stage.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
}

#[test]
fn kept_ones_that_still_live_sign_when_a_fetch_fails() {
    // Jane's own token has expired since.
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(1000));
    for answer in [failure(), Answer::Panic, keys_until("dead", s(1000)).into()] {
        let fetch = stage.provider.calls() + 1;
        let mut starter = stage.waiting_call(&login(&format!("user{fetch}")));
        assert_eq!(stage.provider.calls(), fetch);
        stage.provider.answer(fetch, answer);
        run([&mut starter]);
        assert_eq!(key(&starter.token()), "old");
        stage.at(s(1000 + 5 * fetch as u64));
    }
    stage.provider.answer(5, failure());
    let token = stage.token(&jane());
    assert_same(&token, &signed(&keys("old"), &jane(), s(1020)));
    assert_eq!(stage.provider.calls(), 5);
}

// Expired on arrival, as IMDS hands them out when it is down

#[test]
fn expired_credentials_are_a_failure_that_says_until_when_they_lived() {
    let (stage_at, on_arrival) = (s(100), s(110));
    for expiry in [s(0), s(100), s(105), s(110)] {
        let stage = Stage::new();
        stage.at(stage_at);
        let mut calls = [jane(), joe()].map(|login| stage.waiting_call(&login));
        stage.at(on_arrival);
        stage.provider.answer(1, keys_until("dead", expiry));
        run(&mut calls);
        for call in &mut calls {
            let error = call.error();
            let Error::CredentialsExpired { expired_at } = error else {
                panic!("{error}")
            };
            assert_eq!(expired_at, at(expiry));
            assert!(error.to_string().contains("2024-08-26T22:0"), "{error}");
        }
        // They are not kept, and the next caller starts anew.
        stage.waiting_call(&jane());
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn expired_credentials_do_not_replace_live_ones() {
    let old = keys_until("old", s(800));
    let (stage, token) = Stage::after_a_fetch_of(old.clone());
    stage.at(s(750));
    stage.provider.answer(2, keys_until("dead", s(749)));
    assert_same(&stage.token(&jane()), &token);
    for now in [s(750), s(755) - TICK] {
        stage.at(now);
        assert_same(&stage.token(&joe()), &signed(&old, &joe(), s(750)));
    }
    assert_eq!(stage.provider.calls(), 2);
    stage.at(s(755));
    stage.provider.answer(3, keys("new"));
    assert_eq!(key(&stage.token(&joe())), "new");
}

#[test]
fn an_expiry_at_the_end_of_time_is_no_panic() {
    let [first, last] = ends_of_time();
    for (expiry, lives) in [(first, false), (last, true)] {
        let stage = Stage::new();
        let credentials = Credentials::new("akid", "secret", None, Some(expiry), "test");
        stage.provider.answer(1, credentials);
        let mut call = stage.call(&jane());
        assert_eq!(call.poll().unwrap().is_ok(), lives);
    }
}

#[test]
fn a_provider_that_gives_a_fetch_up_itself_is_told_of_in_the_same_words() {
    for (timeout, is_as_long) in [(s(30) - TICK, false), (s(30), true), (s(31), true)] {
        let stage = Stage::new();
        let error = CredentialsError::provider_timed_out(timeout);
        stage.provider.answer(1, error);
        match stage.error(&jane()) {
            Error::FetchTimedOut { after } if is_as_long => assert_eq!(after, timeout),
            Error::CredentialsFailed { .. } if !is_as_long => {}
            error => panic!("{timeout:?}: {error}"),
        }
    }
}

// Without expiry

#[test]
fn without_expiry_they_are_asked_for_again_when_a_token_is_renewed_and_they_are_older_than_900_s() {
    for (now, is_due) in [(s(900), false), (s(900) + TICK, true)] {
        for login in [jane(), joe()] {
            let (stage, _) = Stage::after_a_fetch_of(keys("old"));
            stage.at(now);
            stage.provider.answer(2, keys("new"));
            let expected = if is_due { "new" } else { "old" };
            assert_eq!(key(&stage.token(&login)), expected);
        }
    }
}

#[test]
fn rotated_keys_are_picked_up_and_no_fresh_token_asks_for_them() {
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    let mut asked_at = Vec::new();
    for minute in 0..=60 {
        let calls_before = stage.provider.calls();
        stage.at(s(60 * minute));
        stage
            .provider
            .answer(calls_before + 1, keys(&format!("key{minute}")));
        stage.token(&jane());
        if stage.provider.calls() > calls_before {
            asked_at.push(minute);
        }
    }
    // A token is renewed every 14 minutes.
    assert_eq!(asked_at, [28, 56]);
    assert_eq!(key(&stage.token(&jane())), "key56");
}

#[test]
fn without_expiry_they_are_asked_for_again_when_they_were_fetched_in_the_future() {
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    stage.clock.set(at(s(0)) - 365 * DAY);
    stage.provider.answer(2, keys("new"));
    assert_eq!(key(&stage.token(&jane())), "new");
}

#[test]
fn the_secret_of_the_last_fetch_signs_also_where_its_access_key_id_is_the_same() {
    for (secret, session_token) in [("rotated", "session"), ("secret", "rotated")] {
        let (stage, _) = Stage::after_a_fetch_of(keys_until("akid", s(900)));
        let rotated = Credentials::new(
            "akid",
            secret,
            Some(session_token.into()),
            Some(at(DAY)),
            "test",
        );
        stage.at(s(840));
        stage.provider.answer(2, rotated.clone());
        assert_same(&stage.token(&jane()), &signed(&rotated, &jane(), s(840)));
    }
}
