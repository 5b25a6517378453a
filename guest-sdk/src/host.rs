//! The adapter's side of the imports: in a component the real ones, elsewhere those of the running [`testing::Host`].
//! Both have the same functions, so no other module knows which it talks to.
//!
//! [`testing::Host`]: crate::testing::Host

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::wasm_metrics_adapter::plugin::{config, http, log, objects, state};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::imports::{config, http, log, objects, state};
