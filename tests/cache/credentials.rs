//! When a fetch is due, and what happens to the credentials (rules 2 and 3).

use rds_iam::{Credentials, CredentialsError, Error};

use crate::support::harness::*;

#[test]
fn a_fetch_is_due_if_the_credentials_expire_within_a_tokens_lifetime_plus_the_margin() {
    for margin in [s(0), s(60), s(449)] {
        for (expiry, is_due) in [
            (s(1000) + s(900) + margin - TICK, true),
            (s(1000) + s(900) + margin + TICK, false),
        ] {
            let harness = Harness::with(|builder| builder.refresh_margin(margin));
            harness.provider.answer(1, keys_until("old", expiry));
            harness.token(&jane());
            harness.set_clock(s(1000));
            harness.provider.answer(2, keys_until("new", DAY));
            let token = harness.token(&joe());
            assert_eq!(key(&token), if is_due { "new" } else { "old" });
            assert_eq!(token.expires_at(), at(s(1900)));
        }
    }
}

#[test]
fn short_lived_credentials_are_fetched_every_30_s_at_most_and_limit_the_tokens_expiry() {
    let harness = Harness::new();
    let mut fetches = Vec::new();
    for second in 0..=100 {
        harness.set_clock(s(second));
        let calls_before = harness.provider.calls();
        harness
            .provider
            .answer(calls_before + 1, keys_until("short", s(second + 500)));
        // A new login each time, because the 30 s apply to the whole cache, not to each login.
        let token = harness.token(&login(&format!("user{second}")));
        if harness.provider.calls() > calls_before {
            fetches.push(second);
        }
        assert_eq!(token.expires_at(), at(s(fetches.last().unwrap() + 500)));
    }
    assert_eq!(fetches, [0, 30, 60, 90]);
}

