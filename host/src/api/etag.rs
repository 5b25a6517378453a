//! Entity tags of documents that are prepared once and asked for often.

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha512};

/// The tag of some bytes: their SHA-512 in upper-case hexadecimal digits, quoted in the header. So do k8s.io/apiserver
/// `pkg/endpoints/discovery/aggregated/etag.go` and k8s.io/kube-openapi `pkg/handler3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Etag(String);

impl Etag {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect())
    }

    /// The bare digest, as it stands in the query of a URL.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the header `ETag`.
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{}\"", self.0)).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// Whether the client has these bytes already (`If-None-Match`, RFC 9110, 13.1.2).
    pub(super) fn is_known(&self, request: &HeaderMap) -> bool {
        let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == "*" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(self.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_by_any_of_its_forms() {
        let tag = Etag::of(b"{}");
        assert_eq!(tag.as_str().len(), 128);
        for (value, expected) in [
            (format!("\"{}\"", tag.as_str()), true),
            (format!("\"other\", W/\"{}\"", tag.as_str()), true),
            ("*".to_owned(), true),
            (tag.as_str().to_owned(), false),
            (format!("\"{}\"", tag.as_str().to_lowercase()), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(&value).unwrap())]);
            assert_eq!(tag.is_known(&headers), expected, "{value:?}");
        }
        assert!(!tag.is_known(&HeaderMap::new()));
    }
}
