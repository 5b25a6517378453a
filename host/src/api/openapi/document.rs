//! Whole documents: OpenAPI 2.0 (<https://spec.openapis.org/oas/v2.0>) and 3.0 (<https://spec.openapis.org/oas/v3.0.0>), with the
//! extensions that k8s.io/apiserver `pkg/endpoints/openapi` adds.

use serde_json::{Map, Value, json};

use super::{
    groups::{self, Described},
    paths,
};
use crate::api::{documents::Entry, group::Group};

/// What the server writes.
const MEDIA_TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Where the two versions of the specification write the same thing differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

type Object = Map<String, Value>;

/// Everything in one document of OpenAPI 2.0.
pub(super) fn v2() -> Value {
    let (mut paths, mut definitions) = (group_list(Dialect::V2), Object::new());
    for group in Group::ALL {
        paths.extend(one_group(Dialect::V2, group.name()));
    }
    for described in groups::served() {
        paths.extend(group_version(Dialect::V2, described, &[]));
        definitions.extend(types(Dialect::V2, described));
    }
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

/// The documents of OpenAPI 3.0, each with what follows `/openapi/v3/` in its URL. `external` is what discovery lists.
pub(super) fn v3(external: &[Entry]) -> Vec<(String, Value)> {
    let mut documents = vec![("apis".to_owned(), v3_document(&group_list(Dialect::V3), &Object::new()))];
    for group in Group::ALL {
        let paths = one_group(Dialect::V3, group.name());
        documents.push((format!("apis/{}", group.name()), v3_document(&paths, &Object::new())));
    }
    for described in groups::served() {
        let listed = if described.group == Group::External.name() { external } else { &[] };
        let paths = group_version(Dialect::V3, described, listed);
        let key = described.root().trim_start_matches('/').to_owned();
        documents.push((key, v3_document(&paths, &types(Dialect::V3, described).collect())));
    }
    documents
}

fn v3_document(paths: &Object, schemas: &Object) -> Value {
    json!({ "openapi": "3.0.0", "info": info(), "paths": paths, "components": { "schemas": schemas } })
}

fn info() -> Value {
    json!({ "title": "wasm-metrics-adapter", "version": concat!("v", env!("CARGO_PKG_VERSION")) })
}

fn group_list(dialect: Dialect) -> Object {
    Object::from_iter([("/apis/".to_owned(), paths::discovery(dialect, "APIGroupList"))])
}

fn one_group(dialect: Dialect, group: &str) -> Object {
    Object::from_iter([(format!("/apis/{group}/"), paths::discovery(dialect, "APIGroup"))])
}

fn group_version(dialect: Dialect, described: &Described, listed: &[Entry]) -> Object {
    let root = described.root();
    let resources = (format!("{root}/"), paths::discovery(dialect, "APIResourceList"));
    let listed = listed.iter().filter_map(|entry| paths::listed(&entry.resource));
    let routes = (described.routes)().into_iter().chain(listed);
    let routes = routes.map(|route| (format!("{root}{}", route.path), route.item(dialect, described)));
    std::iter::once(resources).chain(routes).collect()
}

fn types(dialect: Dialect, described: &Described) -> impl Iterator<Item = (String, Value)> {
    (described.types)(dialect, described).into_iter().map(|(name, schema)| (described.definition(name), schema))
}

/// An object with one field more.
pub(super) fn with(mut object: Value, field: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(field.to_owned(), value);
    }
    object
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
                json!({ "description": "OK", "content": Object::from_iter(content) })
            }
        };
        json!({ "200": answer, "401": { "description": "Unauthorized" } })
    }

    /// The forms of an operation's answers, where they are not said with each response.
    pub(super) fn produces(self) -> Option<Value> {
        (self == Self::V2).then(|| json!(MEDIA_TYPES))
    }
}
