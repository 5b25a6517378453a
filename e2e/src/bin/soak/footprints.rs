//! Memory, descriptors and threads of one replica over time.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use e2e::footprint::Footprint;
use tokio::task::JoinHandle;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Memory may grow by a tenth and this much, in MiB: allocators keep what was once used at the same time.
const GROWTH_MIB: f64 = 8.0;

/// So many descriptors more may be open: a connection to each backend and to kube-apiserver.
const GROWTH_DESCRIPTORS: usize = 16;

/// A watch under way.
pub(crate) struct Watch {
    looks: Arc<Mutex<Vec<Footprint>>>,
    looking: JoinHandle<()>,
}

/// What was seen.
pub(crate) struct Footprints {
    /// The median of the second quarter of the time: the first is for warming up.
    start: Footprint,
    /// The median of the last quarter.
    end: Footprint,
    looks: usize,
}

impl Footprints {
    /// Looks at a process until [`Watch::end`], and says so once a minute.
    pub(crate) fn watch(process: u32) -> Watch {
        let looks = Arc::<Mutex<Vec<Footprint>>>::default();
        let seen = looks.clone();
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            while let Ok(footprint) = {
                ticks.tick().await;
                Footprint::of(process)
            } {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.len() % 12 == 0 {
                    println!("  minute {}: {footprint}", seen.len() / 12);
                }
                seen.push(footprint);
            }
        });
        Watch { looks, looking }
    }

    /// Refuses growth.
    pub(crate) fn ensure_flat(&self) -> Result<()> {
        let Self { start, end, looks } = self;
        ensure!(*looks >= 8, "{looks} looks are too few to tell; soak for longer");
        let allowed = start.anonymous_mib * 1.1 + GROWTH_MIB;
        ensure!(
            end.anonymous_mib <= allowed,
            "anonymous memory grew from {:.1} MiB to {:.1} MiB",
            start.anonymous_mib,
            end.anonymous_mib
        );
        let allowed = start.descriptors + GROWTH_DESCRIPTORS;
        ensure!(end.descriptors <= allowed, "descriptors grew from {} to {}", start.descriptors, end.descriptors);
        ensure!(end.threads <= start.threads + 4, "threads grew from {} to {}", start.threads, end.threads);
        Ok(())
    }
}

impl Watch {
    pub(crate) fn end(self) -> Footprints {
        self.looking.abort();
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let quarter = |number: usize| {
            let (from, to) = (looks.len() * number / 4, looks.len() * (number + 1) / 4);
            Footprint::median(looks.get(from..to).unwrap_or_default())
        };
        Footprints { start: quarter(1), end: quarter(3), looks: looks.len() }
    }
}

impl fmt::Display for Footprints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in the second quarter, {} in the last", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_refused_and_a_wobble_is_not() {
        let start = Footprint { anonymous_mib: 50.0, descriptors: 40, threads: 20, ..Footprint::default() };
        let seen = |end| Footprints { start, end, looks: 100 };
        assert!(seen(Footprint { anonymous_mib: 62.0, descriptors: 50, ..start }).ensure_flat().is_ok());
        for end in [
            Footprint { anonymous_mib: 64.0, ..start },
            Footprint { descriptors: 60, ..start },
            Footprint { threads: 30, ..start },
        ] {
            assert!(seen(end).ensure_flat().is_err(), "{end}");
        }
        assert!(Footprints { start, end: start, looks: 3 }.ensure_flat().is_err());
    }
}
