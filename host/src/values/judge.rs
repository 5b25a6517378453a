//! Whether an answer's values are believed: by their age, and by the owner's `guard`. All arithmetic is exact. One value that is
//! not believed refuses the whole answer: the HPA controller adds series up, and a sum that lacks one is a lie.

use std::{collections::HashMap, time::Duration};

use super::question::Sample;
use crate::model::{FetchError, Guard, Quantity, Reason, UnixMillis, ValuePolicy};

/// How far a timestamp may be ahead of the adapter's clock: clocks of one cluster differ by less, and what is further ahead is in
/// other units, or of a clock that is wrong.
const AHEAD: Duration = Duration::from_secs(60);

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The label value of the refusals counter.
    pub(super) rule: &'static str,
    /// The same from call to call: no values, no times.
    message: String,
}

impl From<Refusal> for FetchError {
    fn from(refusal: Refusal) -> Self {
        // What it means to the client is that the backend did not answer sensibly.
        Self::new(Reason::Unavailable, refusal.message)
    }
}

/// The age of the oldest of `samples`, if they are believed. `last` is the last good answer that may still be compared with.
pub(super) fn judge<S: Sample>(
    policy: &ValuePolicy,
    metric: &str,
    samples: &[S],
    last: Option<&[S]>,
    now: UnixMillis,
) -> Result<Duration, Refusal> {
    let age = age(policy.max_age, metric, samples, now)?;
    if let Some(guard) = &policy.guard {
        within(guard, metric, samples)?;
        if let (Some(factor), Some(last)) = (guard.max_change_factor, last) {
            let until = policy.ttl + policy.stale_for;
            unchanged(factor, samples, last).map_err(|()| Refusal {
                rule: "max-change-factor",
                message: format!(
                    "a value of {metric} is more than {factor} times as large or as small as the last one; mend its backend, raise \
                     guard.maxChangeFactor, or wait: what lasts for {until:?} is believed"
                ),
            })?;
        }
    }
    Ok(age)
}

fn age<S: Sample>(most: Duration, metric: &str, samples: &[S], now: UnixMillis) -> Result<Duration, Refusal> {
    let mut oldest = Duration::ZERO;
    for timestamp in samples.iter().map(S::timestamp) {
        if timestamp.0.saturating_sub(now.0) > AHEAD.as_millis() as u64 {
            let message = format!(
                "a value of {metric} has a timestamp more than {AHEAD:?} ahead of the adapter's clock; give milliseconds since \
                 1970, and compare the backend's clock with the nodes'"
            );
            return Err(Refusal { rule: "future", message });
        }
        oldest = oldest.max(Duration::from_millis(now.0.saturating_sub(timestamp.0)));
    }
    if oldest > most {
        let message = format!(
            "a value of {metric} is older than {most:?} by its own timestamp; its backend has stopped measuring it, or raise \
             cache.maxAge"
        );
        return Err(Refusal { rule: "max-age", message });
    }
    Ok(oldest)
}

fn within<S: Sample>(guard: &Guard, metric: &str, samples: &[S]) -> Result<(), Refusal> {
    let Guard { min, max, .. } = guard;
    if samples.iter().any(|sample| sample.value() < *min) {
        let message = format!("a value of {metric} is below {min}; mend its backend, or lower guard.min");
        return Err(Refusal { rule: "min", message });
    }
    if let Some(max) = max.filter(|max| samples.iter().any(|sample| sample.value() > *max)) {
        let message = format!("a value of {metric} is above {max}; mend its backend, or raise guard.max");
        return Err(Refusal { rule: "max", message });
    }
    Ok(())
}

/// Series that were not there before have nothing to be compared with.
fn unchanged<S: Sample>(factor: Quantity, samples: &[S], last: &[S]) -> Result<(), ()> {
    let before: HashMap<_, _> = last.iter().map(|sample| (sample.identity(), sample.value())).collect();
    let leaps = samples.iter().any(|sample| {
        let before = before.get(sample.identity());
        before.is_some_and(|before| sample.value().is_beyond_factor(*before, factor))
    });
    if leaps { Err(()) } else { Ok(()) }
}
