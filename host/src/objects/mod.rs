//! The cluster's kinds and objects, for requests and guests: kinds from the API server's discovery, names and addresses from
//! watches. Reads only; never asks for a kind that the operator has not listed, never for Secrets, and never for the API groups
//! that this adapter serves itself.
//!
//! In reading order: [`DiscoveredKinds`] says what there is, kept in step with custom resource `definitions`, [`ObjectPolicy`]
//! what plugins may see, [`WatchedObjects`] answers from an `index` that a `watch` keeps as long as somebody asks, and so does the
//! `inventory` for metrics.k8s.io. [`FixedObjects`] is all of it without a cluster.

mod definitions;
mod index;
mod inventory;
mod kinds;
#[cfg(test)]
mod mock;
mod policy;
mod table;
mod watch;
mod watched;

pub use index::Object;
pub use kinds::DiscoveredKinds;
pub use policy::{InvalidObjectPolicy, ObjectPolicy};
pub use table::FixedObjects;
pub use watched::WatchedObjects;
