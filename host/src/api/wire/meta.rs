//! `metav1.ListMeta`, `metav1.ObjectMeta` and objects of which there is nothing else.

use serde::Serialize;

use super::{maybe_timestamp, pairs};
use crate::{
    api::encoding::{
        Document, TypeMeta,
        protobuf::{Fields, Message},
    },
    model::UnixMillis,
};

/// `metav1.ListMeta`: all of its fields are optional, and none is used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::api) struct ListMeta {}

/// `metav1.ObjectMeta`, as far as metrics fill it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ObjectMeta<'object> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(in crate::api) name: &'object str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(in crate::api) namespace: &'object str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_timestamp")]
    pub(in crate::api) creation_timestamp: Option<UnixMillis>,
    /// Sorted by their keys.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "pairs")]
    pub(in crate::api) labels: &'object [(String, String)],
}

/// The version of group meta.k8s.io in which a client asks for another shape of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum MetaVersion {
    V1,
    V1Beta1,
}

/// `metav1.PartialObjectMetadata`: what an object is, without what it says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PartialObjectMetadata<'object> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ObjectMeta<'object>,
}

/// `metav1.PartialObjectMetadataList`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PartialObjectMetadataList<'object> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    items: Vec<PartialObjectMetadata<'object>>,
}

impl MetaVersion {
    pub(in crate::api) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl<'object> PartialObjectMetadata<'object> {
    pub(in crate::api) fn new(version: MetaVersion, metadata: ObjectMeta<'object>) -> Self {
        Self { kind: "PartialObjectMetadata", api_version: version.api_version(), metadata }
    }
}

impl<'object> PartialObjectMetadataList<'object> {
    pub(in crate::api) fn new(version: MetaVersion, objects: impl Iterator<Item = ObjectMeta<'object>>) -> Self {
        Self {
            kind: "PartialObjectMetadataList",
            api_version: version.api_version(),
            metadata: ListMeta {},
            items: objects.map(|metadata| PartialObjectMetadata::new(version, metadata)).collect(),
        }
    }
}

impl Message for ListMeta {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, ""); // selfLink
        fields.string(2, ""); // resourceVersion
        fields.string(3, ""); // continue
    }
}

impl Message for ObjectMeta<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.string(1, self.name);
        fields.string(2, ""); // generateName
        fields.string(3, self.namespace);
        fields.string(4, ""); // selfLink
        fields.string(5, ""); // uid
        fields.string(6, ""); // resourceVersion
        fields.integer(7, 0); // generation
        fields.nested(8, |time| {
            if let Some(created) = &self.creation_timestamp {
                created.write(time);
            }
        });
        fields.map(11, self.labels);
    }
}

impl Document for PartialObjectMetadata<'_> {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for PartialObjectMetadata<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
    }
}

impl Document for PartialObjectMetadataList<'_> {
    fn type_meta(&self) -> TypeMeta<'_> {
        TypeMeta { kind: self.kind, api_version: self.api_version }
    }
}

impl Message for PartialObjectMetadataList<'_> {
    fn write(&self, fields: &mut Fields<'_>) {
        fields.message(1, &self.metadata);
        fields.messages(2, &self.items);
    }
}
