//! Plugins for wasm-metrics-adapter: values for Kubernetes' custom and external metrics APIs from a WebAssembly component.
//!
//! A plugin is a type that implements one or more of [`ExternalMetrics`], [`CustomMetrics`], [`ResourceMetrics`] and
//! [`Settings`], and one [`export!`] line. This is a whole one:
//!
//! ```
//! use metrics_plugin::{ExternalMetrics, Failure, Selector, external, http};
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     url: String, // `config.url` of plugin.yaml
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Queue {
//!     name: String,
//!     messages: i64,
//! }
//!
//! struct Queues;
//!
//! impl ExternalMetrics for Queues {
//!     fn list_metrics() -> Result<Vec<String>, Failure> {
//!         Ok(vec!["queue_messages".to_owned()])
//!     }
//!
//!     fn get(_namespace: &str, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
//!         if metric != "queue_messages" {
//!             return Err(Failure::metric_not_found(metric));
//!         }
//!         let config: Config = metrics_plugin::config::load()?;
//!         let queues: Vec<Queue> = http::Request::get(format!("{}/queues", config.url)).send()?.json()?;
//!         let samples = queues.into_iter().map(|queue| external::Sample::new(queue.messages).label("queue", queue.name));
//!         Ok(samples.filter(|sample| series.matches(&sample.labels)).collect())
//!     }
//! }
//!
//! metrics_plugin::export!(Queues: external);
//!
//! // And its test, on this machine, without a cluster or a backend:
//! use metrics_plugin::testing::Host;
//!
//! let host = Host::new().config("url", "https://mq.example.com");
//! host.respond("GET", "https://mq.example.com/queues", 200, r#"[{"name":"orders","messages":7},{"name":"mail","messages":1}]"#);
//! let samples = host.run(|| Queues::get("shop", "queue_messages", &Selector::all().equals("queue", "orders")))?;
//! assert_eq!(samples, [external::Sample::new(7).label("queue", "orders")]);
//! # Ok::<(), Failure>(())
//! ```
//!
//! Build it as a `cdylib` with `cargo build --release --target wasm32-wasip2`; the file that comes out is the plugin.
//!
//! What holds for every plugin:
//!
//! - Each call runs in a fresh instance: statics do not outlive it, [`state`] does.
//! - It sees nothing but its imports: [`config`], [`http`] to the origins in `egress`, [`objects`], [`state`] and [`log`].
//! - A [`Failure`] becomes a Kubernetes Status; its message is what a person reads in `kubectl describe hpa`.
//! - On other targets than wasm32 the imports are those of the [`testing::Host`] that runs the code, and refuse
//!   everything without one.

#[doc(hidden)]
pub mod bindings;
pub mod config;
mod export;
mod failure;
mod host;
pub mod http;
pub mod log;
mod number;
pub mod objects;
mod plugin;
mod sample;
mod selector;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bindings::imports::wasm_metrics_adapter::plugin::types::{
    Failure, GroupResource, Label, Number, Operator, Quantity, Reason, Requirement, Timestamp,
};
#[doc(hidden)]
pub use export::check as __check;
pub use number::ParseNumberError;
pub use plugin::{CustomMetrics, ExternalMetrics, ResourceMetrics, Settings};
pub use sample::{custom, external, resource};
pub use selector::Selector;
