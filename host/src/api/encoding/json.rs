//! JSON in the bytes of Go's encoding/json: `<`, `>`, `&` and the two line separators of Unicode are escaped, so that no answer can
//! be taken for HTML or broken JavaScript; compact objects end with a line feed, indented ones don't (`json.Encoder` and
//! `json.MarshalIndent`).

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{
    Serializer,
    ser::{CompactFormatter, Formatter, PrettyFormatter},
};

use super::Unwritable;

/// Bytes that most answers fit into.
const CAPACITY: usize = 512;

pub(super) fn compact(object: &impl Serialize) -> Result<Vec<u8>, Unwritable> {
    let mut bytes = written(object, CompactFormatter)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn indented(object: &impl Serialize) -> Result<Vec<u8>, Unwritable> {
    written(object, PrettyFormatter::new())
}

fn written(object: &impl Serialize, layout: impl Formatter) -> Result<Vec<u8>, Unwritable> {
    let mut bytes = Vec::with_capacity(CAPACITY);
    object.serialize(&mut Serializer::with_formatter(&mut bytes, Go(layout)))?;
    Ok(bytes)
}

/// The layout of another formatter with the escapes of Go.
struct Go<Layout>(Layout);

impl<Layout: Formatter> Formatter for Go<Layout> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !fragment.bytes().any(may_be_escaped) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut plain = fragment;
        while let Some((position, character)) = plain.char_indices().find(|(_, character)| is_escaped(*character)) {
            let (before, rest) = plain.split_at(position);
            write!(writer, "{before}\\u{:04x}", u32::from(character))?;
            plain = rest.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(plain.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

fn is_escaped(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Hardly any text has one of these bytes, the last of which begins both line separators.
fn may_be_escaped(byte: u8) -> bool {
    matches!(byte, b'<' | b'>' | b'&' | 0xE2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_in_go() {
        for (text, expected) in [
            ("plain ü", r#""plain ü""#),
            ("<a href=\"x\">&</a>", r#""\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e""#),
            ("a\u{2028}b\u{2029}c\u{202a}", "\"a\\u2028b\\u2029c\u{202a}\""),
            ("\u{8}\u{c}\n\r\t\u{1}\u{7f}\\", "\"\\b\\f\\n\\r\\t\\u0001\u{7f}\\\\\""),
        ] {
            assert_eq!(String::from_utf8(written(&text, CompactFormatter).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn layouts_end_as_in_go() {
        let object = serde_json::json!({ "a": [1, {}, []] });
        assert_eq!(compact(&object).unwrap(), b"{\"a\":[1,{},[]]}\n");
        assert_eq!(indented(&object).unwrap(), b"{\n  \"a\": [\n    1,\n    {},\n    []\n  ]\n}");
    }
}
