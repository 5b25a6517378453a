//! Whatever is asked, answered and failed in whatever order: an answer is of its own question, within its bounds, and a question
//! is never asked twice at once.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::model::Fallback;

const KEYS: usize = 3;
const TTL: Duration = Duration::from_secs(2);
const STALE_FOR: Duration = Duration::from_secs(7);
const MAX_AGE: Duration = Duration::from_secs(20);
const FALLBACK_FOR: Duration = Duration::from_secs(15);
const FALLBACK: i64 = -1;

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    /// The oldest call of this key ends with a value of that age in seconds.
    Answer(usize, u64),
    Fail(usize, Reason, Option<u64>),
    Wait(u64),
    /// Whoever waits for this key goes away.
    Leave(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    let reason =
        prop::sample::select(vec![Reason::Unavailable, Reason::RateLimited, Reason::Timeout, Reason::MetricNotFound]);
    prop_oneof![
        4 => key.clone().prop_map(Step::Ask),
        3 => (key.clone(), prop_oneof![Just(0), 0..30_u64]).prop_map(|(key, age)| Step::Answer(key, age)),
        2 => (key.clone(), reason, prop::option::of(0..20_u64)).prop_map(|(key, reason, wait)| Step::Fail(key, reason, wait)),
        3 => (0..4000_u64).prop_map(Step::Wait),
        1 => key.prop_map(Step::Leave),
    ]
}

type Ending = Result<ExternalSample, FetchError>;

/// Each call waits for the test to end it.
#[derive(Default)]
struct Manual(Mutex<HashMap<String, oneshot::Sender<Ending>>>);

#[async_trait]
impl Provider for Manual {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        unreachable!("nobody asks")
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let (end, ended) = oneshot::channel();
        let other = self.0.lock().unwrap().insert(query.metric.to_string(), end);
        assert!(other.is_none(), "{} is asked twice at once", query.metric);
        let sample = ended.await.unwrap()?;
        let metric = query.metric.clone();
        Ok(ExternalAnswer { plugin: plugin(), metric, samples: [sample].into(), cache: CacheState::None })
    }
}

/// What is true of a value that the plugin gave.
struct Given {
    key: usize,
    came: Instant,
    age: Duration,
}

#[derive(Default)]
struct World {
    given: Vec<Given>,
    failures: [u32; KEYS],
    fallback_since: [Option<Instant>; KEYS],
}

impl World {
    fn check(&mut self, key: usize, answer: &Result<ExternalAnswer, FetchError>) {
        let now = Instant::now();
        let Ok(answer) = answer else { return };
        let value = answer.samples[0].value.units();
        if answer.cache == CacheState::Fallback {
            assert_eq!(value, FALLBACK);
            assert!(self.failures[key] >= 3, "a fallback after {} failures", self.failures[key]);
            let since = *self.fallback_since[key].get_or_insert(now);
            assert!(now.duration_since(since) < FALLBACK_FOR);
            return;
        }
        let given = &self.given[usize::try_from(value).unwrap()];
        assert_eq!(given.key, key, "another question's answer");
        let kept = now.duration_since(given.came);
        // The machine's clock, by which ages are told, goes on a little while the test's own stands still.
        assert!(
            kept + given.age <= MAX_AGE + Duration::from_secs(1),
            "older than maxAge: {kept:?} and {:?}",
            given.age
        );
        match answer.cache {
            CacheState::Miss | CacheState::Shared => assert_eq!(kept, Duration::ZERO),
            CacheState::Hit => assert!(kept < TTL, "{kept:?}"),
            CacheState::Stale => {
                assert!(kept < TTL + STALE_FOR, "{kept:?}");
                assert!(self.failures[key] > 0, "stale without a failure");
            }
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, key: usize, step: &Step) -> Ending {
        match step {
            Step::Answer(_, age) => {
                let value = Quantity::integer(i64::try_from(self.given.len()).unwrap());
                let age = Duration::from_secs(*age);
                self.given.push(Given { key, came: Instant::now(), age });
                // Whoever is too old is a failure; where just so, the machine's clock decides.
                if age > MAX_AGE {
                    self.failures[key] += 1;
                } else {
                    self.succeed(key);
                }
                let timestamp = UnixMillis(UnixMillis::now().0 - age.as_millis() as u64);
                Ok(ExternalSample { labels: Vec::new(), value, timestamp, window: None })
            }
            Step::Fail(_, reason, wait) => {
                if *reason == Reason::MetricNotFound {
                    self.succeed(key);
                } else {
                    self.failures[key] += 1;
                }
                Err(FetchError { retry_after: wait.map(Duration::from_secs), ..FetchError::new(*reason, "on purpose") })
            }
            _ => unreachable!(),
        }
    }

    fn succeed(&mut self, key: usize) {
        (self.failures[key], self.fallback_since[key]) = (0, None);
    }
}

async fn run(steps: Vec<Step>) {
    let fallback = Fallback { value: Quantity::integer(FALLBACK), after_failures: 3, lasts: FALLBACK_FOR };
    let policy =
        ValuePolicy { ttl: TTL, stale_for: STALE_FOR, max_age: MAX_AGE, fallback: Some(fallback), guard: None };
    let manual = Arc::new(Manual::default());
    let cached = Arc::new(cached(manual.clone(), &policy));
    let mut world = World::default();
    let mut waiting: Vec<(usize, JoinHandle<Result<ExternalAnswer, FetchError>>)> = Vec::new();
    for step in steps {
        match &step {
            Step::Ask(key) => {
                let (cached, query) = (cached.clone(), external("shop", &format!("m{key}"), ""));
                waiting.push((*key, tokio::spawn(async move { cached.external(&query).await })));
            }
            Step::Wait(millis) => sleep(Duration::from_millis(*millis)).await,
            Step::Leave(key) => waiting.retain(|(of, asking)| {
                if of == key {
                    asking.abort();
                }
                of != key
            }),
            Step::Answer(key, _) | Step::Fail(key, ..) => {
                let call = manual.0.lock().unwrap().remove(&format!("m{key}"));
                if let Some(call) = call {
                    call.send(world.end(*key, &step)).unwrap();
                }
            }
        }
        settled().await;
        let (done, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, asking)| asking.is_finished());
        waiting = rest;
        for (key, asking) in done {
            world.check(key, &asking.await.unwrap());
        }
    }
}

proptest! {
    #[test]
    fn an_answer_is_within_its_bounds_and_of_its_own_question(steps in prop::collection::vec(any_step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
