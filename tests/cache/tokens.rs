//! Fresh tokens, usable ones, and none (rules 1, 2, 3 and 6 of the contract).

use std::time::UNIX_EPOCH;

use rds_iam::{Credentials, Error, Login};

use crate::stage::*;

// Fresh: more than the margin before it expires

#[test]
fn a_fresh_token_is_returned_at_once_without_a_provider_call() {
    for (margin, fresh_until) in [
        (s(0), s(900)),
        (s(60), s(840)),
        (s(450) - TICK, s(450) + TICK),
    ] {
        let stage = Stage::with(|builder| builder.refresh_margin(margin));
        stage.provider.answer(1, keys("old"));
        let token = stage.token(&jane());
        for now in [TICK, s(1), s(449), fresh_until - TICK] {
            stage.at(now);
            assert_same(&stage.token(&jane()), &token);
        }
        stage.at(fresh_until);
        assert_same(
            &stage.token(&jane()),
            &signed(&keys("old"), &jane(), fresh_until),
        );
        assert_eq!(stage.provider.calls(), 1);
    }
}

#[test]
fn the_margin_is_60_s_where_none_is_given() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(840) - TICK);
    assert_same(&stage.token(&jane()), &token);
    stage.at(s(840));
    assert_differs(&stage.token(&jane()), &token);
}

#[test]
fn a_tokens_life_counts_from_the_whole_second_of_its_date() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("old"));
    stage.at(s(1) - TICK);
    let token = stage.token(&jane());
    assert_eq!(token.expires_at(), at(s(900)));
    stage.at(s(840));
    assert_differs(&stage.token(&jane()), &token);
}

#[test]
fn a_fresh_token_is_returned_while_a_fetch_is_under_way() {
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(100));
    let fresh = stage.token(&joe());
    stage.at(s(901));
    let _starter = stage.waiting_call(&jane());
    assert_same(&stage.token(&joe()), &fresh);
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn every_token_is_the_one_that_a_signer_makes() {
    let stage = Stage::with(|builder| builder.region("eu-west-3"));
    let credentials = keys_until("old", 3 * DAY);
    stage.provider.answer(1, credentials.clone());
    let hosts = [
        "mydb.abc123xyz.us-east-1.rds.amazonaws.com",
        "mydb.abc123xyz.eu-central-1.rds.amazonaws.com",
        "localhost",
    ];
    // At 7200 s another day begins in UTC.
    for now in [s(0), s(6000), s(7200), DAY + s(7200)] {
        stage.at(now);
        for host in hosts {
            for (port, user) in [(5432, "jane"), (5433, "jane"), (5432, "Jane")] {
                let login = Login::new(host, port, user).unwrap();
                let region = login.region().unwrap_or("eu-west-3");
                let signed_for = login.clone().with_region(region).unwrap();
                assert_same(
                    &stage.token(&login),
                    &signed(&credentials, &signed_for, now),
                );
            }
        }
    }
    assert_eq!(stage.provider.calls(), 1);
}

// Usable: not fresh, not expired

#[test]
fn the_caller_that_starts_a_renewal_waits_for_it() {
    let (stage, _) = Stage::with_a_usable_token(s(60));
    let mut starter = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("new"));
    run([&mut starter]);
    let renewed = signed(&keys("new"), &jane(), s(840));
    assert_same(&starter.token(), &renewed);
    assert_same(&stage.token(&jane()), &renewed);
}

