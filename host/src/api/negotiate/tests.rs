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
    use Encoding::{Json, Protobuf, Yaml};
    for (value, expected) in [
        ("", Json),
        ("*/*", Json),
        ("*", Json),
        ("application/json", Json),
        ("Application/JSON", Json),
        ("application/json, */*", Json),
        ("application/vnd.kubernetes.protobuf, */*", Protobuf),
        ("application/vnd.kubernetes.protobuf,application/json", Protobuf),
        ("application/json, application/vnd.kubernetes.protobuf", Json),
        ("application/yaml", Yaml),
        ("application/yaml;q=0.2, application/json;q=0.1", Yaml),
        ("application/json;charset=utf-8", Json),
        ("application/*;q=0.1", Json),
        ("text/html, application/json;q=0.5", Json),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Json),
        ("application/json;stream=watch", Json),
        ("application/json;q=2", Json),
        // What goautoneg makes of these; RFC 9110 leaves a server free to do so.
        ("application/json;q=0", Json),
        ("*/*, application/yaml;q=0.5", Yaml),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Json,
        ),
    ] {
        assert_eq!(Answer::negotiate(&accept(value)).map(|answer| answer.encoding), Ok(expected), "{value:?}");
    }
    assert_eq!(Answer::negotiate(&head("/", &[])).map(|answer| answer.encoding), Ok(Json));
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
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", Some(Encoding::Json)),
        (
            "application/json, application/json; as=APIGroupDiscoveryList; g=apidiscovery.k8s.io; v=v2;q=0.1",
            Some(Encoding::Json),
        ),
        (
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Some(Encoding::Protobuf),
        ),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;profile=nopeer", Some(Encoding::Json)),
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
