//! How answers are written: in the encoding that the client accepts, in the shape it asks for, compressed if there is much of it, and
//! failures likewise. Headers and codes are those of custom-metrics-apiserver v1.36.0, asked directly; what the bytes are, the unit
//! tests compare with Go.

use std::io::Read as _;

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;

use super::{AGGREGATED, CUSTOM, EXTERNAL, Fixture, catalog, fixture, told};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn bytes(response: Response) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

fn names(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

async fn get(fixture: &Fixture, url: &str, accept: &str) -> Response {
    fixture.send(Method::GET, url, &[("accept", accept)]).await
}

#[tokio::test]
async fn every_answer_comes_in_each_encoding() {
    let fixture = fixture(catalog());
    for (url, code) in [
        (format!("{EXTERNAL}/namespaces/ns/my-external-metric"), 200),
        (format!("{CUSTOM}/namespaces/ns/pods/p/qps"), 200),
        ("/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/pods/p/qps".to_owned(), 200),
        ("/apis".to_owned(), 200),
        ("/apis/custom.metrics.k8s.io".to_owned(), 200),
        (EXTERNAL.to_owned(), 200),
        (format!("{CUSTOM}/namespaces/ns/pods/p/unknown"), 404),
        (format!("{CUSTOM}/namespaces/ns/pods"), 400),
        (format!("{EXTERNAL}/namespaces/ns/empty?watch=true"), 405),
        (format!("{CUSTOM}/namespaces/ns/pods/p/down"), 503),
    ] {
        let json: Value = serde_json::from_slice(&bytes(get(&fixture, &url, "application/json").await).await).unwrap();

        let response = get(&fixture, &url, PROTOBUF).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::CONTENT_TYPE]),
            (code, &PROTOBUF.parse().unwrap()),
            "{url}"
        );
        let body = bytes(response).await;
        let kind = json["kind"].as_str().unwrap();
        assert!(body.starts_with(b"k8s\0\n") && body.ends_with(b"\x1a\0\"\0"), "{url}: {body:?}");
        assert!(body.windows(kind.len()).any(|window| window == kind.as_bytes()), "{url}: {body:?}");

        let response = get(&fixture, &url, "application/yaml").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::CONTENT_TYPE]),
            (code, &"application/yaml".parse().unwrap()),
            "{url}"
        );
        assert_eq!(serde_saphyr::from_slice::<Value>(&bytes(response).await).unwrap(), json, "{url}");
    }
    // As the HPA controller asks.
    let hpa = get(&fixture, &format!("{EXTERNAL}/namespaces/ns/empty"), &format!("{PROTOBUF}, */*")).await;
    assert_eq!(names(hpa.headers()), [("content-type", PROTOBUF), ("cache-control", "no-cache, private")]);
}

#[tokio::test]
async fn aggregated_discovery_comes_in_each_encoding() {
    let fixture = fixture(catalog());
    let mut tags = std::collections::BTreeSet::new();
    for media_type in ["application/json", "application/yaml", PROTOBUF] {
        let accept = AGGREGATED.replace("application/json", media_type);
        let response = get(&fixture, "/apis", &accept).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], accept.as_str());
        tags.insert(response.headers()[header::ETAG].to_str().unwrap().to_owned());
    }
    assert_eq!(tags.len(), 3, "other bytes have another tag");
}

#[tokio::test]
async fn kubectl_gets_tables() {
    let fixture = fixture(catalog());
    // As kubectl 1.36 asks.
    let kubectl = format!("{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json");
    for (url, golden) in [
        (
            format!("{EXTERNAL}/namespaces/ns/my-external-metric?limit=500"),
            include_str!("../golden/api/table-external.json"),
        ),
        (format!("{CUSTOM}/namespaces/ns/pods/p/qps"), include_str!("../golden/api/table-custom.json")),
        (
            "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/pods/p/qps".to_owned(),
            include_str!("../golden/api/table-custom.json"),
        ),
        (
            format!("{EXTERNAL}/namespaces/ns/my-external-metric?includeObject=Object"),
            include_str!("../golden/api/table-objects.json"),
        ),
    ] {
        let response = get(&fixture, &url, &kubectl).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{url}");
        assert_eq!(told(response).await, (StatusCode::OK, golden.to_owned()), "{url}");
    }
    let refused = get(&fixture, &format!("{EXTERNAL}/namespaces/ns/empty?includeObject=x"), TABLE).await;
    let (code, body) = told(refused).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(body.contains("includeObject: Invalid value: \\\"x\\\""), "{body}");
}

