//! Every object that is served, compared with what Go's own packages write of it (`e2e/go/golden/wire`).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::*;

const FILE: &str = include_str!("../../../tests/golden/wire.json");

/// One object as Go writes it.
#[derive(Deserialize)]
struct Sample {
    name: String,
    json: String,
    pretty: String,
    yaml: String,
    protobuf: Option<String>,
}

/// The objects whose names begin in one way; each is to be compared.
pub(in crate::api) struct Golden(BTreeMap<String, Sample>);

impl Golden {
    pub(in crate::api) fn of(prefix: &str) -> Self {
        let samples: Vec<Sample> = serde_json::from_str(FILE).unwrap();
        let samples: BTreeMap<_, _> = samples
            .into_iter()
            .filter(|sample| sample.name.starts_with(prefix))
            .map(|sample| (sample.name.clone(), sample))
            .collect();
        assert!(!samples.is_empty(), "no object is named {prefix}...");
        Self(samples)
    }

    /// Compares and strikes out the object of that name.
    pub(in crate::api) fn compare(&mut self, name: &str, document: &impl Document) {
        let protobuf = self.compare_texts(name, document).map(|text| BASE64_STANDARD.decode(text).unwrap());
        assert_eq!(Some(Encoding::Protobuf.write(document, false).unwrap()), protobuf, "{name} in protobuf");
    }

    /// Compares what Go never writes in protobuf.
    pub(in crate::api) fn compare_texts(&mut self, name: &str, object: &impl Serialize) -> Option<String> {
        let sample = self.0.remove(name).unwrap_or_else(|| panic!("Go wrote no {name}; there are {:?}", self.0.keys()));
        let text = |bytes: Result<Vec<u8>, Unwritable>| String::from_utf8(bytes.unwrap()).unwrap();
        assert_eq!(text(Text::Json.write(object, false)), sample.json, "{name}");
        assert_eq!(text(Text::Json.write(object, true)), sample.pretty, "{name}, indented");
        compare_yaml(&text(Text::Yaml.write(object, false)), &sample.yaml, name);
        sample.protobuf
    }

    /// Fails if an object was left out.
    pub(in crate::api) fn finish(self) {
        assert!(self.0.is_empty(), "never compared: {:?}", self.0.keys());
    }
}

/// The same object, and the same bytes but where Go chose another style for a text: single quotes, a literal block, or a line folded
/// after 80 columns.
fn compare_yaml(ours: &str, go: &str, name: &str) {
    let parsed = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(ours), parsed(go), "{name} in YAML");
    let styled = go.contains('\'') || go.contains(": |") || ours.lines().any(|line| line.len() > 80);
    if !styled {
        assert_eq!(ours, go, "{name} in YAML");
    }
}
