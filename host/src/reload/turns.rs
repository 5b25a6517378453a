//! How many plugins' bytes are held at once, from the ConfigMap to compiled code. A component may have 64 MiB, and at a start or after
//! `kubectl apply` of a folder all plugins come together: whoever has to wait keeps none and reads them again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns for each sort of load. Four keep both processors busy while one of them waits for the API server.
const AT_ONCE: usize = 4;

/// Given to workers.
pub struct Turns {
    new_code: Arc<Semaphore>,
    known_code: Arc<Semaphore>,
}

/// The right to hold bytes, until it is dropped.
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    fn default() -> Self {
        let turns = || Arc::new(Semaphore::new(AT_ONCE));
        Self { new_code: turns(), known_code: turns() }
    }
}

impl Turns {
    /// Waits for a turn. One whose code is compiled (only its settings changed) never waits for a compiler; `waits` is called where
    /// it must wait for others.
    pub(super) async fn take(&self, code_is_known: bool, waits: impl FnOnce()) -> Turn {
        let turns = if code_is_known { &self.known_code } else { &self.new_code };
        let permit = match turns.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                waits();
                // They are never closed.
                turns.clone().acquire_owned().await.ok()
            }
        };
        Turn { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn loads_of_known_code_do_not_wait_for_compilers() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.take(false, || panic!("there is a turn left")).await);
        }
        let mut waited = false;
        assert!(turns.take(false, || waited = true).now_or_never().is_none());
        assert!(waited);
        turns.take(true, || panic!("its turns are others")).await;
        held.pop();
        turns.take(false, || panic!("one was given back")).await;
    }
}
