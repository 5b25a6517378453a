//! What a group of files holds: one plugin, or Kubernetes objects.

use std::{collections::BTreeMap, time::SystemTime};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret as KubernetesSecret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use serde_json::Value;

use crate::{
    model::PluginId,
    source::{PART_LABEL, PLUGIN_LABEL, Part, RawPlugin, ReadError, Secret, object},
};

use super::files::Group;

/// What one group of files holds.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) plugins: Vec<RawPlugin>,
    pub(super) parts: BTreeMap<(String, String), Result<Part, ReadError>>,
    pub(super) secrets: BTreeMap<(String, String), Secret>,
    /// Those that are neither plugins nor parts.
    pub(super) config_maps: BTreeMap<(String, String), ConfigMap>,
}

/// Why a file makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidFile {
    #[error("it is not UTF-8 text; a YAML file is")]
    NotText,
    #[error("it is not YAML: {0}")]
    NotYaml(String),
    #[error("its {kind} is none that an API server would take: {error}")]
    NotAnObject { kind: String, error: serde_json::Error },
    #[error("a {kind} in it has no metadata.name; give it one")]
    NoName { kind: String },
    #[error("it exists as NAME.yaml and NAME.yml; keep one of them")]
    TwoManifests,
}

impl Objects {
    /// Reads `group`. Code beside it makes NAME.yaml a manifest, whatever is in it; alone it is a manifest or
    /// Kubernetes objects.
    pub(super) fn of(name: &str, group: &Group, namespace: &str) -> Result<Self, InvalidFile> {
        let mut contents = group.contents.clone();
        let text = match (contents.remove("yaml"), contents.remove("yml")) {
            (Some(_), Some(_)) => return Err(InvalidFile::TwoManifests),
            (Some(bytes), None) | (None, Some(bytes)) => {
                Some(String::from_utf8(bytes.into()).map_err(|_| InvalidFile::NotText)?)
            }
            (None, None) => None,
        };
        let version = version(group.modified);
        let plugin = |manifest, contents: BTreeMap<_, _>| RawPlugin {
            id: PluginId { namespace: namespace.to_owned(), name: name.to_owned() },
            uid: String::new(),
            version: version.clone(),
            manifest,
            code: contents.into_iter().map(|(ending, bytes)| (format!("plugin.{ending}"), bytes)).collect(),
            unknown_keys: Vec::new(),
        };
        let Some(text) = text.as_ref().filter(|_| contents.is_empty()) else {
            return Ok(Self { plugins: vec![plugin(text, contents)], ..Self::default() });
        };
        let mut objects = Self::default();
        for document in documents(text)? {
            match document.get("kind").and_then(Value::as_str) {
                Some("PluginConfiguration") => objects.plugins.push(plugin(Some(text.clone()), BTreeMap::new())),
                Some("ConfigMap") => objects.add_config_map(document, namespace, &version)?,
                Some("Secret") => objects.add_secret(document, namespace)?,
                kind => {
                    tracing::debug!(
                        name,
                        kind,
                        "an object that is neither ConfigMap nor Secret is not for the adapter"
                    );
                }
            }
        }
        Ok(objects)
    }

    fn add_config_map(&mut self, document: Value, namespace: &str, version: &str) -> Result<(), InvalidFile> {
        let mut object: ConfigMap = typed(document, "ConfigMap")?;
        let key = key(&object.metadata, "ConfigMap", namespace)?;
        let labels = object.metadata.labels.clone().unwrap_or_default();
        if labels.contains_key(PART_LABEL) {
            let part = object::part(object.clone(), &format!("{}/{}", key.0, key.1));
            self.parts.insert(key.clone(), part);
        }
        if labels.get(PLUGIN_LABEL).map(String::as_str) == Some("true") {
            // A file in which an object was saved holds the cluster's identity and version of it: neither is the
            // file's.
            object.metadata.uid = None;
            object.metadata.resource_version = Some(version.to_owned());
            self.plugins.push(object::plugin(object, namespace));
        } else if !labels.contains_key(PART_LABEL) {
            self.config_maps.insert(key, object);
        }
        Ok(())
    }

    fn add_secret(&mut self, document: Value, namespace: &str) -> Result<(), InvalidFile> {
        let object: KubernetesSecret = typed(document, "Secret")?;
        let key = key(&object.metadata, "Secret", namespace)?;
        self.secrets.insert(key, object::secret(object));
        Ok(())
    }
}

/// The documents of a file; those of a List are its items.
fn documents(text: &str) -> Result<Vec<Value>, InvalidFile> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0 },
        with_snippet: false,
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| InvalidFile::NotYaml(error.to_string()))?;
    Ok(documents
        .into_iter()
        .flat_map(|mut document| match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => vec![document],
        })
        .collect())
}

fn typed<T: serde::de::DeserializeOwned>(document: Value, kind: &str) -> Result<T, InvalidFile> {
    serde_json::from_value(document).map_err(|error| InvalidFile::NotAnObject { kind: kind.to_owned(), error })
}

fn key(metadata: &ObjectMeta, kind: &str, namespace: &str) -> Result<(String, String), InvalidFile> {
    let name = metadata.name.clone().ok_or_else(|| InvalidFile::NoName { kind: kind.to_owned() })?;
    Ok((metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned()), name))
}

/// A file's modification time, for people.
fn version(modified: Option<SystemTime>) -> String {
    let time = modified.and_then(|modified| Timestamp::try_from(modified).ok());
    time.map_or_else(String::new, |time| time.to_string())
}
