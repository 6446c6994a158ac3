//! `keep_fresh` (rule 10 of the contract): each test is a sentence of it. The clock, the provider and the sleeps are in
//! the test's hands, and it is polled by hand.

#[allow(dead_code, reason = "shared with the tests of the cache")]
#[path = "cache/stage.rs"]
mod stage;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rds_iam::{TimeSource, Token};
use stage::*;

/// A `keep_fresh` for jane, and what it has done.
struct Keeper {
    call: Call,
    applied: Arc<Mutex<Applied>>,
}

/// The tokens, and when each was applied.
type Applied = Vec<(SystemTime, Token)>;

impl Keeper {
    fn new(stage: &Stage) -> Keeper {
        Keeper::with(stage, |_| ())
    }

    /// One that does that as well when it applies a token.
    fn with(stage: &Stage, mut act: impl FnMut(&Token) + Send + 'static) -> Keeper {
        let (cache, clock) = (stage.cache.clone(), stage.clock.clone());
        let applied = Arc::new(Mutex::new(Vec::new()));
        let tokens = Arc::clone(&applied);
        let apply = move |token: &Token| {
            tokens.lock().unwrap().push((clock.now(), token.clone()));
            act(token);
        };
        let call = Call::new(async move { match cache.keep_fresh(&jane(), apply).await {} });
        Keeper { call, applied }
    }

    /// Goes on until it waits.
    fn run(&mut self) {
        run([&mut self.call]);
    }

    fn applied(&self) -> Vec<Token> {
        let applied = self.applied.lock().unwrap();
        applied.iter().map(|(_, token)| token.clone()).collect()
    }

    /// How long the last token had to live when the next was applied, for each but the first.
    fn left(&self) -> Vec<Duration> {
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
    fn has_applied(&self, expected: &[Token]) {
        let applied = self.applied();
        assert_eq!(applied.len(), expected.len());
        for (token, expected) in applied.iter().zip(expected) {
            assert_same(token, expected);
        }
    }
}

/// How long it sleeps now. Fetches sleep as well, but have ended when it does.
fn pause(stage: &Stage) -> Duration {
    *stage.sleeps.durations().last().expect("it sleeps")
}

/// The time passes for which it sleeps.
fn let_pause_pass(stage: &Stage, keeper: &mut Keeper) {
    stage.clock.set(stage.clock.now() + pause(stage));
    wake(stage, keeper);
}

/// Its sleep ends, however late it is by the clock.
fn wake(stage: &Stage, keeper: &mut Keeper) {
    stage.sleeps.end(stage.sleeps.durations().len());
    keeper.run();
}

// When it applies a token

#[test]
fn it_applies_a_valid_token_at_once() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("akid"));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    keeper.has_applied(&[signed(&keys("akid"), &jane(), s(0))]);
}

