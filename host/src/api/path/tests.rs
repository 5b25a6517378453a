use proptest::prelude::*;

use super::*;

fn target(method: &Method, url: &str) -> Result<Target, PathError> {
    parse(method, &url.parse().unwrap())
}

fn get(url: &str) -> Result<Target, PathError> {
    target(&Method::GET, url)
}

/// The form in a line.
fn told(url: &str) -> String {
    match get(url) {
        Err(error) => format!("{error:?}"),
        Ok(Target { form: Form::Custom(custom), .. }) => {
            format!("{:?} {:?} {}", custom.version, custom.objects, custom.metric)
        }
        Ok(Target { form: Form::External(external), .. }) => format!("{} {}", external.namespace, external.metric),
        Ok(Target { form: Form::Discovery(discovery), .. }) => format!("{discovery:?}"),
        Ok(Target { form: Form::Resource(resource), .. }) => format!("{resource:?}"),
        Ok(Target { form: Form::OpenApi(document), .. }) => format!("{document:?}"),
        Ok(Target { form: Form::Other, path, .. }) => format!("other {path}"),
    }
}

#[test]
fn openapi_paths() {
    for (path, expected) in [
        ("/openapi/v2", "V2"),
        ("/openapi/v2/", "V2"),
        ("/openapi/v3", "V3Index"),
        ("/openapi/v3/", "V3Index"),
        ("/openapi/v3/apis/custom.metrics.k8s.io/v1beta2?hash=A", r#"V3("apis/custom.metrics.k8s.io/v1beta2")"#),
        ("/openapi", "other /openapi"),
        ("/openapi/v4", "other /openapi/v4"),
    ] {
        assert_eq!(told(path), expected, "{path}");
    }
}

#[test]
fn custom_paths() {
    const CUSTOM: &str = "/apis/custom.metrics.k8s.io";
    for (path, expected) in [
        (
            "v1beta2/namespaces/default/pods/%2A/pps",
            r#"V1Beta2 InNamespace { namespace: "default", object: "*" } pods/pps"#,
        ),
        (
            "v1beta2/namespaces/default/pods/*/pps",
            r#"V1Beta2 InNamespace { namespace: "default", object: "*" } pods/pps"#,
        ),
        (
            "v1beta1/namespaces/default/services/front/rps",
            r#"V1Beta1 InNamespace { namespace: "default", object: "front" } services/rps"#,
        ),
        (
            "v1beta2/namespaces/default/ingresses.networking.k8s.io/main/rps",
            r#"V1Beta2 InNamespace { namespace: "default", object: "main" } ingresses.networking.k8s.io/rps"#,
        ),
        ("v1beta2/namespaces/default/metrics/rps", r#"V1Beta2 Namespace { name: "default" } namespaces/rps"#),
        (
            "v1beta2/namespaces/default/metrics/m/rps",
            r#"V1Beta2 InNamespace { namespace: "default", object: "m" } metrics/rps"#,
        ),
        ("v1beta2/nodes/n1/rps", r#"V1Beta2 InCluster { object: "n1" } nodes/rps"#),
        ("v1beta2/nodes/%2A/a%7Cb:c@d", r#"V1Beta2 InCluster { object: "*" } nodes/a|b:c@d"#),
        ("v1beta1/namespaces/default/pods", "Invalid"),
        ("v1beta1/namespaces/default/metrics", "Invalid"),
        ("v1beta1/namespaces/default", "NotFound"),
        ("v1beta1/namespaces/default/pods/bar", "NotFound"),
        ("v1beta1/namespaces/default/pods/bar/baz/more", "NotFound"),
        ("v1beta1/nodes/foo", "NotFound"),
        ("v1beta1/nodes", "NotFound"),
        ("v1beta1/nodes//rps", "NotFound"),
        ("v1beta3/nodes/n1/rps", "NotFound"),
        ("v1beta2/nodes/n1/rps/", r#"V1Beta2 InCluster { object: "n1" } nodes/rps"#),
        ("v1beta2/nodes/n1/rps//", "NotFound"),
        ("v1beta2/Nodes/n1/rps", "NotFound"),
        ("v1beta2/namespaces/default/po*/p/rps", "NotFound"),
        ("v1beta2/nodes/n%2F1/rps", r#"Segment("n%2F1")"#),
        ("v1beta2/nodes/n1/50%25", r#"Segment("50%25")"#),
        ("v1beta2/nodes/n1/5%zz", r#"Segment("5%zz")"#),
        ("v1beta2/nodes/../rps", r#"Segment("..")"#),
        ("v1beta2/nodes/%2e%2E/rps", r#"Segment("%2e%2E")"#),
        ("v1beta2/nodes/n1/%FF", r#"Segment("%FF")"#),
        ("v1beta2/nodes/n1/a%0Ab", r#"Segment("a%0Ab")"#),
        ("v1beta2/namespaces/De_fault/pods/p/rps", r#"Namespace("De_fault")"#),
        ("v1beta2/namespaces/%2A/pods/p/rps", r#"Namespace("*")"#),
        ("v1beta2/namespaces/-a/metrics/rps", r#"Namespace("-a")"#),
    ] {
        assert_eq!(told(&format!("{CUSTOM}/{path}")), expected, "{path}");
    }
}

#[test]
fn external_and_discovery_paths() {
    for (path, expected) in [
        ("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/Queue_Ready", "default Queue_Ready"),
        (
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/s0-rabbitmq.queue_ready?labelSelector=a%3Db",
            "default s0-rabbitmq.queue_ready",
        ),
        ("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/Status", r#"Reserved("Status")"#),
        ("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/finalize", r#"Reserved("finalize")"#),
        ("/apis/external.metrics.k8s.io/v1beta1/namespaces/default", "NotFound"),
        ("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/a/b", "NotFound"),
        ("/apis/external.metrics.k8s.io/v1beta1/queue", "NotFound"),
        ("/apis/external.metrics.k8s.io/v1beta2/namespaces/default/queue", "NotFound"),
        ("/apis/external.metrics.k8s.io/v1beta1", "Resources(External)"),
        ("/apis/custom.metrics.k8s.io/v1beta2/", "Resources(Custom(V1Beta2))"),
        ("/apis/custom.metrics.k8s.io", "Group(Custom)"),
        ("/%61pis/custom.metrics.k8s.io", "Group(Custom)"),
        ("/apis", "Groups"),
        ("/apis/", "Groups"),
        ("/apis?timeout=32s", "Groups"),
        ("/apis/metrics.k8s.io/v1beta1", "Resources(Resource)"),
        ("/apis/metrics.k8s.io/v1beta2", "NotFound"),
        ("/apis/metrics.k8s.io/v1beta1/nodes/", "Nodes"),
        ("/apis/example.metrics.k8s.io/v1beta1", "other /apis/example.metrics.k8s.io/v1beta1"),
        ("/healthz", "other /healthz"),
        ("/livez/ping/", "other /livez/ping/"),
        ("/", "other /"),
        ("//apis", "other //apis"),
        ("/healthz/%2E%2E/apis", r#"Segment("%2E%2E")"#),
        ("/healthz%2Fx", r#"Segment("healthz%2Fx")"#),
    ] {
        assert_eq!(told(path), expected, "{path}");
    }
}

fn attributes(method: &Method, url: &str) -> Attributes {
    target(method, url).unwrap().attributes()
}

/// The table of what RequestInfo makes of these requests: SubjectAccessReviews that the Go adapter was seen to send.
#[test]
fn authorization_is_asked_what_the_go_adapter_asks() {
    let text = |text: &str| text.to_owned();
    let custom = ResourceAttributes {
        verb: text("get"),
        group: text("custom.metrics.k8s.io"),
        version: text("v1beta2"),
        ..Default::default()
    };
    let external = ResourceAttributes {
        verb: text("list"),
        group: text("external.metrics.k8s.io"),
        version: text("v1beta1"),
        ..Default::default()
    };
    for (path, expected) in [
        (
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/%2A/packets-per-second?labelSelector=app%3Dweb",
            ResourceAttributes {
                namespace: text("default"),
                resource: text("pods"),
                subresource: text("packets-per-second"),
                name: text("*"),
                ..custom.clone()
            },
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/deployments.apps/web/rps",
            ResourceAttributes {
                namespace: text("default"),
                resource: text("deployments.apps"),
                subresource: text("rps"),
                name: text("web"),
                ..custom.clone()
            },
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n1/load",
            ResourceAttributes {
                resource: text("nodes"),
                subresource: text("load"),
                name: text("n1"),
                ..custom.clone()
            },
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/metrics/rps",
            ResourceAttributes { namespace: text("default"), resource: text("metrics"), name: text("rps"), ..custom },
        ),
        (
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/my-external-metric?labelSelector=foo%3Dbar",
            ResourceAttributes {
                namespace: text("default"),
                resource: text("my-external-metric"),
                label_selector: Some(Selector::parse("foo=bar").unwrap()),
                ..external.clone()
            },
        ),
        (
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/q?labelSelector=foo%3D%3D%3D",
            ResourceAttributes { namespace: text("default"), resource: text("q"), ..external.clone() },
        ),
        (
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/q?watch=true",
            ResourceAttributes { verb: text("watch"), namespace: text("default"), resource: text("q"), ..external },
        ),
    ] {
        assert_eq!(attributes(&Method::GET, path), Attributes::Resource(expected), "{path}");
    }
}

#[test]
fn verbs_follow_methods() {
    let verb = |method: &Method, path: &str| match attributes(method, path) {
        Attributes::Resource(resource) => resource.verb,
        Attributes::NonResource { path, verb } => format!("{verb} {path}"),
    };
    let custom = "/apis/custom.metrics.k8s.io/v1beta2/nodes/n1/load";
    let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/q";
    for (method, path, expected) in [
        (Method::HEAD, custom, "get"),
        (Method::HEAD, external, "list"),
        (Method::POST, external, "create"),
        (Method::PUT, custom, "update"),
        (Method::PATCH, custom, "patch"),
        (Method::DELETE, custom, "delete"),
        (Method::DELETE, external, "deletecollection"),
        (Method::OPTIONS, custom, ""),
        (Method::GET, "/apis/custom.metrics.k8s.io/v1beta2", "get /apis/custom.metrics.k8s.io/v1beta2"),
        (Method::POST, "/metrics", "post /metrics"),
    ] {
        assert_eq!(verb(&method, path), expected, "{method} {path}");
    }
}

#[test]
fn queries_are_read_from_the_path_and_both_selectors() {
    let query = |url: &str| match get(url).unwrap() {
        Target { form: Form::Custom(custom), parameters, .. } => {
            custom.query(&parameters).map_err(|error| error.to_string())
        }
        other => panic!("{other:?}"),
    };
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods";
    let selected = query(&format!(
        "{path}/%2A/pps?labelSelector=app+in+%28a%2Cb%29&labelSelector=x&metricLabelSelector=verb%3DGET&limit=5"
    ))
    .unwrap();
    assert_eq!(selected.namespace.as_deref(), Some("default"));
    assert_eq!(selected.objects, ObjectSelection::Selected(Selector::parse("app in (a,b)").unwrap()));
    assert_eq!(selected.series.to_string(), "verb=GET");
    let named = query(&format!("{path}/p1/pps?fieldSelector=metadata.name%3Dp1&labelSelector=app%3Dweb")).unwrap();
    assert_eq!(named.objects, ObjectSelection::Named("p1".to_owned()));
    let namespace = query("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/metrics/rps").unwrap();
    assert_eq!((namespace.namespace, namespace.objects), (None, ObjectSelection::Named("default".to_owned())));

    let mismatch = "fieldSelector metadata.name doesn't match requested name";
    for (parameters, expected) in [
        ("fieldSelector=metadata.name%3Dp2", mismatch),
        ("fieldSelector=spec.nodeName%3Dp1", mismatch),
        ("labelSelector=a%3D%3D%3Db", "unable to parse requirement: found '=', expected: identifier"),
        ("metricLabelSelector=%28", "found '(', expected: !, identifier, or 'end of string'"),
    ] {
        assert_eq!(query(&format!("{path}/p1/pps?{parameters}")).unwrap_err(), expected, "{parameters}");
    }
}

proptest! {
    /// Whatever is authorized names exactly the segments of the decoded path, each of them plain.
    #[test]
    fn attributes_name_the_segments_of_the_path(
        path in "/apis/(custom|external)\\.metrics\\.k8s\\.io/v1beta1(/(namespaces|default|pods|metrics|%2[AF5]|%61|\\.\\.?|[a-z*]{0,3})){2,6}",
    ) {
        let Ok(target) = get(&path) else { return Ok(()) };
        let segments: Vec<&str> = target.path.trim_end_matches('/').split('/').skip(4).collect();
        prop_assert!(segments.iter().all(|segment| !matches!(*segment, "" | "." | "..") && !segment.contains('%')), "{:?}", segments);
        let Attributes::Resource(asked) = target.attributes() else { panic!("{path} is no resource") };
        let in_order = match &target.form {
            Form::Custom(CustomTarget { objects: Objects::InCluster { .. }, .. }) => vec![asked.resource, asked.name, asked.subresource],
            Form::Custom(CustomTarget { objects: Objects::Namespace { .. }, .. }) => {
                vec!["namespaces".to_owned(), asked.namespace, asked.resource, asked.name]
            }
            Form::Custom(_) => vec!["namespaces".to_owned(), asked.namespace, asked.resource, asked.name, asked.subresource],
            _ => vec!["namespaces".to_owned(), asked.namespace, asked.resource],
        };
        prop_assert_eq!(in_order, segments);
    }
}

#[test]
fn raw_explanations_have_attributes_of_their_own() {
    const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
    const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/Queue_Depth";
    const RESOURCE: &str = "/apis/metrics.k8s.io/v1beta1";
    for (url, expected) in [
        (format!("{EXTERNAL}?explain=raw"), Some(("shop", "queue_depth"))),
        (format!("{CUSTOM}/namespaces/shop/pods/*/rps?explain=raw"), Some(("shop", "rps"))),
        (format!("{CUSTOM}/namespaces/shop/metrics/rps?explain=raw"), Some(("shop", "rps"))),
        (format!("{CUSTOM}/nodes/n1/load?explain=raw"), Some(("", "load"))),
        (format!("{RESOURCE}/namespaces/shop/pods?explain=raw"), Some(("shop", "pods"))),
        (format!("{RESOURCE}/nodes/n1?explain=raw"), Some(("", "nodes"))),
        (format!("{EXTERNAL}?explain=true"), None),
        (format!("{EXTERNAL}?explain=nonsense"), None),
        (EXTERNAL.to_owned(), None),
        ("/apis?explain=raw".to_owned(), None),
        ("/metrics?explain=raw".to_owned(), None),
    ] {
        let attributes = get(&url).unwrap().raw_attributes();
        let found = attributes.as_ref().map(|attributes| match attributes {
            Attributes::Resource(resource) => {
                let path =
                    format!("{} {} {}/{}", resource.verb, resource.group, resource.resource, resource.subresource);
                assert_eq!(path, "get wasm-metrics-adapter.io explanations/raw");
                (resource.namespace.as_str(), resource.name.as_str())
            }
            Attributes::NonResource { .. } => panic!("{attributes:?}"),
        });
        assert_eq!(found, expected, "{url}");
    }
}
