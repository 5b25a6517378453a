//! Why there is no bundle. Each message says what to do; none holds a secret's value.

use crate::{
    manifest::ManifestError,
    source::{Dependency, ReadError},
};

use super::{ComponentError, SecretRefused};

/// Why a plugin could not be assembled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// plugin.yaml is at fault.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A key that means nothing to the adapter.
    #[error("the key `{key}` means nothing to the adapter; {hint}it takes plugin.yaml and one of {allowed}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest known one, as a question with a space behind it; or empty.
        hint: String,
        /// The keys that hold code.
        allowed: String,
    },
    /// No code, or more than one.
    #[error(
        "the code is in {found}; give it in exactly one of the binaryData keys {allowed}, or in `component.parts` of plugin.yaml"
    )]
    NotOneCode {
        /// Where there is code now, in words.
        found: String,
        /// The keys that hold code.
        allowed: String,
    },
    /// The bytes are not of the form that their key says.
    #[error("{key} should hold {expected}, and holds {found}; {remedy}")]
    OtherForm {
        /// The key in quotes, or the parts.
        key: String,
        /// What should be there.
        expected: &'static str,
        /// What is there, in words.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A compressed stream that doesn't decompress.
    #[error(
        "{key} could not be decompressed ({cause}); pack the whole component again, with zstd at level 19 or lower and without --long (its window may have 8 MiB)"
    )]
    Decompress {
        /// The key in quotes, or the parts.
        key: String,
        /// What the decompressor says.
        cause: String,
    },
    /// More than the operator grants.
    #[error(
        "{key} holds a component of more than {cap} bytes, the adapter's limit; strip debug information and names from it (wasm-tools strip -a)"
    )]
    TooLarge {
        /// The key in quotes, or the parts.
        key: String,
        /// The limit in bytes.
        cap: usize,
    },
    /// Not the bytes that were promised.
    #[error(
        "the component's SHA-256 is {found}, and `component.parts.sha256` of plugin.yaml expects {expected}; name the parts of one version in their order"
    )]
    Digest {
        /// As in plugin.yaml.
        expected: String,
        /// Of the bytes.
        found: String,
    },
    /// Not a component that the adapter could run.
    #[error("{key}: {cause}")]
    Component {
        /// The key in quotes, or the parts.
        key: String,
        /// Why not.
        cause: ComponentError,
    },
    /// A ConfigMap that is no part of this plugin.
    #[error("ConfigMap {namespace}/{name} can't be a part of the component: {why}")]
    Part {
        /// The ConfigMap's namespace.
        namespace: String,
        /// The ConfigMap's name.
        name: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A registry, which this version knows and does not speak to.
    #[error(
        "component.oci: this version does not pull from registries, so {reference} is not loaded; put the component into the ConfigMap or parts"
    )]
    Registry {
        /// The reference.
        reference: String,
    },
    /// An object that can't be read, or not now.
    #[error("plugin.yaml needs what could not be read: {cause}; {remedy}")]
    Unreadable {
        /// The object.
        dependency: Dependency,
        /// Why not.
        cause: ReadError,
        /// What to do.
        remedy: &'static str,
    },
    /// A Secret or ServiceAccount that doesn't consent.
    #[error("{cause}")]
    Secret {
        /// The object.
        dependency: Dependency,
        /// Why not.
        cause: Box<SecretRefused>,
    },
    /// More certificate authorities than anybody has.
    #[error("{name} is longer than {cap} bytes; keep only the authorities of the plugin's own backends there")]
    Authorities {
        /// Where they are.
        name: String,
        /// The limit in bytes.
        cap: usize,
    },
    /// The adapter is shutting down, or a thread of it died.
    #[error("assembling was interrupted; it will be tried again")]
    Interrupted,
}

impl BundleError {
    /// An object that could not be read.
    pub(super) fn unreadable(dependency: Dependency, cause: ReadError) -> Self {
        let remedy = match (&cause, &dependency) {
            (ReadError::NotFound(_), Dependency::Part { .. }) => "apply the parts first, then the plugin",
            (ReadError::NotFound(_), Dependency::Secret { .. }) => {
                "create it, with the label and annotation of a credential"
            }
            (ReadError::NotFound(_), Dependency::ConfigMap { .. }) => "create it, or correct `tls.caFrom`",
            (ReadError::NotFound(_), Dependency::ServiceAccount { .. }) => {
                "create it, with the label and annotations of a credential"
            }
            (ReadError::NotFound(_), Dependency::File { .. }) => "correct the path, or put the file there",
            (ReadError::Malformed(_), _) => "correct it",
            (ReadError::Unavailable(_), _) => "it will be tried again",
        };
        Self::Unreadable { dependency, cause, remedy }
    }

    /// Whether trying the same plugin again, unchanged, may work: what it lacks can appear unseen.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Unreadable { cause, .. } => matches!(cause, ReadError::NotFound(_) | ReadError::Unavailable(_)),
            _ => false,
        }
    }

    /// The object whose change may cure it.
    pub fn waits_for(&self) -> Option<Dependency> {
        match self {
            Self::Unreadable { dependency, .. } | Self::Secret { dependency, .. } => Some(dependency.clone()),
            Self::Part { namespace, name, .. } => {
                Some(Dependency::Part { namespace: namespace.clone(), name: name.clone() })
            }
            _ => None,
        }
    }
}
