//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`source`]: where plugins come from
//! - [`cli`]: the commands beside `serve`

pub mod cli;
pub mod model;
pub mod source;
