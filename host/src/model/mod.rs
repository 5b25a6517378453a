//! The words that all rooms share, and the doorways between them. No I/O, no serde, no HTTP codes, no Kubernetes client.

mod claims;
mod cluster;
mod connection;
mod error;
mod explanation;
mod metric;
mod plugin;
mod provider;
mod quantity;
mod quote;
mod request;
mod selector;
mod usage;
mod values;

pub use claims::{Claims, CustomPattern, Listed, Pattern};
pub use cluster::{Endpoint, Kind, Kinds, Objects};
pub use connection::Connection;
pub use error::{AuthError, FetchError, Reason};
pub use explanation::{
    BackendCall, BackendOutcome, CallLimits, ConsideredClaim, Detail, Excerpt, Explanation, GuestValue, LogLine,
    Lookup, MetricAnswer, MetricQuery, PluginCall, Precedence, RawExchange, Standing,
};
pub use metric::{CustomMetric, GroupResource, InvalidMetricName, MetricName, UnixMillis};
pub use plugin::{Generation, PluginId};
pub use provider::{
    Catalog, CustomAnswer, CustomQuery, CustomSample, ExternalAnswer, ExternalQuery, ExternalSample, ObjectSelection,
    Provider,
};
pub use quantity::{InvalidQuantity, Quantity, QuantityFormat};
pub use quote::{Quoted, is_printable};
pub use request::{Attributes, ResourceAttributes, User};
pub use selector::{InvalidSelector, Operator, Requirement, Selector};
pub use usage::{ContainerUsage, Inventory, Measurable, NodeSample, PodRef, PodSample, ResourceAnswer, Usage};
pub use values::{CacheState, CacheView, Fallback, Guard, ValuePolicy};
