//! Values of Secrets that a plugin reads itself (`secrets` of plugin.yaml). A Secret that may be sent to an origin may not be read
//! for that: exposing it is a consent of its own.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::{manifest::SecretKey, model::PluginId, source::Dependencies};

use super::{
    BundleError, Grants, SecretRefused, SecretValue,
    consent::{self, Consenting},
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
        let secret = consent::secret(id, secret, false, dependencies, grants).await?;
        values.insert(name.clone(), value(&secret, key).map_err(|cause| secret.refusal(cause))?);
    }
    Ok(values)
}

fn value(secret: &Consenting, key: &str) -> Result<SecretValue, SecretRefused> {
    secret.consents_to_be_read()?;
    match std::str::from_utf8(secret.bytes(key)?) {
        Ok(text) if text.len() <= MAX_BYTES => Ok(SecretValue::new(Zeroizing::new(text.to_owned()))),
        _ => Err(SecretRefused::NotText { name: secret.name(), key: key.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(annotations: &[(&str, &str)], value: &[u8]) -> Consenting {
        Consenting::of_secret("shop", "redis", annotations, &[("password", value)])
    }

    const EXPOSED: &[(&str, &str)] = &[("wasm-metrics-adapter.io/expose-to-guest", "true")];

    #[test]
    fn an_exposed_value_is_read_as_it_is_and_never_printed() {
        let value = value(&secret(EXPOSED, b"hunter2\n"), "password").unwrap();
        assert_eq!(value.reveal(), "hunter2\n");
        assert!(!format!("{value:?}").contains("hunter2"));
    }

    #[test]
    fn consent_to_an_origin_is_no_consent_to_be_read() {
        let origin = [("wasm-metrics-adapter.io/allowed-origins", "https://mq.example.com")];
        for annotations in [&[][..], &origin[..], &[(EXPOSED[0].0, "True")][..], &[(EXPOSED[0].0, "")][..]] {
            let refused = value(&secret(annotations, b"hunter2"), "password").unwrap_err();
            assert_eq!(refused, SecretRefused::NotExposed { name: "Secret shop/redis".to_owned() });
            assert!(refused.to_string().contains("expose-to-guest: \"true\""), "{refused}");
        }
    }

    #[test]
    fn what_is_missing_or_no_text_is_refused_without_its_value() {
        let refused = |secret: &Consenting, key: &str| value(secret, key).unwrap_err().to_string();
        assert!(refused(&secret(EXPOSED, b"hunter2"), "other").contains("it has: password"));
        assert!(refused(&secret(EXPOSED, b"\xff"), "password").contains("UTF-8"));
        let long = refused(&secret(EXPOSED, &vec![b'x'; MAX_BYTES + 1]), "password");
        assert!(long.contains("64 KiB") && !long.contains("xxx"), "{long}");
    }
}
