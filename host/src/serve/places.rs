//! How many connections there may be, in sum and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections.
pub(super) struct Places {
    total: Arc<Semaphore>,
    per_address: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, free again when dropped.
pub(super) struct Place {
    _total: OwnedSemaphorePermit,
    address: IpAddr,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total: Arc::new(Semaphore::new(total)), per_address, taken: Mutex::default() })
    }

    /// Waits until there is a place for anybody; `None` never, but for the semaphore's sake.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.total.clone().acquire_owned().await.ok()
    }

    /// Gives the free place to a connection from `address`, or back if that one has enough.
    pub(super) fn take(
        self: &Arc<Self>,
        free: OwnedSemaphorePermit,
        address: IpAddr,
    ) -> Result<Place, OwnedSemaphorePermit> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.per_address {
            return Err(free);
        }
        *count += 1;
        Ok(Place { _total: free, address, places: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