#[tokio::test]
async fn much_is_compressed_for_who_takes_it() {
    let fixture = fixture(catalog());
    let (many, few) = (format!("{EXTERNAL}/namespaces/ns/many"), format!("{EXTERNAL}/namespaces/ns/empty"));
    let plain = fixture.send(Method::GET, &many, &[]).await;
    assert_eq!(names(plain.headers()), [("content-type", "application/json"), ("cache-control", "no-cache, private")]);
    let plain = bytes(plain).await;
    assert!(plain.len() > 128 * 1024);

    for takes in ["gzip", "deflate, gzip, br"] {
        let compressed = fixture.send(Method::GET, &many, &[("accept-encoding", takes)]).await;
        assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(compressed.headers()[header::VARY], "Accept-Encoding");
        let body = bytes(compressed).await;
        assert!(body.len() < plain.len() / 5, "{} of {} bytes", body.len(), plain.len());
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut read).unwrap();
        assert!(read == plain, "other bytes than the plain ones");
    }
    for (url, takes) in [(&many, "br"), (&many, "gzip;q=0"), (&few, "gzip")] {
        let response = fixture.send(Method::GET, url, &[("accept-encoding", takes)]).await;
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "{url} {takes}");
    }
    // Prepared documents too, whose Vary names both headers.
    let names = (0..4000).map(|number| super::name(&format!("metric-{number}"))).collect();
    *fixture.fake.catalog.lock().unwrap() = std::sync::Arc::new(super::Catalog { external: names, ..catalog() });
    let document = fixture.send(Method::GET, EXTERNAL, &[("accept-encoding", "gzip")]).await;
    assert_eq!(document.headers()[header::CONTENT_ENCODING], "gzip");
    let vary: Vec<_> = document.headers().get_all(header::VARY).iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Accept"]);
}

#[tokio::test]
async fn only_get_is_served() {
    let fixture = fixture(catalog());
    for method in ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"] {
        for url in [
            format!("{CUSTOM}/namespaces/ns/pods/p/qps"),
            format!("{EXTERNAL}/namespaces/ns/empty"),
            CUSTOM.to_owned(),
            "/apis/custom.metrics.k8s.io".to_owned(),
            "/apis".to_owned(),
        ] {
            let response = fixture.send(Method::from_bytes(method.as_bytes()).unwrap(), &url, &[]).await;
            assert_eq!(response.headers()[header::ALLOW], "GET");
            let expected = include_str!("../golden/api/status-method.json").to_owned();
            assert_eq!(told(response).await, (StatusCode::METHOD_NOT_ALLOWED, expected), "{method} {url}");
        }
    }
}

#[tokio::test]
async fn custom_metrics_ignore_watch() {
    let fixture = fixture(catalog());
    let url = format!("{CUSTOM}/namespaces/ns/pods/p/qps");
    assert_eq!(fixture.get(&format!("{url}?watch=true")).await, fixture.get(&url).await);
}

#[tokio::test]
async fn what_is_not_acceptable_is_refused_in_json() {
    let fixture = fixture(catalog());
    for url in [format!("{EXTERNAL}/namespaces/ns/empty"), "/apis".to_owned(), CUSTOM.to_owned()] {
        let refused = get(&fixture, &url, "application/cbor, text/html").await;
        assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/json");
        let expected = include_str!("../golden/api/status-not-acceptable.json").to_owned();
        assert_eq!(told(refused).await, (StatusCode::NOT_ACCEPTABLE, expected), "{url}");
    }
    // A failure is not hidden behind what the client accepts.
    let url = format!("{EXTERNAL}/namespaces/ns/empty?watch=true");
    let refused = get(&fixture, &url, "application/cbor").await;
    let (code, body) = told(refused).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert!(body.starts_with("{\n  \"kind\": \"Status\",\n") && body.ends_with('}'), "{body}");
}

#[tokio::test]
async fn people_read_indented_json() {
    let fixture = fixture(catalog());
    let empty = format!("{EXTERNAL}/namespaces/ns/empty");
    let curl = fixture.send(Method::GET, &empty, &[("user-agent", "curl/8.5.0")]).await;
    let expected = "{\n  \"kind\": \"ExternalMetricValueList\",\n  \"apiVersion\": \"external.metrics.k8s.io/v1beta1\",\n  \"metadata\": {},\n  \"items\": []\n}";
    assert_eq!(told(curl).await.1, expected);
    assert_eq!(fixture.get(&format!("{empty}?pretty=true")).await.1, expected);

    let compact = fixture.send(Method::GET, CUSTOM, &[]).await;
    let pretty = fixture.send(Method::GET, CUSTOM, &[("user-agent", "curl/8.5.0")]).await;
    // Other bytes, so another tag.
    assert_ne!(compact.headers()[header::ETAG], pretty.headers()[header::ETAG]);
    let (compact, pretty) = (told(compact).await.1, told(pretty).await.1);
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&compact), parsed(&pretty));
    assert!(pretty.starts_with("{\n  \"kind\": \"APIResourceList\",\n"), "{pretty}");
}
