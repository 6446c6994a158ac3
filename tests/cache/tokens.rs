//! Fresh, valid and expired tokens, failed refreshes, and the wall clock (rules 1, 2, 4 and 5).

use std::time::UNIX_EPOCH;

use rds_iam::{Credentials, Error, Login};

use crate::support::harness::*;

// Fresh

#[test]
fn a_fresh_token_is_returned_at_once_without_a_provider_call() {
    for (margin, fresh_until) in [
        (s(0), s(900)),
        (s(60), s(840)),
        (s(450) - TICK, s(450) + TICK),
    ] {
        let harness = Harness::with(|builder| builder.refresh_margin(margin));
        harness.provider.answer(1, keys("old"));
        let token = harness.token(&jane());
        for now in [TICK, s(1), s(449), fresh_until - TICK] {
            harness.set_clock(now);
            assert_same(&harness.token(&jane()), &token);
        }
        harness.set_clock(fresh_until);
        assert_same(
            &harness.token(&jane()),
            &signed(&keys("old"), &jane(), fresh_until),
        );
        assert_eq!(harness.provider.calls(), 1);
    }
}

#[test]
fn the_refresh_margin_is_60_s_by_default() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.set_clock(s(840) - TICK);
    assert_same(&harness.token(&jane()), &token);
    harness.set_clock(s(840));
    assert_differs(&harness.token(&jane()), &token);
}

#[test]
fn a_tokens_lifetime_counts_from_the_whole_second_of_its_date() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    harness.set_clock(s(1) - TICK);
    let token = harness.token(&jane());
    assert_eq!(token.expires_at(), at(s(900)));
    harness.set_clock(s(840));
    assert_differs(&harness.token(&jane()), &token);
}

#[test]
fn a_fresh_token_is_returned_while_a_fetch_is_in_flight() {
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    harness.set_clock(s(100));
    let fresh = harness.token(&joe());
    harness.set_clock(s(901));
    let _starter = harness.pending_call(&jane());
    assert_same(&harness.token(&joe()), &fresh);
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn every_token_equals_the_token_of_a_signer() {
    let harness = Harness::with(|builder| builder.region("eu-west-3"));
    let credentials = keys_until("old", 3 * DAY);
    harness.provider.answer(1, credentials.clone());
    let hosts = [
        HOST,
        "mydb.abc123xyz.eu-central-1.rds.amazonaws.com",
        DSQL_HOST,
        "localhost",
    ];
    // At 7200 s the UTC day changes.
    for now in [s(0), s(6000), s(7200), DAY + s(7200)] {
        harness.set_clock(now);
        for host in hosts {
            for (port, user) in [(5432, "jane"), (5433, "jane"), (5432, "Jane")] {
                let login = Login::new(host, port, user).unwrap();
                let region = login.region().unwrap_or("eu-west-3");
                let signed_for = login.clone().with_region(region).unwrap();
                assert_same(
                    &harness.token(&login),
                    &signed(&credentials, &signed_for, now),
                );
            }
        }
    }
    assert_eq!(harness.provider.calls(), 1);
}

// Valid

#[test]
fn the_caller_that_starts_a_refresh_waits_for_it() {
    let (harness, _) = Harness::with_a_valid_token(s(60));
    let mut starter = harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 2);
    harness.provider.answer(2, keys("new"));
    run([&mut starter]);
    let refreshed = signed(&keys("new"), &jane(), s(840));
    assert_same(&starter.token(), &refreshed);
    assert_same(&harness.token(&jane()), &refreshed);
}

