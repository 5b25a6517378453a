//! Whether a Secret or ServiceAccount may be used. Whoever writes plugins names it; whoever owns it consents on the object
//! itself, to one origin at a time. Refused is everything without that consent, and every key of the cluster or the
//! adapter in spite of it.

use std::collections::BTreeMap;

use crate::{
    model::PluginId,
    source::{CREDENTIAL_LABEL, Dependencies, Dependency, Secret, ServiceAccount},
};

use super::{BundleError, Grants};

const ORIGINS_ANNOTATION: &str = "wasm-metrics-adapter.io/allowed-origins";
const EXPOSE_ANNOTATION: &str = "wasm-metrics-adapter.io/expose-to-guest";
const AUDIENCES_ANNOTATION: &str = "wasm-metrics-adapter.io/allowed-audiences";

/// The one type of [`REFUSED_TYPES`] that may serve as a client certificate: its key signs, and is never sent.
const CERTIFICATE_TYPE: &str = "kubernetes.io/tls";

/// Types of Secrets that hold keys of the cluster (`pkg/apis/core/types.go` of Kubernetes), not credentials of a
/// backend.
pub(super) const REFUSED_TYPES: [&str; 7] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

/// Why a Secret or ServiceAccount is not used. Messages name the line to add, and never a value. Each `name` is kind, namespace
/// and name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefused {
    /// Not for the eyes of plugins.
    #[error(
        "{name} does not consent to be read by plugins; to let those of its namespace read it, add the annotation `{EXPOSE_ANNOTATION}: \"true\"`"
    )]
    NotExposed {
        /// The Secret.
        name: String,
    },
    /// A value that is no text of a plugin's settings.
    #[error(
        "key `{key}` of {name} is no UTF-8 text of at most 64 KiB, and plugins read texts; encode it, as in base64"
    )]
    NotText {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// The adapter's own.
    #[error(
        "{name} is the adapter's own and no plugin's credential; put the backend's credential into a Secret of its own"
    )]
    Own {
        /// The object.
        name: String,
    },
    /// A key of the cluster.
    #[error(
        "{name} is of type {kind}, which is never a plugin's credential of this form; put the backend's credential into a Secret of type Opaque"
    )]
    Type {
        /// The object.
        name: String,
        /// Its type.
        kind: String,
    },
    /// Not labelled.
    #[error(
        "{name} is not labelled as a credential; to let plugins of its namespace use it, add the label `{CREDENTIAL_LABEL}: \"true\"`"
    )]
    NotLabelled {
        /// The object.
        name: String,
    },
    /// An origin that the Secret does not name.
    #[error(
        "{name} does not consent to be sent to {origin} (it allows: {allowed}); add the origin to its annotation, as in `{ORIGINS_ANNOTATION}: \"{origin}\"`"
    )]
    Origin {
        /// The object.
        name: String,
        /// The credential's origin.
        origin: String,
        /// What the annotation says now.
        allowed: String,
    },
    /// An origin in plugin.yaml that is none.
    #[error(
        "the credential that uses {name} is for `{origin}`, which is no origin; write scheme and host, and the port if it is not the scheme's own, as in `https://mq.example.com:8443`"
    )]
    NotAnOrigin {
        /// The object.
        name: String,
        /// As plugin.yaml writes it.
        origin: String,
    },
    /// A key that the Secret does not have.
    #[error("{name} has no key `{key}` (it has: {keys}); correct the key in plugin.yaml or add it to the Secret")]
    NoKey {
        /// The object.
        name: String,
        /// The key.
        key: String,
        /// The keys that it has.
        keys: String,
    },
    /// An audience that the ServiceAccount does not name.
    #[error(
        "{name} does not consent to tokens for audience {audience} (it allows: {allowed}); add it to its annotation, as in `{AUDIENCES_ANNOTATION}: \"{audience}\"`"
    )]
    Audience {
        /// The ServiceAccount.
        name: String,
        /// The audience.
        audience: String,
        /// What the annotation says now.
        allowed: String,
    },
    /// A user name that ends too early for whoever reads it.
    #[error("key `{key}` of {name} holds a `:`, and no user name of HTTP's basic authentication can; correct it")]
    UserName {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// A certificate or key that is none.
    #[error("key `{key}` of {name} is no PEM text of at most 64 KiB; write the certificate chain or its key there")]
    NotPem {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// A value that no request can carry.
    #[error(
        "key `{key}` of {name} can't be sent as a credential: it is empty, longer than 8 KiB, or holds other than printable ASCII; write the bare value into it"
    )]
    NotAValue {
        /// The object.
        name: String,
        /// The key.
        key: String,
    },
}

/// An object that lets plugins of its namespace use it, for what it names itself.
pub(super) struct Consenting {
    dependency: Dependency,
    /// What messages call it.
    name: String,
    annotations: BTreeMap<String, String>,
    data: BTreeMap<String, bytes::Bytes>,
}

