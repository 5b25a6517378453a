use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

/// Gives `t0`, `t1` ... of one life, or fails while it is told to.
struct Source {
    lifetime: Duration,
    asked: AtomicUsize,
    down: std::sync::atomic::AtomicBool,
    /// Each answer waits for one notification.
    gate: Option<Notify>,
}

impl Source {
    fn of(lifetime: Duration) -> Arc<Self> {
        Arc::new(Self { lifetime, asked: AtomicUsize::new(0), down: false.into(), gate: None })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenSource for Source {
    async fn issue(&self) -> Result<Token, TokenError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(TokenError::Failed("down".to_owned()));
        }
        Ok(Token { value: Zeroizing::new(format!("t{number}")), lifetime: self.lifetime })
    }
}

fn cache(source: &Arc<Source>) -> TokenCache {
    TokenCache::new(source.clone(), Handle::current())
}

async fn text(cache: &TokenCache) -> String {
    cache.get().await.map_or_else(|error| error.to_string(), |held| held.header().to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shared_and_had_again_before_it_ends() {
    let source = Source::of(Duration::from_secs(100));
    let cache = cache(&source);
    let waiting = futures::future::join_all((0..50).map(|_| text(&cache))).await;
    assert!(waiting.iter().all(|token| token == "Bearer t0"), "{waiting:?}");
    assert_eq!(source.asked(), 1);
    tokio::time::advance(Duration::from_secs(79)).await;
    assert_eq!((text(&cache).await.as_str(), source.asked()), ("Bearer t0", 1));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(text(&cache).await, "Bearer t0", "the old one is good while the new one is on its way");
    tokio::task::yield_now().await;
    assert_eq!((text(&cache).await.as_str(), source.asked()), ("Bearer t1", 2));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_costs_nothing_until_the_token_ends_and_little_then() {
    let source = Source::of(Duration::from_secs(100));
    let cache = cache(&source);
    text(&cache).await;
    source.down.store(true, Ordering::SeqCst);
    for second in 81..100 {
        tokio::time::advance(Duration::from_secs(if second == 81 { 81 } else { 1 })).await;
        assert_eq!(text(&cache).await, "Bearer t0", "{second}");
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(text(&cache).await, "down");
    let asked = source.asked();
    assert!(asked <= 21, "{asked}: once a second");
    for _ in 0..100 {
        assert_eq!(text(&cache).await, "down");
    }
    assert_eq!(source.asked(), asked, "a source that failed is left alone");
    source.down.store(false, Ordering::SeqCst);
    tokio::time::advance(PAUSE).await;
    assert_eq!(text(&cache).await, format!("Bearer t{asked}"));
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_the_question_to_the_others() {
    let source = Arc::new(Source {
        lifetime: Duration::from_secs(100),
        asked: AtomicUsize::new(0),
        down: false.into(),
        gate: Some(Notify::new()),
    });
    let cache = cache(&source);
    for _ in 0..3 {
        let gave_up = tokio::time::timeout(Duration::from_millis(200), cache.get()).await;
        assert!(gave_up.is_err());
    }
    source.gate.as_ref().unwrap().notify_one();
    assert_eq!((text(&cache).await.as_str(), source.asked()), ("Bearer t0", 1), "one question served them all");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_an_error_in_time() {
    let silent =
        Arc::new(Source { lifetime: PAUSE, asked: AtomicUsize::new(0), down: false.into(), gate: Some(Notify::new()) });
    assert_eq!(text(&cache(&silent)).await, "no token came within 5 seconds");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_and_not_for_every_refusal() {
    let source = Source::of(Duration::from_secs(3600));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    assert!(cache.renew(&first));
    let second = cache.get().await.unwrap();
    assert_eq!((second.header().to_str().unwrap(), source.asked()), ("Bearer t1", 2));
    assert!(cache.renew(&first), "another is there already");
    assert_eq!(source.asked(), 2);
    assert!(!cache.renew(&second), "not twice in ten seconds");
    tokio::time::advance(RENEW_EVERY).await;
    assert!(cache.renew(&second));
    assert_eq!(text(&cache).await, "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_used_while_the_next_is_on_its_way() {
    let source = Source::of(Duration::from_secs(100));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    tokio::time::advance(Duration::from_secs(85)).await;
    assert!(cache.get().await.unwrap().is(&first), "the next has been asked for");
    assert!(cache.renew(&first));
    assert_eq!((text(&cache).await.as_str(), source.asked()), ("Bearer t1", 2));
}

#[test]
fn what_is_no_token_is_refused_and_none_is_printed() {
    let held = |value: &str| {
        let token = Token { value: Zeroizing::new(value.to_owned()), lifetime: PAUSE };
        assert!(value.is_empty() || !format!("{token:?}").contains(value));
        Held::of(&token).map(|held| held.header().is_sensitive())
    };
    assert_eq!(held("hunter2"), Ok(true));
    for value in ["", "two words", "line\nbreak", "ümlaut", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
        assert_eq!(held(value), Err(TokenError::NotAToken), "{value}");
    }
}
