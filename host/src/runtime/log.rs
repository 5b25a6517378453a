//! What guests say: lines in the adapter's log, within a rate.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tracing::{debug, error, info, warn};

use crate::model::PluginId;

/// Lines that a plugin may write at once.
const BURST: f64 = 50.0;
/// Lines a second that a plugin may write in the long run.
const LINES_PER_SECOND: f64 = 10.0;
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

/// One plugin's voice.
pub(super) struct GuestLog {
    plugin: PluginId,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    dropped: u64,
}

impl GuestLog {
    pub(super) fn new(plugin: PluginId) -> Self {
        Self { plugin, bucket: Mutex::new(Bucket { tokens: BURST, filled: Instant::now(), dropped: 0 }) }
    }

    /// Writes a line, or counts it as dropped; the next line that is written tells how many were.
    pub(super) fn write(&self, level: Level, message: &str) {
        let Some(dropped) = self.admit(Instant::now()) else { return };
        let plugin = &self.plugin;
        if dropped > 0 {
            warn!(%plugin, dropped, "the plugin logs more than {LINES_PER_SECOND} lines a second");
        }
        let message = one_line(message);
        match level {
            Level::Debug => debug!(%plugin, "{message}"),
            Level::Info => info!(%plugin, "{message}"),
            Level::Warn => warn!(%plugin, "{message}"),
            Level::Error => error!(%plugin, "{message}"),
        }
    }

    fn admit(&self, now: Instant) -> Option<u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * LINES_PER_SECOND).min(BURST);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.tokens -= 1.0;
        Some(std::mem::take(&mut bucket.dropped))
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
    fn a_flood_is_cut_and_counted() {
        let log = GuestLog::new(PluginId { namespace: "ns".to_owned(), name: "flood".to_owned() });
        let start = Instant::now();
        let admitted = (0..1000).filter(|_| log.admit(start).is_some()).count();
        assert_eq!(admitted, 50);
        assert_eq!(log.admit(start + Duration::from_secs(1)), Some(950));
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(one_line("a\nINFO forged\u{1b}[2J\n"), "a\\nINFO forged\\u{1b}[2J");
        assert!(one_line(&"x".repeat(100_000)).len() < LINE_BYTES + 8);
    }
}
