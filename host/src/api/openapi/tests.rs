use axum::body::to_bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;

use super::{dialect::Dialect, *};
use crate::{
    api::group::Group,
    model::{Catalog, MetricName},
};

fn catalog(external: &[&str]) -> Arc<Catalog> {
    let external = external.iter().map(|name| MetricName::new(*name).unwrap()).collect();
    Arc::new(Catalog { external, ..Catalog::default() })
}

struct Answer {
    code: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn get(openapi: &OpenApi, catalog: &Arc<Catalog>, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let path::Form::OpenApi(which) = path::parse(&Method::GET, &head.uri).unwrap().form else { panic!("{url}") };
    let response = openapi.respond(&which, catalog, &head).unwrap_or_else(|status| status.respond(&head));
    let (head, body) = response.into_parts();
    let body = futures::executor::block_on(to_bytes(body, usize::MAX)).unwrap();
    Answer { code: head.status, headers: head.headers, body: body.to_vec() }
}

const EXTERNAL: &str = "/openapi/v3/apis/external.metrics.k8s.io/v1beta1";

/// Each `$ref` below a value.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == "$ref" => vec![text.clone()],
                value => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The operations of a document with their paths.
fn operations(document: &Value) -> Vec<(&String, &Value)> {
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path, &item["get"])).collect()
}

#[test]
fn every_group_version_that_is_served_is_described() {
    let served: Vec<String> =
        Group::ALL.iter().flat_map(|group| group.versions()).map(|version| format!("/apis/{version}")).collect();
    assert_eq!(groups::served().map(|row| row.described.root()).collect::<Vec<_>>(), served);
    let openapi = OpenApi::new();
    let index = get(&openapi, &catalog(&[]), "/openapi/v3", &[]).json();
    let mut expected: Vec<String> = served.iter().map(|root| root.trim_start_matches('/').to_owned()).collect();
    expected.extend(Group::ALL.map(|group| format!("apis/{}", group.name())));
    expected.push("apis".to_owned());
    expected.sort();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    for (key, entry) in paths {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{key}?hash=")), "{url}");
        assert_eq!(get(&openapi, &catalog(&[]), url, &[]).code, StatusCode::OK, "{url}");
    }
}

/// As `kubectl explain` goes: from the path to the operation's kind, and to the one type that says it is that kind.
#[test]
fn kinds_are_found_by_path_and_references_by_name() {
    let in_both = |row| [(row, Dialect::V2), (row, Dialect::V3)];
    for (groups::Row { described, types, routes }, dialect) in groups::DESCRIBED.iter().flat_map(in_both) {
        let types = types(dialect, described);
        let names: Vec<String> =
            types.iter().map(|(name, _)| dialect.reference(&described.definition(name))["$ref"].to_string()).collect();
        let known = |reference: &String| names.contains(&format!("{reference:?}"));
        for (name, schema) in &types {
            assert!(references(schema).iter().all(known), "{name}");
        }
        for route in routes() {
            let item = route.item(dialect, described);
            assert!(references(&item).iter().all(known) && !references(&item).is_empty(), "{}", route.path);
            let kind = &item["get"]["x-kubernetes-group-version-kind"];
            let of_kind = types.iter().filter(|(_, schema)| schema["x-kubernetes-group-version-kind"] == json!([kind]));
            assert_eq!(of_kind.count(), 1, "{kind}");
            let in_path = item["parameters"].as_array().unwrap().iter().filter(|it| it["in"] == "path").count();
            assert_eq!(in_path, route.path.matches('{').count(), "{}", route.path);
        }
    }
}

#[test]
fn listed_external_metrics_have_a_path_of_their_own() {
    let openapi = OpenApi::new();
    let before = get(&openapi, &catalog(&[]), EXTERNAL, &[]).json();
    let placeholder = "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/externalmetrics";
    assert_eq!(before["paths"][placeholder]["get"]["x-kubernetes-action"], "list");

    let index = get(&openapi, &catalog(&[]), "/openapi/v3", &[]);
    let listed = catalog(&["orders.v1|depth", "queue_depth", "{odd}"]);
    let changed = get(&openapi, &listed, "/openapi/v3", &[]);
    assert_ne!(index.header(header::ETAG), changed.header(header::ETAG));
    let after = get(&openapi, &listed, EXTERNAL, &[]).json();
    let own: Vec<&str> = operations(&after)
        .into_iter()
        .filter_map(|(path, _)| path.strip_prefix("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/"))
        .collect();
    assert_eq!(own, ["orders.v1|depth", "queue_depth", "{metric}"]);
    let kind = json!({ "group": "external.metrics.k8s.io", "kind": "ExternalMetricValueList", "version": "v1beta1" });
    for (path, operation) in operations(&after).into_iter().filter(|(path, _)| path.contains("{namespace}")) {
        assert_eq!(operation["x-kubernetes-group-version-kind"], kind, "{path}");
    }
    // kube-apiserver merges v2 with everything else at each change.
    assert_eq!(get(&openapi, &catalog(&[]), "/openapi/v2", &[]).body, get(&openapi, &listed, "/openapi/v2", &[]).body);
}

