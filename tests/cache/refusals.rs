//! `invalidate`: the database refused a token (rule 7 of the contract).

use crate::stage::*;

#[test]
fn a_refused_token_is_dropped_and_the_next_call_fetches_anew() {
    for credentials in [
        keys("old"),
        keys_until("old", s(500)),
        keys_until("old", DAY),
    ] {
        let (stage, token) = Stage::after_a_fetch_of(credentials);
        // A second after an ordinary fetch, which does not hold it back.
        stage.at(s(1));
        stage.cache.invalidate(&jane(), &token);
        assert_eq!(stage.provider.calls(), 1);
        let mut next = stage.waiting_call(&jane());
        assert_eq!(stage.provider.calls(), 2);
        stage.provider.answer(2, keys("new"));
        run([&mut next]);
        assert_same(&next.token(), &signed(&keys("new"), &jane(), s(1)));
        assert_same(&stage.token(&jane()), &next.token());
        // With that the refusal is settled.
        stage.at(s(31));
        assert_eq!(key(&stage.token(&joe())), "new");
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn nobody_is_signed_for_with_the_refused_credentials_while_that_fetch_is_under_way() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    let joes = stage.token(&joe());
    stage.at(s(840));
    let janes = stage.token(&jane());
    assert_differs(&janes, &token);
    stage.cache.invalidate(&jane(), &janes);
    let mut calls = [jane(), jane(), kim()].map(|login| stage.waiting_call(&login));
    // But a token that was not refused and is still usable need not wait.
    assert_same(&stage.token(&joe()), &joes);
    stage.provider.answer(2, keys("new"));
    run(&mut calls);
    for call in &mut calls {
        assert_eq!(key(&call.token()), "new");
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn it_is_the_next_call_for_any_login_that_fetches_anew_but_fresh_tokens_are_not_touched() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    let fresh = stage.token(&joe());
    stage.cache.invalidate(&jane(), &token);
    assert_same(&stage.token(&joe()), &fresh);
    assert_eq!(stage.provider.calls(), 1);
    let mut next = stage.waiting_call(&kim());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("new"));
    run([&mut next]);
    for login in [kim(), jane()] {
        assert_eq!(key(&stage.token(&login)), "new");
    }
    assert_same(&stage.token(&joe()), &fresh);
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn where_the_cache_holds_another_token_by_now_nothing_happens() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(840));
    let renewed = stage.token(&jane());
    // One renewed since, one of another login, and one of other credentials.
    for refused in [
        token,
        stage.token(&joe()),
        signed(&keys("other"), &jane(), s(840)),
    ] {
        stage.cache.invalidate(&jane(), &refused);
        assert_same(&stage.token(&jane()), &renewed);
    }
    stage.at(s(841));
    assert_same(&stage.token(&jane()), &renewed);
    assert_eq!(key(&stage.token(&kim())), "old");
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn where_other_credentials_are_at_hand_by_now_they_sign_without_a_fetch() {
    // The id of the one is the beginning or the end of the other's.
    for (old, new) in [
        ("old", "new"),
        ("akid2", "akid"),
        ("akid", "akid2"),
        ("xakid", "akid"),
    ] {
        let (stage, _) = Stage::after_a_fetch_of(keys(old));
        stage.at(s(100));
        let refused = stage.token(&joe());
        stage.at(s(920));
        stage.provider.answer(2, keys(new));
        stage.token(&jane());
        assert_same(&stage.token(&joe()), &refused);
        stage.cache.invalidate(&joe(), &refused);
        assert_same(&stage.token(&joe()), &signed(&keys(new), &joe(), s(920)));
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn an_access_key_id_is_found_in_its_token_whatever_it_is_written_with() {
    let (stage, token) = Stage::after_a_fetch_of(keys("a/k+i=d é"));
    stage.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_users_name_in_the_token_is_not_taken_for_an_access_key_id() {
    let mischief = login("new/");
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(100));
    let refused = stage.token(&mischief);
    stage.at(s(920));
    stage.provider.answer(2, keys("new"));
    stage.token(&jane());
    stage.cache.invalidate(&mischief, &refused);
    assert_eq!(key(&stage.token(&joe())), "new");
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_token_that_is_not_held_is_refused_like_one_that_is() {
    let (stage, _) = Stage::after_a_fetch_of(keys("old"));
    stage
        .cache
        .invalidate(&joe(), &signed(&keys("old"), &joe(), s(0)));
    let mut next = stage.waiting_call(&joe());
    stage.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_refusal_before_the_first_fetch_asks_for_no_second_one() {
    let stage = Stage::new();
    stage
        .cache
        .invalidate(&jane(), &signed(&keys("akid"), &jane(), s(0)));
    assert_eq!(stage.provider.calls(), 0);
    stage.provider.answer(1, keys("akid"));
    for login in [jane(), joe()] {
        assert_eq!(key(&stage.token(&login)), "akid");
    }
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn should_that_fetch_fail_the_live_ones_sign() {
    for answer in [
        Some(failure()),
        Some(Answer::Panic),
        Some(keys_until("dead", s(1)).into()),
        None,
    ] {
        let (stage, token) = Stage::after_a_fetch_of(keys("old"));
        stage.at(s(1));
        stage.cache.invalidate(&jane(), &token);
        let mut next = stage.waiting_call(&jane());
        match answer {
            Some(answer) => stage.provider.answer(2, answer),
            None => stage.sleeps.end_all(),
        }
        run([&mut next]);
        let expected = signed(&keys("old"), &jane(), s(1));
        assert_same(&next.token(), &expected);
        stage.at(s(2));
        assert_same(&stage.token(&jane()), &expected);
        assert_eq!(stage.provider.calls(), 2);
    }
}

#[test]
fn a_refusal_whose_fetch_failed_fetches_anew_after_30_s() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.cache.invalidate(&jane(), &token);
    stage.provider.answer(2, failure());
    stage.token(&jane());
    stage.at(s(30) - TICK);
    stage.token(&joe());
    assert_eq!(stage.provider.calls(), 2);
    stage.at(s(30));
    stage.provider.answer(3, keys("new"));
    assert_eq!(key(&stage.token(&kim())), "new");
}

#[test]
fn refusals_fetch_at_most_every_30_s() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.at(s(1));
    stage.cache.invalidate(&jane(), &token);
    let mut next = stage.waiting_call(&jane());
    // They count from the start of the fetch.
    stage.at(s(20));
    stage.provider.answer(2, keys("old"));
    run([&mut next]);
    let mut token = next.token();
    for now in [s(21), s(29), s(31) - TICK] {
        stage.at(now);
        stage.cache.invalidate(&jane(), &token);
        token = stage.token(&jane());
        assert_eq!(token.expires_at(), at(s(now.as_secs() + 900)));
        assert_eq!(stage.provider.calls(), 2);
    }
    stage.at(s(31));
    stage.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
}

#[test]
fn a_refusals_fetch_in_the_future_holds_none_back() {
    let (stage, token) = Stage::after_a_fetch_of(keys_until("old", DAY));
    stage.at(s(100));
    stage.cache.invalidate(&jane(), &token);
    stage.provider.answer(2, keys_until("old", DAY));
    let token = stage.token(&jane());
    stage.at(s(99));
    stage.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 3);
}

// Races

#[test]
fn a_fetch_begun_before_the_refusal_does_not_count_even_if_it_brings_other_credentials() {
    for middle in ["old", "middle"] {
        let (stage, token) = Stage::with_a_usable_token(s(60));
        let mut began_before = stage.waiting_call(&jane());
        stage.cache.invalidate(&jane(), &token);
        let mut next = stage.call(&jane());
        stage.provider.answer(2, keys(middle));
        run([&mut began_before]);
        assert_eq!(key(&began_before.token()), middle);
        // Its token is not stored.
        next.waits();
        assert_eq!(stage.provider.calls(), 3);
        stage.provider.answer(3, keys("new"));
        run([&mut next]);
        assert_eq!(key(&next.token()), "new");
        assert_same(&stage.token(&jane()), &next.token());
        assert_eq!(stage.provider.calls(), 3);
    }
}

#[test]
fn a_token_that_is_refused_during_the_wait_is_not_handed_out_when_its_renewal_fails() {
    let (stage, token) = Stage::with_a_usable_token(s(60));
    let mut began_before = stage.waiting_call(&jane());
    stage.cache.invalidate(&jane(), &token);
    stage.provider.answer(2, failure());
    run([&mut began_before]);
    let anew = signed(&keys_until("old", s(900)), &jane(), s(840));
    assert_same(&began_before.token(), &anew);
}

#[test]
fn a_call_that_finds_such_a_fetch_under_way_is_not_content_with_it() {
    let (stage, token) = Stage::with_a_usable_token(s(60));
    let mut began_before = stage.waiting_call(&jane());
    stage.cache.invalidate(&jane(), &token);
    let mut next = stage.waiting_call(&jane());
    assert_eq!(stage.provider.calls(), 2);
    stage.provider.answer(2, keys("middle"));
    run([&mut next, &mut began_before]);
    assert_eq!(stage.provider.calls(), 3);
    next.waits();
    stage.provider.answer(3, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    assert_same(&stage.token(&jane()), &next.token());
    assert_eq!(stage.provider.most_open(), 1);
}

#[test]
fn a_refusal_during_a_refusals_fetch_asks_for_another_when_30_s_have_passed() {
    let (stage, janes) = Stage::after_a_fetch_of(keys("old"));
    let joes = stage.token(&joe());
    stage.cache.invalidate(&jane(), &janes);
    let mut next = stage.waiting_call(&jane());
    stage.cache.invalidate(&joe(), &joes);
    stage.provider.answer(2, keys("middle"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "middle");
    stage.at(s(30) - TICK);
    assert_eq!(key(&stage.token(&joe())), "middle");
    assert_eq!(stage.provider.calls(), 2);
    stage.at(s(30));
    stage.provider.answer(3, keys("new"));
    assert_eq!(key(&stage.token(&kim())), "new");
    assert_eq!(stage.provider.calls(), 3);
}

#[test]
fn one_token_refused_to_many_connections_costs_one_fetch() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.cache.invalidate(&jane(), &token);
    let mut next = stage.waiting_call(&jane());
    // The others are told while the fetch that the first has asked for is under way.
    stage.cache.invalidate(&jane(), &token);
    stage.cache.invalidate(&jane(), &token);
    stage.provider.answer(2, keys("new"));
    run([&mut next]);
    assert_eq!(key(&next.token()), "new");
    for (now, login) in [(s(29), joe()), (s(30), kim())] {
        stage.at(now);
        assert_eq!(key(&stage.token(&login)), "new");
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_late_refusal_does_not_drop_the_good_new_token() {
    let (stage, refused) = Stage::after_a_fetch_of(keys("old"));
    stage.cache.invalidate(&jane(), &refused);
    stage.at(s(1));
    stage.provider.answer(2, keys("new"));
    let new = stage.token(&jane());
    // Other connections of the same pool were refused with the same token.
    for now in [s(1), s(2), s(60)] {
        stage.at(now);
        stage.cache.invalidate(&jane(), &refused);
        assert_same(&stage.token(&jane()), &new);
        assert_eq!(key(&stage.token(&joe())), "new");
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn a_refusals_fetch_that_was_abandoned_goes_on_with_the_next_call() {
    let (stage, token) = Stage::after_a_fetch_of(keys("old"));
    stage.cache.invalidate(&jane(), &token);
    stage.waiting_call(&jane());
    stage.provider.answer(2, keys("new"));
    stage.token(&jane());
    assert_eq!(key(&stage.token(&joe())), "new");
    assert_eq!(stage.provider.calls(), 2);
}