/// The Secret `name` of the plugin's namespace, if it is one for plugins at all.
pub(super) async fn secret(
    id: &PluginId,
    name: &str,
    as_certificate: bool,
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<Consenting, BundleError> {
    let dependency = Dependency::Secret { namespace: id.namespace.clone(), name: name.to_owned() };
    let shown = format!("Secret {}/{name}", id.namespace);
    let refused = |cause| BundleError::Secret { dependency: dependency.clone(), cause: Box::new(cause) };
    if grants.own_secrets.contains(&(id.namespace.clone(), name.to_owned())) {
        return Err(refused(SecretRefused::Own { name: shown }));
    }
    let secret = dependencies.secret(&id.namespace, name).await;
    let Secret { kind, labels, annotations, data } =
        secret.map_err(|cause| BundleError::unreadable(dependency.clone(), cause))?;
    let is_a_certificate = as_certificate && kind == CERTIFICATE_TYPE;
    if !is_a_certificate && REFUSED_TYPES.contains(&kind.as_str()) {
        return Err(refused(SecretRefused::Type { name: shown, kind }));
    }
    Consenting { dependency, name: shown, annotations, data }.if_labelled(&labels)
}

/// The ServiceAccount `name` of the plugin's namespace, if it is one for plugins at all.
pub(super) async fn service_account(
    id: &PluginId,
    name: &str,
    dependencies: &dyn Dependencies,
) -> Result<Consenting, BundleError> {
    let dependency = Dependency::ServiceAccount { namespace: id.namespace.clone(), name: name.to_owned() };
    let account = dependencies.service_account(&id.namespace, name).await;
    let ServiceAccount { labels, annotations } =
        account.map_err(|cause| BundleError::unreadable(dependency.clone(), cause))?;
    let name = format!("ServiceAccount {}/{name}", id.namespace);
    Consenting { dependency, name, annotations, data: BTreeMap::new() }.if_labelled(&labels)
}

impl Consenting {
    /// A labelled Secret, for tests of what it consents to.
    #[cfg(test)]
    pub(super) fn of_secret(namespace: &str, name: &str, annotations: &[(&str, &str)], data: &[(&str, &[u8])]) -> Self {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), bytes::Bytes::copy_from_slice(value)));
        Self {
            dependency: Dependency::Secret { namespace: namespace.to_owned(), name: name.to_owned() },
            name: format!("Secret {namespace}/{name}"),
            annotations: annotations.collect(),
            data: data.collect(),
        }
    }

    fn if_labelled(self, labels: &BTreeMap<String, String>) -> Result<Self, BundleError> {
        if labels.get(CREDENTIAL_LABEL).map(String::as_str) == Some("true") {
            return Ok(self);
        }
        Err(self.refusal(SecretRefused::NotLabelled { name: self.name() }))
    }

    /// The error of a plugin that asked for too much of it.
    pub(super) fn refusal(&self, cause: SecretRefused) -> BundleError {
        BundleError::Secret { dependency: self.dependency.clone(), cause: Box::new(cause) }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Whether it may be sent to the origin of `url`.
    pub(super) fn consents_to(&self, url: &str) -> Result<(), SecretRefused> {
        let Some(wanted) = canonical(url) else {
            return Err(SecretRefused::NotAnOrigin { name: self.name(), origin: url.to_owned() });
        };
        let allowed = self.annotation(ORIGINS_ANNOTATION);
        if words(allowed).any(|origin| canonical(origin).is_some_and(|origin| origin == wanted)) {
            return Ok(());
        }
        Err(SecretRefused::Origin { name: self.name(), origin: url.to_owned(), allowed: or_nothing(allowed) })
    }

    /// Whether its tokens may be for `audience`.
    pub(super) fn consents_to_audience(&self, audience: &str) -> Result<(), SecretRefused> {
        let allowed = self.annotation(AUDIENCES_ANNOTATION);
        if words(allowed).any(|word| word == audience) {
            return Ok(());
        }
        let (audience, allowed) = (audience.to_owned(), or_nothing(allowed));
        Err(SecretRefused::Audience { name: self.name(), audience, allowed })
    }

    /// Whether plugins may read it themselves: being sent to an origin is another consent.
    pub(super) fn consents_to_be_read(&self) -> Result<(), SecretRefused> {
        match self.annotation(EXPOSE_ANNOTATION) {
            "true" => Ok(()),
            _ => Err(SecretRefused::NotExposed { name: self.name() }),
        }
    }

    /// The bytes under `key`.
    pub(super) fn bytes(&self, key: &str) -> Result<&bytes::Bytes, SecretRefused> {
        self.data.get(key).ok_or_else(|| {
            let keys: Vec<_> = self.data.keys().map(String::as_str).collect();
            SecretRefused::NoKey { name: self.name(), key: key.to_owned(), keys: keys.join(", ") }
        })
    }

    fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str).trim()
    }
}

/// Words of an annotation: separated by spaces, commas or line breaks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty())
}

fn or_nothing(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { text.to_owned() }
}

/// Scheme, host and port of an origin, so that a port that goes without saying and a host in capitals compare equal.
fn canonical(origin: &str) -> Option<(String, String, u16)> {
    let url = url::Url::parse(origin).ok()?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let web = matches!(url.scheme(), "http" | "https");
    if !(bare && anonymous && web) {
        return None;
    }
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()?))
}
