//! Plugin ConfigMaps, made, applied and looked after as a user would.

use std::{collections::BTreeMap, fs};

use anyhow::{Result, ensure};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Event},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{ADAPTER_NAMESPACE, programs};

/// A plugin: the ConfigMap's name, its plugin.yaml and its bytes.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Name of the ConfigMap.
    pub name: String,
    /// `plugin.yaml`, as it is.
    pub yaml: String,
    /// The keys of `binaryData`.
    pub binary: BTreeMap<String, Vec<u8>>,
}

impl Plugin {
    /// A plugin of any component bytes and configuration.
    #[must_use]
    pub fn new(name: &str, component: Vec<u8>, configuration: &Value) -> Self {
        Self {
            name: name.to_owned(),
            yaml: configuration.to_string(),
            binary: BTreeMap::from([("plugin.wasm".to_owned(), component)]),
        }
    }

    /// `plugins/static` with its metric lines and the claims that cover just them.
    ///
    /// # Errors
    /// Fails when the plugin was not built.
    pub fn of_static(name: &str, external: &[&str], custom: &[&str]) -> Result<Self> {
        Ok(Self::new(name, component("static")?, &static_configuration(external, custom)))
    }

    /// The ConfigMap.
    #[must_use]
    pub fn config_map(&self) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(ADAPTER_NAMESPACE.to_owned()),
                labels: Some(BTreeMap::from([("wasm-metrics-adapter.io/plugin".to_owned(), "true".to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("plugin.yaml".to_owned(), self.yaml.clone())])),
            binary_data: Some(
                self.binary.iter().map(|(key, bytes)| (key.clone(), ByteString(bytes.clone()))).collect(),
            ),
            ..ConfigMap::default()
        }
    }

    /// Puts the ConfigMap, which exists, in place of what is there: keys that it does not have are gone.
    ///
    /// # Errors
    /// Fails when the API server refuses it.
    pub async fn replace(&self, client: &Client) -> Result<()> {
        config_maps(client).replace(&self.name, &PostParams::default(), &self.config_map()).await?;
        Ok(())
    }

    /// Creates or changes the ConfigMap; returns when the API server has said 200.
    ///
    /// # Errors
    /// Fails when the API server refuses it.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        let parameters = PatchParams::apply("e2e").force();
        config_maps(client).patch(&self.name, &parameters, &Patch::Apply(self.config_map())).await?;
        Ok(())
    }
}

/// `plugin.yaml` of `plugins/static`, in JSON, which is YAML as well: lines as in Prometheus text for external metrics,
/// `RESOURCE/NAME/METRIC VALUE` for custom ones.
#[must_use]
pub fn static_configuration(external: &[&str], custom: &[&str]) -> Value {
    let external_claims: Vec<&str> = external.iter().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let custom_claims: Vec<String> = custom.iter().filter_map(|line| custom_claim(line)).collect();
    json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "kind": "PluginConfiguration",
        "serves": { "external": external_claims, "custom": custom_claims },
        "config": { "external": external.join("\n"), "custom": custom.join("\n") },
    })
}

/// A component that `cargo xtask guests` built.
///
/// # Errors
/// Fails when it was not built.
pub fn component(name: &str) -> Result<Vec<u8>> {
    Ok(fs::read(programs::guest(name)?)?)
}

/// The same component with other bytes: a custom section of `size` bytes that look random is put at its end.
#[must_use]
pub fn padded(mut component: Vec<u8>, size: usize) -> Vec<u8> {
    const NAME: &[u8] = b"\x07padding";
    let mut length = NAME.len() + size;
    component.push(0);
    while length >= 0x80 {
        component.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend_from_slice(NAME);
    // xorshift64 (Marsaglia 2003): incompressible, and the same in each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    component.extend((0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    }));
    component
}

/// Deletes a plugin's ConfigMap.
///
/// # Errors
/// Fails when the API server refuses it.
pub async fn delete(client: &Client, name: &str) -> Result<()> {
    config_maps(client).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// All Events about one plugin's ConfigMap, of one type (`Normal` or `Warning`).
///
/// # Errors
/// Fails when they cannot be listed.
pub async fn events(client: &Client, name: &str, kind: &str) -> Result<Vec<Event>> {
    let filter = format!("involvedObject.kind=ConfigMap,involvedObject.name={name},type={kind}");
    let events = Api::<Event>::namespaced(client.clone(), ADAPTER_NAMESPACE);
    Ok(events.list(&ListParams::default().fields(&filter)).await?.items)
}

/// The message of the one Warning about a plugin. Two replicas tell the same thing once.
///
/// # Errors
/// Fails when there is none or more than one.
pub async fn only_warning(client: &Client, name: &str) -> Result<String> {
    let warnings = events(client, name, "Warning").await?;
    let messages: Vec<String> = warnings.into_iter().map(|event| event.message.unwrap_or_default()).collect();
    ensure!(
        messages.len() == 1,
        "expected one Warning about ConfigMap `{name}`, found {}: {messages:#?}",
        messages.len()
    );
    Ok(messages.concat())
}

/// The ConfigMaps of the adapter's namespace.
#[must_use]
pub fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), ADAPTER_NAMESPACE)
}

/// `pods/*/http_requests 10` claims `pods/http_requests`.
fn custom_claim(line: &str) -> Option<String> {
    let path = line.split([' ', '{']).next()?;
    let mut segments = path.split('/');
    let (resource, _object, metric) = (segments.next()?, segments.next()?, segments.next()?);
    Some(format!("{resource}/{metric}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_cover_just_what_is_served() {
        let configuration = static_configuration(&["depth{queue=\"a\"} 1"], &["pods/*/requests 10"]);
        assert_eq!(configuration["serves"], json!({ "external": ["depth"], "custom": ["pods/requests"] }));
    }

    #[test]
    fn padding_is_one_well_formed_custom_section() {
        let empty = wat::parse_str("(component)").unwrap();
        let padded = padded(empty.clone(), 300);
        // Id, two bytes of length, name, content.
        assert_eq!(padded.len(), empty.len() + 1 + 2 + 8 + 300);
        assert_eq!(padded[empty.len()..][..3], [0, 0x80 | 0x34, 0x02]);
    }
}
