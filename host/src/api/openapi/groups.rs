//! The group versions that the documents describe. One more is one more row, with its types and its paths.

use serde_json::{Value, json};

use super::{
    document::Dialect,
    paths::{self, Route},
    types::{self, Type},
};
use crate::api::group::Group;

/// A group version. Described is what the project can serve; shown is what [`Group`] says that it does.
pub(super) struct Described {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    /// The package of its types in k8s.io/metrics `pkg/apis`, of which their names are made.
    package: &'static str,
    pub(super) types: fn(Dialect, &Described) -> Vec<Type>,
    pub(super) routes: fn() -> Vec<Route>,
}

pub(super) const DESCRIBED: [Described; 4] = [
    Described {
        group: "custom.metrics.k8s.io",
        version: "v1beta2",
        package: "custom_metrics",
        types: types::custom_v1beta2,
        routes: paths::custom,
    },
    Described {
        group: "custom.metrics.k8s.io",
        version: "v1beta1",
        package: "custom_metrics",
        types: types::custom_v1beta1,
        routes: paths::custom,
    },
    Described {
        group: "external.metrics.k8s.io",
        version: "v1beta1",
        package: "external_metrics",
        types: types::external,
        routes: paths::external,
    },
    Described {
        group: "metrics.k8s.io",
        version: "v1beta1",
        package: "metrics",
        types: types::resource,
        routes: paths::resource,
    },
];

/// Those that are served, in the table's order.
pub(super) fn served() -> impl Iterator<Item = &'static Described> {
    const TABLE: &[Described] = &DESCRIBED;
    TABLE
        .iter()
        .filter(|described| Group::named(described.group).and_then(|group| group.version(described.version)).is_some())
}

impl Described {
    /// The paths' beginning, as in `/apis/custom.metrics.k8s.io/v1beta2`.
    pub(super) fn root(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// The name of a type among all of the cluster, as the Go packages spell it.
    pub(super) fn definition(&self, kind: &str) -> String {
        format!("io.k8s.metrics.pkg.apis.{}.{}.{kind}", self.package, self.version)
    }

    /// The name of an operation among all of a document.
    pub(super) fn operation(&self, id: &str) -> String {
        format!("{id}_{}_{}", self.package, self.version)
    }

    /// What ties a type, or an operation, to what discovery says.
    pub(super) fn group_version_kind(&self, kind: &str) -> Value {
        json!({ "group": self.group, "kind": kind, "version": self.version })
    }
}
