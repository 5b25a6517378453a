//! Whether a Secret may be used. Whoever writes plugins names Secrets; whoever owns a Secret consents on the Secret
//! itself, to one origin at a time. Refused is everything without that consent, and every key of the cluster or the
//! adapter in spite of it.

use http::HeaderName;
use zeroize::Zeroizing;

use crate::{
    manifest::{CredentialForm, CredentialRequest},
    model::PluginId,
    source::{CREDENTIAL_LABEL, Dependencies, Dependency, Secret},
};

use super::{BundleError, Grants};

const ORIGINS_ANNOTATION: &str = "wasm-metrics-adapter.io/allowed-origins";
pub(super) const EXPOSE_ANNOTATION: &str = "wasm-metrics-adapter.io/expose-to-guest";

/// Types of Secrets that hold keys of the cluster (`pkg/apis/core/types.go` of Kubernetes), not credentials of a
/// backend.
const REFUSED_TYPES: [&str; 7] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

/// Bytes of one credential: what HTTP servers commonly take in one header.
const MAX_BYTES: usize = 8 * 1024;

/// What the adapter puts on requests to one origin. The guest never sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The origin, as plugin.yaml writes it.
    pub origin: String,
    /// The header.
    pub header_name: HeaderName,
    /// The header's whole value, `Bearer ` included.
    pub value: SecretValue,
}

/// A legal header value (RFC 9110, section 5.5) that no log shows and that is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The value itself, for the request that carries it and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretValue(redacted)")
    }
}

/// Why a Secret is not used. Messages name the line to add, and never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefused {
    /// Not for the eyes of plugins.
    #[error(
        "Secret {name} does not consent to be read by plugins; to let those of its namespace read it, add the annotation `{EXPOSE_ANNOTATION}: \"true\"`"
    )]
    NotExposed {
        /// Namespace and name.
        name: String,
    },
    /// A value that is no text of a plugin's settings.
    #[error(
        "key `{key}` of Secret {name} is no UTF-8 text of at most 64 KiB, and plugins read texts; encode it, as in base64"
    )]
    NotText {
        /// Namespace and name.
        name: String,
        /// The key.
        key: String,
    },
    /// The adapter's own.
    #[error(
        "Secret {name} is the adapter's own and no plugin's credential; put the backend's credential into a Secret of its own"
    )]
    Own {
        /// Namespace and name.
        name: String,
    },
    /// A key of the cluster.
    #[error(
        "Secret {name} is of type {kind}, which is never a plugin's credential; put the backend's credential into a Secret of type Opaque"
    )]
    Type {
        /// Namespace and name.
        name: String,
        /// Its type.
        kind: String,
    },
    /// Not labelled.
    #[error(
        "Secret {name} is not labelled as a credential; to let plugins of its namespace use it, add the label `{CREDENTIAL_LABEL}: \"true\"`"
    )]
    NotLabelled {
        /// Namespace and name.
        name: String,
    },
    /// An origin that the Secret does not name.
    #[error(
        "Secret {name} does not consent to be sent to {origin} (it allows: {allowed}); add the origin to its annotation, as in `{ORIGINS_ANNOTATION}: \"{origin}\"`"
    )]
    Origin {
        /// Namespace and name.
        name: String,
        /// The credential's origin.
        origin: String,
        /// What the annotation says now.
        allowed: String,
    },
    /// An origin in plugin.yaml that is none.
    #[error(
        "the credential that uses Secret {name} is for `{origin}`, which is no origin; write scheme and host, and the port if it is not the scheme's own, as in `https://mq.example.com:8443`"
    )]
    NotAnOrigin {
        /// Namespace and name.
        name: String,
        /// As plugin.yaml writes it.
        origin: String,
    },
    /// A key that the Secret does not have.
    #[error(
        "Secret {name} has no key `{key}` (it has: {keys}); correct the key in plugin.yaml or add it to the Secret"
    )]
    NoKey {
        /// Namespace and name.
        name: String,
        /// The key.
        key: String,
        /// The keys that it has.
        keys: String,
    },
    /// A value that no header can carry.
    #[error(
        "key `{key}` of Secret {name} can't be sent in a header: it is empty, longer than 8 KiB, or holds other than printable ASCII; write the bare token into it"
    )]
    NotAHeaderValue {
        /// Namespace and name.
        name: String,
        /// The key.
        key: String,
    },
}

