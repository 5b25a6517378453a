//! The ways in which a component comes to the adapter: in the plugin's ConfigMap, plain or compressed, or in several others.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    ADAPTER_NAMESPACE,
    plugins::{Plugin, config_maps},
};

/// Where the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packaging {
    /// `plugin.wasm`.
    Plain,
    /// `plugin.wasm.gz`.
    Gzip,
    /// `plugin.wasm.zst`.
    Zstd,
    /// Two other ConfigMaps.
    Parts,
}

/// All of them.
pub const PACKAGINGS: [Packaging; 4] = [Packaging::Plain, Packaging::Gzip, Packaging::Zstd, Packaging::Parts];

/// A plugin, and the ConfigMaps that must be there before it.
#[derive(Debug, Clone)]
pub struct Packaged {
    /// To be applied first.
    pub parts: Vec<ConfigMap>,
    /// To be applied last.
    pub plugin: Plugin,
}

impl Packaging {
    /// A plugin of this component and configuration, packed so.
    ///
    /// # Errors
    /// Fails when the bytes cannot be compressed.
    pub fn pack(self, name: &str, component: &[u8], configuration: &Value) -> Result<Packaged> {
        let (key, bytes) = match self {
            Self::Parts => {
                let parts = Parts::of(name, component, 2)?;
                return Ok(Packaged { plugin: parts.plugin(configuration), parts: parts.config_maps });
            }
            Self::Plain => ("plugin.wasm", component.to_vec()),
            Self::Gzip => ("plugin.wasm.gz", gzip(component)?),
            Self::Zstd => ("plugin.wasm.zst", zstd::encode_all(component, 3)?),
        };
        let mut plugin = Plugin::new(name, Vec::new(), configuration);
        plugin.binary = BTreeMap::from([(key.to_owned(), bytes)]);
        Ok(Packaged { parts: Vec::new(), plugin })
    }
}

impl Packaged {
    /// Applies the parts, then the plugin.
    ///
    /// # Errors
    /// Fails when the API server refuses one.
    pub async fn apply(&self, client: &Client) -> Result<()> {
        for part in &self.parts {
            apply(client, part).await?;
        }
        self.plugin.apply(client).await
    }
}

/// A component in several ConfigMaps, as the contract asks: content-addressed, immutable, labelled.
#[derive(Debug)]
pub struct Parts {
    /// In their order.
    pub config_maps: Vec<ConfigMap>,
    /// Of the component, in hexadecimal digits.
    pub sha256: String,
    plugin: String,
}

impl Parts {
    /// Compresses and cuts a component.
    ///
    /// # Errors
    /// Fails when the bytes cannot be compressed.
    pub fn of(plugin: &str, component: &[u8], count: usize) -> Result<Self> {
        let sha256: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
        let stream = zstd::encode_all(component, 3)?;
        let version = sha256.get(..8).context("a digest is longer")?;
        let pieces = stream.chunks(stream.len().div_ceil(count)).enumerate();
        let config_maps = pieces.map(|(number, bytes)| part(plugin, format!("{plugin}-{version}-{number}"), bytes));
        Ok(Self { config_maps: config_maps.collect(), plugin: plugin.to_owned(), sha256 })
    }

    /// The names of the ConfigMaps, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.config_maps.iter().filter_map(|part| part.metadata.name.as_deref()).collect()
    }

    /// The plugin that names them.
    #[must_use]
    pub fn plugin(&self, configuration: &Value) -> Plugin {
        let mut configuration = configuration.clone();
        if let Some(fields) = configuration.as_object_mut() {
            let parts = json!({ "names": self.names(), "sha256": self.sha256 });
            fields.insert("component".to_owned(), json!({ "parts": parts }));
        }
        let mut plugin = Plugin::new(&self.plugin, Vec::new(), &configuration);
        plugin.binary.clear();
        plugin
    }
}

/// Creates or changes a ConfigMap of the adapter's namespace.
///
/// # Errors
/// Fails when the API server refuses it.
pub async fn apply(client: &Client, config_map: &ConfigMap) -> Result<()> {
    let name = config_map.metadata.name.as_deref().context("it has a name")?;
    config_maps(client).patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(config_map)).await?;
    Ok(())
}

fn part(plugin: &str, name: String, bytes: &[u8]) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(ADAPTER_NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([("wasm-metrics-adapter.io/part-of".to_owned(), plugin.to_owned())])),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        binary_data: Some(BTreeMap::from([("part".to_owned(), ByteString(bytes.to_vec()))])),
        ..ConfigMap::default()
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}
