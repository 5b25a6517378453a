//! One question answered with a record of how: the same call as any other, through a copy of the plugin that is traced. A call that
//! nobody wants explained has no trace, and pays nothing for it.

mod question;
mod redactor;
mod trace;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

pub(super) use trace::{Trace, VALUES, fetch};

use self::redactor::Redactor;
use super::plugin::Plugin;
use crate::model::{Detail, Explanation, FetchError, MetricAnswer, MetricQuery, Reason};

/// Explanations of one plugin at once, without a pause: what `explain hpa` asks for, with room. No cache stands before the backend.
const BURST: f64 = 10.0;
/// Explanations of one plugin a second in the long run: a person's pace.
const PER_SECOND: f64 = 2.0;

/// Bounds the explanations of one plugin: one at a time, and few a second.
pub(super) struct Turns {
    alone: tokio::sync::Mutex<()>,
    bucket: Mutex<(f64, Instant)>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { alone: tokio::sync::Mutex::default(), bucket: Mutex::new((BURST, Instant::now())) }
    }
}

impl Turns {
    fn take(&self, now: Instant) -> Result<tokio::sync::MutexGuard<'_, ()>, FetchError> {
        let refused = |message: &str| FetchError::new(Reason::Overloaded, message);
        let busy =
            "another request to this plugin is being explained, and each asks its backend anew; ask again in a second";
        let turn = self.alone.try_lock().map_err(|_| refused(busy))?;
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, filled) = *bucket;
        let tokens = (tokens + now.saturating_duration_since(filled).as_secs_f64() * PER_SECOND).min(BURST);
        let enough = tokens >= 1.0;
        *bucket = (if enough { tokens - 1.0 } else { tokens }, now);
        if enough {
            Ok(turn)
        } else {
            Err(refused("so many requests to this plugin were explained just now; ask again in a second"))
        }
    }
}

impl Plugin {
    /// Answers `query` and tells how. It always asks the guest; the plugin's places and limits hold as ever.
    pub(super) async fn explained(&self, query: &MetricQuery, detail: Detail) -> Result<Explanation, FetchError> {
        let _turn = self.explaining.take(Instant::now())?;
        let redactor = Redactor::new(self.caller.reach.secrets());
        let trace = Arc::new(Trace::new(detail, redactor));
        let answer = query.ask(&self.traced(&trace)).await;
        let answer = answer.map(|answer| without_secrets(answer, &trace.redactor));
        let answer = answer.map_err(|error| FetchError { message: trace.redactor.mask(&error.message), ..error });
        Ok(Explanation { call: Some(trace.tell(&self.caller.limits)), ..Explanation::of(answer) })
    }
}

/// A guest that can see a secret could answer with it. Names of objects stay: they are those that were asked for.
fn without_secrets(mut answer: MetricAnswer, redactor: &Redactor) -> MetricAnswer {
    if let MetricAnswer::External(external) = &mut answer {
        let mut samples = external.samples.to_vec();
        for (key, value) in samples.iter_mut().flat_map(|sample| &mut sample.labels) {
            *key = redactor.mask(key);
            *value = redactor.mask(value);
        }
        external.samples = samples.into();
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn explanations_of_a_plugin_are_few_and_one_at_a_time() {
        let (turns, now) = (Turns::default(), Instant::now());
        let turn = turns.take(now).unwrap();
        let refused = turns.take(now).unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
        assert!(refused.message.contains("another request"), "{}", refused.message);
        drop(turn);
        let granted = (0..100).filter(|_| turns.take(now).is_ok()).count();
        assert_eq!(granted, 9, "ten in sum");
        assert!(turns.take(now).unwrap_err().message.contains("so many requests"));
        assert!(turns.take(now + Duration::from_secs(1)).is_ok());
    }
}
