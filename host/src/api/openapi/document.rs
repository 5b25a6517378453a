//! Whole documents: OpenAPI 2.0 (<https://spec.openapis.org/oas/v2.0>) and 3.0 (<https://spec.openapis.org/oas/v3.0.0>), with the
//! extensions that k8s.io/apiserver `pkg/endpoints/openapi` adds.

use serde_json::{Map, Value, json};

use super::{
    dialect::Dialect,
    groups::{self, Row},
    paths,
};
use crate::api::{documents::Entry, group::Group};

type Object = Map<String, Value>;

/// Everything in one document of OpenAPI 2.0.
pub(super) fn v2() -> Value {
    let (mut paths, mut definitions) = (group_list(Dialect::V2), Object::new());
    for group in Group::ALL {
        paths.extend(one_group(Dialect::V2, group.name()));
    }
    for row in groups::served() {
        paths.extend(group_version(Dialect::V2, row, &[]));
        definitions.extend(types(Dialect::V2, row));
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
    for row in groups::served() {
        let listed = if row.described.group == Group::External.name() { external } else { &[] };
        let paths = group_version(Dialect::V3, row, listed);
        let key = row.described.root().trim_start_matches('/').to_owned();
        documents.push((key, v3_document(&paths, &types(Dialect::V3, row).collect())));
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

fn group_version(dialect: Dialect, Row { described, routes, .. }: &Row, listed: &[Entry]) -> Object {
    let root = described.root();
    let resources = (format!("{root}/"), paths::discovery(dialect, "APIResourceList"));
    let listed = listed.iter().filter_map(|entry| paths::listed(&entry.resource));
    let routes = routes().into_iter().chain(listed);
    let routes = routes.map(|route| (format!("{root}{}", route.path), route.item(dialect, described)));
    std::iter::once(resources).chain(routes).collect()
}

fn types(dialect: Dialect, Row { described, types, .. }: &Row) -> impl Iterator<Item = (String, Value)> {
    types(dialect, described).into_iter().map(|(name, schema)| (described.definition(name), schema))
}
