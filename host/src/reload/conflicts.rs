//! Which of a plugin's metrics another one answers, told to the plugin's owner once for each change. The registry's snapshot knows;
//! this decides when to look.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::{model::PluginId, registry::Snapshot};

/// From a change of the registry to the look at who answers what: at a start, many plugins load at once.
const SETTLE: Duration = Duration::from_secs(1);

/// One plugin's conflicts.
pub(super) struct Conflicts {
    changes: watch::Receiver<u64>,
    look: Option<Instant>,
    known: Vec<String>,
}

impl Conflicts {
    /// None yet; `changes` counts the changes of the registry.
    pub(super) fn new(changes: watch::Receiver<u64>) -> Self {
        Self { changes, look: None, known: Vec::new() }
    }

    /// Waits until it is time to look. Dropping the future loses nothing.
    pub(super) async fn due(&mut self) {
        let look = match self.look {
            Some(look) => look,
            None => {
                if self.changes.changed().await.is_err() {
                    // The registry is gone, and so are conflicts.
                    std::future::pending::<()>().await;
                }
                *self.look.insert(Instant::now() + SETTLE)
            }
        };
        tokio::time::sleep_until(look).await;
        self.look = None;
    }

    /// The conflicts that `id` loses, if they are others than the last time.
    pub(super) fn changed(&mut self, snapshot: &Snapshot, id: &PluginId) -> Option<&[String]> {
        let conflicts = snapshot.conflicts_of(id);
        let describe =
            |conflict: &crate::registry::Conflict| format!("{} is answered by {}", conflict.claimed, conflict.winner);
        let conflicts: Vec<String> = conflicts.iter().map(describe).collect();
        if conflicts == self.known {
            return None;
        }
        self.known = conflicts;
        Some(&self.known)
    }
}