#[test]
fn it_applies_the_token_that_the_cache_holds() {
    let (stage, token) = Stage::after_a_fetch_of(keys("akid"));
    stage.at(s(100));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    keeper.has_applied(&[token]);
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn it_applies_the_first_token_as_soon_as_the_provider_has_answered() {
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    keeper.has_applied(&[]);
    stage.provider.answer(1, keys("akid"));
    keeper.run();
    keeper.has_applied(&[signed(&keys("akid"), &jane(), s(0))]);
}

#[test]
fn it_applies_each_new_token_a_margin_before_the_last_expires() {
    for margin in [s(60), s(45), s(300)] {
        let stage = Stage::with(|builder| builder.refresh_margin(margin));
        stage.provider.answer(1, keys_until("akid", DAY));
        let mut keeper = Keeper::new(&stage);
        keeper.run();
        while stage.clock.now() < at(s(36_000)) {
            let_pause_pass(&stage, &mut keeper);
        }
        let renewals = (36_000 / (s(900) - margin).as_secs()) as usize;
        assert_eq!(keeper.left(), vec![margin; renewals]);
        assert_eq!(stage.provider.calls(), 1);
    }
}

#[test]
fn so_it_does_where_credentials_live_for_5_minutes() {
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    while stage.clock.now() < at(s(36_000)) {
        if stage.provider.open() > 0 {
            let since_start = stage.clock.now().duration_since(at(s(0))).unwrap();
            let keys = keys_until("akid", since_start + s(300));
            stage.provider.answer(stage.provider.calls(), keys);
            keeper.run();
        }
        let_pause_pass(&stage, &mut keeper);
    }
    assert_eq!(keeper.left(), [s(60); 150 - 1]);
}

/// As the SDK's own cache does, whose buffer is 10 s.
#[test]
fn it_applies_each_new_token_in_time_if_the_provider_hands_out_credentials_until_shortly_before_they_expire()
 {
    for buffer in [2, 5, 10, 15, 20, 25, 29, 31, 60] {
        let stage = Stage::new();
        let mut keeper = Keeper::new(&stage);
        let mut expiry = s(0);
        keeper.run();
        while stage.clock.now() < at(s(36_000)) {
            if stage.provider.open() > 0 {
                let now = stage.clock.now().duration_since(at(s(0))).unwrap();
                if expiry <= now + s(buffer) {
                    expiry = now + s(3600);
                }
                let call = stage.provider.calls();
                stage
                    .provider
                    .answer(call, keys_until(&format!("{expiry:?}"), expiry));
                keeper.run();
            }
            let_pause_pass(&stage, &mut keeper);
        }
        let left = keeper.left();
        assert!(
            left.iter().all(|left| !left.is_zero()),
            "{buffer}: {left:?}"
        );
        // Ten hours, and ten lives of credentials.
        assert!(
            stage.provider.calls() < 10 * 10,
            "{}",
            stage.provider.calls()
        );
    }
}

#[test]
fn it_applies_no_token_twice() {
    let stage = Stage::new();
    stage.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    for _ in 0..10 {
        let_pause_pass(&stage, &mut keeper);
    }
    assert_eq!(keeper.applied().len(), 1);
}

#[test]
fn it_applies_tokens_that_other_callers_have_renewed() {
    let stage = Stage::new();
    stage.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    stage.at(s(850));
    let renewed = stage.token(&jane());
    wake(&stage, &mut keeper);
    keeper.has_applied(&[signed(&keys_until("akid", DAY), &jane(), s(0)), renewed]);
}

// The wall clock

#[test]
fn it_looks_at_the_wall_clock_once_a_minute_at_least() {
    let stage = Stage::new();
    stage.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    for _ in 0..100 {
        assert!(pause(&stage) <= s(60));
        assert!(!pause(&stage).is_zero());
        let_pause_pass(&stage, &mut keeper);
    }
}

#[test]
fn so_it_renews_after_a_suspend_and_after_the_clock_was_set_back() {
    for now in [s(20_000), s(10_000) - s(3600)] {
        let (stage, _) = Stage::after_a_fetch_of(keys_until("akid", DAY));
        stage.at(s(10_000));
        let mut keeper = Keeper::new(&stage);
        keeper.run();
        stage.at(now);
        wake(&stage, &mut keeper);
        let keys = keys_until("akid", DAY);
        keeper.has_applied(&[
            signed(&keys, &jane(), s(10_000)),
            signed(&keys, &jane(), now),
        ]);
    }
}

// Failures

/// The pauses after each of so many failures.
fn pauses_of_failures(stage: &Stage, keeper: &mut Keeper, failures: usize) -> Vec<Duration> {
    let first = stage.provider.calls() + 1;
    for call in first..first + failures {
        stage.provider.answer(call, failure());
    }
    let mut pauses = Vec::new();
    for _ in 0..failures {
        keeper.run();
        pauses.push(pause(stage));
        stage.clock.set(stage.clock.now() + pause(stage));
        stage.sleeps.end(stage.sleeps.durations().len());
    }
    assert_eq!(stage.provider.calls(), first + failures - 1);
    pauses
}

#[test]
fn after_a_failure_it_tries_again_in_1_s_and_then_in_twice_as_long_up_to_30_s_or_a_little_sooner() {
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    let pauses = pauses_of_failures(&stage, &mut keeper, 30);
    let longest = [1, 2, 4, 8, 16, 30].map(s).into_iter();
    for (pause, longest) in pauses.iter().zip(longest.chain([s(30)].repeat(24))) {
        assert!(*pause <= longest, "{pauses:?}");
        assert!(*pause >= longest * 3 / 4, "{pauses:?}");
    }
    // Not all programs at one moment.
    let chosen = &pauses[5..];
    let spread = *chosen.iter().max().unwrap() - *chosen.iter().min().unwrap();
    assert!(spread > s(1), "{chosen:?}");
    keeper.has_applied(&[]);
}

#[test]
fn it_recovers_and_starts_over_with_1_s_when_it_fails_again() {
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    pauses_of_failures(&stage, &mut keeper, 8);
    let expiry = stage.clock.now() + s(30);
    let expiry = expiry.duration_since(at(s(0))).unwrap();
    stage.provider.answer(9, keys_until("new", expiry));
    keeper.run();
    assert_eq!(key(&keeper.applied()[0]), "new");
    // Until those credentials are dead.
    stage.at(expiry);
    wake(&stage, &mut keeper);
    stage.provider.answer(10, failure());
    keeper.run();
    assert!(pause(&stage) <= s(4));
}

#[test]
fn it_survives_a_provider_that_fails_panics_or_never_answers() {
    for answer in [Some(failure()), Some(Answer::Panic), None] {
        let stage = Stage::new();
        let mut keeper = Keeper::new(&stage);
        match answer {
            Some(answer) => stage.provider.answer(1, answer),
            None => {
                keeper.run();
                // The cache gives the fetch up.
                stage.at(s(30));
                stage.sleeps.end_all();
            }
        }
        keeper.run();
        stage.provider.answer(2, keys("akid"));
        let_pause_pass(&stage, &mut keeper);
        assert_eq!(key(&keeper.applied()[0]), "akid");
    }
}

#[test]
fn while_renewals_fail_it_tries_again_until_the_token_expires_and_then_at_once() {
    let (stage, token) = Stage::with_a_usable_token(s(60));
    let mut keeper = Keeper::new(&stage);
    while stage.clock.now() < at(s(900)) {
        keeper.run();
        if stage.provider.open() > 0 {
            stage.provider.answer(stage.provider.calls(), failure());
            keeper.run();
        }
        // Never beyond its expiry.
        assert!(stage.clock.now() + pause(&stage) <= token.expires_at());
        let_pause_pass(&stage, &mut keeper);
    }
    assert!(stage.provider.calls() > 4);
    keeper.has_applied(&[token]);
    stage.provider.answer(stage.provider.calls(), keys("new"));
    keeper.run();
    assert_eq!(key(&keeper.applied()[1]), "new");
    assert_eq!(keeper.left(), [s(0)]);
}

// Refusals

#[test]
fn a_refused_token_is_replaced_at_once() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("old"));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    let refused = keeper.applied().pop().unwrap();
    stage.cache.invalidate(&jane(), &refused);
    stage.provider.answer(2, keys("new"));
    // No time has passed.
    keeper.run();
    keeper.has_applied(&[refused, signed(&keys("new"), &jane(), s(0))]);
}

