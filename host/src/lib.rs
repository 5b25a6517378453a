//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`source`]: where plugins come from
//! - [`manifest`]: plugin.yaml, parsed
//! - [`bundle`]: from what a source read to a whole plugin

pub mod bundle;
pub mod manifest;
pub mod model;
pub mod source;
