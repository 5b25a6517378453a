//! Takes the secrets of a plugin out of texts, in each form in which a guest or a backend may repeat them.

use std::{borrow::Cow, collections::BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// What stands in a secret's place.
const MASK: &str = "[secret]";

/// The secrets of one plugin.
pub(super) struct Redactor {
    /// Longest first, so that none is left in part by a shorter one within it.
    secrets: Vec<Zeroizing<String>>,
}

impl Redactor {
    /// Masks `secrets`: values of Secrets, and of headers made of them (`Bearer TOKEN`, `Basic BASE64`).
    pub(super) fn new(secrets: impl IntoIterator<Item = Zeroizing<String>>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            parts(&secret).into_iter().for_each(|part| written(&part, &mut forms));
        }
        let mut secrets: Vec<_> = forms.into_iter().map(Zeroizing::new).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// `text` without secrets.
    pub(super) fn mask(&self, text: &str) -> String {
        self.beginning(text, usize::MAX).into_owned()
    }

    /// About the first `limit` bytes of `text`, without secrets. What is cut is looked at before, so that no secret shows half.
    pub(super) fn beginning<'text>(&self, text: &'text str, limit: usize) -> Cow<'text, str> {
        let (mut masked, mut done) = (String::new(), 0);
        while let Some((start, end)) = self.next_secret(text, done).filter(|(start, _)| *start < limit) {
            masked.push_str(text.get(done..start).unwrap_or_default());
            masked.push_str(MASK);
            done = end;
        }
        let end = text.floor_char_boundary(limit.max(done));
        let rest = text.get(done..end).unwrap_or_default();
        if done == 0 { Cow::Borrowed(rest) } else { Cow::Owned(masked + rest) }
    }

    /// Bytes beyond the end of an excerpt that have to be seen to know the secrets within it.
    pub(super) fn lookahead(&self) -> usize {
        self.secrets.first().map_or(0, |longest| longest.len())
    }

    fn next_secret(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let rest = text.get(from..)?;
        let found = self.secrets.iter().filter_map(|secret| {
            let start = from + rest.find(secret.as_str())?;
            Some((start, start + secret.len()))
        });
        // Of those that begin alike the longest is the first.
        found.min_by_key(|(start, _)| *start)
    }
}

/// The secret itself, and what it is made of.
fn parts(secret: &str) -> Vec<Zeroizing<String>> {
    let whole = secret.trim();
    let mut parts = vec![Zeroizing::new(whole.to_owned())];
    if let Some((scheme, value)) = whole.split_once(' ') {
        parts.push(Zeroizing::new(value.to_owned()));
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = BASE64_STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = Zeroizing::new(decoded.unwrap_or_default());
            parts.extend(decoded.split_once(':').map(|(_, password)| Zeroizing::new(password.to_owned())));
            parts.push(decoded);
        }
    }
    parts
}

/// As it may be written in a body, a URL, a form or a JSON text.
fn written(secret: &str, forms: &mut BTreeSet<String>) {
    if secret.is_empty() {
        return;
    }
    let base64 = BASE64_STANDARD.encode(secret);
    let base64 = base64.trim_end_matches('=').to_owned();
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned();
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let url_base64 = base64.replace('+', "-").replace('/', "_");
    let all = [secret.to_owned(), base64, url_base64, json, form, percent];
    forms.extend(all.into_iter().filter(|form| !form.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| Zeroizing::new((*secret).to_owned())))
    }

    #[test]
    fn a_secret_is_masked_in_each_form() {
        let redactor = redactor(&["Bearer p@ss w\"rd/1"]);
        for text in [
            "p@ss w\"rd/1",
            "Bearer p@ss w\"rd/1",
            "p%40ss%20w%22rd%2F1",
            "p%40ss+w%22rd%2F1",
            "p@ss w\\\"rd/1",
            "cEBzcyB3InJkLzE=",
        ] {
            let masked = redactor.mask(&format!("<{text}>"));
            assert!(masked.contains(MASK) && masked.len() < 20, "{text}: {masked}");
        }
        let basic = super::tests::redactor(&["Basic dXNlcjpodW50ZXIy"]);
        assert_eq!(basic.mask("dXNlcjpodW50ZXIy user:hunter2 hunter2 user"), "[secret] [secret] [secret] user");
    }

    #[test]
    fn of_overlapping_secrets_nothing_is_left() {
        let redactor = redactor(&["abc", "abcdef"]);
        assert_eq!(redactor.mask("abcdefabc"), "[secret][secret]");
        assert_eq!(redactor.mask("nothing"), "nothing");
    }

    #[test]
    fn a_secret_across_the_end_of_an_excerpt_does_not_show_half() {
        let redactor = redactor(&["hunter2"]);
        let text = "the password is hunter2, really";
        for limit in 0..text.len() {
            let shown = redactor.beginning(text, limit);
            for length in 2..=7 {
                assert!(!shown.contains(&"hunter2"[..length]), "{limit}: {shown}");
            }
        }
        assert_eq!(redactor.beginning(text, 20), "the password is [secret]");
        assert_eq!(redactor.beginning("übel", 1), "");
    }

    #[test]
    fn no_secret_is_no_mask() {
        assert_eq!(redactor(&["", " \n"]).mask("text"), "text");
    }
}
