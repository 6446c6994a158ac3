//! `keep_fresh` (rule 9). The test controls the clock, the provider and the sleeps, and polls `keep_fresh`.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rds_iam::{Login, TimeSource, Token};
use support::harness::*;

/// A `keep_fresh` for jane, and its applied tokens.
struct Keeper {
    call: Call,
    applied: Arc<Mutex<Applied>>,
}

/// When each token was applied, and the token.
type Applied = Vec<(SystemTime, Token)>;

impl Keeper {
    fn new(harness: &Harness) -> Keeper {
        Keeper::with(harness, |_| ())
    }

    /// Calls `act` with each token as well.
    fn with(harness: &Harness, act: impl FnMut(&Token) + Send + 'static) -> Keeper {
        Keeper::of(harness, jane(), act)
    }

    fn of(harness: &Harness, login: Login, mut act: impl FnMut(&Token) + Send + 'static) -> Keeper {
        let (cache, clock) = (harness.cache.clone(), harness.clock.clone());
        let applied = Arc::new(Mutex::new(Vec::new()));
        let tokens = Arc::clone(&applied);
        let apply = move |token: &Token| {
            tokens.lock().unwrap().push((clock.now(), token.clone()));
            act(token);
        };
        let call = Call::new(async move { match cache.keep_fresh(&login, apply).await {} });
        Keeper { call, applied }
    }

    /// Polls `keep_fresh` until it waits.
    fn run(&mut self) {
        run([&mut self.call]);
    }

    fn applied(&self) -> Vec<Token> {
        let applied = self.applied.lock().unwrap();
        applied.iter().map(|(_, token)| token.clone()).collect()
    }

    /// How long the token before was still valid when each token was applied, from the second token on.
    fn validity_left(&self) -> Vec<Duration> {
        let applied = self.applied.lock().unwrap();
        let left = applied.windows(2).map(|pair| {
            let [(_, last), (applied_at, _)] = pair else {
                unreachable!("windows of two")
            };
            last.expires_at().duration_since(*applied_at).unwrap()
        });
        left.collect()
    }

    #[track_caller]
    fn assert_applied(&self, expected: &[Token]) {
        let applied = self.applied();
        assert_eq!(applied.len(), expected.len());
        for (token, expected) in applied.iter().zip(expected) {
            assert_same(token, expected);
        }
    }
}

/// How long `keep_fresh` sleeps now. The sleeps of fetches have ended by then.
fn pause(harness: &Harness) -> Duration {
    *harness
        .sleeps
        .durations()
        .last()
        .expect("`keep_fresh` sleeps")
}

/// Advances the clock by the sleep of `keep_fresh`, and ends the sleep.
fn let_pause_pass(harness: &Harness, keeper: &mut Keeper) {
    harness.advance(pause(harness));
    wake(harness, keeper);
}

/// Ends the sleep of `keep_fresh`, whatever the clock shows.
fn wake(harness: &Harness, keeper: &mut Keeper) {
    harness.sleeps.end(harness.sleeps.durations().len());
    keeper.run();
}

// When a token is applied

#[test]
fn keep_fresh_applies_a_valid_token_at_once() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("akid"));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    keeper.assert_applied(&[signed(&keys("akid"), &jane(), s(0))]);
}

