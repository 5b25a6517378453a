//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`source`]: where plugins come from
//! - [`egress`]: requests of guests to backends
//! - [`runtime`]: runs guests

pub mod egress;
pub mod model;
pub mod runtime;
pub mod source;