#[test]
fn so_it_is_for_all_who_keep_it() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("old"));
    let mut keepers = [(); 3].map(|()| Keeper::new(&stage));
    keepers.iter_mut().for_each(Keeper::run);
    let refused = keepers[0].applied().pop().unwrap();
    stage.cache.invalidate(&jane(), &refused);
    stage.provider.answer(2, keys("new"));
    for keeper in &mut keepers {
        keeper.run();
        keeper.has_applied(&[refused.clone(), signed(&keys("new"), &jane(), s(0))]);
    }
    assert_eq!(stage.provider.calls(), 2);
}

#[test]
fn so_is_one_that_is_refused_before_it_sleeps() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("old"));
    stage.provider.answer(2, keys("new"));
    let cache = stage.cache.clone();
    let mut keeper = Keeper::with(&stage, move |token| {
        if key(token) == "old" {
            cache.invalidate(&jane(), token);
        }
    });
    keeper.run();
    let expected = ["old", "new"].map(|id| signed(&keys(id), &jane(), s(0)));
    keeper.has_applied(&expected);
}

#[test]
fn so_is_one_that_is_refused_while_it_waits_for_a_fetch() {
    let (stage, refused) = Stage::with_a_usable_token(s(60));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    assert_eq!(stage.provider.open(), 1);
    stage.cache.invalidate(&jane(), &refused);
    stage.provider.answer(2, keys("middle"));
    stage.provider.answer(3, keys("new"));
    keeper.run();
    let now = s(840);
    let applied = keeper.applied();
    assert_same(applied.last().unwrap(), &signed(&keys("new"), &jane(), now));
}

