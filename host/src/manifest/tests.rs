mod credentials;

use http::HeaderName;

use super::{fields::API_VERSION, *};
use crate::model::{CustomPattern, GroupResource, Pattern};

fn parse(body: &str) -> Result<PluginConfiguration, ManifestError> {
    PluginConfiguration::parse(Some(&format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{body}")))
}

fn refused(body: &str) -> String {
    parse(body).expect_err(body).to_string()
}

fn of_secret(name: &str, form: SecretForm) -> CredentialForm {
    CredentialForm::Secret { name: name.to_owned(), form }
}

#[test]
fn no_manifest_means_defaults() {
    let configuration = PluginConfiguration::parse(None).unwrap();
    assert_eq!(configuration, parse("").unwrap());
    assert_eq!(configuration.limits.memory_bytes, 67_108_864);
    assert_eq!(configuration.limits.timeout, Duration::from_secs(2));
    assert_eq!(configuration.list_every, Duration::from_secs(60));
    assert_eq!(configuration.claims, Claims::default());
}

#[test]
fn every_field_is_read() {
    let configuration = parse(&format!(
        r#"
component: {{ parts: {{ names: [queue-0, queue-1], sha256: {} }} }}
suspend: true
listEvery: 90s
serves:
  external: ["queue_*"]
  custom: ["pods/queue_*", "deployments.apps/depth"]
  namespaces: [shop, billing]
  priority: -3
config: {{ url: "https://mq.example.com", queues: [orders, mail], ratio: 1.10, on: yes, port: "8080", nothing: null }}
egress: ["https://mq.example.com:443"]
credentials:
  - {{ origin: "https://mq.example.com:443", bearer: {{ secret: mq, key: token }} }}
  - origin: https://other.example.com
    header: {{ name: X-Api-Key, secret: other, key: api.key }}
tls: {{ caFrom: {{ configMap: mq-ca, key: ca.crt }} }}
limits: {{ memory: 128Mi, timeout: 500ms, cpu: 1s, concurrency: 4, responseBytes: 65536, listItems: 10 }}
"#,
        "AB".repeat(32)
    ))
    .unwrap();
    let config: Vec<_> = configuration.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        config,
        [
            ("nothing", "null"),
            ("on", "yes"),
            ("port", "8080"),
            ("queues", r#"["orders","mail"]"#),
            ("ratio", "1.10"),
            ("url", "https://mq.example.com")
        ]
    );
    let deployments = GroupResource { group: "apps".to_owned(), name: "deployments".to_owned() };
    let expected = PluginConfiguration {
        component: Some(Component::Parts(Parts {
            names: vec!["queue-0".to_owned(), "queue-1".to_owned()],
            sha256: "ab".repeat(32),
        })),
        suspend: true,
        list_every: Duration::from_secs(90),
        claims: Claims {
            external: Some(vec![Pattern::new("queue_*")]),
            custom: Some(vec![
                CustomPattern { resource: GroupResource::core("pods"), name: Pattern::new("queue_*") },
                CustomPattern { resource: deployments, name: Pattern::new("depth") },
            ]),
            resource: false,
            namespaces: Some(vec!["shop".to_owned(), "billing".to_owned()]),
            priority: -3,
        },
        config: configuration.config.clone(),
        egress: vec!["https://mq.example.com:443".to_owned()],
        credentials: vec![
            CredentialRequest {
                origin: "https://mq.example.com:443".to_owned(),
                form: of_secret("mq", SecretForm::Bearer { key: "token".to_owned() }),
            },
            CredentialRequest {
                origin: "https://other.example.com".to_owned(),
                form: of_secret(
                    "other",
                    SecretForm::Header { name: HeaderName::from_static("x-api-key"), key: "api.key".to_owned() },
                ),
            },
        ],
        secrets: BTreeMap::new(),
        ca_from: Some(ConfigMapKey { config_map: "mq-ca".to_owned(), key: "ca.crt".to_owned() }),
        limits: Limits {
            memory_bytes: 128 << 20,
            timeout: Duration::from_millis(500),
            cpu: Duration::from_secs(1),
            concurrency: 4,
            response_bytes: 65536,
            list_items: 10,
        },
    };
    assert_eq!(configuration, expected);
}

#[test]
fn resource_metrics_are_claimed_by_a_word() {
    let claims = |body: &str| parse(body).unwrap().claims;
    assert!(claims("serves: {resource: true, external: []}").resource);
    assert!(!claims("serves: {resource: false, namespaces: [shop]}").resource && !claims("serves: {}").resource);
}

#[test]
fn json_is_a_manifest_too() {
    let json = format!(r#"{{"apiVersion": "{API_VERSION}", "kind": "{KIND}", "config": {{"a": [1, 2.50]}}}}"#);
    let configuration = PluginConfiguration::parse(Some(&json)).unwrap();
    assert_eq!(configuration.config.get("a").map(String::as_str), Some("[1,2.50]"));
}

#[test]
fn unknown_fields_name_their_path_and_the_nearest_known_one() {
    for (body, path, nearest) in [
        ("listevery: 5s", "`listevery`", "did you mean `listEvery`?"),
        ("limits: {memroy: 64Mi}", "`limits.memroy`", "did you mean `memory`?"),
        (
            "credentials: [{origin: 'https://a', bearer: {secret: a, keys: b}}]",
            "`credentials[0].bearer.keys`",
            "did you mean `key`?",
        ),
        ("component: {parts: {name: [a]}}", "`component.parts.name`", "did you mean `names`?"),
        ("serves: {resources: true}", "`serves.resources`", "did you mean `resource`?"),
    ] {
        let error = refused(body);
        assert!(error.contains(path) && error.contains(nearest), "{body}: {error}");
    }
}

#[test]
fn fields_of_later_versions_are_unknown_and_never_ignored() {
    for body in [
        "cache: {ttl: 1s}",
        "onError: {}",
        "guard: {min: 0}",
        "tls: {insecureSkipVerify: true}",
        "tls: {caFrom: {secret: a, key: b}}",
        "credentials: [{origin: 'https://a', digest: {secret: a}}]",
    ] {
        let error = refused(body);
        assert!(error.contains("unknown field"), "{body}: {error}");
    }
}

#[test]
fn values_out_of_bounds_name_the_bounds() {
    for (body, expected) in [
        ("limits: {memory: 1Gi}", "a size from 1Mi to 512Mi"),
        ("limits: {memory: -1}", "a size from 1Mi to 512Mi"),
        ("limits: {timeout: 6s}", "from 10ms to 5s"),
        ("limits: {timeout: 2}", "as in `500ms`"),
        ("limits: {timeout: -1s}", "as in `500ms`"),
        ("limits: {cpu: 0s}", "from 1ms to 5s"),
        ("limits: {concurrency: 0}", "from 1 to 64"),
        ("limits: {concurrency: '4'}", "from 1 to 64"),
        ("limits: {listItems: 1000000}", "from 1 to 10000"),
        ("limits: {responseBytes: 1Gi}", "from 1Ki to 32Mi"),
        ("listEvery: 1s", "from 5s"),
        ("suspend: yes", "true or false"),
        ("serves: {priority: 1.5}", "a whole number"),
        ("serves: {resource: 'true'}", "true or false"),
        ("serves: {resource: true, namespaces: [shop]}", "metrics.k8s.io is served whole"),
        ("serves: {external: queue}", "a list of patterns"),
        ("config: [a]", "a mapping"),
        ("egress: [1]", "an origin"),
        ("limits: []", "a mapping with the fields"),
    ] {
        let error = refused(body);
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn claims_that_nobody_could_ask_for_are_refused() {
    for (body, expected) in [
        ("serves: {custom: [queue_depth]}", "`RESOURCE/METRIC`"),
        ("serves: {custom: ['*/queue']}", "with `*` in the metric's name alone"),
        ("serves: {custom: ['pods/a/b']}", "`RESOURCE/METRIC`"),
        ("serves: {custom: ['/queue']}", "`RESOURCE/METRIC`"),
        ("serves: {external: [Status]}", "neither `status` nor `finalize`"),
        ("serves: {external: [finalize]}", "neither `status` nor `finalize`"),
        ("serves: {external: ['a/b']}", "without `/`"),
        ("serves: {external: ['']}", "a metric's name"),
        ("serves: {namespaces: ['Shop']}", "a namespace's name"),
    ] {
        let error = refused(body);
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn names_that_would_change_a_url_are_refused() {
    for name in ["../../x", "a/b", "", "A", "-a", "a.", "a..b", "a%2f"] {
        let error = refused(&format!("credentials: [{{origin: 'https://a', bearer: {{secret: '{name}', key: k}}}}]"));
        assert!(error.contains("an object's name"), "{name}: {error}");
    }
}

#[test]
fn parts_are_named_once_with_a_digest() {
    let digest = "a".repeat(64);
    for (body, expected) in [
        (format!("component: {{parts: {{names: [], sha256: {digest}}}}}"), "at least one"),
        (format!("component: {{parts: {{names: [a, a], sha256: {digest}}}}}"), "none twice"),
        ("component: {parts: {names: [a], sha256: abc}}".to_owned(), "64 hexadecimal digits"),
        ("component: {parts: {names: [a]}}".to_owned(), "lacks `component.parts.sha256`"),
        ("component: {}".to_owned(), "lacks `component.parts`"),
    ] {
        let error = refused(&body);
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn other_versions_and_kinds_are_refused() {
    for (text, expected) in [
        ("", "a mapping with the fields"),
        ("kind: PluginConfiguration", "lacks `apiVersion`; set it to `wasm-metrics-adapter.io/v1alpha1`"),
        (
            "apiVersion: wasm-metrics-adapter.io/v1\nkind: PluginConfiguration",
            "write `wasm-metrics-adapter.io/v1alpha1`",
        ),
        ("apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: Plugin", "write `PluginConfiguration`"),
    ] {
        let error = PluginConfiguration::parse(Some(text)).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
