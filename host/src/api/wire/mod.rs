//! The wire types of k8s.io/metrics and of k8s.io/apimachinery `meta/v1`, field by field in the order in which Go prints them.

mod cell;
mod custom;
mod external;
mod meta;
mod resource;
mod selector;
mod table;

use std::time::Duration;

use serde::{Serialize, Serializer};

pub(super) use custom::{DescribedObject, MetricIdentifier, MetricValueV1Beta1, MetricValueV1Beta2};
pub(super) use external::ExternalMetricValue;
pub(super) use meta::{ListMeta, MetaVersion, ObjectMeta, PartialObjectMetadata, PartialObjectMetadataList};
pub(super) use resource::{Kind, NodeMetrics, PodMetrics};
pub(super) use selector::{LabelSelector, NotRepresentable};
pub(super) use table::{Column, Include, Table, Tabular};

use super::{
    encoding::{
        Document, TypeMeta,
        protobuf::{Fields, Message},
    },
    group::GroupVersion,
};
use crate::model::{Quantity, UnixMillis};

/// A list of objects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<Item> {
    kind: &'static str,
    api_version: String,
    metadata: ListMeta,
    items: Vec<Item>,
}

impl<Item> List<Item> {
    pub(super) fn new(version: GroupVersion, items: Vec<Item>) -> Self {
        Self { kind: version.list_kind(), api_version: version.to_string(), metadata: ListMeta {}, items }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }
}

impl<Item: Message> Message for List<Item> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.messages(2, &self.items);
    }
}

impl<Item: Serialize + Message> Document for List<Item> {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: &self.api_version }
    }
}

/// An object alone, which says what it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object<Item> {
    kind: &'static str,
    api_version: String,
    #[serde(flatten)]
    item: Item,
}

impl<Item> Object<Item> {
    pub(super) fn new(kind: &'static str, version: GroupVersion, item: Item) -> Self {
        Self { kind, api_version: version.to_string(), item }
    }

    pub(super) fn item(&self) -> &Item {
        &self.item
    }
}

impl<Item: Message> Message for Object<Item> {
    fn write(&self, fields: &mut Fields<'_>) {
        self.item.write(fields);
    }
}

impl<Item: Serialize + Message> Document for Object<Item> {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: &self.api_version }
    }
}

/// A map in the order of its pairs.
pub(super) fn pairs<S: Serializer, T: Serialize>(pairs: &[(T, T)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// A quantity is a text.
pub(super) fn quantity<S: Serializer>(value: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `metav1.Time`: whole seconds of UTC. A time beyond the calendar is none, which Go prints as `null`.
pub(super) fn timestamp<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    match whole_seconds(*time) {
        Some(time) => serializer.collect_str(&time),
        None => serializer.serialize_none(),
    }
}

/// A time that is left out where there is none.
pub(super) fn maybe_timestamp<S: Serializer>(time: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => timestamp(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// The time as Kubernetes has it; none beyond the calendar.
pub(super) fn whole_seconds(time: UnixMillis) -> Option<jiff::Timestamp> {
    let seconds = i64::try_from(time.0 / 1000).ok()?;
    jiff::Timestamp::from_second(seconds).ok()
}

/// A `resource.Quantity` in protobuf: a text in a message of its own.
impl Message for Quantity {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.display(1, self);
    }
}

/// A `metav1.Time` in protobuf: seconds and nanoseconds, of which Go leaves the latter 0; a time that is none is empty.
impl Message for UnixMillis {
    fn write(&self, fields: &mut Fields<'_>) {
        if let Some(time) = whole_seconds(*self) {
            fields.integer(1, time.as_second());
            fields.integer(2, 0);
        }
    }
}

/// Whole seconds, rounded up: 0 would say that the value is not a rate at all.
pub(super) fn seconds(window: Option<Duration>) -> Option<i64> {
    let whole = |window: Duration| window.as_secs().saturating_add(u64::from(window.subsec_nanos() > 0));
    window.map(|window| i64::try_from(whole(window)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
