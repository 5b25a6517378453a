//! The code of a plugin in every packaging: a key of the ConfigMap, or parts of another, plain, gzip or zstd. What comes out is
//! within the cap, and is what its digest says; nothing makes the adapter panic.
//!
//! The first byte chooses the packaging, the rest is its content.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use wasm_metrics_adapter::{
    bundle::{self, Assembled, Grants},
    model::PluginId,
    source::{Dependencies, Part, RawPlugin, ReadError, Secret},
};

/// Small enough that a bomb meets it.
const CAP: usize = 1 << 16;

const KEYS: [&str; 4] = ["plugin.wasm", "plugin.wasm.gz", "plugin.wasm.zst", "plugin.wasm.xz"];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime needs no more than memory")
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, content)) = input.split_first() else { return };
    let mut raw = RawPlugin {
        id: PluginId { namespace: "fuzz".to_owned(), name: "plugin".to_owned() },
        uid: String::new(),
        version: String::new(),
        manifest: None,
        code: BTreeMap::new(),
        unknown_keys: Vec::new(),
    };
    let parts = Parts { content: Bytes::copy_from_slice(content), cut: usize::from(choice) };
    match KEYS.get(usize::from(choice % 8)) {
        Some(key) => _ = raw.code.insert((*key).to_owned(), parts.content.clone()),
        None => raw.manifest = Some(manifest(content)),
    }
    let grants = Grants { component_bytes: CAP, ..Grants::default() };
    match RUNTIME.block_on(bundle::assemble(&raw, &parts, &grants)) {
        Ok(Assembled::Ready(bundle)) => {
            assert!(bundle.code.len() <= CAP);
            assert_eq!(bundle.sha256, format!("{:x}", Sha256::digest(&bundle.code)));
        }
        Ok(Assembled::Suspended) => unreachable!("nothing suspends it"),
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});

/// Two parts, with the digest of what they hold where they are not compressed.
fn manifest(content: &[u8]) -> String {
    format!(
        "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\ncomponent: {{ parts: {{ names: [a, b], sha256: {:x} }} }}\n",
        Sha256::digest(content)
    )
}

/// The content, cut in two somewhere.
struct Parts {
    content: Bytes,
    cut: usize,
}

#[async_trait]
impl Dependencies for Parts {
    async fn part(&self, _namespace: &str, name: &str) -> Result<Part, ReadError> {
        let cut = self.cut.min(self.content.len());
        let bytes = if name == "a" { self.content.slice(..cut) } else { self.content.slice(cut..) };
        Ok(Part { bytes, part_of: Some("plugin".to_owned()), immutable: true })
    }

    async fn secret(&self, _namespace: &str, name: &str) -> Result<Secret, ReadError> {
        Err(ReadError::NotFound(name.to_owned()))
    }
}
