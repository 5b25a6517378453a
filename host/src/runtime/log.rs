//! What guests say: lines in the adapter's log, within a rate.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::{debug, error, info, warn};

use crate::{
    model::PluginId,
    telemetry::{Metrics, PluginLabels},
};

/// Seconds of its rate that a plugin may write at once.
const BURST_SECONDS: f64 = 5.0;
/// Lines a second that the host may write about a plugin: failed calls, names that can't be served.
const NOTES_PER_SECOND: usize = 10;
/// Bytes of a line; the rest is cut.
const LINE_BYTES: usize = 4096;

/// How much a guest's line matters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// As in `warn`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What one plugin says, and what the host says of it. Neither drowns the other.
pub(super) struct GuestLog {
    plugin: PluginId,
    said: Mutex<Bucket>,
    noted: Mutex<Bucket>,
    metrics: Arc<Metrics>,
}

struct Bucket {
    lines_per_second: f64,
    tokens: f64,
    filled: Instant,
    flooded: bool,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Written,
    /// The first one of a flood that is dropped.
    FirstDropped,
    Dropped,
}

impl GuestLog {
    pub(super) fn new(plugin: PluginId, lines_per_second: usize, metrics: Arc<Metrics>) -> Self {
        let bucket = |lines_per_second| Mutex::new(Bucket::new(lines_per_second, Instant::now()));
        Self { plugin, said: bucket(lines_per_second), noted: bucket(NOTES_PER_SECOND), metrics }
    }

    /// Writes a guest's line, or counts it as dropped; that a flood began is told once.
    pub(super) fn write(&self, level: Level, message: &str) {
        if !self.admit(&self.said, "log lines are dropped; make it log less, or raise limits.logLines") {
            return;
        }
        let (plugin, message) = (&self.plugin, one_line(message));
        match level {
            Level::Debug => debug!(%plugin, "{message}"),
            Level::Info => info!(%plugin, "{message}"),
            Level::Warn => warn!(%plugin, "{message}"),
            Level::Error => error!(%plugin, "{message}"),
        }
    }

    /// Writes a line about the plugin.
    pub(super) fn note(&self, message: &str) {
        if self.admit(&self.noted, "lines about its failures are dropped") {
            warn!(plugin = %self.plugin, "{}", one_line(message));
        }
    }

    fn admit(&self, bucket: &Mutex<Bucket>, consequence: &str) -> bool {
        let verdict = bucket.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if verdict == Verdict::Written {
            return true;
        }
        let plugin = &self.plugin;
        if verdict == Verdict::FirstDropped {
            warn!(%plugin, "the log is flooded: {consequence}; wasm_metrics_adapter_plugin_log_dropped_total counts them");
        }
        let labels = PluginLabels { plugin: plugin.to_string() };
        self.metrics.log_dropped.get_or_create(&labels).inc();
        false
    }
}

impl Bucket {
    fn new(lines_per_second: usize, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
        let lines_per_second = lines_per_second as f64;
        Self { lines_per_second, tokens: lines_per_second * BURST_SECONDS, filled: now, flooded: false }
    }

    fn admit(&mut self, now: Instant) -> Verdict {
        let (elapsed, burst) = (now.saturating_duration_since(self.filled), self.lines_per_second * BURST_SECONDS);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.lines_per_second).min(burst);
        self.filled = now;
        if self.tokens >= burst {
            // It was quiet for long: what comes is another flood.
            self.flooded = false;
        }
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Verdict::Written;
        }
        if std::mem::replace(&mut self.flooded, true) { Verdict::Dropped } else { Verdict::FirstDropped }
    }
}

/// Cuts `text` to a line's length and makes its control characters visible: a guest can't forge log lines or terminal commands.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim_end().chars() {
        if line.len() >= LINE_BYTES {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_told_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let mut flood = |at: Instant| {
            let verdicts: Vec<_> = (0..1000).map(|_| bucket.admit(at)).collect();
            [Verdict::Written, Verdict::FirstDropped, Verdict::Dropped]
                .map(|verdict| verdicts.iter().filter(|found| **found == verdict).count())
        };
        assert_eq!(flood(start), [50, 1, 949]);
        assert_eq!(flood(start + Duration::from_secs(1)), [10, 0, 990], "the same flood");
        assert_eq!(flood(start + Duration::from_secs(7)), [50, 1, 949], "another one, after a while");
    }

    #[test]
    fn a_flood_of_the_guest_leaves_room_for_the_hosts_own_lines() {
        let metrics = Arc::<Metrics>::default();
        let plugin = PluginId { namespace: "ns".to_owned(), name: "flood".to_owned() };
        let log = GuestLog::new(plugin.clone(), 1, metrics.clone());
        (0..105).for_each(|_| log.write(Level::Info, "flood"));
        let dropped = metrics.log_dropped.get_or_create(&PluginLabels { plugin: plugin.to_string() }).get();
        // One more is written for each second that this took.
        assert!((50..=100).contains(&dropped), "{dropped}");
        assert!(log.admit(&log.noted, "unheard of"));
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(one_line("a\nINFO forged\u{1b}[2J\n"), "a\\nINFO forged\\u{1b}[2J");
        assert!(one_line(&"x".repeat(100_000)).len() < LINE_BYTES + 8);
    }
}
