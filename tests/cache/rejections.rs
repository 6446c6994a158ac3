//! `invalidate`: the database rejected a token (rule 6).

use rds_iam::Login;

use crate::support::harness::*;

#[test]
fn a_rejected_token_is_dropped_and_the_next_call_starts_a_fetch() {
    for credentials in [
        keys("old"),
        keys_until("old", s(500)),
        keys_until("old", DAY),
    ] {
        let (harness, token) = Harness::after_a_fetch_of(credentials);
        // An ordinary fetch a second ago does not delay the fetch after a rejection.
        harness.advance(s(1));
        harness.cache.invalidate(&jane(), &token);
        assert_eq!(harness.provider.calls(), 1);
        let mut next = harness.pending_call(&jane());
        assert_eq!(harness.provider.calls(), 2);
        harness.provider.answer(2, keys("new"));
        run([&mut next]);
        assert_same(&next.token(), &signed(&keys("new"), &jane(), s(1)));
        assert_same(&harness.token(&jane()), &next.token());
        // No further fetch follows the rejection.
        harness.advance(s(30));
        assert_eq!(key(&harness.token(&joe())), "new");
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn rejected_credentials_sign_for_no_login_while_their_fetch_is_in_flight() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    let joes = harness.token(&joe());
    harness.set_clock(s(840));
    let janes = harness.token(&jane());
    assert_differs(&janes, &token);
    harness.cache.invalidate(&jane(), &janes);
    let mut calls = [jane(), jane(), kim()].map(|login| harness.pending_call(&login));
    // Joe's token is valid and was not rejected.
    assert_same(&harness.token(&joe()), &joes);
    harness.provider.answer(2, keys("new"));
    run(&mut calls);
    for call in &mut calls {
        assert_eq!(key(&call.token()), "new");
    }
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_rejection_makes_the_next_call_for_any_login_fetch_and_leaves_fresh_tokens_cached() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    let fresh = harness.token(&joe());
    harness.cache.invalidate(&jane(), &token);
    assert_same(&harness.token(&joe()), &fresh);
    assert_eq!(harness.provider.calls(), 1);
    let mut next = harness.pending_call(&kim());
    assert_eq!(harness.provider.calls(), 2);
    harness.provider.answer(2, keys("new"));
    run([&mut next]);
    for login in [kim(), jane()] {
        assert_eq!(key(&harness.token(&login)), "new");
    }
    assert_same(&harness.token(&joe()), &fresh);
    assert_eq!(harness.provider.calls(), 2);
}

/// The user is not part of a DSQL token.
#[test]
fn a_rejection_of_a_dsql_user_leaves_the_same_token_of_another_user_cached() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    let [jane, joe] = ["jane", "joe"].map(|user| Login::new(DSQL_HOST, 5432, user).unwrap());
    let token = harness.token(&jane);
    assert_same(&harness.token(&joe), &token);
    harness.cache.invalidate(&jane, &token);
    assert_same(&harness.token(&joe), &token);
    let mut janes = harness.pending_call(&jane);
    assert_same(&harness.token(&joe), &token);
    harness.provider.answer(2, keys("new"));
    run([&mut janes]);
    assert_eq!(key(&janes.token()), "new");
    assert_same(&harness.token(&joe), &token);
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_rejection_is_ignored_if_another_token_is_cached() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.set_clock(s(840));
    let refreshed = harness.token(&jane());
    // An older token, a token for another login, and a token of other credentials.
    for rejected in [
        token,
        harness.token(&joe()),
        signed(&keys("other"), &jane(), s(840)),
    ] {
        harness.cache.invalidate(&jane(), &rejected);
        assert_same(&harness.token(&jane()), &refreshed);
    }
    harness.advance(s(1));
    assert_same(&harness.token(&jane()), &refreshed);
    assert_eq!(key(&harness.token(&kim())), "old");
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn if_other_credentials_are_cached_after_a_rejection_they_sign_without_a_fetch() {
    // Also if one access key id is the beginning or the end of the other.
    for (old, new) in [
        ("old", "new"),
        ("akid2", "akid"),
        ("akid", "akid2"),
        ("xakid", "akid"),
    ] {
        let (harness, _) = Harness::after_a_fetch_of(keys(old));
        harness.set_clock(s(100));
        let rejected = harness.token(&joe());
        harness.set_clock(s(920));
        harness.provider.answer(2, keys(new));
        harness.token(&jane());
        assert_same(&harness.token(&joe()), &rejected);
        harness.cache.invalidate(&joe(), &rejected);
        assert_same(&harness.token(&joe()), &signed(&keys(new), &joe(), s(920)));
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn an_access_key_id_is_found_in_its_token_whatever_characters_it_has() {
    let (harness, token) = Harness::after_a_fetch_of(keys("a/k+i=d é"));
    harness.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_users_name_in_the_token_is_not_taken_for_an_access_key_id() {
    let mischief = login("new/");
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    harness.set_clock(s(100));
    let rejected = harness.token(&mischief);
    harness.set_clock(s(920));
    harness.provider.answer(2, keys("new"));
    harness.token(&jane());
    harness.cache.invalidate(&mischief, &rejected);
    assert_eq!(key(&harness.token(&joe())), "new");
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_rejected_token_that_is_not_cached_leads_to_a_fetch_as_well() {
    let (harness, _) = Harness::after_a_fetch_of(keys("old"));
    harness
        .cache
        .invalidate(&joe(), &signed(&keys("old"), &joe(), s(0)));
    let mut next = harness.pending_call(&joe());
    harness.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_rejection_before_the_first_fetch_leads_to_no_second_fetch() {
    let harness = Harness::new();
    harness
        .cache
        .invalidate(&jane(), &signed(&keys("akid"), &jane(), s(0)));
    assert_eq!(harness.provider.calls(), 0);
    harness.provider.answer(1, keys("akid"));
    for login in [jane(), joe()] {
        assert_eq!(key(&harness.token(&login)), "akid");
    }
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn if_the_fetch_after_a_rejection_fails_the_cached_credentials_sign() {
    for answer in [
        Some(failure()),
        Some(Answer::Panic),
        Some(keys_until("expired", s(1)).into()),
        None,
    ] {
        let (harness, token) = Harness::after_a_fetch_of(keys("old"));
        harness.advance(s(1));
        harness.cache.invalidate(&jane(), &token);
        let mut next = harness.pending_call(&jane());
        match answer {
            Some(answer) => harness.provider.answer(2, answer),
            None => harness.sleeps.end_all(),
        }
        run([&mut next]);
        let expected = signed(&keys("old"), &jane(), s(1));
        assert_same(&next.token(), &expected);
        harness.advance(s(1));
        assert_same(&harness.token(&jane()), &expected);
        assert_eq!(harness.provider.calls(), 2);
    }
}

#[test]
fn if_the_fetch_after_a_rejection_fails_the_next_fetch_starts_after_30_s() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.cache.invalidate(&jane(), &token);
    harness.provider.answer(2, failure());
    harness.token(&jane());
    harness.advance(s(30) - TICK);
    harness.token(&joe());
    assert_eq!(harness.provider.calls(), 2);
    harness.advance(TICK);
    harness.provider.answer(3, keys("new"));
    assert_eq!(key(&harness.token(&kim())), "new");
}

#[test]
fn rejections_lead_to_a_fetch_every_30_s_at_most() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.set_clock(s(1));
    harness.cache.invalidate(&jane(), &token);
    let mut next = harness.pending_call(&jane());
    // The 30 s count from the start of the fetch, at 1 s.
    harness.set_clock(s(20));
    harness.provider.answer(2, keys("old"));
    run([&mut next]);
    let mut token = next.token();
    for now in [s(21), s(29), s(31) - TICK] {
        harness.set_clock(now);
        harness.cache.invalidate(&jane(), &token);
        token = harness.token(&jane());
        assert_eq!(token.expires_at(), at(s(now.as_secs() + 900)));
        assert_eq!(harness.provider.calls(), 2);
    }
    harness.set_clock(s(31));
    harness.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 3);
}

#[test]
fn a_fetch_after_a_rejection_in_the_future_delays_no_fetch() {
    let (harness, token) = Harness::after_a_fetch_of(keys_until("old", DAY));
    harness.set_clock(s(100));
    harness.cache.invalidate(&jane(), &token);
    harness.provider.answer(2, keys_until("old", DAY));
    let token = harness.token(&jane());
    harness.set_clock(s(99));
    harness.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 3);
}

// Races

#[test]
fn a_fetch_that_was_in_flight_before_a_rejection_does_not_count_even_with_other_credentials() {
    for middle in ["old", "middle"] {
        let (harness, token) = Harness::with_a_valid_token(s(60));
        let mut started_before = harness.pending_call(&jane());
        harness.cache.invalidate(&jane(), &token);
        let mut next = harness.call(&jane());
        harness.provider.answer(2, keys(middle));
        run([&mut started_before]);
        assert_eq!(key(&started_before.token()), middle);
        // The token of the first fetch is not cached.
        next.assert_pending();
        assert_eq!(harness.provider.calls(), 3);
        harness.provider.answer(3, keys("new"));
        run([&mut next]);
        assert_eq!(key(&next.token()), "new");
        assert_same(&harness.token(&jane()), &next.token());
        assert_eq!(harness.provider.calls(), 3);
    }
}

#[test]
fn a_token_that_was_rejected_during_the_wait_is_not_returned_if_the_fetch_fails() {
    let (harness, token) = Harness::with_a_valid_token(s(60));
    let mut started_before = harness.pending_call(&jane());
    harness.cache.invalidate(&jane(), &token);
    harness.provider.answer(2, failure());
    run([&mut started_before]);
    let signed_again = signed(&keys_until("old", s(900)), &jane(), s(840));
    assert_same(&started_before.token(), &signed_again);
}

#[test]
fn a_call_after_a_rejection_does_not_accept_a_fetch_that_was_in_flight_before_it() {
    let (harness, token) = Harness::with_a_valid_token(s(60));
    let mut started_before = harness.pending_call(&jane());
    harness.cache.invalidate(&jane(), &token);
    let mut next = harness.pending_call(&jane());
    assert_eq!(harness.provider.calls(), 2);
    harness.provider.answer(2, keys("middle"));
    run([&mut next, &mut started_before]);
    assert_eq!(harness.provider.calls(), 3);
    next.assert_pending();
    harness.provider.answer(3, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    assert_same(&harness.token(&jane()), &next.token());
    assert_eq!(harness.provider.most_open(), 1);
}

#[test]
fn a_rejection_during_the_fetch_after_another_rejection_leads_to_a_fetch_30_s_later() {
    let (harness, janes) = Harness::after_a_fetch_of(keys("old"));
    let joes = harness.token(&joe());
    harness.cache.invalidate(&jane(), &janes);
    let mut next = harness.pending_call(&jane());
    harness.cache.invalidate(&joe(), &joes);
    harness.provider.answer(2, keys("middle"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "middle");
    harness.advance(s(30) - TICK);
    assert_eq!(key(&harness.token(&joe())), "middle");
    assert_eq!(harness.provider.calls(), 2);
    harness.advance(TICK);
    harness.provider.answer(3, keys("new"));
    assert_eq!(key(&harness.token(&kim())), "new");
    assert_eq!(harness.provider.calls(), 3);
}

#[test]
fn many_rejections_of_one_token_cost_one_fetch() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.cache.invalidate(&jane(), &token);
    let mut next = harness.pending_call(&jane());
    // Other connections report the token while the fetch is in flight.
    harness.cache.invalidate(&jane(), &token);
    harness.cache.invalidate(&jane(), &token);
    harness.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    for (now, login) in [(s(29), joe()), (s(30), kim())] {
        harness.set_clock(now);
        assert_eq!(key(&harness.token(&login)), "new");
    }
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_late_rejection_does_not_drop_the_new_token() {
    let (harness, rejected) = Harness::after_a_fetch_of(keys("old"));
    harness.cache.invalidate(&jane(), &rejected);
    harness.advance(s(1));
    harness.provider.answer(2, keys("new"));
    let new = harness.token(&jane());
    // Other connections of the same pool report the same token.
    for now in [s(1), s(2), s(60)] {
        harness.set_clock(now);
        harness.cache.invalidate(&jane(), &rejected);
        assert_same(&harness.token(&jane()), &new);
        assert_eq!(key(&harness.token(&joe())), "new");
    }
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn a_fetch_after_a_rejection_goes_on_if_its_caller_was_dropped() {
    let (harness, token) = Harness::after_a_fetch_of(keys("old"));
    harness.cache.invalidate(&jane(), &token);
    harness.pending_call(&jane());
    harness.provider.answer(2, keys("new"));
    harness.token(&jane());
    assert_eq!(key(&harness.token(&joe())), "new");
    assert_eq!(harness.provider.calls(), 2);
}
