//! Every rule of time, failure and belief: what a plugin answers, what is asked when, what comes.

use tokio::time::sleep_until;

use super::*;
use crate::model::{Fallback, Guard};

/// Asks at these milliseconds, gets these answers; so many calls were made in the end.
async fn scenario(
    what: &str,
    policy: ValuePolicy,
    replies: impl IntoIterator<Item = Reply>,
    asks: &[(u64, &str)],
    calls: u64,
) {
    let (scripted, query) = (Scripted::new(replies), external("shop", "depth", ""));
    let (cached, start) = (cached(scripted.clone(), &policy), Instant::now());
    for (millis, expected) in asks {
        sleep_until(start + Duration::from_millis(*millis)).await;
        settled().await;
        assert_eq!(ask(&cached, &query).await, *expected, "{what}, at {millis} ms");
    }
    settled().await;
    assert_eq!(scripted.calls(), calls, "{what}");
}

fn policy(ttl: u64, stale_for: u64) -> ValuePolicy {
    let (ttl, stale_for) = (Duration::from_secs(ttl), Duration::from_secs(stale_for));
    ValuePolicy { ttl, stale_for, ..ValuePolicy::default() }
}

fn with_fallback(stale_for: u64) -> ValuePolicy {
    let fallback = Fallback { value: Quantity::integer(5), after_failures: 3, lasts: Duration::from_secs(60) };
    ValuePolicy { fallback: Some(fallback), ..policy(1, stale_for) }
}

fn guarded(min: i64, max: Option<i64>, factor: Option<&str>) -> ValuePolicy {
    let guard = Guard {
        min: Quantity::integer(min),
        max: max.map(Quantity::integer),
        max_change_factor: factor.map(|factor| factor.parse().unwrap()),
    };
    ValuePolicy { guard: Some(guard), ..policy(1, 10) }
}

