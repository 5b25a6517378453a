use super::*;

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn accept(value: &str) -> Parts {
    head("/", &[("accept", value)])
}

#[test]
fn accepts_have_the_encodings_of_go() {
    const JSON: Encoding = Encoding::JSON;
    const YAML: Encoding = Encoding::YAML;
    const PROTOBUF: Encoding = Encoding::Protobuf;
    for (value, expected) in [
        ("", JSON),
        ("*/*", JSON),
        ("*", JSON),
        ("application/json", JSON),
        ("Application/JSON", JSON),
        ("application/json, */*", JSON),
        ("application/vnd.kubernetes.protobuf, */*", PROTOBUF),
        ("application/vnd.kubernetes.protobuf,application/json", PROTOBUF),
        ("application/json, application/vnd.kubernetes.protobuf", JSON),
        ("application/yaml", YAML),
        ("application/yaml;q=0.2, application/json;q=0.1", YAML),
        ("application/json;charset=utf-8", JSON),
        ("application/*;q=0.1", JSON),
        ("text/html, application/json;q=0.5", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/json;stream=watch", JSON),
        ("application/json;q=2", JSON),
        // What goautoneg makes of these; RFC 9110 leaves a server free to do so.
        ("application/json;q=0", JSON),
        ("*/*, application/yaml;q=0.5", YAML),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            JSON,
        ),
    ] {
        assert_eq!(Answer::negotiate(&accept(value)).map(|answer| answer.encoding), Ok(expected), "{value:?}");
    }
    assert_eq!(Answer::negotiate(&head("/", &[])).map(|answer| answer.encoding), Ok(JSON));
    assert!(Answer::negotiate(&head("/", &[("accept", "text/html"), ("accept", "application/json")])).is_ok());
}

#[test]
fn other_accepts_are_refused() {
    for value in [
        "text/html",
        "application/cbor",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        "application/json;v=v1",
        "application/json;sv=v1",
        "application/json;stream=other",
        "application/yaml;stream=watch",
        "json",
        ",",
    ] {
        assert_eq!(Answer::negotiate(&accept(value)), Err(NotAcceptable), "{value:?}");
    }
}

#[test]
fn aggregated_discovery_is_told_by_its_parameters() {
    for (value, expected) in [
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", Some(Encoding::JSON)),
        (
            "application/json, application/json; as=APIGroupDiscoveryList; g=apidiscovery.k8s.io; v=v2;q=0.1",
            Some(Encoding::JSON),
        ),
        (
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Some(Encoding::Protobuf),
        ),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer", Some(Encoding::JSON)),
        ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", None),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=Table", None),
        ("application/json", None),
        ("*/*", None),
        ("", None),
    ] {
        assert_eq!(Answer::negotiate_aggregated(&accept(value)).map(|answer| answer.encoding), expected, "{value:?}");
    }
}

#[test]
fn people_get_indented_json() {
    for (uri, agent, expected) in [
        ("/", "kubectl/v1.36.2 (linux/amd64) kubernetes/4cb5f07", false),
        ("/", "curl/8.5.0", true),
        ("/", "Wget/1.21", true),
        ("/", "Mozilla/5.0 (X11)", true),
        ("/?pretty=true", "kubectl", true),
        ("/?pretty=1&x=y", "kubectl", true),
        ("/?pretty=false", "curl/8.5.0", false),
        ("/?pretty=", "curl/8.5.0", true),
        ("/?pretty=&pretty=0", "curl/8.5.0", true),
    ] {
        assert_eq!(Answer::negotiate(&head(uri, &[("user-agent", agent)])).unwrap().pretty, expected, "{uri} {agent}");
    }
    assert!(Answer::negotiate(&accept("application/json;pretty=1")).unwrap().pretty);
}