#[test]
fn operations_have_names_of_their_own() {
    let openapi = OpenApi::new();
    let v2 = get(&openapi, &catalog(&[]), "/openapi/v2", &[]).json();
    assert_eq!(v2["swagger"], "2.0");
    let mut names: Vec<&str> =
        operations(&v2).into_iter().filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
    assert!(names.contains(&"listNamespacedMetric_external_metrics_v1beta1"), "{names:?}");
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn documents_are_conditional_and_compressed() {
    let openapi = OpenApi::new();
    let catalog = catalog(&["queue_depth"]);
    for url in ["/openapi/v2", EXTERNAL, "/openapi/v3/apis/custom.metrics.k8s.io/v1beta2"] {
        let plain = get(&openapi, &catalog, url, &[("accept", "application/json")]);
        assert_eq!(plain.header(header::CONTENT_TYPE), "application/json");
        assert_eq!(plain.header(header::CACHE_CONTROL), "no-cache, private");
        let etag = plain.header(header::ETAG).to_owned();
        assert_eq!(etag.len(), 130, "{etag}");

        let zipped = get(&openapi, &catalog, url, &[("accept-encoding", "br, gzip")]);
        assert_eq!(zipped.header(header::CONTENT_ENCODING), "gzip");
        assert_eq!(zipped.header(header::VARY), "Accept, Accept-Encoding");
        assert_eq!(zipped.header(header::ETAG), etag);
        let mut unzipped = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut unzipped).unwrap();
        assert_eq!(unzipped, plain.body);

        let known = get(&openapi, &catalog, url, &[("if-none-match", &etag)]);
        assert_eq!((known.code, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
        for refusal in ["identity", "gzip;q=0"] {
            let unzipped = get(&openapi, &catalog, url, &[("accept-encoding", refusal)]);
            assert_eq!(unzipped.body, plain.body, "{refusal}");
        }
    }
}

#[test]
fn only_json_is_written() {
    let openapi = OpenApi::new();
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    for (url, accept, code) in [
        ("/openapi/v2", protobuf, StatusCode::NOT_ACCEPTABLE),
        ("/openapi/v2", "text/html", StatusCode::NOT_ACCEPTABLE),
        ("/openapi/v2", &format!("{protobuf}, application/json;q=0.5"), StatusCode::OK),
        ("/openapi/v2", "*/*", StatusCode::OK),
        (EXTERNAL, protobuf, StatusCode::NOT_ACCEPTABLE),
        // Go's index asks nobody what they accept.
        ("/openapi/v3", protobuf, StatusCode::OK),
        ("/openapi/v3/apis/apps/v1", "application/json", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(get(&openapi, &catalog(&[]), url, &[("accept", accept)]).code, code, "{url} {accept}");
    }
}

#[test]
fn a_hash_is_for_ever_or_leads_to_the_right_one() {
    let openapi = OpenApi::new();
    let catalog = catalog(&["queue_depth"]);
    let etag = get(&openapi, &catalog, EXTERNAL, &[]).header(header::ETAG).trim_matches('"').to_owned();
    let right = get(&openapi, &catalog, &format!("{EXTERNAL}?hash={etag}"), &[]);
    assert_eq!((right.code, right.header(header::CACHE_CONTROL)), (StatusCode::OK, "public, immutable"));
    let expires = right.header(header::EXPIRES);
    assert!(expires.ends_with(" GMT") && expires.len() == 29, "{expires}");

    let wrong = get(&openapi, &catalog, &format!("{EXTERNAL}?hash=ABC"), &[("accept-encoding", "gzip")]);
    assert_eq!(wrong.code, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(wrong.header(header::LOCATION), format!("{EXTERNAL}?hash={etag}"));
    assert_eq!((wrong.body.len(), wrong.header(header::CONTENT_ENCODING)), (0, ""));
}
