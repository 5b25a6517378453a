//! In which shape a client takes objects: as they are, as the table that `kubectl get` prints, or their metadata alone; as
//! `transformResponseObject` of k8s.io/apiserver `pkg/endpoints/handlers/response.go`. The Go adapters of custom and external metrics
//! have no tables; all of our groups do.

use axum::response::Response;
use http::{HeaderValue, StatusCode, request::Parts};
use serde::Serialize;

use super::{
    accept::Target,
    content,
    encoding::{Document, Encoding, Text, TypeMeta, protobuf::Message},
    negotiate::{Answer, NotAcceptable, choose, unwritable},
    wire::{Include, List, MetaVersion, Object, PartialObjectMetadata, PartialObjectMetadataList, Table, Tabular},
};

/// How to write objects in answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shaped {
    answer: Answer,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    AsItIs,
    Table { text: Text, version: MetaVersion, include: Include },
    Metadata(MetaVersion),
}

/// Why objects can't be shown in the shape that the client asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoShape {
    #[error(transparent)]
    NotAcceptable(#[from] NotAcceptable),
    #[error(
        "Unable to convert to Table as requested: includeObject: Invalid value: {0:?}: must be 'Metadata', 'Object', 'None', or empty"
    )]
    IncludeObject(String),
}

impl Shaped {
    /// For a list of objects.
    pub(super) fn negotiate_list(head: &Parts) -> Result<Self, NoShape> {
        Self::negotiate(head, "PartialObjectMetadataList")
    }

    /// For one object.
    pub(super) fn negotiate_object(head: &Parts) -> Result<Self, NoShape> {
        Self::negotiate(head, "PartialObjectMetadata")
    }

    fn negotiate(head: &Parts, metadata_kind: &str) -> Result<Self, NoShape> {
        let chosen = choose(head, |encoding, parameters| {
            if !matches!(parameters.server_version, "" | "v1") {
                return None;
            }
            let Some(target) = parameters.target else { return Some(Shape::AsItIs) };
            let version = meta_version(target)?;
            match (target.kind, encoding) {
                ("Table", Encoding::Text(text)) => Some(Shape::Table { text, version, include: Include::default() }),
                (kind, _) if kind == metadata_kind => Some(Shape::Metadata(version)),
                _ => None,
            }
        });
        let (answer, mut shape) = chosen.ok_or(NotAcceptable)?;
        if let Shape::Table { include, .. } = &mut shape {
            *include = included(head)?;
        }
        Ok(Self { answer, shape })
    }

    /// The list, in its shape.
    pub(super) fn write_list<Item: Tabular + Message>(self, list: &List<Item>) -> Response {
        match self.shape {
            Shape::AsItIs => self.document(list),
            Shape::Table { text, version, include } => {
                let list_kind = list.type_meta().kind;
                let kind = list_kind.strip_suffix("List").unwrap_or(list_kind);
                let meta = TypeMeta { kind, ..list.type_meta() };
                self.text(text, &Table::new(version, include, meta, list.items()))
            }
            Shape::Metadata(version) => {
                self.document(&PartialObjectMetadataList::new(version, list.items().iter().map(Tabular::metadata)))
            }
        }
    }

    /// The object, in its shape.
    pub(super) fn write_object<Item: Tabular + Message>(self, object: &Object<Item>) -> Response {
        match self.shape {
            Shape::AsItIs => self.document(object),
            Shape::Table { text, version, include } => {
                let items = std::slice::from_ref(object.item());
                self.text(text, &Table::new(version, include, object.type_meta(), items))
            }
            Shape::Metadata(version) => self.document(&PartialObjectMetadata::new(version, object.item().metadata())),
        }
    }

    fn document(self, document: &impl Document) -> Response {
        self.answer.write(StatusCode::OK, document)
    }

    fn text(self, text: Text, object: &impl Serialize) -> Response {
        match text.write(object, self.answer.pretty) {
            Ok(body) => {
                let content_type = HeaderValue::from_static(text.media_type());
                content::response(StatusCode::OK, content_type, body, self.answer.gzip)
            }
            Err(error) => unwritable(&error),
        }
    }
}

fn included(head: &Parts) -> Result<Include, NoShape> {
    let query = head.uri.query().unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let include = parameters.find(|(name, _)| name == "includeObject").map(|(_, value)| value).unwrap_or_default();
    Include::named(&include).ok_or_else(|| NoShape::IncludeObject(include.into_owned()))
}

fn meta_version(target: Target<'_>) -> Option<MetaVersion> {
    match (target.group, target.version) {
        ("meta.k8s.io", "v1") => Some(MetaVersion::V1),
        ("meta.k8s.io", "v1beta1") => Some(MetaVersion::V1Beta1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