const DOWN: Reason = Reason::Unavailable;

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_for_its_ttl() {
    let replies = || [Reply::good("1"), Reply::good("2"), Reply::good("3")];
    scenario("ttl", policy(1, 60), replies(), &[(0, "1 miss"), (999, "1 hit"), (1000, "2 miss"), (2000, "3 miss")], 3)
        .await;
    let slow = [Reply::good("1").after(500), Reply::good("2")];
    scenario("ttl counts from the answer", policy(1, 60), slow, &[(0, "1 miss"), (1499, "1 hit"), (1500, "2 miss")], 2)
        .await;
    scenario("without ttl", policy(0, 60), replies(), &[(0, "1 miss"), (0, "2 miss"), (1, "3 miss")], 3).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_twice_in_a_ttl_is_fetched_before_it_ends() {
    let replies = [Reply::good("1").after(200), Reply::good("2").after(200), Reply::good("3").after(200)];
    // The second call begins one ttl after the first began, at 1000, and is there when the first answer ends, at 1200.
    let asks = [
        (0, "1 miss"),
        (300, "1 hit"),
        (400, "1 hit"),
        (1199, "1 hit"),
        (1200, "2 hit"),
        (1500, "2 hit"),
        (2199, "2 hit"),
        (2200, "3 hit"),
    ];
    scenario("refresh", policy(1, 60), replies.clone(), &asks, 3).await;
    let seldom = [(0, "1 miss"), (500, "1 hit"), (1300, "2 miss"), (2000, "2 hit"), (2600, "3 miss")];
    scenario("asked once per ttl", policy(1, 60), replies, &seldom, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_shows_when_the_answer_ends() {
    let replies = [Reply::good("1"), Reply::fails(DOWN).after(100), Reply::good("2")];
    let asks = [
        (0, "1 miss"),
        (100, "1 hit"),
        (200, "1 hit"),
        (999, "1 hit"),
        (1050, "1 stale"),
        (1500, "1 stale"),
        (2200, "2 miss"),
    ];
    scenario("refresh fails", policy(1, 60), replies, &asks, 3).await;
}

#[tokio::test(start_paused = true)]
async fn stale_answers_stand_in_for_failures_and_end() {
    let replies = [Reply::good("1"), Reply::fails(DOWN)];
    let asks = [
        (0, "1 miss"),
        (5000, "1 stale"),
        (20_000, "1 stale"),
        (60_999, "1 stale"),
        (61_000, "unavailable back-off"),
        (80_000, "unavailable miss"),
    ];
    scenario("stale", policy(1, 60), replies.clone(), &asks, 5).await;
    let asks = [(0, "1 miss"), (1000, "unavailable miss"), (1500, "unavailable back-off")];
    scenario("without stale", policy(1, 0), replies, &asks, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_plugin_is_asked_less_and_less_and_again_within_one_period() {
    let asks = [
        (0, "unavailable miss"),
        (999, "unavailable back-off"),
        (1000, "unavailable miss"),
        (2999, "unavailable back-off"),
        (3000, "unavailable miss"),
        (6999, "unavailable back-off"),
        (7000, "unavailable miss"),
        (14_999, "unavailable back-off"),
        (15_000, "unavailable miss"),
        (22_999, "unavailable back-off"),
        (23_000, "1 miss"),
        (24_100, "unavailable miss"),
        (25_099, "unavailable back-off"),
        (25_100, "2 miss"),
    ];
    let mut replies = vec![Reply::fails(DOWN); 5];
    replies.extend([Reply::good("1"), Reply::fails(DOWN), Reply::good("2")]);
    scenario("back-off", policy(1, 0), replies, &asks, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_kept_by_the_adapter_and_bounded() {
    let limited = |seconds| [Reply::fails_for(Reason::RateLimited, seconds), Reply::good("1")];
    let asks = [(0, "rate-limited miss"), (29_999, "rate-limited back-off"), (30_000, "1 miss")];
    scenario("retry-after", policy(1, 60), limited(30), &asks, 2).await;
    let asks = [(0, "rate-limited miss"), (299_999, "rate-limited back-off"), (300_000, "1 miss")];
    scenario("an endless retry-after", policy(1, 60), limited(86_400), &asks, 2).await;
    let stale = [Reply::good("1"), Reply::fails_for(Reason::RateLimited, 30), Reply::good("2")];
    let asks = [(0, "1 miss"), (2000, "1 stale"), (31_999, "1 stale"), (32_000, "2 miss")];
    scenario("retry-after and stale", policy(1, 60), stale, &asks, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_of_the_metric_in_its_namespace_and_of_no_other() {
    let replies = [Reply::fails_for(Reason::RateLimited, 30), Reply::good("1")];
    let scripted = Scripted::new(replies);
    let cached = cached(scripted.clone(), &policy(1, 60));
    assert_eq!(ask(&cached, &external("shop", "depth", "queue=a")).await, "rate-limited miss");
    assert_eq!(ask(&cached, &external("shop", "depth", "queue=b")).await, "rate-limited back-off");
    assert_eq!(scripted.calls(), 1, "another selector is the same metric");
    let view = cached.view_external(&external("shop", "depth", "queue=b"));
    assert_eq!(view.back_off, Some(Duration::from_secs(30)));
    assert_eq!(ask(&cached, &external("shop", "age", "")).await, "1 miss");
    assert_eq!(ask(&cached, &external("billing", "depth", "queue=a")).await, "1 miss");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_an_answer_and_nothing_stands_in_for_it() {
    for reason in [Reason::MetricNotFound, Reason::ObjectNotFound, Reason::BadRequest] {
        let word = reason.as_str();
        let (miss, hit) = (format!("{word} miss"), format!("{word} hit"));
        let replies = [Reply::good("1"), Reply::fails(reason), Reply::fails(DOWN)];
        let asks = [(0, "1 miss"), (1000, miss.as_str()), (1999, hit.as_str()), (2000, "unavailable miss")];
        // The value before it is not taken up again afterwards either.
        scenario(word, policy(1, 60), replies, &asks, 3).await;
        let asks: Vec<(u64, &str)> = (0..10).map(|second| (second * 1000, miss.as_str())).collect();
        scenario(word, with_fallback(60), [Reply::fails(reason)], &asks, 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_fallback_comes_after_failures_in_a_row_and_for_its_time() {
    let asks = [
        (0, "unavailable miss"),
        (1000, "unavailable miss"),
        (3000, "5 fallback"),
        (6999, "5 fallback"),
        (30_000, "5 fallback"),
        (62_999, "5 fallback"),
        (63_000, "unavailable back-off"),
        (90_000, "unavailable miss"),
        (120_000, "unavailable miss"),
    ];
    scenario("fallback", with_fallback(60), [Reply::fails(DOWN)], &asks, 7).await;
    let mut replies = vec![Reply::fails(DOWN); 2];
    replies.push(Reply::good("1"));
    replies.extend(vec![Reply::fails(DOWN); 3]);
    let asks = [
        (0, "unavailable miss"),
        (1000, "unavailable miss"),
        (3000, "1 miss"),
        (4000, "unavailable miss"),
        (5000, "unavailable miss"),
        (7000, "5 fallback"),
    ];
    scenario("an answer starts the count anew", with_fallback(0), replies, &asks, 6).await;
    let replies = [Reply::good("1"), Reply::fails(DOWN)];
    let asks = [
        (0, "1 miss"),
        (1000, "1 stale"),
        (2000, "1 stale"),
        (4000, "1 stale"),
        (8000, "1 stale"),
        (11_000, "5 fallback"),
    ];
    scenario("what is stale comes before what is made up", with_fallback(10), replies, &asks, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_for_one_value_alone() {
    let policy = with_fallback(0);
    let cached = cached(Scripted::new([Reply::fails(DOWN)]), &policy);
    let (one, all) =
        (custom(ObjectSelection::Named("web-1".to_owned())), custom(ObjectSelection::Selected(Selector::everything())));
    for _ in 0..3 {
        sleep(Duration::from_secs(10)).await;
        ask_custom(&cached, &one).await;
        ask_custom(&cached, &all).await;
    }
    assert_eq!(ask_custom(&cached, &one).await, "5 fallback");
    assert_eq!(ask_custom(&cached, &all).await, "unavailable back-off");
    let answer = cached.custom(&one).await.unwrap();
    assert_eq!(answer.samples[0].object, "web-1");
}

#[tokio::test(start_paused = true)]
async fn a_value_is_never_answered_older_than_max_age() {
    let asks = [(0, "1 miss"), (999, "1 hit"), (2000, "2 miss")];
    scenario("old enough", policy(1, 60), [Reply::aged("1", 290), Reply::good("2")], &asks, 2).await;
    let asks = [(0, "unavailable miss"), (500, "unavailable back-off"), (1000, "2 miss")];
    scenario("an old value in a fresh answer", policy(1, 60), [Reply::aged("1", 302), Reply::good("2")], &asks, 2)
        .await;
    // It is 296 s old when it comes: after 4 s it is no more, whatever ttl and staleFor say.
    let replies = [Reply::aged("1", 296), Reply::fails(DOWN)];
    let asks = [(0, "1 miss"), (3900, "1 hit"), (4100, "unavailable miss")];
    scenario("growing old in the cache", policy(60, 60), replies.clone(), &asks, 2).await;
    let asks = [(0, "1 miss"), (3900, "1 stale"), (4100, "unavailable back-off")];
    scenario("growing old as a stand-in", policy(1, 60), replies, &asks, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_from_the_future_is_not_believed() {
    scenario("a little", policy(1, 60), [Reply::ahead("1", 50)], &[(0, "1 miss")], 1).await;
    scenario("far", policy(1, 60), [Reply::ahead("1", 120)], &[(0, "unavailable miss")], 1).await;
    scenario("microseconds", policy(1, 60), [Reply::ahead("1", 1 << 40)], &[(0, "unavailable miss")], 1).await;
}

#[tokio::test(start_paused = true)]
async fn values_out_of_bounds_are_refused_as_failures() {
    let replies = |odd: &str| [Reply::good("7"), Reply::good(odd), Reply::good("8")];
    for (what, policy, odd) in [
        ("below min", guarded(1, None, None), "999m"),
        ("negative", guarded(0, None, None), "-1n"),
        ("above max", guarded(0, Some(10), None), "10000000001n"),
        ("a leap up", guarded(0, None, Some("10")), "70001m"),
        ("a leap down", guarded(0, None, Some("10")), "699m"),
        ("a change of sign", guarded(-10, None, Some("10")), "-7"),
    ] {
        let asks = [(0, "7 miss"), (1000, "7 stale"), (1999, "7 stale"), (2000, "8 miss")];
        scenario(what, policy, replies(odd), &asks, 3).await;
    }
    for (what, policy, odd) in [
        ("no guard", policy(1, 10), "-1"),
        ("a guard that allows it", guarded(-1, None, None), "-1"),
        ("just max", guarded(0, Some(10), None), "10"),
        ("just the factor", guarded(0, None, Some("10")), "70"),
        ("just the factor down", guarded(0, None, Some("10")), "700m"),
        ("to zero", guarded(0, None, Some("10")), "0"),
    ] {
        let expected = format!("{odd} miss");
        scenario(what, policy, replies(odd), &[(0, "7 miss"), (1000, &expected)], 2).await;
    }
    scenario(
        "from zero",
        guarded(0, None, Some("10")),
        [Reply::good("0"), Reply::good("900")],
        &[(0, "0 miss"), (1000, "900 miss")],
        2,
    )
    .await;
    scenario(
        "one series of three",
        guarded(0, Some(10), None),
        [Reply::series(&["1", "11", "2"])],
        &[(0, "unavailable miss")],
        1,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_lasts_is_believed_in_the_end() {
    let replies = [Reply::good("1"), Reply::good("100")];
    let asks = [
        (0, "1 miss"),
        (1000, "1 stale"),
        (4000, "1 stale"),
        (8000, "1 stale"),
        (10_999, "1 stale"),
        (15_000, "100 miss"),
        (16_000, "100 miss"),
    ];
    scenario("a step", guarded(0, None, Some("10")), replies, &asks, 6).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_name_the_rule_and_never_the_value() {
    let refused = |policy: ValuePolicy, replies: Vec<Reply>| async move {
        let cached = cached(Scripted::new(replies), &policy);
        let query = external("shop", "depth", "");
        let mut error = cached.external(&query).await;
        if error.is_ok() {
            sleep(policy.ttl).await;
            error = cached.external(&query).await;
        }
        error.expect_err("refused").message
    };
    let step = ValuePolicy { stale_for: Duration::from_millis(1), ..guarded(0, None, Some("10")) };
    for (policy, replies, words) in [
        (policy(1, 0), vec![Reply::aged("123", 400)], "older than 300s by its own timestamp; its backend has stopped"),
        (policy(1, 0), vec![Reply::ahead("123", 400)], "more than 60s ahead of the adapter's clock"),
        (
            guarded(7, None, None),
            vec![Reply::good("-123")],
            "a value of depth is below 7; mend its backend, or lower guard.min",
        ),
        (
            guarded(0, Some(7), None),
            vec![Reply::good("123")],
            "a value of depth is above 7; mend its backend, or raise guard.max",
        ),
    ] {
        let message = refused(policy, replies).await;
        assert!(message.contains(words) && !message.contains("123"), "{message}");
    }
    let judged = judge::judge(&step, "depth", &sample("100"), Some(&sample("1")), UnixMillis::now());
    let message = FetchError::from(judged.unwrap_err()).message;
    assert!(message.contains("more than 10 times as large or as small") && !message.contains("100"), "{message}");
}

fn sample(value: &str) -> [ExternalSample; 1] {
    let (value, timestamp) = (value.parse().unwrap(), UnixMillis::now());
    [ExternalSample { labels: Vec::new(), value, timestamp, window: None }]
}

#[tokio::test(start_paused = true)]
async fn a_view_tells_what_a_request_would_get_and_changes_nothing() {
    let scripted = Scripted::new([Reply::good("1"), Reply::fails(DOWN)]);
    let (cached, query) = (cached(scripted.clone(), &policy(2, 60)), external("shop", "depth", ""));
    assert_eq!(cached.view_external(&query), CacheView::default());
    ask(&cached, &query).await;
    sleep(Duration::from_secs(1)).await;
    let view = cached.view_external(&query);
    assert_eq!(
        (view.state, view.age, view.fresh_for),
        (CacheState::Hit, Some(Duration::from_secs(1)), Some(Duration::from_secs(1)))
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cached.view_external(&query).state, CacheState::Miss);
    assert_eq!(ask(&cached, &query).await, "1 stale");
    let view = cached.view_external(&query);
    assert_eq!((view.state, view.failures, view.back_off), (CacheState::Stale, 1, Some(Duration::from_secs(1))));
    assert_eq!(view.failure.unwrap().message, "the backend is down");
    assert_eq!(scripted.calls(), 2);
}
