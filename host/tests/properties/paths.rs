//! No URL is read in two ways: what authorization is asked about is what is served, and what kube-apiserver asked about before.

use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use wasm_metrics_adapter::{
    api::path::{self, Form, Objects, Target},
    model::{Attributes, ResourceAttributes},
};

const PREFIXES: [&str; 3] = [
    "/apis/custom.metrics.k8s.io/v1beta2",
    "/apis/custom.metrics.k8s.io/v1beta1",
    "/apis/external.metrics.k8s.io/v1beta1",
];

fn parse(url: &str) -> Option<Target> {
    path::parse(&Method::GET, &url.parse::<Uri>().ok()?).ok()
}

/// Segments as people write them, and as people write them who want to be misunderstood.
fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "namespaces", "shop", "pods", "web", "*", "metrics", "deployments.apps", "qps", "status", "finalize", "nodes",
        ]).prop_map(str::to_owned),
        2 => "[a-z0-9.:_-]{1,8}",
        1 => prop::sample::select(vec![
            "", ".", "..", "%2e", "%2E%2e", "%2F", "a%2Fb", "a%2fb", "%25", "%252F", "%00", "%", "%2", "%zz", "%ff", "%C3%A9", "%2a", "%2A",
            "%70ods", "namespace%73", "name%20spaces", "a;b=c", "a,b", "pods%3F", "NAMESPACES", "a%0Ab", "%E2%80%8B",
        ]).prop_map(str::to_owned),
    ]
}

/// The shapes of paths that are served, some of their segments replaced, and sometimes one too many or too few.
fn any_url() -> impl Strategy<Value = String> {
    let shapes: [&[&str]; 4] = [
        &["namespaces", "shop", "pods", "web", "qps"],
        &["namespaces", "shop", "metrics", "qps"],
        &["nodes", "n1", "load"],
        &["namespaces", "shop", "queue"],
    ];
    let replaced = prop::collection::vec((any::<prop::sample::Index>(), any_segment()), 0..3);
    let resized = prop_oneof![8 => Just(None), 1 => any_segment().prop_map(Some), 1 => Just(Some(String::new()))];
    (prop::sample::select(PREFIXES.to_vec()), prop::sample::select(shapes.to_vec()), replaced, resized).prop_map(
        |(prefix, shape, replaced, resized)| {
            let mut segments: Vec<String> = shape.iter().map(|segment| (*segment).to_owned()).collect();
            for (place, segment) in replaced {
                *place.get_mut(&mut segments) = segment;
            }
            segments.extend(resized);
            format!("{prefix}/{}", segments.join("/"))
        },
    )
}

/// What RequestInfo of k8s.io/apiserver `pkg/endpoints/request` reads from a path: the whole of it is decoded first, then split.
fn request_info(path: &str) -> ResourceAttributes {
    let decoded = percent_decode_str(path).decode_utf8().unwrap().into_owned();
    let parts: Vec<&str> = decoded.trim_matches('/').split('/').collect();
    let [_, group, version, rest @ ..] = parts.as_slice() else { panic!("{path}") };
    let mut rest = rest;
    let mut namespace = "";
    if let ["namespaces", name, below @ ..] = rest {
        namespace = name;
        if !matches!(below, [] | ["status" | "finalize", ..]) {
            rest = below;
        }
    }
    let part = |place: usize| (*rest.get(place).unwrap_or(&"")).to_owned();
    ResourceAttributes {
        verb: if part(1).is_empty() { "list" } else { "get" }.to_owned(),
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        namespace: namespace.to_owned(),
        resource: part(0),
        name: part(1),
        subresource: part(2),
        ..ResourceAttributes::default()
    }
}

/// What is served, in the order of the path's segments.
fn served(form: &Form) -> Vec<String> {
    match form {
        Form::Custom(custom) => {
            let metric = custom.metric.name.as_str().to_owned();
            let resource = custom.metric.resource.to_string();
            match &custom.objects {
                Objects::InNamespace { namespace, object } => {
                    vec!["namespaces".to_owned(), namespace.clone(), resource, object.clone(), metric]
                }
                Objects::InCluster { object } => vec![resource, object.clone(), metric],
                Objects::Namespace { name } => {
                    vec!["namespaces".to_owned(), name.clone(), "metrics".to_owned(), metric]
                }
            }
        }
        Form::External(external) => {
            vec!["namespaces".to_owned(), external.namespace.clone(), external.metric.as_str().to_owned()]
        }
        _ => Vec::new(),
    }
}