/// Every credential that a plugin asks for; one refusal refuses the plugin.
pub(super) async fn resolve(
    id: &PluginId,
    requests: &[CredentialRequest],
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<Vec<Credential>, BundleError> {
    let mut credentials = Vec::with_capacity(requests.len());
    for request in requests {
        let secret = open(id, &request.secret, dependencies, grants).await?;
        let dependency = Dependency::Secret { namespace: id.namespace.clone(), name: request.secret.clone() };
        let name = format!("{}/{}", id.namespace, request.secret);
        match credential(&name, &secret, request) {
            Ok(credential) => credentials.push(credential),
            Err(cause) => return Err(BundleError::Secret { dependency, cause: Box::new(cause) }),
        }
    }
    Ok(credentials)
}

/// The Secret `name` of the plugin's namespace, if it is one for plugins at all.
pub(super) async fn open(
    id: &PluginId,
    name: &str,
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<Secret, BundleError> {
    let dependency = Dependency::Secret { namespace: id.namespace.clone(), name: name.to_owned() };
    let shown = format!("{}/{name}", id.namespace);
    let refused = |cause| BundleError::Secret { dependency: dependency.clone(), cause: Box::new(cause) };
    if grants.own_secrets.contains(&(id.namespace.clone(), name.to_owned())) {
        return Err(refused(SecretRefused::Own { name: shown }));
    }
    let secret = dependencies.secret(&id.namespace, name).await;
    let secret = secret.map_err(|cause| BundleError::unreadable(dependency.clone(), cause))?;
    check(&shown, &secret).map_err(refused)?;
    Ok(secret)
}

fn check(name: &str, secret: &Secret) -> Result<(), SecretRefused> {
    let name = name.to_owned();
    if REFUSED_TYPES.contains(&secret.kind.as_str()) {
        return Err(SecretRefused::Type { name, kind: secret.kind.clone() });
    }
    if secret.labels.get(CREDENTIAL_LABEL).map(String::as_str) != Some("true") {
        return Err(SecretRefused::NotLabelled { name });
    }
    Ok(())
}

/// The credential, if `secret` consents to `request`.
fn credential(name: &str, secret: &Secret, request: &CredentialRequest) -> Result<Credential, SecretRefused> {
    let name = name.to_owned();
    let Some(wanted) = canonical(&request.origin) else {
        return Err(SecretRefused::NotAnOrigin { name, origin: request.origin.clone() });
    };
    let allowed = secret.annotations.get(ORIGINS_ANNOTATION).map_or("", String::as_str).trim();
    let mut origins = allowed.split([' ', ',', '\n', '\t']).filter(|origin| !origin.is_empty());
    if !origins.any(|origin| canonical(origin).is_some_and(|origin| origin == wanted)) {
        let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.to_owned() };
        return Err(SecretRefused::Origin { name, origin: request.origin.clone(), allowed });
    }
    let Some(bytes) = secret.data.get(&request.key) else {
        let keys: Vec<_> = secret.data.keys().map(String::as_str).collect();
        return Err(SecretRefused::NoKey { name, key: request.key.clone(), keys: keys.join(", ") });
    };
    let Some(text) = header_value(bytes) else {
        return Err(SecretRefused::NotAHeaderValue { name, key: request.key.clone() });
    };
    let (header_name, prefix) = match &request.form {
        CredentialForm::Bearer => (http::header::AUTHORIZATION, "Bearer "),
        CredentialForm::Header(header) => (header.clone(), ""),
    };
    // One allocation of the final size: growing would leave unwiped copies behind.
    let mut value = Zeroizing::new(String::with_capacity(prefix.len() + text.len()));
    value.push_str(prefix);
    value.push_str(text);
    Ok(Credential { origin: request.origin.clone(), header_name, value: SecretValue(value) })
}

/// `bytes` without the newline that editors and `echo` leave behind, if a header can carry them.
fn header_value(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let legal = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let outer_space = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    (legal && !outer_space && !text.is_empty() && text.len() <= MAX_BYTES).then_some(text)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ORIGIN: &str = "https://mq.example.com:443";

    fn secret(origins: &str, value: &str) -> Secret {
        Secret {
            kind: "Opaque".to_owned(),
            labels: [(CREDENTIAL_LABEL.to_owned(), "true".to_owned())].into(),
            annotations: [(ORIGINS_ANNOTATION.to_owned(), origins.to_owned())].into(),
            data: [("token".to_owned(), Bytes::from(value.to_owned()))].into(),
        }
    }

    fn request() -> CredentialRequest {
        CredentialRequest {
            origin: ORIGIN.to_owned(),
            form: CredentialForm::Bearer,
            secret: "mq".to_owned(),
            key: "token".to_owned(),
        }
    }

    fn used(secret: &Secret) -> Result<Credential, SecretRefused> {
        check("shop/mq", secret)?;
        credential("shop/mq", secret, &request())
    }

    #[test]
    fn a_consenting_secret_becomes_a_header() {
        for origins in [
            ORIGIN,
            "https://MQ.example.com",
            "http://a,https://mq.example.com:443",
            "http://a \n https://mq.example.com/",
        ] {
            let credential = used(&secret(origins, "abc\n")).unwrap();
            assert_eq!(credential.value.reveal(), "Bearer abc", "{origins}");
            assert_eq!((credential.origin.as_str(), credential.header_name.as_str()), (ORIGIN, "authorization"));
        }
        let form = CredentialForm::Header(HeaderName::from_static("x-api-key"));
        let request = CredentialRequest { form, ..request() };
        let credential = credential("shop/mq", &secret(ORIGIN, "k e y\r\n"), &request).unwrap();
        assert_eq!((credential.header_name.as_str(), credential.value.reveal()), ("x-api-key", "k e y"));
    }

    #[test]
    fn other_origins_need_their_own_consent() {
        for origins in [
            "",
            "http://mq.example.com:443",
            "https://mq.example.com:8443",
            "https://example.com",
            "https://mq.example.com.evil.org",
            "*",
            "https://*",
            "https://u@mq.example.com",
            "https://mq.example.com/path",
        ] {
            let error = used(&secret(origins, "abc")).expect_err(origins).to_string();
            assert!(error.contains("allowed-origins: \"https://mq.example.com:443\""), "{origins}: {error}");
        }
        let request = CredentialRequest { origin: "mq.example.com".to_owned(), ..request() };
        let refused = credential("shop/mq", &secret("mq.example.com", "abc"), &request);
        assert!(matches!(refused, Err(SecretRefused::NotAnOrigin { .. })));
    }

    #[test]
    fn without_the_label_there_is_no_consent() {
        let mut unlabelled = secret(ORIGIN, "abc");
        unlabelled.labels.clear();
        let error = used(&unlabelled).expect_err("unlabelled").to_string();
        assert!(
            error.contains("Secret shop/mq")
                && error.contains("add the label `wasm-metrics-adapter.io/credential: \"true\"`"),
            "{error}"
        );
        unlabelled.labels.insert(CREDENTIAL_LABEL.to_owned(), "yes".to_owned());
        assert!(matches!(used(&unlabelled), Err(SecretRefused::NotLabelled { .. })));
    }

    #[test]
    fn keys_of_the_cluster_are_refused_by_type() {
        for kind in REFUSED_TYPES {
            let refused = used(&Secret { kind: kind.to_owned(), ..secret(ORIGIN, "abc") });
            assert!(matches!(refused, Err(SecretRefused::Type { .. })), "{kind}");
        }
    }

    #[test]
    fn values_that_no_header_carries_are_refused_and_never_printed() {
        for value in ["", "\n", "one\ntwo", "tab\u{0}", "ümlaut", " padded ", &"x".repeat(9000), "hunter2\n\n"] {
            let error = used(&secret(ORIGIN, value)).expect_err(value);
            assert!(matches!(error, SecretRefused::NotAHeaderValue { .. }));
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let missing = Secret { data: std::collections::BTreeMap::new(), ..secret(ORIGIN, "abc") };
        assert!(matches!(used(&missing), Err(SecretRefused::NoKey { .. })));
        assert!(!format!("{:?}", used(&secret(ORIGIN, "hunter2"))).contains("hunter2"));
    }
}