#[test]
fn others_that_find_a_fetch_under_way_get_the_usable_token_at_once() {
    // Both are due when the tokens are no longer fresh. The others could sign anew.
    for credentials in [keys_until("old", s(950)), keys("old")] {
        let (stage, _) = Stage::after_a_fetch_of(credentials);
        stage.at(s(20));
        let [kims, joes] = [kim(), joe()].map(|login| stage.token(&login));
        stage.at(s(910));
        let mut starter = stage.waiting_call(&kim());
        for _ in 0..3 {
            assert_same(&stage.token(&kim()), &kims);
            assert_same(&stage.token(&joe()), &joes);
        }
        starter.waits();
        stage.provider.answer(2, keys("new"));
        run([&mut starter]);
        for login in [kim(), joe()] {
            assert_eq!(key(&stage.token(&login)), "new");
        }
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn a_fetch_of_a_caller_that_was_dropped_or_is_never_polled_again_refreshes_the_tokens_all_the_same()
{
    for is_dropped in [false, true] {
        let (stage, token) = Stage::with_a_usable_token(s(60));
        let starter = stage.waiting_call(&jane());
        let _kept_unpolled = (!is_dropped).then_some(starter);
        assert_same(&stage.token(&jane()), &token);
        stage.provider.answer(2, keys("new"));
        assert_eq!(key(&stage.token(&jane())), "new");
        assert_eq!(key(&stage.token(&joe())), "new");
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn if_the_renewal_fails_the_usable_token_is_handed_out() {
    for failure in [failure(), Answer::Panic, keys_until("dead", s(840)).into()] {
        let (stage, token) = Stage::with_a_usable_token(s(60));
        let mut starter = stage.waiting_call(&jane());
        stage.provider.answer(2, failure);
        run([&mut starter]);
        assert_same(&starter.token(), &token);
        assert_same(&stage.token(&jane()), &token);
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn a_token_that_expired_during_the_wait_is_not_handed_out() {
    for (now, is_usable) in [(s(900) - TICK, true), (s(900), false)] {
        let (stage, token) = Stage::with_a_usable_token(s(20));
        let mut starter = stage.waiting_call(&jane());
        stage.at(now);
        stage.provider.answer(2, failure());
        run([&mut starter]);
        if is_usable {
            assert_same(&starter.token(), &token);
        } else {
            let error = starter.error();
            assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        }
    }
}

#[test]
fn after_a_failed_renewal_no_new_fetch_starts_for_5_s() {
    let (stage, token) = Stage::with_a_usable_token(s(60));
    let mut starter = stage.waiting_call(&jane());
    // The failure counts, not the start.
    stage.at(s(844));
    stage.provider.answer(2, failure());
    run([&mut starter]);
    for now in [s(844), s(845), s(849) - TICK] {
        stage.at(now);
        assert_same(&stage.token(&jane()), &token);
        // The 5 s hold for the cache, not for each login.
        assert_same(
            &stage.token(&joe()),
            &signed(&keys_until("old", s(900)), &joe(), s(844)),
        );
    }
    assert_eq!(stage.provider.calls(), 2);
    stage.at(s(849));
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
}

#[test]
fn a_failure_in_the_future_holds_no_fetch_back() {
    let (stage, _) = Stage::with_a_usable_token(s(20));
    let mut starter = stage.waiting_call(&jane());
    stage.provider.answer(2, failure());
    run([&mut starter]);
    stage.at(s(860));
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
}

#[test]
fn a_renewal_that_would_not_live_longer_returns_the_token_in_hand() {
    for (expiry, lives_longer) in [
        (s(900) - TICK, false),
        (s(900), false),
        (s(900) + TICK, true),
    ] {
        let (stage, token) = Stage::with_a_usable_token(s(60));
        let mut starter = stage.waiting_call(&jane());
        let new = keys_until("new", expiry);
        stage.provider.answer(2, new.clone());
        run([&mut starter]);
        let expected = match lives_longer {
            true => signed(&new, &jane(), s(840)),
            false => token,
        };
        assert_same(&starter.token(), &expected);
        stage.at(s(841));
        assert_same(&stage.token(&jane()), &expected);
        // Nor is there a fetch before 30 s have passed.
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn nor_does_one_take_the_place_of_the_token_that_another_call_has_brought_meanwhile() {
    let stage = Stage::new();
    let [mut first, mut second] = [stage.waiting_call(&jane()), stage.waiting_call(&jane())];
    stage.provider.answer(1, keys_until("short", s(500)));
    run([&mut first]);
    stage.at(s(1));
    run([&mut second]);
    assert_same(&second.token(), &first.token());
    assert_same(&stage.token(&jane()), &first.token());
}

#[test]
fn credentials_of_fifty_seconds_do_not_sign_anew_at_every_call() {
    let (stage, token) = Stage::after_a_fetch_of(keys_until("old", s(50)));
    for now in 0..30 {
        stage.at(s(now));
        assert_same(&stage.token(&jane()), &token);
    }
    assert_eq!(stage.provider.calls(), 1);
}

// No usable token

#[test]
fn live_credentials_at_hand_sign_a_new_token_without_a_provider_call() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    for (now, login) in [(s(300), joe()), (s(840), jane()), (s(900), kim())] {
        stage.at(now);
        assert_same(&stage.token(&login), &signed(&keys("old"), &login, now));
    }
    assert_differs(&stage.token(&jane()), &token);
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn while_live_credentials_are_renewed_they_sign_for_all_but_the_caller_that_waits() {
    let (stage, _) = Stage::after_a_fetch_of(keys_until("old", s(900)));
    stage.at(s(500));
    let mut starter = stage.waiting_call(&joe());
    for login in [kim(), joe()] {
        let expected = signed(&keys_until("old", s(900)), &login, s(500));
        assert_same(&stage.token(&login), &expected);
    }
    stage.provider.answer(2, keys("new"));
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "new");
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn if_their_renewal_fails_live_credentials_sign_if_they_still_live_after_the_wait() {
    for (now, live) in [(s(900) - TICK, true), (s(900), false)] {
        let old = keys_until("old", s(900));
        let (stage, _) = Stage::after_a_fetch_of(old.clone());
        stage.at(s(880));
        let mut starter = stage.waiting_call(&joe());
        stage.at(now);
        stage.provider.answer(2, failure());
        run([&mut starter]);
        if live {
            assert_same(&starter.token(), &signed(&old, &joe(), s(899)));
            assert_same(&stage.token(&kim()), &signed(&old, &kim(), s(899)));
            assert_eq!(stage.provider.calls(), 2);
        } else {
            let error = starter.error();
            assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
        }
    }
}

#[test]
fn where_there_are_no_live_credentials_all_wait_for_one_fetch() {
    // Cold, and with a token and credentials that have expired.
    let cold = Stage::new();
    let (expired, _) = Stage::after_a_fetch_of(keys_until("old", s(900)));
    expired.at(s(900));
    for stage in [cold, expired] {
        let fetch = stage.provider.calls() + 1;
        let logins = [jane(), joe(), jane(), kim(), joe()];
        let mut calls = logins.each_ref().map(|login| stage.waiting_call(login));
        stage.provider.answer(fetch, keys("new"));
        run(&mut calls);
        for (call, login) in calls.iter_mut().zip(&logins) {
            let token = call.token();
            assert_eq!(key(&token), "new");
            assert_same(&token, &stage.token(login));
        }
        assert_eq!(stage.provider.calls(), fetch);
    }
}

#[test]
fn if_it_fails_all_who_waited_get_that_failure_and_the_next_caller_starts_anew() {
    let stage = Stage::new();
    let mut calls = [jane(), joe(), jane()].map(|login| stage.waiting_call(&login));
    stage.provider.answer(1, failure());
    let [first, others @ ..] = &mut calls;
    run([first]);
    let mut next = stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 2);
    // Those who had not been polled since get the failure that they waited for, too.
    run(others);
    for call in &mut calls {
        let error = call.error();
        assert!(matches!(error, Error::CredentialsFailed { .. }), "{error}");
    }
    stage.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
}

#[test]
fn callers_without_a_usable_token_do_not_wait_for_the_pauses_of_those_with_one() {
    // Jane's token outlives the credentials that were fetched last.
    let (stage, token) = Stage::with_a_usable_token(s(60));
    stage.provider.answer(2, keys_until("short", s(850)));
    assert_same(&stage.token(&jane()), &token);
    stage.at(s(850));
    assert_same(&stage.token(&jane()), &token);
    assert_eq!(stage.provider.calls(), 2);
    let mut without = stage.waiting_call(&joe());
    assert_eq!(stage.provider.calls(), 3);
    assert_same(&stage.token(&jane()), &token);
    stage.provider.answer(3, failure());
    run([&mut without]);
    without.error();
    assert_same(&stage.token(&jane()), &token);
    assert_eq!(stage.provider.calls(), 3);
    stage.waiting_call(&joe());
    assert_eq!(stage.provider.calls(), 4);
}

#[test]
fn a_usable_token_that_outlives_the_credentials_at_hand_is_renewed_as_any_other() {
    let (stage, token) = Stage::with_a_usable_token(s(60));
    stage.provider.answer(2, keys_until("short", s(850)));
    assert_same(&stage.token(&jane()), &token);
    stage.at(s(870) - TICK);
    assert_same(&stage.token(&jane()), &token);
    stage.at(s(870));
    let mut starter = stage.waiting_call(&jane());
    stage.provider.answer(3, keys("new"));
    run([&mut starter]);
    assert_eq!(key(&starter.token()), "new");
}

// The wall clock decides

#[test]
fn after_a_suspend_the_token_is_renewed() {
    let (stage, token) = Stage::after_a_fetch_of(keys_until("old", s(3600)));
    stage.at(s(3599));
    stage.provider.answer(2, keys("new"));
    let renewed = stage.token(&jane());
    assert_differs(&renewed, &token);
    assert_eq!(renewed.expires_at(), at(s(3599 + 900)));
    stage.at(s(8 * 3600));
    stage.provider.answer(3, keys("newer"));
    assert_eq!(key(&stage.token(&jane())), "newer");
}

#[test]
fn where_the_clock_has_gone_back_to_more_than_60_s_before_a_token_was_signed_it_is_signed_anew() {
    for now in [s(1000) - TICK, s(940)] {
        let stage = Stage::new();
        stage.at(s(1000));
        stage.provider.answer(1, keys("old"));
        let token = stage.token(&jane());
        stage.at(now);
        assert_same(&stage.token(&jane()), &token);
        assert_eq!(stage.provider.calls(), 1);
    }
    let old = keys_until("old", DAY);
    for now in [s(940) - TICK, s(0)] {
        let (stage, _) = Stage::after_a_fetch_of(old.clone());
        stage.at(s(1000));
        stage.token(&jane());
        stage.at(now);
        let anew = signed(&old, &jane(), now);
        assert_same(&stage.token(&jane()), &anew);
        // It takes the other's place, although that one expires later.
        assert_same(&stage.token(&jane()), &anew);
        assert_eq!(stage.provider.calls(), 1);
    }
}

#[test]
fn nor_is_such_a_token_handed_out_when_its_renewal_fails() {
    for (now, is_usable) in [(s(940), true), (s(940) - TICK, false)] {
        let stage = Stage::with(|builder| builder.refresh_margin(s(120)));
        let old = keys_until("old", s(1050));
        stage.at(s(1000));
        stage.provider.answer(1, old.clone());
        let token = stage.token(&jane());
        stage.at(now);
        stage.provider.answer(2, failure());
        let expected = if is_usable {
            token
        } else {
            signed(&old, &jane(), now)
        };
        assert_same(&stage.token(&jane()), &expected);
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn a_clock_out_of_range_is_an_error_and_no_panic() {
    let [first, last] = ends_of_time();
    for now in [first, UNIX_EPOCH - TICK, last] {
        for expiry in [None, Some(first), Some(UNIX_EPOCH), Some(last)] {
            let stage = Stage::new();
            let credentials = Credentials::new("akid", "secret", None, expiry, "test");
            stage.provider.answer(1, credentials.clone());
            stage.clock.set(now);
            let error = stage.error(&jane());
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