#[test]
fn the_30_s_between_fetches_count_from_the_start_of_the_fetch() {
    let harness = Harness::new();
    let mut starter = harness.pending_call(&jane());
    harness.advance(s(20));
    harness.provider.answer(1, keys_until("short", s(500)));
    run([&mut starter]);
    harness.advance(s(10) - TICK);
    harness.token(&joe());
    assert_eq!(harness.provider.calls(), 1);
    harness.advance(TICK);
    harness.pending_call(&kim());
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_fetch_in_the_future_delays_no_fetch() {
    let harness = Harness::new();
    harness.set_clock(s(100));
    harness.provider.answer(1, keys_until("short", s(500)));
    harness.token(&jane());
    harness.set_clock(s(99));
    harness.pending_call(&joe());
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_failure_before_the_last_success_delays_no_fetch() {
    let harness = Harness::new();
    harness.provider.answer(1, failure());
    harness.error(&jane());
    harness.provider.answer(2, keys("old"));
    let token = harness.token(&jane());
    harness.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 3);
}

#[test]
fn cached_credentials_sign_after_each_kind_of_failed_fetch() {
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    // Jane's token has expired.
    harness.set_clock(s(1000));
    for answer in [
        failure(),
        Answer::Panic,
        keys_until("expired", s(1000)).into(),
    ] {
        let fetch = harness.provider.calls() + 1;
        let mut starter = harness.pending_call(&login(&format!("user{fetch}")));
        assert_eq!(harness.provider.calls(), fetch);
        harness.provider.answer(fetch, answer);
        run([&mut starter]);
        assert_eq!(key(&starter.token()), "old");
        harness.set_clock(s(1000 + 5 * fetch as u64)); // the backoff has ended
    }
    harness.provider.answer(5, failure());
    let token = harness.token(&jane());
    assert_same(&token, &signed(&keys("old"), &jane(), s(1020)));
    assert_eq!(harness.provider.calls(), 5);
}

// Expired on arrival, as IMDS returns them during an outage

#[test]
fn expired_credentials_are_a_failure_that_reports_their_expiry() {
    for expiry in [s(0), s(100), s(105), s(110)] {
        let harness = Harness::new();
        harness.set_clock(s(100));
        let mut calls = [jane(), joe()].map(|login| harness.pending_call(&login));
        harness.advance(s(10));
        harness.provider.answer(1, keys_until("expired", expiry));
        run(&mut calls);
        for call in &mut calls {
            let error = call.error();
            let Error::CredentialsExpired { expired_at } = error else {
                panic!("{error}")
            };
            assert_eq!(expired_at, at(expiry));
            assert!(error.to_string().contains("2024-08-26T22:0"), "{error}");
        }
        // They are not cached, and the next caller starts another fetch.
        harness.pending_call(&jane());
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn expired_credentials_do_not_replace_valid_ones() {
    let old = keys_until("old", s(800));
    let (harness, token) = Harness::after_a_fetch_of(old.clone());
    harness.set_clock(s(750));
    harness.provider.answer(2, keys_until("expired", s(749)));
    assert_same(&harness.token(&jane()), &token);
    for now in [s(750), s(755) - TICK] {
        harness.set_clock(now);
        assert_same(&harness.token(&joe()), &signed(&old, &joe(), s(750)));
    }
    assert_eq!(harness.provider.calls(), 2);
    harness.set_clock(s(755));
    harness.provider.answer(3, keys("new"));
    assert_eq!(key(&harness.token(&joe())), "new");
}

#[test]
fn an_expiry_at_the_end_of_time_is_no_panic() {
    let [first, last] = ends_of_time();
    for (expiry, is_valid) in [(first, false), (last, true)] {
        let harness = Harness::new();
        let credentials = Credentials::new("akid", "secret", None, Some(expiry), "test");
        harness.provider.answer(1, credentials);
        let mut call = harness.call(&jane());
        assert_eq!(call.poll().unwrap().is_ok(), is_valid);
    }
}

#[test]
fn a_timeout_of_the_provider_itself_is_reported_as_a_fetch_that_timed_out() {
    for (timeout, is_as_long) in [(s(30) - TICK, false), (s(30), true), (s(31), true)] {
        let harness = Harness::new();
        let error = CredentialsError::provider_timed_out(timeout);
        harness.provider.answer(1, error);
        match harness.error(&jane()) {
            Error::FetchTimedOut { after } if is_as_long => assert_eq!(after, timeout),
            Error::CredentialsFailed { .. } if !is_as_long => {}
            error => panic!("{timeout:?}: {error}"),
        }
    }
}

// Without an expiry

#[test]
fn credentials_without_an_expiry_are_fetched_again_after_900_s_when_a_token_is_refreshed() {
    for (now, is_due) in [(s(900), false), (s(900) + TICK, true)] {
        for login in [jane(), joe()] {
            let (harness, _) = Harness::after_a_fetch_of(keys("old"));
            harness.set_clock(now);
            harness.provider.answer(2, keys("new"));
            let expected = if is_due { "new" } else { "old" };
            assert_eq!(key(&harness.token(&login)), expected);
        }
    }
}

#[test]
fn rotated_keys_are_noticed_when_a_token_is_refreshed_and_not_while_it_is_fresh() {
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    let mut fetched_at = Vec::new();
    for minute in 0..=60 {
        let calls_before = harness.provider.calls();
        harness.set_clock(s(60 * minute));
        harness
            .provider
            .answer(calls_before + 1, keys(&format!("key{minute}")));
        harness.token(&jane());
        if harness.provider.calls() > calls_before {
            fetched_at.push(minute);
        }
    }
    // A token is refreshed every 14 minutes.
    assert_eq!(fetched_at, [28, 56]);
    assert_eq!(key(&harness.token(&jane())), "key56");
}

#[test]
fn credentials_without_an_expiry_are_fetched_again_if_the_last_fetch_is_in_the_future() {
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    harness.clock.set(at(s(0)) - 365 * DAY);
    harness.provider.answer(2, keys("new"));
    assert_eq!(key(&harness.token(&jane())), "new");
}

#[test]
fn the_secret_of_the_last_fetch_signs_even_if_the_access_key_id_is_the_same() {
    for (secret, session_token) in [("rotated", "session"), ("secret", "rotated")] {
        let (harness, _) = Harness::after_a_fetch_of(keys_until("akid", s(900)));
        let rotated = Credentials::new(
            "akid",
            secret,
            Some(session_token.into()),
            Some(at(DAY)),
            "test",
        );
        harness.set_clock(s(840));
        harness.provider.answer(2, rotated.clone());
        assert_same(&harness.token(&jane()), &signed(&rotated, &jane(), s(840)));
    }
}
