//! A Kubernetes metrics API server whose metrics come from WebAssembly plugins. The rooms, in reading order:
//!
//! - [`model`]: the words that all rooms share, and the doorways between them
//! - [`serve`]: bytes to requests; [`certificates`]: which certificate it serves
//! - [`auth`]: who asks, and may they
//! - [`api`]: the Kubernetes dialect
//! - [`registry`]: which plugin answers
//! - [`runtime`]: runs guests; [`egress`]: their requests to backends; [`objects`]: what they may know of the cluster
//! - [`source`]: where plugins come from; [`manifest`] and [`bundle`]: what they are made of; [`policy`]: what the operator grants
//!   them; [`reload`]: from events to swaps
//! - [`config`], [`telemetry`]: flags in; logs, metrics and readiness out
//! - [`app`]: the wiring; [`cli`]: the commands

pub mod api;
pub mod app;
pub mod auth;
pub mod bundle;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod egress;
pub mod manifest;
pub mod model;
pub mod objects;
pub mod policy;
pub mod registry;
pub mod reload;
pub mod runtime;
pub mod serve;
pub mod source;
pub mod telemetry;
