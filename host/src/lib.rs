//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`source`]: where plugins come from

pub mod model;
pub mod source;
