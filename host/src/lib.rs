//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`serve`]: bytes to requests: TLS, HTTP, and what a client may hold
//! - [`certificates`]: where the serving certificate comes from, renewed while serving
//! - [`auth`]: who asks, and may they
//! - [`source`]: where plugins come from

pub mod auth;
pub mod certificates;
pub mod model;
pub mod serve;
pub mod source;
