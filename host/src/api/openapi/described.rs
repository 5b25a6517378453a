//! A group version by its names: in paths, among types, and among operations.

use serde_json::{Value, json};

/// A group version.
pub(super) struct Described {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    /// The package of its types in k8s.io/metrics `pkg/apis`, of which their names are made.
    pub(super) package: &'static str,
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