fn is_metric(target: &Target) -> bool {
    matches!(target.form, Form::Custom(_) | Form::External(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_url_is_too_odd(url in "/[!-~]{0,60}", method in "[A-Z]{1,8}") {
        if let Ok(uri) = url.parse::<Uri>() {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            if let Ok(target) = path::parse(&method, &uri) {
                target.attributes();
            }
        }
    }

    #[test]
    fn authorization_is_asked_what_kube_apiserver_reads(url in any_url()) {
        let Some(target) = parse(&url).filter(is_metric) else { return Ok(()) };
        let Attributes::Resource(attributes) = target.attributes() else { panic!("{url}") };
        prop_assert_eq!(attributes, request_info(&url), "{}", url);
    }

    #[test]
    fn what_is_served_is_the_decoded_path(url in any_url()) {
        let Some(target) = parse(&url).filter(is_metric) else { return Ok(()) };
        // One slash at the end means nothing.
        let decoded = percent_decode_str(url.strip_suffix('/').unwrap_or(&url)).decode_utf8().unwrap().into_owned();
        let below: Vec<&str> = decoded.split('/').skip(4).collect();
        prop_assert_eq!(served(&target.form), below, "{}", url);
        prop_assert_eq!(target.path.strip_suffix('/').unwrap_or(&target.path), decoded, "{}", url);
    }

    #[test]
    fn encoding_more_characters_changes_nothing(url in any_url(), chosen in prop::collection::vec(any::<bool>(), 200)) {
        let Some(target) = parse(&url).filter(is_metric) else { return Ok(()) };
        let segments = served(&target.form);
        let group_version: Vec<&str> = url.split('/').take(4).collect();
        let mut chosen = chosen.into_iter().cycle();
        let mut encode = |segment: &String| -> String {
            let byte = |byte: u8| {
                let must = !(byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte));
                if must || chosen.next() == Some(true) { format!("%{byte:02x}") } else { char::from(byte).to_string() }
            };
            segment.bytes().map(byte).collect()
        };
        let encoded: Vec<String> = segments.iter().map(&mut encode).collect();
        let again = parse(&format!("{}/{}", group_version.join("/"), encoded.join("/")));
        prop_assert_eq!(again.map(|again| again.form), Some(target.form), "{}", url);
    }

    #[test]
    fn a_query_never_changes_the_path(url in any_url(), query in "[a-z=&%/?.]{0,20}") {
        let form = |url: &str| parse(url).map(|target| (target.form, target.path));
        prop_assert_eq!(form(&format!("{url}?{query}")), form(&url));
    }

    #[test]
    fn no_segment_hides_a_separator(url in any_url()) {
        let Some(target) = parse(&url) else { return Ok(()) };
        for segment in served(&target.form) {
            prop_assert!(!segment.is_empty() && !segment.contains(['/', '%']), "{}", segment);
            prop_assert!(segment != "." && segment != ".." && !segment.chars().any(char::is_control), "{}", segment);
        }
    }
}

#[test]
fn a_resource_has_one_spelling() {
    // Found by the properties above: `pods.` was served as `pods`, while kube-apiserver authorized `pods.`.
    assert_eq!(parse("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods./web/qps"), None);
    assert_eq!(parse("/apis/custom.metrics.k8s.io/v1beta2/nodes./n1/load"), None);
}

#[test]
fn subresources_of_a_namespace_are_no_resources() {
    // Found by the properties above: kube-apiserver authorizes these as `namespaces/status` of the Namespace `shop`.
    for subresource in ["status", "finalize"] {
        let url = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/{subresource}/web/qps");
        assert_eq!(parse(&url), None);
    }
}

/// The generators above must reach what they are about.
#[test]
fn urls_of_the_generator_are_served_often_enough() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut urls = || any_url().new_tree(&mut runner).unwrap().current();
    let metrics = (0..2000).filter(|_| parse(&urls()).is_some_and(|target| is_metric(&target))).count();
    assert!(metrics > 700, "{metrics} of 2000");
}
