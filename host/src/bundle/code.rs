//! The one place that a plugin's code comes from: a key of the ConfigMap, parts in other ConfigMaps, or a file of the operator's.

use bytes::{Bytes, BytesMut};

use crate::{
    manifest::{Component, Parts, nearest},
    source::{Dependencies, Dependency, PART_LABEL, RawPlugin},
};

use super::{
    BundleError,
    decompress::{self, Form},
};

/// The keys that hold code, each with the form that it promises.
const CODE_KEYS: [(&str, Form); 3] =
    [("plugin.wasm", Form::Plain), ("plugin.wasm.gz", Form::Gzip), ("plugin.wasm.zst", Form::Zstd)];

/// Code as it came.
#[derive(Debug)]
pub(super) struct Packed {
    /// The key in quotes, the parts or the file in words; for messages.
    pub(super) name: String,
    /// The digest that the component must have.
    pub(super) sha256: Option<String>,
    /// What the key promises; `None` lets the first bytes tell.
    promised: Option<Form>,
    bytes: Bytes,
}

/// Refuses keys that nobody would read: most are a slip of the pen in a key that matters.
pub(super) fn refuse_unknown_keys(raw: &RawPlugin) -> Result<(), BundleError> {
    let known = ["plugin.yaml", "plugin.wasm", "plugin.wasm.gz", "plugin.wasm.zst"];
    let unknown = raw.unknown_keys.iter().chain(raw.code.keys().filter(|key| !known.contains(&key.as_str())));
    match unknown.min() {
        Some(key) => Err(BundleError::UnknownKey {
            key: key.clone(),
            hint: nearest(key, &known).map_or_else(String::new, |near| format!("did you mean `{near}`? ")),
            allowed: allowed(),
        }),
        None => Ok(()),
    }
}

/// Reads the code from where the plugin says; a file may have `cap` bytes.
pub(super) async fn gather(
    raw: &RawPlugin,
    component: Option<&Component>,
    dependencies: &dyn Dependencies,
    cap: usize,
) -> Result<Packed, BundleError> {
    let mut places: Vec<_> = raw.code.keys().map(|key| format!("`{key}`")).collect();
    places.extend(component.map(|component| format!("`component.{}`", component.kind())));
    let inline = CODE_KEYS.into_iter().find_map(|(key, form)| Some((key, form, raw.code.get(key)?)));
    match (places.len(), inline, component) {
        (1, Some((key, form, bytes)), None) => {
            Ok(Packed { name: format!("`{key}`"), sha256: None, promised: Some(form), bytes: bytes.clone() })
        }
        (1, None, Some(Component::Parts(parts))) => {
            let bytes = joined(raw, parts, dependencies).await?;
            let name = format!("the parts {}", parts.names.join(", "));
            Ok(Packed { name, sha256: Some(parts.sha256.clone()), promised: None, bytes })
        }
        (1, None, Some(Component::File(path))) => {
            let unreadable = |cause| BundleError::unreadable(Dependency::File { path: path.clone() }, cause);
            let bytes = dependencies.file(path, cap).await.map_err(unreadable)?;
            Ok(Packed { name: format!("the file {path}"), sha256: None, promised: None, bytes })
        }
        (1, None, Some(Component::Oci(artifact))) => {
            Err(BundleError::Registry { reference: artifact.reference.clone() })
        }
        _ => {
            let found = if places.is_empty() { "no place".to_owned() } else { places.join(" and ") };
            Err(BundleError::NotOneCode { found, allowed: allowed() })
        }
    }
}

impl Packed {
    /// The component: at most `cap` bytes, of a form that the key promises.
    pub(super) fn open(&self, cap: usize) -> Result<Bytes, BundleError> {
        let form = Form::of(&self.bytes);
        match self.promised {
            Some(promised) if promised != form => {
                let remedy = match CODE_KEYS.into_iter().find(|(_, of_key)| *of_key == form) {
                    Some((right, _)) if form != Form::Plain => format!("use the key `{right}` for it"),
                    _ => "compress it, or use the key `plugin.wasm`".to_owned(),
                };
                let found = super::component::looks_like(&self.bytes);
                Err(BundleError::OtherForm { key: self.name.clone(), expected: promised.in_words(), found, remedy })
            }
            _ => decompress::open(&self.name, &self.bytes, form, cap),
        }
    }
}

/// The bytes of all parts in order. One after the other: a part is read into memory as a whole.
async fn joined(raw: &RawPlugin, parts: &Parts, dependencies: &dyn Dependencies) -> Result<Bytes, BundleError> {
    let namespace = &raw.id.namespace;
    let mut bytes = BytesMut::new();
    for name in &parts.names {
        let part = dependencies.part(namespace, name).await.map_err(|cause| {
            let dependency = Dependency::Part { namespace: namespace.clone(), name: name.clone() };
            BundleError::unreadable(dependency, cause)
        })?;
        let refuse = |why: String| BundleError::Part { namespace: namespace.clone(), name: name.clone(), why };
        if part.part_of.as_deref() != Some(&raw.id.name) {
            return Err(refuse(format!("label it `{PART_LABEL}: {}`", raw.id.name)));
        }
        if !part.immutable {
            return Err(refuse("set `immutable: true` on it, so that no version is ever half replaced".to_owned()));
        }
        bytes.extend_from_slice(&part.bytes);
    }
    Ok(bytes.freeze())
}

fn allowed() -> String {
    CODE_KEYS.map(|(key, _)| key).join(", ")
}
