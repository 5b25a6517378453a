//! The group versions that the documents describe. One more is one more row, with its types and its paths.

use super::{
    described::Described,
    dialect::Dialect,
    paths::{self, Route},
    types::{self, Type},
};
use crate::api::group::Group;

/// A group version with what there is of it. A row is what the project can serve; shown is what [`Group`] says that it does.
pub(super) struct Row {
    pub(super) described: Described,
    pub(super) types: fn(Dialect, &Described) -> Vec<Type>,
    pub(super) routes: fn() -> Vec<Route>,
}

pub(super) const DESCRIBED: [Row; 4] = [
    Row {
        described: Described { group: "custom.metrics.k8s.io", version: "v1beta2", package: "custom_metrics" },
        types: types::custom_v1beta2,
        routes: paths::custom,
    },
    Row {
        described: Described { group: "custom.metrics.k8s.io", version: "v1beta1", package: "custom_metrics" },
        types: types::custom_v1beta1,
        routes: paths::custom,
    },
    Row {
        described: Described { group: "external.metrics.k8s.io", version: "v1beta1", package: "external_metrics" },
        types: types::external,
        routes: paths::external,
    },
    Row {
        described: Described { group: "metrics.k8s.io", version: "v1beta1", package: "metrics" },
        types: types::resource,
        routes: paths::resource,
    },
];

/// Those that are served, in the table's order.
pub(super) fn served() -> impl Iterator<Item = &'static Row> {
    const TABLE: &[Row] = &DESCRIBED;
    let group = |row: &Row| Group::named(row.described.group);
    TABLE.iter().filter(move |row| group(row).and_then(|group| group.version(row.described.version)).is_some())
}
