//! One call for a question, however many ask it, and whatever becomes of them.

use futures::future::join_all;

use super::*;

fn without_ttl() -> ValuePolicy {
    ValuePolicy { ttl: Duration::ZERO, ..ValuePolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_are_one_call() {
    for policy in [ValuePolicy::default(), without_ttl()] {
        let scripted = Scripted::new([Reply::good("7").after(100)]);
        let (cached, query) = (cached(scripted.clone(), &policy), external("shop", "depth", ""));
        let answers = join_all((0..1000).map(|_| ask(&cached, &query))).await;
        assert_eq!(scripted.calls(), 1);
        assert_eq!(answers.iter().filter(|answer| *answer == "7 miss").count(), 1);
        assert_eq!(answers.iter().filter(|answer| *answer == "7 shared").count(), 999);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_askers_of_a_dead_backend_are_one_call() {
    let scripted = Scripted::new([Reply::fails(Reason::Timeout).after(2000)]);
    let (cached, query) = (cached(scripted.clone(), &ValuePolicy::default()), external("shop", "depth", ""));
    let answers = join_all((0..1000).map(|_| ask(&cached, &query))).await;
    assert_eq!(answers.iter().filter(|answer| *answer == "timeout shared").count(), 999);
    assert_eq!(ask(&cached, &query).await, "timeout back-off");
    assert_eq!(scripted.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_autoscalers_cost_one_call_for_each_ttl() {
    let scripted = Scripted::new([Reply::good("7").after(50)]);
    let (cached, query) = (cached(scripted.clone(), &ValuePolicy::default()), external("shop", "depth", ""));
    let begin = Instant::now();
    // Each asks every 15 s: 67 a second, for a minute.
    for _ in 0..4000 {
        assert!(ask(&cached, &query).await.starts_with("7 "));
        sleep(Duration::from_millis(15)).await;
    }
    let seconds = begin.elapsed().as_secs();
    assert!(seconds >= 60 && scripted.calls() <= seconds + 1, "{} calls in {seconds} s", scripted.calls());
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_ends_the_call_for_nobody() {
    let scripted = Scripted::new([Reply::good("7").after(100)]);
    let cached = Arc::new(cached(scripted.clone(), &without_ttl()));
    let query = external("shop", "depth", "");
    let asking = |cached: Arc<Cached>, query: ExternalQuery| tokio::spawn(async move { ask(&cached, &query).await });
    let first = asking(cached.clone(), query.clone());
    settled().await;
    let second = asking(cached.clone(), query.clone());
    settled().await;
    first.abort();
    assert_eq!(second.await.unwrap(), "7 shared");
    assert_eq!(scripted.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_is_finished_and_kept() {
    let scripted = Scripted::new([Reply::good("7").after(100)]);
    let cached = cached(scripted.clone(), &ValuePolicy::default());
    let query = external("shop", "depth", "");
    let given_up = tokio::time::timeout(Duration::from_millis(50), ask(&cached, &query)).await;
    assert!(given_up.is_err());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(&cached, &query).await, "7 hit");
    assert_eq!(scripted.calls(), 1);
}

/// Panics once, then answers.
struct Panics(Arc<Scripted>);

#[async_trait]
impl Provider for Panics {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        self.0.custom(query).await
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let answer = self.0.external(query).await;
        assert!(self.0.calls() > 1, "on purpose");
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_frees_who_waits_and_the_next_is_answered() {
    let scripted = Scripted::new([Reply::good("7").after(100)]);
    let (cached, query) = (cached(Arc::new(Panics(scripted)), &ValuePolicy::default()), external("shop", "depth", ""));
    let answers = join_all((0..10).map(|_| cached.external(&query))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(
            (error.reason, error.message.as_str()),
            (Reason::Internal, "the adapter lost the plugin's answer; its log has the cause")
        );
    }
    assert_eq!(ask(&cached, &query).await, "7 miss");
}

#[tokio::test(start_paused = true)]
async fn questions_are_told_apart_by_what_they_mean() {
    let scripted = Scripted::new([Reply::good("7")]);
    let cached = cached(scripted.clone(), &ValuePolicy::default());
    for (series, cache) in [
        ("a=1,b in (x,y),!c", "7 miss"),
        ("!c,b in (y, x ,x),a in (1)", "7 hit"),
        ("a==1, !c ,b in (y,x)", "7 hit"),
        ("a=1,b in (x,y)", "7 miss"),
        ("", "7 miss"),
    ] {
        assert_eq!(ask(&cached, &external("shop", "depth", series)).await, cache, "{series}");
    }
    assert_eq!(ask(&cached, &external("billing", "depth", "")).await, "7 miss");
    assert_eq!(ask(&cached, &external("shop", "age", "")).await, "7 miss");
    let all = custom(ObjectSelection::Selected(Selector::everything()));
    let one = custom(ObjectSelection::Named("web-1".to_owned()));
    assert_eq!(ask_custom(&cached, &all).await, "7 miss");
    assert_eq!(ask_custom(&cached, &one).await, "7 miss");
    assert_eq!(
        ask_custom(&cached, &CustomQuery { series: Selector::parse("a=1").unwrap(), ..one.clone() }).await,
        "7 miss"
    );
    assert_eq!(ask_custom(&cached, &CustomQuery { namespace: None, ..one.clone() }).await, "7 miss");
    assert_eq!(ask_custom(&cached, &one).await, "7 hit");
}

#[tokio::test(start_paused = true)]
async fn a_booked_refresh_ends_with_its_plugin() {
    let scripted = Scripted::new([Reply::good("7")]);
    let long = ValuePolicy { ttl: Duration::from_secs(60), ..ValuePolicy::default() };
    let (cached, query) = (cached(scripted.clone(), &long), external("shop", "depth", ""));
    for _ in 0..3 {
        ask(&cached, &query).await;
    }
    assert!(cached.view_external(&query).asking, "booked");
    drop(cached);
    assert_eq!(Arc::strong_count(&scripted), 1, "nothing holds a plugin that is gone");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(scripted.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_refreshes_and_refusals_are_counted() {
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(Store::new(metrics.clone()));
    let replies = [Reply::good("7"), Reply::good("8"), Reply::aged("9", 400)];
    let cached = Cached::new(plugin(), Scripted::new(replies), &ValuePolicy::default(), &store);
    let query = external("shop", "depth", "");
    for _ in 0..3 {
        ask(&cached, &query).await;
    }
    sleep(Duration::from_millis(1500)).await;
    ask(&cached, &query).await;
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(ask(&cached, &query).await, "8 stale");
    let text = metrics.encode();
    for line in [
        "value_answers_total{plugin=\"plugins/queue\",cache=\"miss\"} 1",
        "value_answers_total{plugin=\"plugins/queue\",cache=\"hit\"} 3",
        "value_answers_total{plugin=\"plugins/queue\",cache=\"stale\"} 1",
        "value_refreshes_total{plugin=\"plugins/queue\"} 1",
        "value_refusals_total{plugin=\"plugins/queue\",rule=\"max-age\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
