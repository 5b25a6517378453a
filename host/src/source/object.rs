//! Kubernetes objects to what the source speaks of, the same for a cluster's and a file's.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, Secret as KubernetesSecret, ServiceAccount as KubernetesServiceAccount},
};
use zeroize::Zeroizing;

use crate::model::PluginId;

use super::{IssuedToken, PART_LABEL, Part, RawPlugin, ReadError, Secret, ServiceAccount};

/// The key of a part's bytes.
const PART_KEY: &str = "part";
/// The key of the manifest.
const MANIFEST_KEY: &str = "plugin.yaml";
/// The keys that may hold code.
const CODE_KEYS: [&str; 3] = ["plugin.wasm", "plugin.wasm.gz", "plugin.wasm.zst"];

/// The plugin in a ConfigMap; `namespace` is its own if it doesn't say one.
pub(super) fn plugin(object: ConfigMap, namespace: &str) -> RawPlugin {
    let metadata = object.metadata;
    let mut raw = RawPlugin {
        id: PluginId {
            namespace: metadata.namespace.unwrap_or_else(|| namespace.to_owned()),
            name: metadata.name.unwrap_or_default(),
        },
        uid: metadata.uid.unwrap_or_default(),
        version: metadata.resource_version.unwrap_or_default(),
        manifest: None,
        code: BTreeMap::new(),
        unknown_keys: Vec::new(),
    };
    let texts = object.data.unwrap_or_default().into_iter().map(|(key, text)| (key, Bytes::from(text)));
    let binaries = object.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, Bytes::from(bytes.0)));
    // A key is in `data` or in `binaryData`, which are one space of names; text under a key for code is refused later,
    // in words.
    for (key, bytes) in texts.chain(binaries) {
        if CODE_KEYS.contains(&key.as_str()) {
            raw.code.insert(key, bytes);
            continue;
        }
        match String::from_utf8(bytes.into()) {
            Ok(text) if key == MANIFEST_KEY => raw.manifest = Some(text),
            _ => raw.unknown_keys.push(key),
        }
    }
    raw
}

/// The part in a ConfigMap, which `name` names in errors.
pub(super) fn part(object: ConfigMap, name: &str) -> Result<Part, ReadError> {
    let bytes = object.binary_data.and_then(|mut binaries| binaries.remove(PART_KEY)).ok_or_else(|| {
        ReadError::Malformed(format!(
            "ConfigMap {name} is no part of a component: it has no binaryData key `{PART_KEY}`"
        ))
    })?;
    Ok(Part {
        bytes: bytes.0.into(),
        part_of: object.metadata.labels.and_then(|mut labels| labels.remove(PART_LABEL)),
        immutable: object.immutable == Some(true),
    })
}

/// A Secret. `stringData` is only in files: an API server merges it into `data`, where it wins.
pub(super) fn secret(object: KubernetesSecret) -> Secret {
    let data = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, Bytes::from(value.0)));
    let texts = object.string_data.unwrap_or_default().into_iter().map(|(key, text)| (key, Bytes::from(text)));
    Secret {
        kind: object.type_.unwrap_or_else(|| "Opaque".to_owned()),
        labels: object.metadata.labels.unwrap_or_default(),
        annotations: object.metadata.annotations.unwrap_or_default(),
        data: data.chain(texts).collect(),
    }
}

/// The value under `key` of a ConfigMap, which `name` names in errors.
pub(super) fn config_map_key(object: ConfigMap, name: &str, key: &str) -> Result<Bytes, ReadError> {
    let (mut texts, mut binaries) = (object.data.unwrap_or_default(), object.binary_data.unwrap_or_default());
    let value = texts.remove(key).map(Bytes::from).or_else(|| binaries.remove(key).map(|bytes| bytes.0.into()));
    value.ok_or_else(|| {
        let keys: Vec<_> = texts.into_keys().chain(binaries.into_keys()).collect();
        ReadError::Malformed(format!("ConfigMap {name} has no key `{key}` (it has: {})", keys.join(", ")))
    })
}

/// A ServiceAccount.
pub(super) fn service_account(object: KubernetesServiceAccount) -> ServiceAccount {
    ServiceAccount {
        labels: object.metadata.labels.unwrap_or_default(),
        annotations: object.metadata.annotations.unwrap_or_default(),
    }
}

/// The token that the API server answers with. Its life is what the server says that it granted, not what is left until the
/// moment that it names: clocks differ.
pub(super) fn token(answer: TokenRequest) -> Option<IssuedToken> {
    let value = Zeroizing::new(answer.status?.token?);
    let seconds = u64::try_from(answer.spec?.expiration_seconds?).ok()?;
    (!value.is_empty()).then(|| IssuedToken { value, lifetime: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_into_manifest_code_and_unknown() {
        let object = json!({
            "metadata": {"name": "queue", "uid": "u", "resourceVersion": "7"},
            "data": {"plugin.yaml": "kind: PluginConfiguration", "README": "text", "plugin.wasm": "not bytes"},
            "binaryData": {"plugin.wasm.gz": "AAE=", "other": "AAE="},
        });
        let raw = plugin(serde_json::from_value(object).unwrap(), "metrics");
        let expected = RawPlugin {
            id: PluginId { namespace: "metrics".to_owned(), name: "queue".to_owned() },
            uid: "u".to_owned(),
            version: "7".to_owned(),
            manifest: Some("kind: PluginConfiguration".to_owned()),
            code: [
                ("plugin.wasm".to_owned(), Bytes::from_static(b"not bytes")),
                ("plugin.wasm.gz".to_owned(), Bytes::from_static(&[0, 1])),
            ]
            .into(),
            unknown_keys: vec!["README".to_owned(), "other".to_owned()],
        };
        assert_eq!(raw, expected);
        let binary = json!({"metadata": {}, "binaryData": {"plugin.yaml": "eDogMQ=="}});
        assert_eq!(plugin(serde_json::from_value(binary).unwrap(), "metrics").manifest.as_deref(), Some("x: 1"));
        let broken = json!({"metadata": {}, "binaryData": {"plugin.yaml": "/w=="}});
        assert_eq!(plugin(serde_json::from_value(broken).unwrap(), "metrics").unknown_keys, ["plugin.yaml"]);
    }

    #[test]
    fn parts_tell_whose_they_are() {
        let object = json!({
            "metadata": {"labels": {"wasm-metrics-adapter.io/part-of": "queue"}}, "immutable": true, "binaryData": {"part": "AAE="},
        });
        let expected = Part { bytes: Bytes::from_static(&[0, 1]), part_of: Some("queue".to_owned()), immutable: true };
        assert_eq!(part(serde_json::from_value(object).unwrap(), "shop/queue-0"), Ok(expected));
        let empty = part(serde_json::from_value(json!({"metadata": {}})).unwrap(), "shop/queue-0");
        assert!(
            matches!(empty, Err(ReadError::Malformed(message)) if message.contains("shop/queue-0") && message.contains("`part`"))
        );
    }

    #[test]
    fn text_of_a_secret_wins_over_data() {
        let object = json!({"metadata": {}, "data": {"a": "AA==", "b": "Yg=="}, "stringData": {"a": "text"}});
        let secret = secret(serde_json::from_value(object).unwrap());
        assert_eq!(secret.kind, "Opaque");
        assert_eq!(
            secret.data,
            [("a".to_owned(), Bytes::from_static(b"text")), ("b".to_owned(), Bytes::from_static(b"b"))].into()
        );
    }
}