#[test]
fn keep_fresh_applies_the_cached_token() {
    let (harness, token) = Harness::after_a_fetch_of(keys("akid"));
    harness.set_clock(s(100));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    keeper.assert_applied(&[token]);
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn keep_fresh_applies_the_first_token_as_soon_as_the_provider_has_answered() {
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    keeper.assert_applied(&[]);
    harness.provider.answer(1, keys("akid"));
    keeper.run();
    keeper.assert_applied(&[signed(&keys("akid"), &jane(), s(0))]);
}

#[test]
fn keep_fresh_applies_each_new_token_a_margin_before_the_last_token_expires() {
    for margin in [s(60), s(45), s(300)] {
        let harness = Harness::with(|builder| builder.refresh_margin(margin));
        harness.provider.answer(1, keys_until("akid", DAY));
        let mut keeper = Keeper::new(&harness);
        keeper.run();
        while harness.clock.now() < at(s(36_000)) {
            let_pause_pass(&harness, &mut keeper);
        }
        let refreshes = (36_000 / (s(900) - margin).as_secs()) as usize;
        assert_eq!(keeper.validity_left(), vec![margin; refreshes]);
        assert_eq!(harness.provider.calls(), 1);
    }
}

#[test]
fn keep_fresh_applies_each_new_token_a_margin_before_credentials_of_5_minutes_expire() {
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    while harness.clock.now() < at(s(36_000)) {
        if harness.provider.open() > 0 {
            let since_start = harness.clock.now().duration_since(at(s(0))).unwrap();
            let keys = keys_until("akid", since_start + s(300));
            harness.provider.answer(harness.provider.calls(), keys);
            keeper.run();
        }
        let_pause_pass(&harness, &mut keeper);
    }
    assert_eq!(keeper.validity_left(), [s(60); 150 - 1]);
}

/// The SDK's own cache is such a provider. Its buffer is 10 s.
#[test]
fn keep_fresh_applies_each_new_token_in_time_if_the_provider_caches_credentials_until_just_before_expiry()
 {
    for buffer in [2, 5, 10, 15, 20, 25, 29, 31, 60] {
        let harness = Harness::new();
        let mut keeper = Keeper::new(&harness);
        let mut expiry = s(0);
        keeper.run();
        while harness.clock.now() < at(s(36_000)) {
            if harness.provider.open() > 0 {
                let now = harness.clock.now().duration_since(at(s(0))).unwrap();
                if expiry <= now + s(buffer) {
                    expiry = now + s(3600);
                }
                let call = harness.provider.calls();
                harness
                    .provider
                    .answer(call, keys_until(&format!("{expiry:?}"), expiry));
                keeper.run();
            }
            let_pause_pass(&harness, &mut keeper);
        }
        let left = keeper.validity_left();
        assert!(
            left.iter().all(|left| !left.is_zero()),
            "{buffer}: {left:?}"
        );
        // The credentials are replaced every hour, for ten hours.
        assert!(
            harness.provider.calls() < 10 * 10,
            "{}",
            harness.provider.calls()
        );
    }
}

#[test]
fn keep_fresh_applies_no_token_twice() {
    let harness = Harness::new();
    harness.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    for _ in 0..10 {
        let_pause_pass(&harness, &mut keeper);
    }
    assert_eq!(keeper.applied().len(), 1);
}

#[test]
fn keep_fresh_applies_a_token_that_another_caller_has_refreshed() {
    let harness = Harness::new();
    harness.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    harness.set_clock(s(850));
    let refreshed = harness.token(&jane());
    wake(&harness, &mut keeper);
    keeper.assert_applied(&[signed(&keys_until("akid", DAY), &jane(), s(0)), refreshed]);
}

// The wall clock

#[test]
fn keep_fresh_checks_the_wall_clock_at_least_once_a_minute() {
    let harness = Harness::new();
    harness.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    for _ in 0..100 {
        assert!(pause(&harness) <= s(60));
        assert!(!pause(&harness).is_zero());
        let_pause_pass(&harness, &mut keeper);
    }
}

#[test]
fn keep_fresh_applies_a_new_token_after_a_suspend_and_after_the_clock_was_set_back() {
    for now in [s(20_000), s(10_000) - s(3600)] {
        let (harness, _) = Harness::after_a_fetch_of(keys_until("akid", DAY));
        harness.set_clock(s(10_000));
        let mut keeper = Keeper::new(&harness);
        keeper.run();
        harness.set_clock(now);
        wake(&harness, &mut keeper);
        let keys = keys_until("akid", DAY);
        keeper.assert_applied(&[
            signed(&keys, &jane(), s(10_000)),
            signed(&keys, &jane(), now),
        ]);
    }
}

// Failures

/// Lets `failures` fetches fail, and returns the sleep after each failure.
fn pauses_of_failures(harness: &Harness, keeper: &mut Keeper, failures: usize) -> Vec<Duration> {
    let first = harness.provider.calls() + 1;
    for call in first..first + failures {
        harness.provider.answer(call, failure());
    }
    let mut pauses = Vec::new();
    for _ in 0..failures {
        keeper.run();
        pauses.push(pause(harness));
        harness.advance(pause(harness));
        harness.sleeps.end(harness.sleeps.durations().len());
    }
    assert_eq!(harness.provider.calls(), first + failures - 1);
    pauses
}

#[test]
fn keep_fresh_tries_again_1_s_after_a_failure_and_doubles_the_pause_up_to_30_s_minus_jitter() {
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    let pauses = pauses_of_failures(&harness, &mut keeper, 30);
    let longest = [1, 2, 4, 8, 16, 30].map(s).into_iter();
    for (pause, longest) in pauses.iter().zip(longest.chain([s(30)].repeat(24))) {
        assert!(*pause <= longest, "{pauses:?}");
        assert!(*pause >= longest * 3 / 4, "{pauses:?}");
    }
    // The pauses differ, so that programs do not all try again at the same time.
    let longest = &pauses[5..];
    let spread = *longest.iter().max().unwrap() - *longest.iter().min().unwrap();
    assert!(spread > s(1), "{longest:?}");
    keeper.assert_applied(&[]);
}

#[test]
fn keep_fresh_recovers_and_starts_again_with_1_s_after_the_next_failure() {
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    pauses_of_failures(&harness, &mut keeper, 8);
    let expiry = harness.clock.now() + s(30);
    let expiry = expiry.duration_since(at(s(0))).unwrap();
    harness.provider.answer(9, keys_until("new", expiry));
    keeper.run();
    assert_eq!(key(&keeper.applied()[0]), "new");
    // The credentials expire.
    harness.set_clock(expiry);
    wake(&harness, &mut keeper);
    harness.provider.answer(10, failure());
    keeper.run();
    assert!(pause(&harness) <= s(4));
}

#[test]
fn keep_fresh_survives_a_provider_that_fails_panics_or_never_answers() {
    for answer in [Some(failure()), Some(Answer::Panic), None] {
        let harness = Harness::new();
        let mut keeper = Keeper::new(&harness);
        match answer {
            Some(answer) => harness.provider.answer(1, answer),
            None => {
                keeper.run();
                // The fetch times out.
                harness.advance(s(30));
                harness.sleeps.end_all();
            }
        }
        keeper.run();
        harness.provider.answer(2, keys("akid"));
        let_pause_pass(&harness, &mut keeper);
        assert_eq!(key(&keeper.applied()[0]), "akid");
    }
}

#[test]
fn while_refreshes_fail_keep_fresh_tries_again_until_and_when_the_token_expires() {
    let (harness, token) = Harness::with_a_valid_token(s(60));
    let mut keeper = Keeper::new(&harness);
    while harness.clock.now() < at(s(900)) {
        keeper.run();
        if harness.provider.open() > 0 {
            harness.provider.answer(harness.provider.calls(), failure());
            keeper.run();
        }
        // The sleep ends when the token expires, or earlier.
        assert!(harness.clock.now() + pause(&harness) <= token.expires_at());
        let_pause_pass(&harness, &mut keeper);
    }
    assert!(harness.provider.calls() > 4);
    keeper.assert_applied(&[token]);
    harness
        .provider
        .answer(harness.provider.calls(), keys("new"));
    keeper.run();
    assert_eq!(key(&keeper.applied()[1]), "new");
    assert_eq!(keeper.validity_left(), [s(0)]);
}

// Rejections

#[test]
fn keep_fresh_replaces_a_rejected_token_at_once() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    let rejected = keeper.applied().pop().unwrap();
    harness.cache.invalidate(&jane(), &rejected);
    harness.provider.answer(2, keys("new"));
    // No time passes.
    keeper.run();
    keeper.assert_applied(&[rejected, signed(&keys("new"), &jane(), s(0))]);
}

