//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`api`]: the Kubernetes dialect: URLs to questions, answers and failures to JSON
//! - [`registry`]: which plugin answers which metric
//! - [`source`]: where plugins come from

pub mod api;
pub mod model;
pub mod registry;
pub mod source;
