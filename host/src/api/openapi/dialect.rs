//! Where OpenAPI 2.0 and 3.0 write the same thing differently.

use serde_json::{Map, Value, json};

/// What the server writes.
const MEDIA_TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A version of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A type by its name in the document.
    pub(super) fn reference(self, definition: &str) -> Value {
        match self {
            Self::V2 => json!({ "$ref": format!("#/definitions/{definition}") }),
            Self::V3 => json!({ "$ref": format!("#/components/schemas/{definition}") }),
        }
    }

    /// The same with a description of its own, for which 3.0 has no room beside the reference.
    pub(super) fn described_reference(self, description: &str, definition: &str) -> Value {
        match self {
            Self::V2 => json!({ "description": description, "$ref": format!("#/definitions/{definition}") }),
            Self::V3 => json!({ "description": description, "allOf": [self.reference(definition)] }),
        }
    }

    /// A parameter that is a text. `place` is `path` or `query`.
    pub(super) fn parameter(self, name: &str, place: &str, description: &str) -> Value {
        let parameter = json!({ "name": name, "in": place, "description": description, "required": place == "path" });
        match self {
            Self::V2 => with(parameter, "type", json!("string")),
            Self::V3 => with(parameter, "schema", json!({ "type": "string" })),
        }
    }

    /// The responses of an operation.
    pub(super) fn responses(self, schema: &Value) -> Value {
        let answer = match self {
            Self::V2 => json!({ "description": "OK", "schema": schema }),
            Self::V3 => {
                let content = MEDIA_TYPES.map(|name| (name.to_owned(), json!({ "schema": schema })));
                json!({ "description": "OK", "content": Map::from_iter(content) })
            }
        };
        json!({ "200": answer, "401": { "description": "Unauthorized" } })
    }

    /// The forms of an operation's answers, where they are not said with each response.
    pub(super) fn produces(self) -> Option<Value> {
        (self == Self::V2).then(|| json!(MEDIA_TYPES))
    }
}

/// An object with one field more.
pub(super) fn with(mut object: Value, field: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(field.to_owned(), value);
    }
    object
}
