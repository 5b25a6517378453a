//! The answers of one plugin to one form of question, and the calls under way for them. One lock, held for a lookup and never
//! across a wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    entry::{Entry, Flight, Judged, Next, Value, Verdict, lost},
    judge::judge,
    question::{Place, Question},
    store::{Evict, Store},
};
use crate::{
    model::{CacheState, CacheView, FetchError, PluginId, Provider, UnixMillis, ValuePolicy},
    telemetry::{PluginLabels, RefusalLabels},
};

/// Places of which a plugin's `retry-after` is remembered at once; of more, each question still remembers its own.
const PAUSES: usize = 256;
/// Answers in use that eviction passes over before it takes the next one all the same: what bounds the time that it holds the lock.
const PASSED_OVER: usize = 64;
/// Answers that each new question looks at, to drop those that are over.
const SWEPT: usize = 2;

/// One plugin's answers to questions of one form.
pub(super) struct Shelf<Q: Question> {
    plugin: PluginId,
    provider: Arc<dyn Provider>,
    policy: ValuePolicy,
    store: Arc<Store>,
    bytes: AtomicUsize,
    kept: Mutex<Kept<Q>>,
    /// For calls that nobody waits for: they end with the shelf.
    this: Weak<Self>,
}

struct Kept<Q: Question> {
    entries: HashMap<Arc<Q>, Entry<Q::Sample>>,
    /// Each key of `entries` once: eviction goes round it (CLOCK), so that what is asked again stays and what is asked once goes.
    clock: VecDeque<Arc<Q>>,
    /// Until when the plugin asks not to be asked about a place, and its words.
    pauses: HashMap<Place, (Instant, FetchError)>,
}

/// How a request gets its verdict.
enum Step<S> {
    Told(Verdict<S>),
    /// By a call; true for the request that began it.
    Wait(Flight<S>, bool),
}

impl<Q: Question> Shelf<Q> {
    pub(super) fn new(
        plugin: PluginId,
        provider: Arc<dyn Provider>,
        policy: ValuePolicy,
        store: Arc<Store>,
    ) -> Arc<Self> {
        let kept = Kept { entries: HashMap::new(), clock: VecDeque::new(), pauses: HashMap::new() };
        let shelf = Arc::new_cyclic(|this: &Weak<Self>| Self {
            plugin,
            provider,
            policy,
            store,
            bytes: AtomicUsize::new(0),
            kept: kept.into(),
            this: this.clone(),
        });
        let this: Weak<Self> = shelf.this.clone();
        shelf.store.register(this);
        shelf
    }

