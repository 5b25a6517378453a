//! The plugin's own settings: the `config` map of its plugin.yaml, as text or as a type of the plugin's.
//!
//! A YAML string arrives as it is, any other YAML value as JSON text; so a field's type decides how its text is read: a
//! `String` takes it as it is, everything else reads it as JSON.

use std::fmt;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde_json::Value;

use crate::{Failure, host};

/// All settings as one type. The failure is a `bad-request` that names the key at fault.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     url: String,
///     #[serde(default)]
///     queues: Vec<String>,
/// }
///
/// # let host = metrics_plugin::testing::Host::new().config("url", "https://mq.example.com").config("queues", r#"["orders"]"#);
/// # let config: Config = host.run(|| {
/// let config: Config = metrics_plugin::config::load()?;
/// # Ok::<_, metrics_plugin::Failure>(config) })?;
/// # assert_eq!((config.url.as_str(), config.queues.as_slice()), ("https://mq.example.com", &["orders".to_owned()][..]));
/// # Ok::<(), metrics_plugin::Failure>(())
/// ```
pub fn load<T: DeserializeOwned>() -> Result<T, Failure> {
    let entries = all().into_iter().map(|(key, text)| (key.clone(), Text { key, text }));
    T::deserialize(MapDeserializer::new(entries)).map_err(|Error(message)| Failure::bad_request(message))
}

/// The text of `key`, if it is set.
pub fn get(key: &str) -> Option<String> {
    host::config::get(key)
}

/// The text of `key`, or a `bad-request` that asks for it.
pub fn require(key: &str) -> Result<String, Failure> {
    get(key).ok_or_else(|| Failure::bad_request(missing(key)))
}

/// Every key with its text, sorted by key.
pub fn all() -> Vec<(String, String)> {
    host::config::all()
}

fn missing(key: &str) -> String {
    format!("config key `{key}` is missing; set it under `config` in plugin.yaml")
}

/// What is wrong with the settings.
#[derive(Debug)]
struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Error(missing(field))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Error(format!("config key `{field}` is unknown; the keys are {}", expected.join(", ")))
    }
}

/// The text of one key, read as its field's type asks.
struct Text {
    key: String,
    text: String,
}

impl Text {
    fn read<T>(&self, result: Result<T, serde_json::Error>) -> Result<T, Error> {
        result.map_err(|error| Error(format!("config key `{}`: {error}", self.key)))
    }

    /// The text as JSON; text that is none is refused in the words of the type that wanted it.
    fn json<'de>(&self, expected: &impl Visitor<'de>) -> Result<Value, Error> {
        let refused = || de::Error::invalid_type(Unexpected::Str(&self.text), expected);
        self.read(serde_json::from_str(&self.text).map_err(|_| refused()))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! from_json {
    ($($method:ident($($argument:ident: $type:ty),*)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            let value = self.json(&visitor)?;
            self.read(value.$method($($argument,)* visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Text {
    type Error = Error;

    from_json! {
        deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(),
        deserialize_f32(), deserialize_f64(), deserialize_unit(), deserialize_seq(), deserialize_map(),
        deserialize_unit_struct(name: &'static str), deserialize_tuple(length: usize),
        deserialize_tuple_struct(name: &'static str, length: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    }

    /// Where the type leaves it open, JSON is JSON and anything else a string.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match serde_json::from_str::<Value>(&self.text) {
            Ok(value) => self.read(value.deserialize_any(visitor)),
            Err(_) => visitor.visit_string(self.text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = visitor.visit_string(self.text.clone());
        self.read(result)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.text.into_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match serde_json::from_str::<Value>(&self.text) {
            Ok(value @ Value::Object(_)) => self.read(value.deserialize_enum(name, variants, visitor)),
            _ => {
                let variant: StrDeserializer<'_, serde_json::Error> = self.text.as_str().into_deserializer();
                self.read(variant.deserialize_enum(name, variants, visitor))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::testing::Host;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow { pause: u32 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        name: String,
        count: Option<u32>,
        #[serde(default)]
        ratio: f64,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        limits: BTreeMap<String, i64>,
        mode: Option<Mode>,
    }

    fn load_from(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let host = pairs.iter().fold(Host::new(), |host, (key, text)| host.config(*key, *text));
        host.run(load).map_err(|failure| failure.message)
    }

    #[test]
    fn a_fields_type_decides_how_its_text_is_read() {
        let config = load_from(&[
            ("name", "12"),
            ("count", "12"),
            ("ratio", "0.5"),
            ("tags", r#"["a","b"]"#),
            ("limits", r#"{"x":-1}"#),
            ("mode", "fast"),
        ]);
        let expected = Config {
            name: "12".to_owned(),
            count: Some(12),
            ratio: 0.5,
            tags: vec!["a".to_owned(), "b".to_owned()],
            limits: BTreeMap::from([("x".to_owned(), -1)]),
            mode: Some(Mode::Fast),
        };
        assert_eq!(config, Ok(expected));
        let slow = load_from(&[("name", "x"), ("mode", r#"{"slow":{"pause":3}}"#)]);
        assert_eq!(slow.map(|config| config.mode), Ok(Some(Mode::Slow { pause: 3 })));
    }

    #[test]
    fn a_mistake_names_its_key() {
        for (pairs, expected) in [
            (&[][..], "config key `name` is missing; set it under `config` in plugin.yaml"),
            (
                &[("name", "x"), ("coutn", "1")],
                "config key `coutn` is unknown; the keys are name, count, ratio, tags, limits, mode",
            ),
            (&[("name", "x"), ("count", "many")], "config key `count`: invalid type: string \"many\", expected u32"),
            (&[("name", "x"), ("count", "-1")], "config key `count`: invalid value: integer `-1`, expected u32"),
            (&[("name", "x"), ("tags", "a")], "config key `tags`: invalid type: string \"a\", expected a sequence"),
            (
                &[("name", "x"), ("mode", "medium")],
                "config key `mode`: unknown variant `medium`, expected `fast` or `slow`",
            ),
        ] {
            assert_eq!(load_from(pairs), Err(expected.to_owned()));
        }
    }

    #[test]
    fn open_types_take_json_as_json_and_the_rest_as_text() {
        let host = Host::new().config("a", "[1]").config("b", "plain");
        let values: BTreeMap<String, Value> = host.run(load).unwrap();
        assert_eq!(values["a"], serde_json::json!([1]));
        assert_eq!(values["b"], "plain");
    }

    #[test]
    fn a_required_key_that_is_missing_is_asked_for() {
        let host = Host::new().config("present", "x");
        assert_eq!(host.run(|| require("present")), Ok("x".to_owned()));
        assert_eq!(host.run(|| require("absent")), Err(Failure::bad_request(missing("absent"))));
    }
}
