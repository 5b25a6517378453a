//! Values of Secrets that a plugin reads itself (`secrets` of plugin.yaml). A Secret that may be sent to an origin may not be read
//! for that: exposing it is a consent of its own.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::{
    manifest::SecretKey,
    model::PluginId,
    source::{Dependencies, Dependency, Secret},
};

use super::{
    BundleError, Grants, SecretRefused, SecretValue,
    consent::{self, EXPOSE_ANNOTATION},
};

/// Bytes of one value: keys and certificates of any kind fit; each instance gets a copy.
const MAX_BYTES: usize = 64 * 1024;

/// Every value that a plugin asks for, by the name under which it reads it; one refusal refuses the plugin.
pub(super) async fn resolve(
    id: &PluginId,
    requests: &BTreeMap<String, SecretKey>,
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<BTreeMap<String, SecretValue>, BundleError> {
    let mut values = BTreeMap::new();
    for (name, SecretKey { secret, key }) in requests {
        let opened = consent::open(id, secret, dependencies, grants).await?;
        let dependency = Dependency::Secret { namespace: id.namespace.clone(), name: secret.clone() };
        let value = value(&format!("{}/{secret}", id.namespace), &opened, key)
            .map_err(|cause| BundleError::Secret { dependency, cause: Box::new(cause) })?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn value(name: &str, secret: &Secret, key: &str) -> Result<SecretValue, SecretRefused> {
    let (name, key) = (name.to_owned(), key.to_owned());
    if secret.annotations.get(EXPOSE_ANNOTATION).map(String::as_str) != Some("true") {
        return Err(SecretRefused::NotExposed { name });
    }
    let Some(bytes) = secret.data.get(&key) else {
        let keys: Vec<_> = secret.data.keys().map(String::as_str).collect();
        return Err(SecretRefused::NoKey { name, key, keys: keys.join(", ") });
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_BYTES => Ok(SecretValue::new(Zeroizing::new(text.to_owned()))),
        _ => Err(SecretRefused::NotText { name, key }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn secret(annotations: &[(&str, &str)], value: &[u8]) -> Secret {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Secret {
            kind: "Opaque".to_owned(),
            labels: BTreeMap::new(),
            annotations: annotations.collect(),
            data: [("password".to_owned(), Bytes::copy_from_slice(value))].into(),
        }
    }

    const EXPOSED: &[(&str, &str)] = &[(EXPOSE_ANNOTATION, "true")];

    #[test]
    fn an_exposed_value_is_read_as_it_is_and_never_printed() {
        let value = value("shop/redis", &secret(EXPOSED, b"hunter2\n"), "password").unwrap();
        assert_eq!(value.reveal(), "hunter2\n");
        assert!(!format!("{value:?}").contains("hunter2"));
    }

    #[test]
    fn consent_to_an_origin_is_no_consent_to_be_read() {
        let origin = [("wasm-metrics-adapter.io/allowed-origins", "https://mq.example.com")];
        for annotations in [&[][..], &origin[..], &[(EXPOSE_ANNOTATION, "True")][..], &[(EXPOSE_ANNOTATION, "")][..]] {
            let refused = value("shop/redis", &secret(annotations, b"hunter2"), "password").unwrap_err();
            assert_eq!(refused, SecretRefused::NotExposed { name: "shop/redis".to_owned() });
            assert!(refused.to_string().contains("expose-to-guest: \"true\""), "{refused}");
        }
    }

    #[test]
    fn what_is_missing_or_no_text_is_refused_without_its_value() {
        let refused = |secret: &Secret, key: &str| value("shop/redis", secret, key).unwrap_err().to_string();
        assert!(refused(&secret(EXPOSED, b"hunter2"), "other").contains("it has: password"));
        assert!(refused(&secret(EXPOSED, b"\xff"), "password").contains("UTF-8"));
        let long = refused(&secret(EXPOSED, &vec![b'x'; MAX_BYTES + 1]), "password");
        assert!(long.contains("64 KiB") && !long.contains("xxx"), "{long}");
    }
}
