//! From what a source read to a whole plugin: configuration, the component's bytes, credentials. In order: parse
//! plugin.yaml, gather and decompress the code, look at what the component is, ask Secrets for their consent, read more
//! certificate authorities.
//! Everything is bounded; a bundle is complete or an error; nothing here compiles or runs a guest.

mod code;
mod component;
mod consent;
mod credential;
mod decompress;
mod error;
mod guest_secrets;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    manifest::{Component, ConfigMapKey, CredentialForm, PluginConfiguration},
    model::PluginId,
    source::{Dependencies, Dependency, RawPlugin},
};

pub use component::{ComponentError, Interfaces};
pub use consent::SecretRefused;
pub use credential::{Credential, CredentialValue, OAuth2Client, SecretValue, ServiceAccountTokens};
pub use error::BundleError;

/// Bytes of a bundle of certificate authorities: that of a whole operating system has 250 KiB.
const MAX_AUTHORITIES_BYTES: usize = 512 * 1024;

/// What the operator grants to every plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// The largest component, decompressed, in bytes. Default 64 MiB: a Python interpreter with its library is 40.
    pub component_bytes: usize,
    /// Secrets that no plugin gets whatever their labels say, by namespace and name: the adapter's own.
    pub own_secrets: BTreeSet<(String, String)>,
}

impl Default for Grants {
    fn default() -> Self {
        Self { component_bytes: 64 << 20, own_secrets: BTreeSet::new() }
    }
}

/// A plugin that is ready to be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Which plugin.
    pub id: PluginId,
    /// As in the `RawPlugin`.
    pub uid: String,
    /// As in the `RawPlugin`.
    pub version: String,
    /// What plugin.yaml says.
    pub configuration: PluginConfiguration,
    /// The component.
    pub code: Bytes,
    /// SHA-256 of `code` in lower-case hexadecimal digits: plugins of the same digest share one compilation.
    pub sha256: String,
    /// What the component exports of the plugin contract.
    pub interfaces: Interfaces,
    /// What the adapter puts on the plugin's requests.
    pub credentials: Vec<Credential>,
    /// What the plugin reads beside its `config`.
    pub secrets: BTreeMap<String, SecretValue>,
    /// More certificate authorities for the plugin's backends, in PEM, not yet read.
    pub authorities: Option<Authorities>,
}

/// A bundle of certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// What messages call it.
    pub name: String,
    /// PEM, if all is well.
    pub pem: Bytes,
}

/// What became of a `RawPlugin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assembled {
    /// `suspend: true`: it is to answer nothing, and its code was not looked at.
    Suspended,
    /// A whole plugin.
    Ready(Box<Bundle>),
}

/// Makes a bundle of `raw` and of the objects that its manifest names.
///
/// Decompression and hashing run on tokio's blocking threads.
pub async fn assemble(
    raw: &RawPlugin,
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<Assembled, BundleError> {
    code::refuse_unknown_keys(raw)?;
    let configuration = PluginConfiguration::parse(raw.manifest.as_deref())?;
    if configuration.suspend {
        return Ok(Assembled::Suspended);
    }
    let cap = grants.component_bytes;
    let packed = code::gather(raw, configuration.component.as_ref(), dependencies, cap).await?;
    let (code, sha256, interfaces) =
        tokio::task::spawn_blocking(move || unpack(&packed, cap)).await.map_err(|_| BundleError::Interrupted)??;
    let credentials = credential::resolve(&raw.id, &configuration.credentials, dependencies, grants).await?;
    let secrets = guest_secrets::resolve(&raw.id, &configuration.secrets, dependencies, grants).await?;
    let authorities = authorities(&raw.id, configuration.ca_from.as_ref(), dependencies).await?;
    Ok(Assembled::Ready(Box::new(Bundle {
        id: raw.id.clone(),
        uid: raw.uid.clone(),
        version: raw.version.clone(),
        configuration,
        code,
        sha256,
        interfaces,
        credentials,
        secrets,
        authorities,
    })))
}

/// Every other object that the manifest of `raw` names, each once: when one changes, the plugin is worth another look,
/// whether it was assembled before or not. None where the manifest can't be read.
pub fn dependencies(raw: &RawPlugin) -> Vec<Dependency> {
    let Ok(configuration) = PluginConfiguration::parse(raw.manifest.as_deref()) else { return Vec::new() };
    let namespace = &raw.id.namespace;
    let secret = |name: &String| Dependency::Secret { namespace: namespace.clone(), name: name.clone() };
    let code = match &configuration.component {
        Some(Component::Parts(parts)) => {
            let part = |name: &String| Dependency::Part { namespace: namespace.clone(), name: name.clone() };
            parts.names.iter().map(part).collect()
        }
        Some(Component::File(path)) => vec![Dependency::File { path: path.clone() }],
        Some(Component::Oci(_)) | None => Vec::new(),
    };
    let credentials = configuration.credentials.iter().map(|credential| match &credential.form {
        CredentialForm::Secret { name, .. } => secret(name),
        CredentialForm::ServiceAccountToken { service_account, .. } => {
            Dependency::ServiceAccount { namespace: namespace.clone(), name: service_account.clone() }
        }
    });
    let secrets = configuration.secrets.values().map(|source| secret(&source.secret));
    let ca = configuration.ca_from.iter().map(|from| config_map(&raw.id, from));
    code.into_iter().chain(credentials).chain(secrets).chain(ca).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The bundle of authorities that `from` names. What is public needs nobody's consent.
async fn authorities(
    id: &PluginId,
    from: Option<&ConfigMapKey>,
    dependencies: &dyn Dependencies,
) -> Result<Option<Authorities>, BundleError> {
    let Some(from) = from else { return Ok(None) };
    let ConfigMapKey { config_map: name, key } = from;
    let pem = dependencies.config_map_key(&id.namespace, name, key).await;
    let pem = pem.map_err(|cause| BundleError::unreadable(config_map(id, from), cause))?;
    let name = format!("key `{key}` of ConfigMap {}/{name}", id.namespace);
    if pem.len() > MAX_AUTHORITIES_BYTES {
        return Err(BundleError::Authorities { name, cap: MAX_AUTHORITIES_BYTES });
    }
    Ok(Some(Authorities { name, pem }))
}

fn config_map(id: &PluginId, from: &ConfigMapKey) -> Dependency {
    Dependency::ConfigMap { namespace: id.namespace.clone(), name: from.config_map.clone() }
}

fn unpack(packed: &code::Packed, cap: usize) -> Result<(Bytes, String, Interfaces), BundleError> {
    let code = packed.open(cap)?;
    let sha256 = format!("{:x}", Sha256::digest(&code));
    if let Some(expected) = &packed.sha256
        && *expected != sha256
    {
        return Err(BundleError::Digest { expected: expected.clone(), found: sha256 });
    }
    let interfaces =
        component::inspect(&code).map_err(|cause| BundleError::Component { key: packed.name.clone(), cause })?;
    Ok((code, sha256, interfaces))
}

#[cfg(test)]
mod tests;
