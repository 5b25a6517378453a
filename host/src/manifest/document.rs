//! YAML text to a tree of values. A document is data alone: tags, aliases and repeated keys are refused, nothing is
//! expanded, and a number keeps the text in which it was written.

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};

use super::ManifestError;

/// The largest plugin.yaml. A ConfigMap holds 1 MiB; a quarter of it is far more than settings need, and parsing it
/// takes milliseconds.
pub const MAX_BYTES: usize = 256 * 1024;
/// The deepest nesting. The format itself needs four levels; the rest is for `config`.
const MAX_DEPTH: usize = 32;

/// A YAML value after the core schema of YAML 1.2 (section 10.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number in a form that JSON has too, as it was written.
    Number(String),
    String(String),
    Sequence(Vec<Value>),
    /// In the order in which it was written.
    Mapping(Vec<(String, Value)>),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(text) => format!("the number `{text}`"),
            Self::String(text) => format!("`{}`", text.escape_debug().take(80).collect::<String>()),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The value as JSON, on one line, keys in the order of the document.
    pub(super) fn to_json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) => text.clone(),
            Self::String(text) => quoted(text),
            Self::Sequence(items) => {
                let items: Vec<_> = items.iter().map(Self::to_json).collect();
                format!("[{}]", items.join(","))
            }
            Self::Mapping(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.to_json())).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads the one document of `text`; `Null` if there is none.
pub(super) fn parse(text: &str) -> Result<Value, ManifestError> {
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge { bytes: text.len() });
    }
    let options = granit_parser::options! { emit_comments: false };
    let mut composer = Composer { parser: Parser::new_from_str_with_options(text, options) };
    let mut document = None;
    while let Some((event, _)) = composer.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if document.is_some() => return Err(ManifestError::ManyDocuments),
            event => document = Some(composer.value(event, "", 0)?),
        }
    }
    Ok(document.unwrap_or(Value::Null))
}

struct Composer<'input> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
}

impl<'input> Composer<'input> {
    fn next(&mut self) -> Result<Option<(Event<'input>, granit_parser::Span)>, ManifestError> {
        self.parser.next_event().transpose().map_err(|error| ManifestError::Syntax(error.to_string()))
    }

    fn next_event(&mut self) -> Result<Event<'input>, ManifestError> {
        let (event, _) = self.next()?.ok_or_else(|| ManifestError::Syntax("the document ends too early".to_owned()))?;
        Ok(event)
    }

    /// The value that `event` starts. `path` is where, for messages.
    fn value(&mut self, event: Event<'input>, path: &str, depth: usize) -> Result<Value, ManifestError> {
        if depth > MAX_DEPTH {
            return Err(ManifestError::TooDeep { path: path.to_owned(), levels: MAX_DEPTH });
        }
        let unsupported = |what| ManifestError::Unsupported { path: shown(path), what };
        if event.tag().is_some() {
            return Err(unsupported("a YAML tag"));
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text, path),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.sequence(path, depth),
            Event::MappingStart(..) => self.mapping(path, depth),
            Event::Alias(_) => Err(unsupported("a YAML alias")),
            _ => Err(unsupported("this YAML")),
        }
    }

    fn sequence(&mut self, path: &str, depth: usize) -> Result<Value, ManifestError> {
        let mut items = Vec::new();
        loop {
            let event = self.next_event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Sequence(items));
            }
            let item = self.value(event, &format!("{path}[{}]", items.len()), depth + 1)?;
            items.push(item);
        }
    }

    fn mapping(&mut self, path: &str, depth: usize) -> Result<Value, ManifestError> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let key = match self.next_event()? {
                Event::MappingEnd => return Ok(Value::Mapping(entries)),
                Event::Scalar(text, _, _, None) => text.into_owned(),
                _ => return Err(ManifestError::Unsupported { path: shown(path), what: "a key that is no plain text" }),
            };
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if !seen.insert(key.clone()) {
                return Err(ManifestError::RepeatedKey { path });
            }
            let event = self.next_event()?;
            let value = self.value(event, &path, depth + 1)?;
            entries.push((key, value));
        }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the top level".to_owned() } else { path.to_owned() }
}

/// A plain scalar by the core schema. Numbers that JSON can't write as they are must be quoted or rewritten: any
/// conversion would be a guess at what a plugin expects.
fn plain(text: &str, path: &str) -> Result<Value, ManifestError> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if serde_json::from_str::<serde_json::Number>(text).is_ok() => Value::Number(text.to_owned()),
        _ if looks_numeric(text) => {
            return Err(ManifestError::NumberForm { path: path.to_owned(), text: text.to_owned() });
        }
        _ => Value::String(text.to_owned()),
    })
}

/// Whether the core schema takes `text` for a number.
fn looks_numeric(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(8));
    }
    let starts_like_one = unsigned.trim_start_matches('.').starts_with(|first: char| first.is_ascii_digit());
    starts_like_one && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        parse(text).map_or_else(|error| error.to_string(), |value| value.to_json())
    }

    #[test]
    fn values_become_json_and_numbers_keep_their_text() {
        for (yaml, expected) in [
            (
                "{a: 1.10, b: 1e3, c: -0, d: 123456789012345678901234567890}",
                r#"{"a":1.10,"b":1e3,"c":-0,"d":123456789012345678901234567890}"#,
            ),
            ("[yes, no, true, ~, null, '1', \"a\\nb\"]", r#"["yes","no",true,null,null,"1","a\nb"]"#),
            ("a: |\n  one\n  two\nb: 1.2.3\nc: 10s\n", r#"{"a":"one\ntwo\n","b":"1.2.3","c":"10s"}"#),
            (r#"{"a": [{"b": null}]}"#, r#"{"a":[{"b":null}]}"#),
            ("# nothing\n", "null"),
            ("{n: 00ff, m: 1-2, i: infinity}", r#"{"n":"00ff","m":"1-2","i":"infinity"}"#),
        ] {
            assert_eq!(json(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn what_is_more_than_data_is_refused_with_its_place() {
        for (yaml, expected) in [
            ("a: &x [1]\nb: *x\n", "alias"),
            ("a: !!str 5\n", "tag"),
            ("a: !include /etc/passwd\n", "tag"),
            ("a: {b: 1, b: 2}\n", "a.b"),
            ("? [1]\n: 2\n", "key"),
            ("a: 1\n---\nb: 2\n", "one document"),
            ("a: [1\n", "YAML"),
            ("zip: 01234\n", "zip"),
            ("a: {b: [.5]}\n", "a.b[0]"),
            ("a: 0x1F\n", "0x1F"),
            ("a: .nan\n", ".nan"),
        ] {
            let error = parse(yaml).expect_err(yaml).to_string();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        assert!(matches!(parse(&deep), Err(ManifestError::TooDeep { .. })));
        let large = format!("a: '{}'", "x".repeat(MAX_BYTES));
        assert!(matches!(parse(&large), Err(ManifestError::TooLarge { .. })));
        let deepest = "[".repeat(100_000);
        assert!(parse(&deepest).is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            "[ -~\\n\\tä]{0,12}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[ -~]{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_comes_out_as_it_went_in(value in any_json()) {
            let out = parse(&value.to_string()).unwrap().to_json();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), value);
        }

        #[test]
        fn any_text_is_a_value_or_an_error(text in "[-:{}\\[\\],&*!|>'\"#%@` \\n\\ta-c0-9.~?]{0,64}") {
            let _ = parse(&text);
        }
    }
}
