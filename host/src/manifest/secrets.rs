//! `secrets` of plugin.yaml: values of Secrets that the plugin reads beside its `config`. Only names are here; whether a Secret
//! consents is decided where it is opened.

use std::collections::BTreeMap;

use super::{
    ManifestError,
    fields::{Field, Fields},
    object_name,
};

/// Secrets of one plugin: each costs a read of the API server at every load.
const MAX_SECRETS: usize = 32;

/// A value of a Secret in the plugin's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret's name.
    pub secret: String,
    /// The key in its `data`.
    pub key: String,
}

/// The values by the names under which the plugin reads them; none of them is in `config`, which would make one of both a riddle.
pub(super) fn parse(
    field: Field,
    config: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, SecretKey>, ManifestError> {
    let expected = "a mapping of at most 32 names to `{secret: NAME, key: KEY}`";
    let path = field.path.clone();
    let entries = field.entries(expected)?;
    if entries.len() > MAX_SECRETS {
        let found = format!("{} names", entries.len());
        return Err(ManifestError::Invalid { path, found, expected: expected.to_owned() });
    }
    let mut secrets = BTreeMap::new();
    for (name, field) in entries {
        if config.contains_key(&name) {
            let found = "a name that `config` has too".to_owned();
            let expected = "another name, or take it out of `config`".to_owned();
            return Err(ManifestError::Invalid { path: field.path, found, expected });
        }
        let mut source = Fields::of(field, &["secret", "key"])?;
        let secret = object_name(source.require("secret", "the name of a Secret")?)?;
        let key = source.require("key", "a key of the Secret")?.text("a key of the Secret")?;
        secrets.insert(name, SecretKey { secret, key });
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BTreeMap<String, SecretKey>, String> {
        let config = BTreeMap::from([("url".to_owned(), "x".to_owned())]);
        Field::document(text).and_then(|field| parse(field, &config)).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_are_named_by_key_and_never_twice() {
        let expected = SecretKey { secret: "redis".to_owned(), key: "pw".to_owned() };
        assert_eq!(parsed("{password: {secret: redis, key: pw}}"), Ok([("password".to_owned(), expected)].into()));
        for (text, expected) in [
            ("{url: {secret: redis, key: pw}}", "a name that `config` has too"),
            ("{password: redis}", "a mapping with the fields secret, key"),
            ("{password: {secret: ../redis, key: pw}}", "an object's name"),
            ("{password: {secret: redis}}", "lacks `password.key`"),
            ("[]", "a mapping of at most 32 names"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
