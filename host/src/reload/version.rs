//! The newest version of a plugin. Its bytes are kept only while they may be needed again: forty ConfigMaps of a MiB each would
//! be a large part of the adapter's memory.

use sha2::{Digest, Sha256};

use crate::{
    bundle,
    source::{Dependency, RawPlugin},
};

/// A version, and what tells it from others.
pub(super) struct Version {
    raw: RawPlugin,
    digest: [u8; 32],
    inline: bool,
    dependencies: Vec<Dependency>,
}

impl Version {
    pub(super) fn of(raw: RawPlugin) -> Self {
        let inline = !raw.code.is_empty();
        Self { digest: digest(&raw), inline, dependencies: bundle::dependencies(&raw), raw }
    }

    /// What the source read; without code after [`Self::settle`].
    pub(super) fn raw(&self) -> &RawPlugin {
        &self.raw
    }

    /// Whether its code is, or was, in the object itself.
    pub(super) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Whether it had bytes that are gone.
    pub(super) fn is_shed(&self) -> bool {
        self.inline && self.raw.code.is_empty()
    }

    /// Whether both say the same, whenever they were written.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Takes over the identity of the same in another object, for Events: one that was deleted and made again.
    pub(super) fn identify_as(&mut self, other: Self) {
        (self.raw.uid, self.raw.version) = (other.raw.uid, other.raw.version);
    }

    /// Whether one of the objects that it names is among `touched`.
    pub(super) fn names_any_of(&self, touched: &std::collections::BTreeSet<Dependency>) -> bool {
        self.dependencies.iter().any(|dependency| touched.contains(dependency))
    }

    /// Its load has ended for good: only a change of what it names makes another look at its code worth while.
    pub(super) fn settle(&mut self) {
        if self.dependencies.is_empty() {
            self.raw.code.clear();
        }
    }
}

fn digest(raw: &RawPlugin) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    add(&[u8::from(raw.manifest.is_some())]);
    add(raw.manifest.as_deref().unwrap_or_default().as_bytes());
    for (key, bytes) in &raw.code {
        add(key.as_bytes());
        add(bytes);
    }
    // An odd number of pieces: no key above can be taken for one below.
    add(b"unknown");
    raw.unknown_keys.iter().for_each(|key| add(key.as_bytes()));
    digest.finalize().into()
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
    fn bytes_stay_only_for_a_version_that_names_other_objects() {
        let mut alone = version(|_| {});
        alone.settle();
        assert!(alone.raw().code.is_empty());
        assert!(alone.says_what(&version(|_| {})), "it is known without its bytes");
        let secret = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\ncredentials: \
                      [{origin: 'https://mq.example.com', bearer: {secret: mq, key: token}}]";
        let mut named = version(|raw| raw.manifest = Some(secret.to_owned()));
        named.settle();
        assert_eq!(named.raw().code.len(), 1);
    }
}
