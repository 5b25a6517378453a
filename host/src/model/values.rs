//! What a plugin's owner says of its values (`cache`, `onError` and `guard` of plugin.yaml), and what the value cache says of an
//! answer.

use std::time::Duration;

use super::{FetchError, Quantity};

/// How long values are kept, and which are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePolicy {
    /// How long an answer is given again without asking the plugin, counted from when it came. Zero: each request asks, though
    /// those at the same time share one call.
    pub ttl: Duration,
    /// How long after its `ttl` an answer is given in the place of a failure (RFC 5861, `stale-if-error`).
    pub stale_for: Duration,
    /// How old a value may be by its own timestamp, whenever it came.
    pub max_age: Duration,
    /// What is answered where the plugin keeps failing.
    pub fallback: Option<Fallback>,
    /// Which values are refused.
    pub guard: Option<Guard>,
}

impl Default for ValuePolicy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(1),
            stale_for: Duration::from_secs(60),
            max_age: Duration::from_secs(5 * 60),
            fallback: None,
            guard: None,
        }
    }
}

/// A value for when there is none. For external metrics and metrics of one object alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// What is answered.
    pub value: Quantity,
    /// After so many failures in a row of one question.
    pub after_failures: u32,
    /// For so long after it was first answered.
    pub lasts: Duration,
}

/// What a value has to be to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The least that it may be.
    pub min: Quantity,
    /// The most that it may be.
    pub max: Option<Quantity>,
    /// How many times as large, or as small, as the last good value of the same series it may be; above 1.
    pub max_change_factor: Option<Quantity>,
}

/// What the value cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CacheState {
    /// It was not asked.
    #[default]
    None,
    /// The plugin was asked for this request.
    Miss,
    /// The plugin was being asked already, for another request.
    Shared,
    /// The plugin's last answer, within its `ttl`.
    Hit,
    /// An answer past its `ttl`, because the plugin fails.
    Stale,
    /// The owner's fallback, because the plugin keeps failing.
    Fallback,
    /// The plugin's last failure: it is not asked again so soon.
    BackOff,
}

impl CacheState {
    /// Every state of an answer that the cache had to do with.
    pub const ALL: [Self; 6] = [Self::Miss, Self::Shared, Self::Hit, Self::Stale, Self::Fallback, Self::BackOff];

    /// As in the request log and in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Miss => "miss",
            Self::Shared => "shared",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Fallback => "fallback",
            Self::BackOff => "back-off",
        }
    }
}

/// What the value cache holds for one question, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheView {
    /// What a request would be answered with: [`CacheState::Miss`] if the plugin would be asked for it.
    pub state: CacheState,
    /// Time since the plugin's last answer came.
    pub age: Option<Duration>,
    /// How long that answer stays fresh.
    pub fresh_for: Option<Duration>,
    /// How long that answer may stand in for a failure.
    pub usable_for: Option<Duration>,
    /// Whether the plugin is being asked, or booked to be asked before the answer ends.
    pub asking: bool,
    /// Failures since the last answer.
    pub failures: u32,
    /// How long the plugin is not asked again.
    pub back_off: Option<Duration>,
    /// The last failure, if no answer came after it.
    pub failure: Option<FetchError>,
}
