//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`egress`]: requests of guests to their backends
//! - [`objects`]: the cluster's kinds and objects, from discovery and watches
//! - [`source`]: where plugins come from

pub mod egress;
pub mod model;
pub mod objects;
pub mod source;