#[test]
fn each_keep_fresh_of_a_login_replaces_a_rejected_token_at_once() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    let mut keepers = [(); 3].map(|()| Keeper::new(&harness));
    keepers.iter_mut().for_each(Keeper::run);
    let rejected = keepers[0].applied().pop().unwrap();
    harness.cache.invalidate(&jane(), &rejected);
    harness.provider.answer(2, keys("new"));
    for keeper in &mut keepers {
        keeper.run();
        keeper.assert_applied(&[rejected.clone(), signed(&keys("new"), &jane(), s(0))]);
    }
    assert_eq!(harness.provider.calls(), 2);
}

#[test]
fn keep_fresh_replaces_a_token_that_is_rejected_while_it_is_applied() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    harness.provider.answer(2, keys("new"));
    let cache = harness.cache.clone();
    let mut keeper = Keeper::with(&harness, move |token| {
        if key(token) == "old" {
            cache.invalidate(&jane(), token);
        }
    });
    keeper.run();
    let expected = ["old", "new"].map(|id| signed(&keys(id), &jane(), s(0)));
    keeper.assert_applied(&expected);
}

#[test]
fn keep_fresh_replaces_a_token_that_is_rejected_during_the_wait_for_a_fetch() {
    let (harness, rejected) = Harness::with_a_valid_token(s(60));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    assert_eq!(harness.provider.open(), 1);
    harness.cache.invalidate(&jane(), &rejected);
    harness.provider.answer(2, keys("middle"));
    harness.provider.answer(3, keys("new"));
    keeper.run();
    let now = s(840);
    let applied = keeper.applied();
    assert_same(applied.last().unwrap(), &signed(&keys("new"), &jane(), now));
}

