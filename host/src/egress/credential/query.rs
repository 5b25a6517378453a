//! Credentials in the query of a URL. The rest of the query stays byte for byte: backends differ in what they make of an
//! encoding.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes of a value that is looked for in any header. A shorter one is found by its parameter's name alone: it would be found
/// in many a text that does not repeat it.
const LEAST_RECOGNIZABLE: usize = 8;

/// What stands in the place of a value that the guest must not see.
const REDACTED: &str = "redacted";

/// The URI with these parameters, by name and value, and with none of their names twice.
pub(super) fn put_on(parameters: &[(&str, &str)], uri: Uri) -> Option<Uri> {
    let mut pieces: Vec<String> =
        pieces(uri.query()).filter(|piece| !is_named(piece, parameters)).map(str::to_owned).collect();
    pieces.extend(parameters.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ENCODED))));
    let target = format!("{}?{}", uri.path(), pieces.join("&"));
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// A response's header as the guest may see it.
pub(super) fn take_off(parameters: &[(&str, &str)], header: &str, value: String) -> String {
    let is_url = matches!(header, "location" | "content-location" | "refresh" | "link");
    let value = if is_url { without_parameters(parameters, &value) } else { value };
    parameters.iter().filter(|(_, secret)| secret.len() >= LEAST_RECOGNIZABLE).fold(value, |value, (_, secret)| {
        let encoded = utf8_percent_encode(secret, ENCODED).to_string();
        value.replace(secret, REDACTED).replace(&encoded, REDACTED)
    })
}

/// The text with the values of these parameters out of its queries, however they are encoded.
fn without_parameters(parameters: &[(&str, &str)], text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let is_end = |character: char| matches!(character, '?' | '&' | '#' | ';' | '>' | '"' | ' ' | ',');
    for piece in text.split_inclusive(is_end) {
        let (body, end) = match piece.char_indices().next_back() {
            Some((at, last)) if is_end(last) => piece.split_at(at),
            _ => (piece, ""),
        };
        match body.split_once('=') {
            Some((name, _)) if is_named(body, parameters) => {
                out.push_str(name);
                out.push('=');
                out.push_str(REDACTED);
            }
            _ => out.push_str(body),
        }
        out.push_str(end);
    }
    out
}

fn pieces(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.into_iter().flat_map(|query| query.split('&')).filter(|piece| !piece.is_empty())
}

/// Whether a piece of a query is one of these parameters. Many backends take names in any case.
fn is_named(piece: &str, parameters: &[(&str, &str)]) -> bool {
    let name = piece.split('=').next().unwrap_or_default().replace('+', " ");
    let name: Cow<'_, str> = percent_decode_str(&name).decode_utf8_lossy();
    parameters.iter().any(|(parameter, _)| parameter.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [(&str, &str); 1] = [("api_key", "hunter2&more=1")];

    #[test]
    fn the_parameter_is_the_hosts_and_the_rest_stays_byte_for_byte() {
        for (given, expected) in [
            ("https://mq.test/", "https://mq.test/?api_key=hunter2%26more%3D1"),
            ("https://mq.test/a?q=a+b%20c&e=", "https://mq.test/a?q=a+b%20c&e=&api_key=hunter2%26more%3D1"),
            ("https://mq.test/a?api_key=forged", "https://mq.test/a?api_key=hunter2%26more%3D1"),
            (
                "https://mq.test/a?API_Key=forged&x=1&api%5Fkey=2&api_key",
                "https://mq.test/a?x=1&api_key=hunter2%26more%3D1",
            ),
            ("https://mq.test/a?&&my_api_key=1", "https://mq.test/a?my_api_key=1&api_key=hunter2%26more%3D1"),
        ] {
            assert_eq!(put_on(&KEY, given.parse().unwrap()).unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn a_redirect_that_repeats_the_query_shows_no_value() {
        for (header, given, expected) in [
            ("location", "/next?api_key=hunter2%26more%3D1&x=1", "/next?api_key=redacted&x=1"),
            (
                "location",
                "https://mq.test/?x=1&API%5FKEY=hunter2%26MORE#f",
                "https://mq.test/?x=1&API%5FKEY=redacted#f",
            ),
            ("location", "/login?next=%2Fa%3Fapi_key%3Dhunter2%26more%3D1", "/login?next=%2Fa%3Fapi_key%3Dredacted"),
            ("refresh", "0; url=/a?api_key=x", "0; url=/a?api_key=redacted"),
            ("link", "</a?page=2&api_key=x>; rel=\"next\"", "</a?page=2&api_key=redacted>; rel=\"next\""),
            ("x-debug", "got hunter2&more=1", "got redacted"),
            ("location", "/plain?page=2", "/plain?page=2"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            assert_eq!(take_off(&KEY, header, given.to_owned()), expected, "{given}");
        }
        let short = [("k", "1")];
        assert_eq!(take_off(&short, "x-count", "11".to_owned()), "11", "a short value is no needle");
        assert_eq!(take_off(&short, "location", "/?k=1&n=1".to_owned()), "/?k=redacted&n=1");
    }
}
