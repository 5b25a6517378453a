//! Memory is bounded whatever is asked, and nobody's flood pushes out what others use.

use super::*;

const LIMIT: usize = 256 << 10;

fn stored(name: &str, scripted: Arc<Scripted>, store: &Arc<Store>) -> Cached {
    let id = PluginId { namespace: "plugins".to_owned(), name: name.to_owned() };
    let long = ValuePolicy { ttl: Duration::from_secs(300), ..ValuePolicy::default() };
    Cached::new(id, scripted, &long, store)
}

fn flood(number: usize) -> ExternalQuery {
    external("shop", "depth", &format!("number={number}"))
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_selectors_stays_within_the_budget_and_spares_what_is_used() {
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(Store::with_limit(LIMIT, metrics.clone()));
    let scripted = Scripted::new([Reply::good("7")]);
    let (flooded, quiet) = (stored("flooded", scripted.clone(), &store), stored("quiet", scripted.clone(), &store));
    for number in 0..20 {
        assert_eq!(ask(&quiet, &flood(number)).await, "7 miss");
    }
    let used = external("shop", "used", "");
    assert_eq!(ask(&flooded, &used).await, "7 miss");
    for number in 0..20_000 {
        assert_eq!(ask(&flooded, &flood(number)).await, "7 miss");
        assert!(store.bytes() <= LIMIT, "{} bytes after {number}", store.bytes());
        if number % 50 == 0 {
            assert_eq!(ask(&flooded, &used).await, "7 hit", "what is asked again stays, at {number}");
        }
    }
    for number in 0..20 {
        assert_eq!(ask(&quiet, &flood(number)).await, "7 hit", "another plugin's flood takes nothing");
    }
    assert!(metrics.value_cache_evictions.get() > 10_000);
    assert_eq!(usize::try_from(metrics.value_cache_bytes.get()).unwrap(), store.bytes());
    drop(flooded);
    assert!(store.bytes() < LIMIT / 8, "a plugin that is gone leaves nothing: {}", store.bytes());
    drop(quiet);
    assert_eq!(store.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_looks_like_use_stays_within_the_budget_too() {
    let store = Arc::new(Store::with_limit(LIMIT, Arc::default()));
    let scripted = Scripted::new([Reply::good("7")]);
    let flooded = stored("flooded", scripted.clone(), &store);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for number in 0..5_000 {
        for _ in 0..3 {
            ask(&flooded, &flood(number)).await;
        }
        assert!(store.bytes() <= LIMIT, "{} bytes after {number}", store.bytes());
        settled().await;
        assert!(tasks() < LIMIT / 512, "{} timers after {number}: what is evicted leaves none behind", tasks());
    }
    drop(flooded);
    assert_eq!((store.bytes(), Arc::strong_count(&scripted)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_given_and_not_kept() {
    let store = Arc::new(Store::with_limit(LIMIT, Arc::default()));
    let values = vec!["7"; 1000];
    let scripted = Scripted::new([Reply::series(&values), Reply::good("7")]);
    let plugin = stored("large", scripted.clone(), &store);
    let query = external("shop", "depth", "");
    assert_eq!(plugin.external(&query).await.unwrap().samples.len(), 1000);
    assert!(store.bytes() < LIMIT / 8, "{}", store.bytes());
    assert_eq!(ask(&plugin, &query).await, "7 miss");
    assert_eq!(ask(&plugin, &query).await, "7 hit");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_makes_room_without_need() {
    let store = Arc::new(Store::with_limit(64 << 20, Arc::default()));
    let scripted = Scripted::new([Reply::good("7")]);
    let brief = ValuePolicy { stale_for: Duration::ZERO, ..ValuePolicy::default() };
    let plugin = Cached::new(plugin(), scripted, &brief, &store);
    let mut most = 0;
    for number in 0..5000 {
        ask(&plugin, &flood(number)).await;
        sleep(Duration::from_millis(10)).await;
        most = most.max(store.bytes());
    }
    // A second's worth is 100 questions.
    assert!(most < 400 * 1024, "{most}");
}

#[tokio::test(start_paused = true)]
async fn failures_with_long_texts_are_bounded_too() {
    let store = Arc::new(Store::with_limit(LIMIT, Arc::default()));
    let mut reply = Reply::fails_for(Reason::RateLimited, 300);
    reply.outcome = reply.outcome.map_err(|error| FetchError { message: "x".repeat(1 << 20), ..error });
    let plugin = stored("verbose", Scripted::new([reply]), &store);
    for number in 0..2000 {
        let metric = format!("metric_{number}");
        let error = plugin.external(&external("shop", &metric, "")).await.unwrap_err();
        assert!(error.message.len() <= 1024 && store.bytes() <= LIMIT);
    }
}