#[test]
fn a_late_refusal_and_one_of_another_login_change_nothing() {
    let stage = Stage::new();
    stage.provider.answer(1, keys_until("akid", DAY));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    for login in [jane(), joe()] {
        let refused = signed(&keys("other"), &login, s(0));
        stage.cache.invalidate(&login, &refused);
    }
    keeper.run();
    assert_eq!(keeper.applied().len(), 1);
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn a_rejected_token_is_replaced_at_once_if_another_caller_has_refreshed_it_already() {
    let (stage, rejected) = Stage::after_a_fetch_of(keys_until("old", DAY));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    // A suspend: the pause has not ended, because timers stopped.
    stage.at(s(3600));
    let refreshed = stage.token(&jane());
    stage.cache.invalidate(&jane(), &rejected);
    keeper.run();
    keeper.has_applied(&[rejected, refreshed]);
    assert_eq!(stage.provider.calls(), 1);
}

/// A `keep_fresh` that has applied its first token, signed by credentials that expire with it, some time after that.
fn keeper_after(since_start: Duration) -> (Stage, Keeper, Token) {
    let (stage, token) = Stage::after_a_fetch_of(keys_until("old", s(900)));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    stage.at(since_start);
    (stage, keeper, token)
}

#[test]
fn a_rejected_token_is_replaced_at_once_by_one_of_another_caller_between_two_tries() {
    let (stage, mut keeper, rejected) = keeper_after(s(900));
    stage.provider.answer(2, failure());
    wake(&stage, &mut keeper);
    stage.provider.answer(3, keys("new"));
    let refreshed = stage.token(&jane());
    stage.cache.invalidate(&jane(), &rejected);
    keeper.run();
    keeper.has_applied(&[rejected, refreshed]);
    assert_eq!(stage.provider.calls(), 3);
}

/// How many fetches there are in ten seconds of rejections, one each 100 ms, while the provider is down.
fn fetches_while_rejected(stage: &Stage, keeper: &mut Keeper, rejected: &Token) -> usize {
    let before = stage.provider.calls();
    for call in before + 1..before + 200 {
        stage.provider.answer(call, failure());
    }
    stage.sleeps.end_all();
    keeper.run();
    let start = stage.clock.now();
    for n in 0..100 {
        stage.clock.set(start + n * Duration::from_millis(100));
        stage.cache.invalidate(&jane(), rejected);
        keeper.run();
    }
    stage.provider.calls() - before
}

#[test]
fn rejections_do_not_cut_its_backoff_short_if_no_credentials_are_valid() {
    let (stage, mut keeper, token) = keeper_after(s(901));
    assert_eq!(fetches_while_rejected(&stage, &mut keeper, &token), 1);
    // Nor if it never had a token.
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    assert_eq!(fetches_while_rejected(&stage, &mut keeper, &token), 1);
}

#[test]
fn a_token_that_is_rejected_while_refreshes_fail_is_replaced_once_by_one_of_the_cached_credentials()
{
    let (stage, mut keeper, token) = keeper_after(s(850));
    assert_eq!(fetches_while_rejected(&stage, &mut keeper, &token), 1);
    keeper.has_applied(&[token, signed(&keys_until("old", s(900)), &jane(), s(850))]);
}

#[test]
fn rejections_of_another_login_wake_it_not() {
    let stage = Stage::new();
    let mut keeper = Keeper::new(&stage);
    stage.provider.answer(1, failure());
    keeper.run();
    let joes = signed(&keys("akid"), &joe(), s(0));
    for _ in 0..100 {
        stage.cache.invalidate(&joe(), &joes);
        keeper.run();
    }
    assert_eq!(stage.provider.calls(), 1);
    // Nor if it has a token that joe's rejected keys have signed.
    let (stage, token) = Stage::after_a_fetch_of(keys_until("old", DAY));
    let joes = stage.token(&joe());
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    stage.cache.invalidate(&joe(), &joes);
    keeper.run();
    keeper.has_applied(&[token]);
    assert_eq!(stage.provider.calls(), 1);
}

#[test]
fn it_sleeps_on_after_a_refusal_that_it_could_not_heal() {
    let stage = Stage::new();
    stage.provider.answer(1, keys("old"));
    let mut keeper = Keeper::new(&stage);
    keeper.run();
    let refused = keeper.applied().pop().unwrap();
    stage.at(s(1));
    stage.cache.invalidate(&jane(), &refused);
    stage.provider.answer(2, failure());
    keeper.run();
    // The credentials at hand have signed again.
    keeper.has_applied(&[refused, signed(&keys("old"), &jane(), s(1))]);
    assert_eq!(pause(&stage), s(60));
}