#[test]
fn callers_that_find_a_fetch_in_flight_get_the_valid_token_at_once() {
    // In both cases a fetch is due when the tokens are no longer fresh, and the credentials are valid.
    for credentials in [keys_until("old", s(950)), keys("old")] {
        let (harness, _) = Harness::after_a_fetch_of(credentials);
        harness.set_clock(s(20));
        let [kims, joes] = [kim(), joe()].map(|login| harness.token(&login));
        harness.set_clock(s(910));
        let mut starter = harness.pending_call(&kim());
        for _ in 0..3 {
            assert_same(&harness.token(&kim()), &kims);
            assert_same(&harness.token(&joe()), &joes);
        }
        starter.assert_pending();
        harness.provider.answer(2, keys("new"));
        run([&mut starter]);
        for login in [kim(), joe()] {
            assert_eq!(key(&harness.token(&login)), "new");
        }
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn a_fetch_whose_caller_was_dropped_or_is_never_polled_again_refreshes_the_tokens() {
    for is_dropped in [false, true] {
        let (harness, token) = Harness::with_a_valid_token(s(60));
        let starter = harness.pending_call(&jane());
        let _never_polled_again = (!is_dropped).then_some(starter);
        assert_same(&harness.token(&jane()), &token);
        harness.provider.answer(2, keys("new"));
        assert_eq!(key(&harness.token(&jane())), "new");
        assert_eq!(key(&harness.token(&joe())), "new");
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn if_a_refresh_fails_the_valid_token_is_returned() {
    for failure in [
        failure(),
        Answer::Panic,
        keys_until("expired", s(840)).into(),
    ] {
        let (harness, token) = Harness::with_a_valid_token(s(60));
        let mut starter = harness.pending_call(&jane());
        harness.provider.answer(2, failure);
        run([&mut starter]);
        assert_same(&starter.token(), &token);
        assert_same(&harness.token(&jane()), &token);
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn a_token_that_expired_during_the_wait_is_not_returned() {
    for (wait, is_valid) in [(s(20) - TICK, true), (s(20), false)] {
        let (harness, token) = Harness::with_a_valid_token(s(20));
        let mut starter = harness.pending_call(&jane());
        harness.advance(wait);
        harness.provider.answer(2, failure());
        run([&mut starter]);
        if is_valid {
            assert_same(&starter.token(), &token);
        } else {
            let error = starter.error();
            assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        }
    }
}

#[test]
fn after_a_failed_refresh_no_fetch_starts_for_5_s() {
    let (harness, token) = Harness::with_a_valid_token(s(60));
    let mut starter = harness.pending_call(&jane());
    // The 5 s count from the failure, not from the start of the fetch.
    harness.advance(s(4));
    harness.provider.answer(2, failure());
    run([&mut starter]);
    for step in [s(0), s(1), s(4) - TICK] {
        harness.advance(step);
        assert_same(&harness.token(&jane()), &token);
        // The 5 s apply to the whole cache, not to each login.
        assert_same(
            &harness.token(&joe()),
            &signed(&keys_until("old", s(900)), &joe(), s(844)),
        );
    }
    assert_eq!(harness.provider.calls(), 2);
    harness.advance(TICK);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 3);
}

#[test]
fn a_failure_in_the_future_delays_no_fetch() {
    let (harness, _) = Harness::with_a_valid_token(s(20));
    let mut starter = harness.pending_call(&jane());
    harness.provider.answer(2, failure());
    run([&mut starter]);
    harness.set_clock(s(860));
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 3);
}

#[test]
fn if_a_refresh_gives_no_later_expiry_the_cached_token_is_returned() {
    for (expiry, is_later) in [
        (s(900) - TICK, false),
        (s(900), false),
        (s(900) + TICK, true),
    ] {
        let (harness, token) = Harness::with_a_valid_token(s(60));
        let mut starter = harness.pending_call(&jane());
        let new = keys_until("new", expiry);
        harness.provider.answer(2, new.clone());
        run([&mut starter]);
        let expected = match is_later {
            true => signed(&new, &jane(), s(840)),
            false => token,
        };
        assert_same(&starter.token(), &expected);
        harness.advance(s(1));
        assert_same(&harness.token(&jane()), &expected);
        // No fetch starts before 30 s have passed.
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn a_token_without_a_later_expiry_does_not_replace_the_token_of_a_concurrent_call() {
    let harness = Harness::new();
    let [mut first, mut second] = [harness.pending_call(&jane()), harness.pending_call(&jane())];
    harness.provider.answer(1, keys_until("short", s(500)));
    run([&mut first]);
    harness.advance(s(1));
    run([&mut second]);
    assert_same(&second.token(), &first.token());
    assert_same(&harness.token(&jane()), &first.token());
}

#[test]
fn credentials_that_expire_in_50_s_do_not_sign_again_at_every_call() {
    let (harness, token) = Harness::after_a_fetch_of(keys_until("old", s(50)));
    for _ in 0..30 {
        assert_same(&harness.token(&jane()), &token);
        harness.advance(s(1));
    }
    assert_eq!(harness.provider.calls(), 1);
}

// No valid token

#[test]
fn cached_valid_credentials_sign_a_new_token_without_a_provider_call() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    for (now, login) in [(s(300), joe()), (s(840), jane()), (s(900), kim())] {
        harness.set_clock(now);
        assert_same(&harness.token(&login), &signed(&keys("old"), &login, now));
    }
    assert_differs(&harness.token(&jane()), &token);
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn while_valid_credentials_are_refreshed_they_sign_for_all_callers_but_the_starter() {
    let (harness, _) = Harness::after_a_fetch_of(keys_until("old", s(900)));
    harness.set_clock(s(500));
    let mut starter = harness.pending_call(&joe());
    for login in [kim(), joe()] {
        let expected = signed(&keys_until("old", s(900)), &login, s(500));
        assert_same(&harness.token(&login), &expected);
    }
    harness.provider.answer(2, keys("new"));
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "new");
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn if_a_fetch_fails_cached_credentials_sign_if_they_are_valid_after_the_wait() {
    for (wait, are_valid) in [(s(20) - TICK, true), (s(20), false)] {
        let old = keys_until("old", s(900));
        let (harness, _) = Harness::after_a_fetch_of(old.clone());
        harness.set_clock(s(880));
        let mut starter = harness.pending_call(&joe());
        harness.advance(wait);
        harness.provider.answer(2, failure());
        run([&mut starter]);
        if are_valid {
            assert_same(&starter.token(), &signed(&old, &joe(), s(899)));
            assert_same(&harness.token(&kim()), &signed(&old, &kim(), s(899)));
            assert_eq!(harness.provider.calls(), 2);
        } else {
            let error = starter.error();
            assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        }
    }
}

#[test]
fn without_valid_credentials_all_callers_wait_for_one_fetch() {
    // A cold cache, and a cache with an expired token and expired credentials.
    let cold = Harness::new();
    let (expired, _) = Harness::after_a_fetch_of(keys_until("old", s(900)));
    expired.set_clock(s(900));
    for harness in [cold, expired] {
        let fetch = harness.provider.calls() + 1;
        let logins = [jane(), joe(), jane(), kim(), joe()];
        let mut calls = logins.each_ref().map(|login| harness.pending_call(login));
        harness.provider.answer(fetch, keys("new"));
        run(&mut calls);
        for (call, login) in calls.iter_mut().zip(&logins) {
            let token = call.token();
            assert_eq!(key(&token), "new");
            assert_same(&token, &harness.token(login));
        }
        assert_eq!(harness.provider.calls(), fetch);
    }
}

#[test]
fn if_a_fetch_fails_all_its_waiters_get_the_error_and_the_next_call_starts_another() {
    let harness = Harness::new();
    let mut calls = [jane(), joe(), jane()].map(|login| harness.pending_call(&login));
    harness.provider.answer(1, failure());
    let [first, others @ ..] = &mut calls;
    run([first]);
    let mut next = harness.pending_call(&kim());
    assert_eq!(harness.provider.calls(), 2);
    // The other waiters get the error as well, although the next fetch has started.
    run(others);
    for call in &mut calls {
        let error = call.error();
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    }
    harness.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn callers_without_a_valid_token_ignore_the_backoff_of_callers_with_a_valid_token() {
    // Jane's token expires later than the credentials of the last fetch.
    let (harness, token) = Harness::with_a_valid_token(s(60));
    harness.provider.answer(2, keys_until("short", s(850)));
    assert_same(&harness.token(&jane()), &token);
    harness.set_clock(s(850));
    assert_same(&harness.token(&jane()), &token);
    assert_eq!(harness.provider.calls(), 2);
    let mut without = harness.pending_call(&joe());
    assert_eq!(harness.provider.calls(), 3);
    assert_same(&harness.token(&jane()), &token);
    harness.provider.answer(3, failure());
    run([&mut without]);
    without.error();
    assert_same(&harness.token(&jane()), &token);
    assert_eq!(harness.provider.calls(), 3);
    harness.pending_call(&joe());
    assert_eq!(harness.provider.calls(), 4);
}

#[test]
fn a_valid_token_that_outlives_the_cached_credentials_is_refreshed_like_any_other() {
    let (harness, token) = Harness::with_a_valid_token(s(60));
    harness.provider.answer(2, keys_until("short", s(850)));
    assert_same(&harness.token(&jane()), &token);
    harness.set_clock(s(870) - TICK);
    assert_same(&harness.token(&jane()), &token);
    harness.set_clock(s(870));
    let mut starter = harness.pending_call(&jane());
    harness.provider.answer(3, keys("new"));
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "new");
}

// The wall clock decides

#[test]
fn after_a_suspend_the_token_is_refreshed() {
    let (harness, token) = Harness::after_a_fetch_of(keys_until("old", s(3600)));
    harness.set_clock(s(3599));
    harness.provider.answer(2, keys("new"));
    let refreshed = harness.token(&jane());
    assert_differs(&refreshed, &token);
    assert_eq!(refreshed.expires_at(), at(s(3599 + 900)));
    harness.set_clock(s(8 * 3600));
    harness.provider.answer(3, keys("newer"));
    assert_eq!(key(&harness.token(&jane())), "newer");
}

#[test]
fn if_the_clock_was_set_back_to_more_than_60_s_before_a_token_was_signed_it_is_signed_again() {
    for now in [s(1000) - TICK, s(940)] {
        let harness = Harness::new();
        harness.set_clock(s(1000));
        harness.provider.answer(1, keys("old"));
        let token = harness.token(&jane());
        harness.set_clock(now);
        assert_same(&harness.token(&jane()), &token);
        assert_eq!(harness.provider.calls(), 1);
    }
    let old = keys_until("old", DAY);
    for now in [s(940) - TICK, s(0)] {
        let (harness, _) = Harness::after_a_fetch_of(old.clone());
        harness.set_clock(s(1000));
        harness.token(&jane());
        harness.set_clock(now);
        let signed_again = signed(&old, &jane(), now);
        assert_same(&harness.token(&jane()), &signed_again);
        // The new token is cached, although the old token expires later.
        assert_same(&harness.token(&jane()), &signed_again);
        assert_eq!(harness.provider.calls(), 1);
    }
}

#[test]
fn a_token_signed_more_than_60_s_in_the_future_is_not_returned_if_its_refresh_fails() {
    for (now, is_valid) in [(s(940), true), (s(940) - TICK, false)] {
        let harness = Harness::with(|builder| builder.refresh_margin(s(120)));
        let old = keys_until("old", s(1050));
        harness.set_clock(s(1000));
        harness.provider.answer(1, old.clone());
        let token = harness.token(&jane());
        harness.set_clock(now);
        harness.provider.answer(2, failure());
        let expected = if is_valid {
            token
        } else {
            signed(&old, &jane(), now)
        };
        assert_same(&harness.token(&jane()), &expected);
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn a_clock_out_of_range_is_an_error_and_no_panic() {
    let [first, last] = ends_of_time();
    for now in [first, UNIX_EPOCH - TICK, last] {
        for expiry in [None, Some(first), Some(UNIX_EPOCH), Some(last)] {
            let harness = Harness::new();
            let credentials = Credentials::new("akid", "secret", None, expiry, "test");
            harness.provider.answer(1, credentials.clone());
            harness.clock.set(now);
            let error = harness.error(&jane());
            let is_expired = expiry.is_some_and(|expiry| expiry <= now);
            assert!(
                match error {
                    Error::ClockOutOfRange { .. } => true,
                    Error::CredentialsExpired { .. } => is_expired,
                    _ => false,
                },
                "{error}"
            );
        }
    }
}
