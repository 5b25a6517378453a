//! Mappings read field by field. Every unknown field is an error that names its path and the nearest known field;
//! nothing is ignored.

use super::{
    ManifestError,
    document::{self, Value},
};

/// A mapping of which each key is known.
#[derive(Debug)]
pub(crate) struct Fields {
    path: String,
    entries: Vec<(String, Value)>,
}

/// One field's value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) path: String,
    pub(super) value: Value,
}

/// The version of every document that the adapter reads.
pub(super) const API_VERSION: &str = "wasm-metrics-adapter.io/v1alpha1";

impl Fields {
    /// The fields of `field`, all of `known`.
    pub(crate) fn of(field: Field, known: &[&str]) -> Result<Self, ManifestError> {
        let Field { path, value } = field;
        let Value::Mapping(entries) = value else {
            return Err(invalid(path, &value, &format!("a mapping with the fields {}", known.join(", "))));
        };
        match entries.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(ManifestError::UnknownField {
                path: join(&path, key),
                hint: nearest(key, known).map_or_else(String::new, |near| format!("did you mean `{near}`? ")),
                known: known.join(", "),
            }),
            None => Ok(Self { path, entries }),
        }
    }

    /// Takes a field out; `null` counts as absent, as everywhere in Kubernetes.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        let position = self.entries.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.entries.swap_remove(position);
        (value != Value::Null).then(|| Field { path: join(&self.path, name), value })
    }

    /// Takes a field that has to be there.
    pub(crate) fn require(&mut self, name: &str, expected: &str) -> Result<Field, ManifestError> {
        let path = join(&self.path, name);
        self.take(name).ok_or_else(|| ManifestError::Missing { path, expected: expected.to_owned() })
    }

    /// Takes out `apiVersion` and `kind`, which say what document it is.
    pub(crate) fn expect_kind(&mut self, kind: &str) -> Result<(), ManifestError> {
        for (name, value) in [("apiVersion", API_VERSION), ("kind", kind)] {
            let expected = format!("`{value}`");
            self.require(name, &expected)?.parsed(&expected, |text| (text == value).then_some(()))?;
        }
        Ok(())
    }
}

impl Field {
    /// The one document of `text`.
    pub(crate) fn document(text: &str) -> Result<Self, ManifestError> {
        Ok(Self { path: String::new(), value: document::parse(text)? })
    }

    /// The entries of a mapping whose keys are names that somebody chose.
    pub(crate) fn entries(self, expected: &str) -> Result<Vec<(String, Self)>, ManifestError> {
        let path = self.path;
        match self.value {
            Value::Mapping(entries) => Ok(entries
                .into_iter()
                .map(|(key, value)| {
                    let path = join(&path, &key);
                    (key, Self { path, value })
                })
                .collect()),
            other => Err(invalid(path, &other, expected)),
        }
    }

    /// A text. Numbers and booleans are not taken for one: `1.10` and `yes` are ambiguous, a quoted text is not.
    pub(crate) fn text(self, expected: &str) -> Result<String, ManifestError> {
        match self.value {
            Value::String(text) => Ok(text),
            other => Err(invalid(self.path, &other, expected)),
        }
    }

    pub(crate) fn boolean(self) -> Result<bool, ManifestError> {
        match self.value {
            Value::Bool(value) => Ok(value),
            other => Err(invalid(self.path, &other, "true or false")),
        }
    }

    /// A whole number from `low` to `high`.
    pub(crate) fn integer(self, low: i64, high: i64) -> Result<i64, ManifestError> {
        let number = match &self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(invalid(self.path, &self.value, &format!("a whole number from {low} to {high}"))),
        }
    }

    /// The items of a list.
    pub(crate) fn items(self, expected: &str) -> Result<Vec<Self>, ManifestError> {
        let path = self.path;
        match self.value {
            Value::Sequence(items) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(position, value)| Self { path: format!("{path}[{position}]"), value })
                .collect()),
            other => Err(invalid(path, &other, expected)),
        }
    }

    /// A text that `parse` takes, or what it expected.
    pub(crate) fn parsed<T>(self, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ManifestError> {
        let parsed = match &self.value {
            Value::String(text) => parse(text),
            _ => None,
        };
        parsed.ok_or_else(|| invalid(self.path, &self.value, expected))
    }
}

pub(super) fn invalid(path: String, found: &Value, expected: &str) -> ManifestError {
    let path = if path.is_empty() { "the top level".to_owned() } else { path };
    ManifestError::Invalid { path, found: found.describe(), expected: expected.to_owned() }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The candidate that `name` was probably meant to be: at most a third of it is different, case apart.
pub fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
    let best = candidates.iter().copied().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= (name.chars().count() / 3).max(1)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_was_probably_meant() {
        let known = ["listEvery", "limits", "plugin.wasm.gz"];
        assert_eq!(nearest("listevery", &known), Some("listEvery"));
        assert_eq!(nearest("limit", &known), Some("limits"));
        assert_eq!(nearest("plugin.wasm.gzip", &known), Some("plugin.wasm.gz"));
        assert_eq!(nearest("onError", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
