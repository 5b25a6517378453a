//! What is known of one question, and what a request for it gets at a moment. No locks, no waiting, no clock of its own.

use std::{mem::size_of, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::question::{Question, Sample};
use crate::model::{CacheState, CacheView, FetchError, Reason, ValuePolicy};

/// How long a plugin is not asked again after one failure; doubles with each in a row.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest that it is not asked without having said so: less than the 15 s of the HPA controller's period, so that a backend
/// that is back is seen in the next one.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);
/// The longest that a plugin's own `retry-after` is heeded (wit/v0.1/types.wit).
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long a failure is remembered, for the count of those in a row, when nobody asks again.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Bytes of a timer's task, which an answer in use has.
const TIMER: usize = 512;
/// Bytes of a failure's text that are kept. The API shows 512.
const TEXT: usize = 1024;

/// What a request gets.
pub(super) type Verdict<S> = Result<Value<S>, FetchError>;

/// What came of a call: samples that are believed, with the age of the oldest, or why there are none.
pub(super) type Judged<S> = Result<(Arc<[S]>, Duration), FetchError>;

/// A good answer, and where it came from.
#[derive(Debug)]
pub(super) struct Value<S> {
    pub(super) samples: Arc<[S]>,
    pub(super) cache: CacheState,
}

impl<S> Clone for Value<S> {
    fn clone(&self) -> Self {
        Self { samples: self.samples.clone(), cache: self.cache }
    }
}

/// Where those who wait for a call under way hear what became of it. Closed without a word if it was lost.
pub(super) type Flight<S> = watch::Receiver<Option<Verdict<S>>>;

/// What to do for a request.
pub(super) enum Next<S> {
    /// Answer; and where a time is given, ask the plugin then, so that the next requests need not wait.
    Answer(Verdict<S>, Option<Instant>),
    /// Wait for the call under way.
    Join(Flight<S>),
    /// Ask the plugin.
    Ask,
}

/// What is known of one question.
pub(super) struct Entry<S> {
    answer: Option<Answer<S>>,
    /// Of the last call, if it failed.
    failed: Option<Failed>,
    pub(super) flight: Option<Flight<S>>,
    /// The timer of the next refresh; it ends with this.
    pub(super) booked: Option<AbortOnDropHandle<()>>,
    /// Requests since the answer came.
    asked: u32,
    /// Whether it was asked for since eviction looked at it last.
    pub(super) is_in_use: bool,
    /// Its weight as it is accounted for.
    pub(super) bytes: usize,
}

/// The plugin's last word: values, or that there are none.
struct Answer<S> {
    outcome: Result<Arc<[S]>, FetchError>,
    /// When the call began that it came from.
    asked: Instant,
    came: Instant,
    fresh_until: Instant,
    /// Until when it may stand in for a failure.
    usable_until: Instant,
}

struct Failed {
    error: FetchError,
    in_a_row: u32,
    retry_at: Instant,
    fallback_since: Option<Instant>,
    /// Whether the log has told of it.
    fallback_is_told: bool,
}

/// Whether a failure is an answer of its own: then nothing stands in for it.
fn is_answer(reason: Reason) -> bool {
    matches!(reason, Reason::MetricNotFound | Reason::ObjectNotFound | Reason::BadRequest)
}

impl<S: Sample> Entry<S> {
    pub(super) fn new() -> Self {
        Self { answer: None, failed: None, flight: None, booked: None, asked: 0, is_in_use: false, bytes: 0 }
    }

    /// What a request at `now` gets.
    pub(super) fn ask<Q>(&mut self, policy: &ValuePolicy, question: &Q, now: Instant) -> Next<S>
    where
        Q: Question<Sample = S>,
    {
        self.is_in_use = true;
        self.asked = self.asked.saturating_add(1);
        let backs_off = self.backs_off(now);
        if let Some(answer) = self.answer.as_ref().filter(|answer| now < answer.fresh_until) {
            let is_coming = self.is_flying() || self.booked.is_some();
            let wants_refresh = self.asked >= 2 && !is_coming && !backs_off && answer.outcome.is_ok();
            let refresh = wants_refresh.then(|| answer.refresh_at(policy.ttl));
            return Next::Answer(answer.verdict(CacheState::Hit), refresh);
        }
        match self.flight.as_ref().filter(|_| self.is_flying()) {
            Some(flight) => Next::Join(flight.clone()),
            None if backs_off => match self.stand_in(policy, question, now) {
                Some(value) => Next::Answer(Ok(value), None),
                None => Next::Answer(Err(self.failure(CacheState::BackOff)), None),
            },
            None => Next::Ask,
        }
    }

    /// Whether a call is under way. One that was lost is not.
    pub(super) fn is_flying(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.has_changed().is_ok())
    }

    fn backs_off(&self, now: Instant) -> bool {
        self.failed.as_ref().is_some_and(|failed| now < failed.retry_at)
    }

    /// What is answered in the place of a failure, if anything may be.
    pub(super) fn stand_in<Q>(&mut self, policy: &ValuePolicy, question: &Q, now: Instant) -> Option<Value<S>>
    where
        Q: Question<Sample = S>,
    {
        if let Some(samples) = self.usable(now) {
            return Some(Value { samples: samples.clone(), cache: CacheState::Stale });
        }
        let (fallback, failed) = (policy.fallback?, self.failed.as_mut()?);
        if failed.in_a_row < fallback.after_failures {
            return None;
        }
        let sample = question.stand_in(fallback.value)?;
        let since = *failed.fallback_since.get_or_insert(now);
        (now < since + fallback.lasts).then(|| Value { samples: [sample].into(), cache: CacheState::Fallback })
    }

    /// The last good values, while they may stand in for a failure and be compared with.
    pub(super) fn usable(&self, now: Instant) -> Option<&Arc<[S]>> {
        let answer = self.answer.as_ref().filter(|answer| now < answer.usable_until)?;
        answer.outcome.as_ref().ok()
    }

    fn failure(&self, cache: CacheState) -> FetchError {
        match &self.failed {
            Some(failed) => FetchError { cache, ..failed.error.clone() },
            None => lost(),
        }
    }

    /// Takes in what came of a call that began at `asked`; tells what those who waited get.
    pub(super) fn land<Q>(
        &mut self,
        policy: &ValuePolicy,
        question: &Q,
        outcome: Judged<S>,
        asked: Instant,
        now: Instant,
    ) -> Verdict<S>
    where
        Q: Question<Sample = S>,
    {
        (self.flight, self.booked) = (None, None);
        let (outcome, age) = match outcome {
            Ok((samples, age)) => (Ok(samples), age),
            Err(error) if is_answer(error.reason) => (Err(shortened(error)), Duration::ZERO),
            Err(error) => {
                self.fail(error, now);
                return self.stand_in(policy, question, now).ok_or_else(|| self.failure(CacheState::Miss));
            }
        };
        let too_old = now + policy.max_age.saturating_sub(age);
        let fresh_until = (now + policy.ttl).min(too_old);
        let usable_until = (now + policy.ttl + policy.stale_for).min(too_old);
        let answer = Answer { outcome, asked, came: now, fresh_until, usable_until };
        let verdict = answer.verdict(CacheState::Miss);
        (self.answer, self.failed, self.asked) = (Some(answer), None, 0);
        verdict
    }

    fn fail(&mut self, error: FetchError, now: Instant) {
        let last = self.failed.take();
        let in_a_row = last.as_ref().map_or(0, |failed| failed.in_a_row).saturating_add(1);
        let own = BACK_OFF.saturating_mul(1 << (in_a_row - 1).min(8)).min(LONGEST_BACK_OFF);
        let asked_for = error.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.failed = Some(Failed {
            in_a_row,
            retry_at: now + own.max(asked_for),
            fallback_since: last.as_ref().and_then(|failed| failed.fallback_since),
            fallback_is_told: last.is_some_and(|failed| failed.fallback_is_told),
            error: shortened(error),
        });
    }

    /// The last failure, while the plugin itself asks not to be asked again, and until when.
    pub(super) fn asked_to_wait(&self, now: Instant) -> Option<(Instant, FetchError)> {
        let failed = self.failed.as_ref()?;
        let wait = failed.error.retry_after?.min(LONGEST_RETRY_AFTER);
        Some((now + wait, FetchError { cache: CacheState::BackOff, ..failed.error.clone() }))
    }

    /// Whether the owner's fallback is what is answered.
    pub(super) fn falls_back(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.fallback_since.is_some())
    }

    /// Whether the owner's fallback has begun to be answered; true once.
    pub(super) fn begins_to_fall_back(&mut self) -> bool {
        let failed = self.failed.as_mut().filter(|failed| failed.fallback_since.is_some());
        failed.is_some_and(|failed| !std::mem::replace(&mut failed.fallback_is_told, true))
    }

    /// Whether nothing that it knows is of use any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let answers = self.answer.as_ref().is_some_and(|answer| now < answer.usable_until.max(answer.fresh_until));
        let fails = self.failed.as_ref().is_some_and(|failed| now < failed.retry_at + REMEMBERED);
        !self.is_flying() && !fails && !answers
    }

    /// Gives the answer up, to save its memory.
    pub(super) fn drop_answer(&mut self) {
        self.answer = None;
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn weigh(&self) -> usize {
        let samples = |samples: &Arc<[S]>| samples.iter().map(S::bytes).sum::<usize>();
        let text = |error: &FetchError| error.message.len();
        let answer = self.answer.as_ref().map_or(0, |answer| answer.outcome.as_ref().map_or_else(text, samples));
        size_of::<Self>() + TIMER + answer + self.failed.as_ref().map_or(0, |failed| text(&failed.error))
    }

    pub(super) fn view(&self, now: Instant) -> CacheView {
        let left = |until: Instant| Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero());
        let (answer, failed) = (self.answer.as_ref(), self.failed.as_ref());
        let fresh_for = answer.and_then(|answer| left(answer.fresh_until));
        let usable_for = answer.filter(|answer| answer.outcome.is_ok()).and_then(|answer| left(answer.usable_until));
        let back_off = failed.and_then(|failed| left(failed.retry_at));
        let state = match (fresh_for, &back_off) {
            (Some(_), _) => CacheState::Hit,
            (None, Some(_)) if usable_for.is_some() => CacheState::Stale,
            (None, Some(_)) if self.falls_back() => CacheState::Fallback,
            (None, Some(_)) => CacheState::BackOff,
            (None, None) => CacheState::Miss,
        };
        CacheView {
            state,
            age: answer.map(|answer| now.saturating_duration_since(answer.came)),
            fresh_for,
            usable_for,
            asking: self.is_flying() || self.booked.is_some(),
            failures: failed.map_or(0, |failed| failed.in_a_row),
            back_off,
            failure: failed.map(|failed| failed.error.clone()),
        }
    }
}

impl<S> Answer<S> {
    fn verdict(&self, cache: CacheState) -> Verdict<S> {
        match &self.outcome {
            Ok(samples) => Ok(Value { samples: samples.clone(), cache }),
            Err(error) => Err(FetchError { cache, ..error.clone() }),
        }
    }

    /// One `ttl` after the last call began: so a question that is asked all the time costs one call for each `ttl`, and its next
    /// answer comes about when this one ends.
    fn refresh_at(&self, ttl: Duration) -> Instant {
        (self.asked + ttl).min(self.fresh_until)
    }
}

/// What those who waited are told when the call was lost: its task panicked, or the process ends.
pub(super) fn lost() -> FetchError {
    FetchError::new(Reason::Internal, "the adapter lost the plugin's answer; its log has the cause")
}

fn shortened(mut error: FetchError) -> FetchError {
    error.message.truncate(error.message.floor_char_boundary(TEXT));
    error
}