    /// Answers `question`. Dropping this future never ends a call that others wait for, nor any other: its answer is kept.
    pub(super) async fn ask(&self, question: &Q) -> Verdict<Q::Sample> {
        let (mut flight, is_first) = match self.step(question) {
            Step::Told(verdict) => return verdict,
            Step::Wait(flight, is_first) => (flight, is_first),
        };
        let verdict = flight
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|landed| landed.clone())
            .unwrap_or_else(|| Err(lost()));
        let shared = |cache| if is_first || cache != CacheState::Miss { cache } else { CacheState::Shared };
        match verdict {
            Ok(value) => Ok(Value { cache: shared(value.cache), ..value }),
            Err(error) => Err(FetchError { cache: shared(error.cache), ..error }),
        }
    }

    fn step(&self, question: &Q) -> Step<Q::Sample> {
        let now = Instant::now();
        let mut kept = self.kept();
        let step = match kept.entries.get_mut(question).map(|entry| entry.ask(&self.policy, question, now)) {
            Some(Next::Answer(verdict, refresh)) => {
                if let Some(at) = refresh.filter(|_| kept.pause(question, now).is_none()) {
                    self.book(&mut kept, question, at);
                }
                Step::Told(verdict)
            }
            Some(Next::Join(flight)) => Step::Wait(flight, false),
            Some(Next::Ask) | None => match kept.pause(question, now) {
                Some(error) => {
                    let entry = kept.entries.get_mut(question);
                    Step::Told(entry.and_then(|entry| entry.stand_in(&self.policy, question, now)).ok_or(error))
                }
                None => Step::Wait(self.fly(&mut kept, question, now), true),
            },
        };
        if let Step::Told(Ok(Value { cache: CacheState::Fallback, .. })) = &step
            && kept.entries.get_mut(question).is_some_and(Entry::begins_to_fall_back)
        {
            drop(kept);
            self.tell_of_fallback(question);
        }
        step
    }

    /// Has the plugin asked. It is asked to the end, which its own deadline sets, whether or not somebody still waits.
    fn fly(&self, kept: &mut Kept<Q>, question: &Q, now: Instant) -> Flight<Q::Sample> {
        let (tell, flight) = watch::channel(None);
        let key = match kept.entries.get_key_value(question) {
            Some((key, _)) => key.clone(),
            None => self.add(kept, question, now),
        };
        if let Some(entry) = kept.entries.get_mut(question) {
            entry.flight = Some(flight.clone());
        }
        let this = self.this.clone();
        tokio::spawn(async move {
            let Some(this) = this.upgrade() else { return };
            let asked = Instant::now();
            let outcome = key.ask(&*this.provider).await;
            let verdict = this.land(&key, outcome, asked);
            tell.send_replace(Some(verdict));
        });
        flight
    }

    /// Has the plugin asked at `at`. Until then the entry may be evicted like others, and the timer with it.
    fn book(&self, kept: &mut Kept<Q>, question: &Q, at: Instant) {
        let Some((key, _)) = kept.entries.get_key_value(question) else { return };
        let (key, this) = (key.clone(), self.this.clone());
        let timer = tokio::spawn(async move {
            sleep_until(at).await;
            if let Some(this) = this.upgrade() {
                this.refresh(&key);
            }
        });
        if let Some(entry) = kept.entries.get_mut(question) {
            entry.booked = Some(AbortOnDropHandle::new(timer));
        }
    }

    fn refresh(&self, question: &Q) {
        let mut kept = self.kept();
        let Some(entry) = kept.entries.get_mut(question) else { return };
        // It is the timer itself that is at work here, and it is not to be aborted.
        entry.booked.take().map(AbortOnDropHandle::detach);
        if !entry.is_flying() {
            self.store.metrics.value_refreshes.get_or_create(&self.labels()).inc();
            self.fly(&mut kept, question, Instant::now());
        }
    }

    fn add(&self, kept: &mut Kept<Q>, question: &Q, now: Instant) -> Arc<Q> {
        for _ in 0..SWEPT {
            let Some(oldest) = kept.clock.pop_front() else { break };
            if kept.entries.get(&oldest).is_some_and(|entry| entry.is_over(now)) {
                self.remove(kept, &oldest);
            } else {
                kept.clock.push_back(oldest);
            }
        }
        let key = Arc::new(question.clone());
        let mut entry = Entry::new();
        entry.bytes = 2 * size_of::<Arc<Q>>() + question.bytes() + entry.weigh();
        self.account(0, entry.bytes);
        kept.entries.insert(key.clone(), entry);
        kept.clock.push_back(key.clone());
        key
    }

    fn land(&self, question: &Q, outcome: Result<Arc<[Q::Sample]>, FetchError>, asked: Instant) -> Verdict<Q::Sample> {
        let judged = outcome.map_err(|error| error.of(&self.plugin)).and_then(|samples| self.judged(question, samples));
        let now = Instant::now();
        let mut kept = self.kept();
        let Kept { entries, pauses, .. } = &mut *kept;
        // It is there: what flies is not evicted.
        let Some(entry) = entries.get_mut(question) else { return Err(lost()) };
        let fell_back = entry.falls_back();
        let verdict = entry.land(&self.policy, question, judged, asked, now);
        let (begins, ends) = (entry.begins_to_fall_back(), fell_back && !entry.falls_back());
        let (before, rest) = (entry.bytes, 2 * size_of::<Arc<Q>>() + question.bytes());
        if entry.weigh() > self.store.largest() {
            entry.drop_answer();
        }
        entry.bytes = rest + entry.weigh();
        self.account(before, entry.bytes);
        if let Some(pause) = entry.asked_to_wait(now) {
            remember(pauses, question.place(), pause, now);
        }
        drop(kept);
        self.store.settle();
        if begins {
            self.tell_of_fallback(question);
        }
        if ends {
            let Place { metric, namespace } = question.place();
            info!(plugin = %self.plugin, metric, namespace, "the plugin answers again, in the place of its fallback");
        }
        verdict
    }

    /// The samples with the age of the oldest, or why they are not believed.
    fn judged(&self, question: &Q, samples: Arc<[Q::Sample]>) -> Judged<Q::Sample> {
        let last = self.kept().entries.get(question).and_then(|entry| entry.usable(Instant::now()).cloned());
        let place = question.place();
        match judge(&self.policy, &place.metric, &samples, last.as_deref(), UnixMillis::now()) {
            Ok(age) => Ok((samples, age)),
            Err(refusal) => {
                let labels = RefusalLabels { plugin: self.plugin.to_string(), rule: refusal.rule };
                self.store.metrics.value_refusals.get_or_create(&labels).inc();
                Err(FetchError::from(refusal).of(&self.plugin))
            }
        }
    }

    fn tell_of_fallback(&self, question: &Q) {
        let Place { metric, namespace } = question.place();
        warn!(plugin = %self.plugin, metric, namespace, "the plugin keeps failing: its fallback is answered from now on");
    }

    pub(super) fn view(&self, question: &Q) -> CacheView {
        let now = Instant::now();
        let kept = self.kept();
        let mut view = kept.entries.get(question).map(|entry| entry.view(now)).unwrap_or_default();
        let pause =
            kept.pauses.get(&question.place()).map(|(until, error)| (until.saturating_duration_since(now), error));
        if let Some((left, error)) = pause.filter(|(left, _)| !left.is_zero()) {
            view.back_off = view.back_off.max(Some(left));
            view.failure.get_or_insert_with(|| error.clone());
        }
        view
    }

    fn remove(&self, kept: &mut Kept<Q>, key: &Arc<Q>) {
        if let Some(entry) = kept.entries.remove(key) {
            self.account(entry.bytes, 0);
        }
    }

    fn account(&self, before: usize, after: usize) {
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        self.store.account(before, after);
    }

    fn labels(&self) -> PluginLabels {
        PluginLabels { plugin: self.plugin.to_string() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Q>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Question> Kept<Q> {
    /// The plugin's words, while it asks not to be asked about the question's place.
    fn pause(&self, question: &Q, now: Instant) -> Option<FetchError> {
        if self.pauses.is_empty() {
            return None;
        }
        self.pauses.get(&question.place()).filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }
}

/// A question's own failure bounds how often it is asked; this bounds how often its like are.
fn remember(
    pauses: &mut HashMap<Place, (Instant, FetchError)>,
    place: Place,
    pause: (Instant, FetchError),
    now: Instant,
) {
    if pauses.len() >= PAUSES {
        pauses.retain(|_, (until, _)| now < *until);
    }
    if pauses.len() < PAUSES || pauses.contains_key(&place) {
        pauses.insert(place, pause);
    }
}

impl<Q: Question> Evict for Shelf<Q> {
    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn evict(&self) -> bool {
        let mut kept = self.kept();
        let mut passed_over = 0;
        for _ in 0..kept.clock.len() {
            let Some(key) = kept.clock.pop_front() else { return false };
            let Some(entry) = kept.entries.get_mut(&key) else { continue };
            let in_use = std::mem::take(&mut entry.is_in_use) && passed_over < PASSED_OVER;
            if !entry.is_flying() && !in_use {
                self.remove(&mut kept, &key);
                return true;
            }
            passed_over += 1;
            kept.clock.push_back(key);
        }
        false
    }
}

impl<Q: Question> Drop for Shelf<Q> {
    fn drop(&mut self) {
        self.store.account(self.bytes.load(Ordering::Relaxed), 0);
    }
}