#[test]
fn keep_fresh_ignores_late_rejections_and_rejections_of_another_login() {
    let harness = Harness::new();
    harness.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    for login in [jane(), joe()] {
        let rejected = signed(&keys("other"), &login, s(0));
        harness.cache.invalidate(&login, &rejected);
    }
    keeper.run();
    assert_eq!(keeper.applied().len(), 1);
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn keep_fresh_ignores_a_rejection_of_the_same_dsql_token_for_another_user() {
    let harness = Harness::new();
    harness.provider.answer(1, keys_until("akid", DAY));
    let [jane, joe] = ["jane", "joe"].map(|user| Login::new(DSQL_HOST, 5432, user).unwrap());
    let [mut janes, mut joes] =
        [&jane, &joe].map(|login| Keeper::of(&harness, login.clone(), |_| ()));
    run([&mut janes.call, &mut joes.call]);
    let rejected = janes.applied().pop().unwrap();
    joes.assert_applied(std::slice::from_ref(&rejected));
    harness.cache.invalidate(&jane, &rejected);
    harness.provider.answer(2, keys("new"));
    run([&mut janes.call, &mut joes.call]);
    assert_eq!(janes.applied().len(), 2);
    joes.assert_applied(&[rejected]);
}

#[test]
fn keep_fresh_replaces_a_rejected_token_by_the_token_of_another_caller_at_once() {
    let (harness, rejected) = Harness::after_a_fetch_of(keys_until("old", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    // During a suspend timers stop, so the sleep has not ended.
    harness.advance(s(3600));
    let refreshed = harness.token(&jane());
    harness.cache.invalidate(&jane(), &rejected);
    keeper.run();
    keeper.assert_applied(&[rejected, refreshed]);
    assert_eq!(harness.provider.calls(), 1);
}

/// A `keep_fresh` with a first token from the start. The clock shows `since_start`. The token and the credentials
/// expire at 900 s.
fn keeper_after(since_start: Duration) -> (Harness, Keeper, Token) {
    let (harness, token) = Harness::after_a_fetch_of(keys_until("old", s(900)));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    harness.set_clock(since_start);
    (harness, keeper, token)
}

#[test]
fn keep_fresh_replaces_a_rejected_token_at_once_during_its_backoff_if_another_caller_has_a_token() {
    let (harness, mut keeper, rejected) = keeper_after(s(900));
    harness.provider.answer(2, failure());
    wake(&harness, &mut keeper);
    harness.provider.answer(3, keys("new"));
    let refreshed = harness.token(&jane());
    harness.cache.invalidate(&jane(), &rejected);
    keeper.run();
    keeper.assert_applied(&[rejected, refreshed]);
    assert_eq!(harness.provider.calls(), 3);
}

/// How many fetches start in ten seconds with a rejection every 100 ms, while the provider fails.
fn fetches_while_rejected(harness: &Harness, keeper: &mut Keeper, rejected: &Token) -> usize {
    let before = harness.provider.calls();
    for call in before + 1..before + 200 {
        harness.provider.answer(call, failure());
    }
    harness.sleeps.end_all();
    keeper.run();
    let start = harness.clock.now();
    for n in 0..100 {
        harness.clock.set(start + n * Duration::from_millis(100));
        harness.cache.invalidate(&jane(), rejected);
        keeper.run();
    }
    harness.provider.calls() - before
}

#[test]
fn rejections_do_not_shorten_the_backoff_of_keep_fresh_if_no_credentials_are_valid() {
    let (harness, mut keeper, token) = keeper_after(s(901));
    assert_eq!(fetches_while_rejected(&harness, &mut keeper, &token), 1);
    // Nor if there never was a token.
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    assert_eq!(fetches_while_rejected(&harness, &mut keeper, &token), 1);
}

#[test]
fn keep_fresh_replaces_a_rejected_token_once_if_refreshes_fail_and_the_cached_credentials_are_valid()
 {
    let (harness, mut keeper, token) = keeper_after(s(850));
    assert_eq!(fetches_while_rejected(&harness, &mut keeper, &token), 1);
    keeper.assert_applied(&[token, signed(&keys_until("old", s(900)), &jane(), s(850))]);
}

#[test]
fn rejections_of_another_login_do_not_make_keep_fresh_fetch_or_apply() {
    let harness = Harness::new();
    let mut keeper = Keeper::new(&harness);
    harness.provider.answer(1, failure());
    keeper.run();
    let joes = signed(&keys("akid"), &joe(), s(0));
    for _ in 0..100 {
        harness.cache.invalidate(&joe(), &joes);
        keeper.run();
    }
    assert_eq!(harness.provider.calls(), 1);
    // Nor if the rejected credentials have signed the tokens of both logins.
    let (harness, token) = Harness::after_a_fetch_of(keys_until("old", DAY));
    let joes = harness.token(&joe());
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    harness.cache.invalidate(&joe(), &joes);
    keeper.run();
    keeper.assert_applied(&[token]);
    assert_eq!(harness.provider.calls(), 1);
}

#[test]
fn keep_fresh_sleeps_60_s_after_a_rejection_if_no_new_credentials_were_fetched() {
    let harness = Harness::new();
    harness.provider.answer(1, keys("old"));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    let rejected = keeper.applied().pop().unwrap();
    harness.advance(s(1));
    harness.cache.invalidate(&jane(), &rejected);
    harness.provider.answer(2, failure());
    keeper.run();
    // The cached credentials have signed again.
    keeper.assert_applied(&[rejected, signed(&keys("old"), &jane(), s(1))]);
    assert_eq!(pause(&harness), s(60));
}

#[test]
fn rejections_of_another_login_do_not_wake_a_keep_fresh_whose_token_was_evicted() {
    let harness = Harness::with(|builder| builder.capacity(1));
    harness.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&harness);
    keeper.run();
    let token = keeper.applied().pop().unwrap();
    harness.advance(s(1));
    let joes = harness.token(&joe());
    for _ in 0..10 {
        harness.cache.invalidate(&joe(), &joes);
        harness.cache.invalidate(&kim(), &joes);
        keeper.run();
    }
    keeper.assert_applied(&[token]);
}
