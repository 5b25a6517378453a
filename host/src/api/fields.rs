//! Field selectors, as k8s.io/apimachinery `pkg/fields/selector.go` reads them, of the two fields that every object has.

use crate::model::Measurable;

/// Terms that all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    field: String,
    equals: bool,
    value: String,
}

/// Why a text is no field selector, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFieldSelector {
    /// Not of the grammar.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// All of it.
        selector: String,
        /// The term at fault.
        term: String,
    },
    /// A backslash before something else than `\`, `,` and `=`.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// `=` in a value, which Go tells by its number.
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
    /// Another field.
    #[error("{0:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    Unknown(String),
}

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

impl FieldSelector {
    /// Reads `text`; empty selects everything.
    pub fn parse(text: &str) -> Result<Self, InvalidFieldSelector> {
        let mut parts = split(text);
        parts.sort_unstable();
        let terms = parts.into_iter().filter(|part| !part.is_empty()).map(|part| Term::parse(text, part));
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// Refuses fields that these objects can't be selected by.
    pub fn check(self) -> Result<Self, InvalidFieldSelector> {
        match self.0.iter().find(|term| !matches!(term.field.as_str(), NAME | NAMESPACE)) {
            Some(term) => Err(InvalidFieldSelector::Unknown(term.field.clone())),
            None => Ok(self),
        }
    }

    /// The one name that it selects, if that can be part of a path: authorization asks about it then.
    pub fn exact_name(&self) -> Option<String> {
        let term = self.0.iter().find(|term| term.equals && term.field == NAME)?;
        let is_segment = !matches!(term.value.as_str(), "" | "." | "..") && !term.value.contains(['/', '%']);
        is_segment.then(|| term.value.clone())
    }

    /// Whether it selects the object.
    pub fn matches(&self, object: &Measurable) -> bool {
        self.0.iter().all(|Term { field, equals, value }| {
            let found = if field == NAME { &object.name } else { &object.namespace };
            (found == value) == *equals
        })
    }
}

impl Term {
    fn parse(selector: &str, term: &str) -> Result<Self, InvalidFieldSelector> {
        let unreadable = || InvalidFieldSelector::Term { selector: selector.to_owned(), term: term.to_owned() };
        // The first operator counts, and of those that begin at the same place the longer one.
        let (position, _) = term
            .match_indices(['!', '='])
            .find(|(position, sign)| *sign == "=" || term.get(*position..).is_some_and(|rest| rest.starts_with("!=")))
            .ok_or_else(unreadable)?;
        let (field, rest) = term.split_at(position);
        let (equals, value) = match (rest.strip_prefix("!="), rest.strip_prefix("==")) {
            (Some(value), _) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => (true, rest.strip_prefix('=').unwrap_or(rest)),
        };
        Ok(Self { field: field.to_owned(), equals, value: unescaped(value)? })
    }
}

/// At each comma that no backslash stands before.
fn split(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(|character| {
        let separates = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        separates
    })
    .collect()
}

fn unescaped(value: &str) -> Result<String, InvalidFieldSelector> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(InvalidFieldSelector::Escape(format!("\\{other}"))),
                None => return Err(InvalidFieldSelector::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(InvalidFieldSelector::Unescaped(character)),
            plain_one => plain.push(plain_one),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, namespace: &str, name: &str) -> bool {
        let object = Measurable { namespace: namespace.to_owned(), name: name.to_owned(), labels: Vec::new() };
        FieldSelector::parse(selector).unwrap().check().unwrap().matches(&object)
    }

    #[test]
    fn names_and_namespaces_select() {
        for (selector, expected) in [
            ("", true),
            (",", true),
            ("metadata.name=p", true),
            ("metadata.name==p", true),
            ("metadata.name=q", false),
            ("metadata.name!=p", false),
            ("metadata.name!=q,metadata.namespace=ns", true),
            ("metadata.namespace=other", false),
            (r"metadata.name=\=", false),
            ("metadata.name=", false),
        ] {
            assert_eq!(selects(selector, "ns", "p"), expected, "{selector}");
        }
        assert!(selects(r"metadata.name!=a\,b\\", "ns", "p"));
    }

    #[test]
    fn others_are_refused_in_the_words_of_go() {
        for (selector, expected) in [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            ("b,a=1", "invalid selector: 'b,a=1'; can't understand 'b'"),
            (
                "status.phase=Running",
                r#""status.phase" is not a known field selector: only "metadata.name", "metadata.namespace""#,
            ),
            (r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
            (r"metadata.name=a\", r"invalid field selector: invalid escape sequence: \"),
            ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
            ("metadata.name!x", "invalid selector: 'metadata.name!x'; can't understand 'metadata.name!x'"),
        ] {
            let error = FieldSelector::parse(selector).and_then(FieldSelector::check).unwrap_err();
            assert_eq!(error.to_string(), expected, "{selector}");
        }
    }

    #[test]
    fn one_exact_name_is_known_to_authorization() {
        for (selector, expected) in [
            ("metadata.name=p", Some("p")),
            ("metadata.namespace=ns,metadata.name==p", Some("p")),
            ("status.phase=Running,metadata.name=p", Some("p")),
            ("metadata.name!=p", None),
            ("metadata.name=..", None),
            ("metadata.name=a/b", None),
            ("", None),
        ] {
            assert_eq!(FieldSelector::parse(selector).unwrap().exact_name().as_deref(), expected, "{selector}");
        }
    }
}
