//! How objects are written: in the three encodings of k8s.io/apimachinery `pkg/runtime/serializer`, in the same bytes as Go. A new
//! document of the API implements [`Document`], and every encoding can write it.

mod json;
pub(super) mod protobuf;
mod yaml;

use serde::Serialize;

use protobuf::Message;

/// An object of the Kubernetes API: `Serialize` is its JSON, fields in the order of Go's, and [`Message`] its protobuf.
pub(super) trait Document: Serialize + Message {
    /// What the object is, which protobuf carries beside it, in an envelope.
    fn type_meta(&self) -> TypeMeta<'_>;
}

/// `metav1.TypeMeta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypeMeta<'document> {
    pub(super) kind: &'document str,
    pub(super) api_version: &'document str,
}

/// A media type that objects are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Text(Text),
    Protobuf,
}

/// The encodings that need no more than `Serialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Json,
    Yaml,
}

impl Encoding {
    /// Every encoding, in the order of Go's `newSerializersForScheme`: of those that a client accepts equally, the first is taken,
    /// and the first is the default.
    pub(super) const ALL: [Self; 3] = [Self::JSON, Self::YAML, Self::Protobuf];
    pub(super) const JSON: Self = Self::Text(Text::Json);
    pub(super) const YAML: Self = Self::Text(Text::Yaml);

    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text(text) => text.media_type(),
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// `document` in this encoding; JSON is indented if a person reads it (`pretty`), the others are not changed by that.
    pub(super) fn write(self, document: &impl Document, pretty: bool) -> Result<Vec<u8>, Unwritable> {
        match self {
            Self::Text(text) => text.write(document, pretty),
            Self::Protobuf => Ok(protobuf::write(document)),
        }
    }
}

impl Text {
    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }

    /// `object` in this encoding; JSON is indented if a person reads it.
    pub(super) fn write(self, object: &impl Serialize, pretty: bool) -> Result<Vec<u8>, Unwritable> {
        match self {
            Self::Json if pretty => json::indented(object),
            Self::Json => json::compact(object),
            Self::Yaml => yaml::write(object),
        }
    }
}

/// An object that its encoder refuses: a fault of this program, since all of our objects are plain structures.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritable {
    #[error("the answer could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the answer could not be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

#[cfg(test)]
pub(super) mod tests;
