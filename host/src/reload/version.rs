//! The newest version of a plugin. Its bytes are kept only until it is loaded, or has to wait for that: forty ConfigMaps of a MiB each
//! would be a large part of the adapter's memory.

use sha2::{Digest, Sha256};

use crate::{
    bundle,
    source::{self, Dependency, RawPlugin},
};

/// A version, and what tells it from others.
pub(super) struct Version {
    raw: RawPlugin,
    digest: [u8; 32],
    code: Option<[u8; 32]>,
    dependencies: Vec<Dependency>,
    shed: bool,
}

impl Version {
    pub(super) fn of(raw: RawPlugin) -> Self {
        let code = (!raw.code.is_empty()).then(|| code_digest(&raw));
        Self { digest: digest(&raw, code), code, dependencies: bundle::dependencies(&raw), raw, shed: false }
    }

    /// What the source read; without code after [`Self::shed`].
    pub(super) fn raw(&self) -> &RawPlugin {
        &self.raw
    }

    /// Whether both say the same, whenever they were written.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Whether its object is an older one: what is read again may be ahead of the watch.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        source::is_older(&self.raw.version, &other.raw.version)
    }

    /// The digest of the packed code in the object itself, if it is there.
    pub(super) fn code(&self) -> Option<[u8; 32]> {
        self.code
    }

    /// Takes over the identity of the same in another object, for Events: one that was deleted and made again.
    pub(super) fn identify_as(&mut self, other: Self) {
        (self.raw.uid, self.raw.version) = (other.raw.uid, other.raw.version);
    }

    /// Whether one of the objects that it names is among `touched`.
    pub(super) fn names_any_of(&self, touched: &std::collections::BTreeSet<Dependency>) -> bool {
        self.dependencies.iter().any(|dependency| touched.contains(dependency))
    }

    /// Drops its bytes; who needs them again reads the object again.
    pub(super) fn shed(&mut self) {
        self.shed = self.shed || !self.raw.code.is_empty();
        self.raw.code.clear();
    }

    /// Whether it had bytes that are gone.
    pub(super) fn is_shed(&self) -> bool {
        self.shed
    }
}

/// Of pieces that cannot be taken for others.
struct Pieces(Sha256);

impl Pieces {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

fn code_digest(raw: &RawPlugin) -> [u8; 32] {
    let mut pieces = Pieces(Sha256::new());
    for (key, bytes) in &raw.code {
        pieces.add(key.as_bytes());
        pieces.add(bytes);
    }
    pieces.0.finalize().into()
}

fn digest(raw: &RawPlugin, code: Option<[u8; 32]>) -> [u8; 32] {
    let mut pieces = Pieces(Sha256::new());
    pieces.add(&[u8::from(raw.manifest.is_some()), u8::from(code.is_some())]);
    pieces.add(raw.manifest.as_deref().unwrap_or_default().as_bytes());
    pieces.add(&code.unwrap_or_default());
    raw.unknown_keys.iter().for_each(|key| pieces.add(key.as_bytes()));
    pieces.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PluginId;

    fn version(change: impl FnOnce(&mut RawPlugin)) -> Version {
        let mut raw = RawPlugin {
            id: PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() },
            uid: "u-1".to_owned(),
            version: "1".to_owned(),
            manifest: None,
            code: [("plugin.wasm".to_owned(), b"code".as_slice().into())].into(),
            unknown_keys: Vec::new(),
        };
        change(&mut raw);
        Version::of(raw)
    }

    #[test]
    fn only_what_the_owner_wrote_makes_another_version() {
        let one = version(|_| {});
        assert!(one.says_what(&version(|raw| raw.version = "2".to_owned())), "a restarted watch, or a new label");
        assert!(!one.says_what(&version(|raw| raw.manifest = Some(String::new()))));
        assert!(!one.says_what(&version(|raw| raw.unknown_keys.push("extra".to_owned()))));
        assert!(!one.says_what(&version(|raw| {
            raw.code.insert("plugin.wasm".to_owned(), b"cod3".as_slice().into());
        })));
    }

    #[test]
    fn a_version_is_known_without_its_bytes() {
        let mut one = version(|_| {});
        assert!(!one.is_shed());
        one.shed();
        one.shed();
        assert!(one.is_shed() && one.raw().code.is_empty());
        let settings = version(|raw| raw.manifest = Some(String::new()));
        assert!(one.says_what(&version(|_| {})) && one.code() == settings.code());
        let mut parts = version(|raw| raw.code.clear());
        parts.shed();
        assert!(!parts.is_shed() && parts.code().is_none(), "there was nothing to drop");
    }

    #[test]
    fn the_object_tells_which_is_older() {
        let (one, next) = (version(|_| {}), version(|raw| raw.version = "10".to_owned()));
        assert!(one.is_older_than(&next) && !next.is_older_than(&one) && !one.is_older_than(&one));
    }
}
