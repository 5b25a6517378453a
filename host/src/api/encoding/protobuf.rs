//! Protobuf in the bytes of Go's generated code (proto2, by gogo): a field that is no pointer in Go is always written, an empty
//! string and an empty message too; fields go in the order of their tags, maps in the order of their keys. Objects are wrapped as in
//! k8s.io/apimachinery `pkg/runtime/serializer/protobuf`.
//!
//! Fields are borrowed: an answer costs one buffer, whatever the number of its items.

use std::{fmt::Display, io::Write as _};

use prost::encoding::{WireType, encode_key, encode_varint};

use super::Document;

/// What tells protobuf from other encodings, `k8s` and a zero.
const PREFIX: &[u8] = b"k8s\0";
/// Bytes that most answers fit into.
const CAPACITY: usize = 512;

/// A protobuf message: one call for each field, in the order of their tags.
pub(in crate::api) trait Message {
    fn write(&self, fields: &mut Fields<'_>);
}

/// `document` in a `runtime.Unknown`, whose last two fields (content encoding and type) are always empty.
pub(super) fn write(document: &impl Document) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CAPACITY);
    bytes.extend_from_slice(PREFIX);
    let meta = document.type_meta();
    let mut unknown = Fields { bytes: &mut bytes };
    unknown.nested(1, |fields| {
        fields.string(1, meta.api_version);
        fields.string(2, meta.kind);
    });
    unknown.message(2, document);
    unknown.string(3, "");
    unknown.string(4, "");
    bytes
}

/// The fields of a message, as they are written.
pub(in crate::api) struct Fields<'bytes> {
    bytes: &'bytes mut Vec<u8>,
}

impl Fields<'_> {
    pub(in crate::api) fn string(&mut self, tag: u32, value: &str) {
        encode_key(tag, WireType::LengthDelimited, self.bytes);
        encode_varint(value.len() as u64, self.bytes);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(in crate::api) fn strings<T: AsRef<str>>(&mut self, tag: u32, values: &[T]) {
        for value in values {
            self.string(tag, value.as_ref());
        }
    }

    /// A string that is printed right into its place.
    pub(in crate::api) fn display(&mut self, tag: u32, value: &impl Display) {
        self.nested(tag, |fields| {
            // Only `value` itself could fail, and then it would fail everywhere.
            let _ = write!(fields.bytes, "{value}");
        });
    }

    /// An `int32` or `int64`; negative ones take ten bytes.
    pub(in crate::api) fn integer(&mut self, tag: u32, value: i64) {
        encode_key(tag, WireType::Varint, self.bytes);
        encode_varint(value.cast_unsigned(), self.bytes);
    }

    pub(in crate::api) fn boolean(&mut self, tag: u32, value: bool) {
        self.integer(tag, value.into());
    }

    pub(in crate::api) fn message(&mut self, tag: u32, message: &impl Message) {
        self.nested(tag, |fields| message.write(fields));
    }

    pub(in crate::api) fn messages<T: Message>(&mut self, tag: u32, messages: &[T]) {
        for message in messages {
            self.message(tag, message);
        }
    }

    /// A `map<string, string>`. `pairs` are sorted by their keys.
    pub(in crate::api) fn map<T: AsRef<str>>(&mut self, tag: u32, pairs: &[(T, T)]) {
        for (key, value) in pairs {
            self.nested(tag, |entry| {
                entry.string(1, key.as_ref());
                entry.string(2, value.as_ref());
            });
        }
    }

    /// A message that has no type of its own here.
    pub(in crate::api) fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Fields<'_>)) {
        encode_key(tag, WireType::LengthDelimited, self.bytes);
        let start = self.bytes.len();
        write(&mut Fields { bytes: self.bytes });
        let end = self.bytes.len();
        // The length goes before the content and is known after it.
        encode_varint((end - start) as u64, self.bytes);
        let width = self.bytes.len() - end;
        if let Some(field) = self.bytes.get_mut(start..) {
            field.rotate_right(width);
        }
    }
}
