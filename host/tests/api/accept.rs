//! What holds for every `Accept`, whichever encodings there are: how a range fares alone tells how a list of them fares.

use http::{Method, StatusCode, header};
use proptest::prelude::*;

use super::{EXTERNAL, Fixture, catalog, fixture};

/// Ranges without a wildcard, by which the most wanted one is told by quality and place alone.
const RANGES: [&str; 7] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "text/html",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Nothing;v=v1;g=meta.k8s.io",
];

struct Client {
    fixture: Fixture,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> Self {
        Self { fixture: fixture(catalog()), runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() }
    }

    /// The code, and the media type of the answer.
    fn asks(&self, accept: &str) -> (StatusCode, String) {
        let url = format!("{EXTERNAL}/namespaces/ns/my-external-metric");
        let response = self.runtime.block_on(self.fixture.send(Method::GET, &url, &[("accept", accept)]));
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        let media_type = content_type.split(';').next().unwrap_or_default().to_owned();
        (response.status(), media_type)
    }
}

/// Ranges, and tenths of quality.
fn any_ranges() -> impl Strategy<Value = Vec<(&'static str, u8)>> {
    prop::collection::vec((prop::sample::select(RANGES.to_vec()), 1..=10_u8), 1..6)
}

fn written(ranges: &[(&str, u8)]) -> String {
    let range = |(range, tenths): &(&str, u8)| format!("{range};q={}", f64::from(*tenths) / 10.0);
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_most_wanted_range_that_can_be_written_is() {
    let client = Client::new();
    proptest!(|(mut ranges in any_ranges())| {
        let answer = client.asks(&written(&ranges));
        // Of equal quality the first.
        ranges.sort_by_key(|(_, tenths)| std::cmp::Reverse(*tenths));
        let alone = ranges.iter().map(|(range, _)| client.asks(range));
        let expected = alone.into_iter().find(|(code, _)| *code == StatusCode::OK);
        match expected {
            Some(expected) => prop_assert_eq!(answer, expected),
            None => prop_assert_eq!(answer.0, StatusCode::NOT_ACCEPTABLE),
        }
    });
}

#[test]
fn ranges_that_cannot_be_written_change_nothing() {
    let client = Client::new();
    let strange = "(text|image|x)/[a-z]{1,5}(;q=(1|0\\.[0-9]))?";
    proptest!(|(ranges in any_ranges(), strange in prop::collection::vec(strange, 0..4), front in any::<bool>())| {
        let wanted = written(&ranges);
        let mut parts = strange;
        parts.insert(if front { 0 } else { parts.len() }, wanted.clone());
        prop_assert_eq!(client.asks(&parts.join(",")), client.asks(&wanted));
    });
}

#[test]
fn a_wildcard_accepts_whatever_there_is() {
    let client = Client::new();
    proptest!(|(ranges in any_ranges(), wildcard in prop_oneof![Just("*/*"), Just("application/*"), Just("*")])| {
        let (code, media_type) = client.asks(&format!("{},{wildcard};q=0.1", written(&ranges)));
        prop_assert_eq!(code, StatusCode::OK);
        prop_assert!(media_type.starts_with("application/"), "{}", media_type);
    });
}

#[test]
fn no_header_is_too_odd() {
    let client = Client::new();
    proptest!(|(accept in "[ -~]{0,40}|([a-z*/;=,. 0-9q]|json|application/|as=Table|v=v1){0,12}")| {
        let (code, media_type) = client.asks(&accept);
        prop_assert!(matches!(code, StatusCode::OK | StatusCode::NOT_ACCEPTABLE), "{}", code);
        prop_assert!(media_type.starts_with("application/"), "{}", media_type);
    });
}
