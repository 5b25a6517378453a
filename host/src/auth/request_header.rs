//! The identity that a verified front proxy puts into request headers, read as `pkg/authentication/request/headerrequest` of
//! k8s.io/apiserver does. Whoever calls [`identity`] has verified the proxy's certificate first; [`strip`] is for everybody.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::trust::IdentityHeaders;
use crate::model::{AuthError, User};

/// Every header of these prefixes claims an identity by convention, configured or not.
const CONVENTIONAL_PREFIXES: [&str; 2] = ["x-remote-", IMPERSONATION_PREFIX];
/// `Impersonate-User` and its kin (`authentication.k8s.io/v1`).
const IMPERSONATION_PREFIX: &str = "impersonate-";

/// Who the proxy says asks; `None` if it names nobody.
pub(super) fn identity(headers: &HeaderMap, names: &IdentityHeaders) -> Result<Option<User>, AuthError> {
    let Some(name) = first_value(headers, &names.username)? else { return Ok(None) };
    let uid = first_value(headers, &names.uid)?.unwrap_or_default();
    let mut groups = Vec::new();
    for value in names.group.iter().flat_map(|name| headers.get_all(name)).filter(|value| !value.is_empty()) {
        groups.push(text(value)?.to_owned());
    }
    let mut extra = BTreeMap::<String, Vec<String>>::new();
    for prefix in &names.extra_prefixes {
        for (name, value) in headers {
            let Some(key) = name.as_str().strip_prefix(prefix.as_str()) else { continue };
            extra.entry(unescape(key)?).or_default().push(text(value)?.to_owned());
        }
    }
    Ok(Some(User { name: name.to_owned(), uid: uid.to_owned(), groups, extra }))
}

/// Takes every header that claims an identity out of the request, so that nothing behind authentication can mistake it.
pub(super) fn strip(headers: &mut HeaderMap, names: &IdentityHeaders) {
    let claims = |name: &HeaderName| {
        CONVENTIONAL_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
            || names.username.contains(name)
            || names.uid.contains(name)
            || names.group.contains(name)
            || names.extra_prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_str()))
    };
    let claimed: Vec<HeaderName> = headers.keys().filter(|name| claims(name)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
}

/// Whether the client wants to be taken for somebody else.
pub(super) fn impersonates(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(IMPERSONATION_PREFIX))
}

/// An extra key, percent-decoded; a key with a `%` that begins no escape stays as it is, as with `url.PathUnescape`.
fn unescape(key: &str) -> Result<String, AuthError> {
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !key.split('%').skip(1).all(is_escape) {
        return Ok(key.to_owned());
    }
    Ok(percent_decode_str(key).decode_utf8().map_err(|_| malformed())?.into_owned())
}

/// The first value of the first of these headers whose first value is not empty, as `http.Header.Get` of Go would find it.
fn first_value<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, AuthError> {
    let found = names.iter().find_map(|name| headers.get(name).filter(|value| !value.is_empty()));
    found.map(text).transpose()
}

fn text(value: &HeaderValue) -> Result<&str, AuthError> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| malformed())
}

fn malformed() -> AuthError {
    AuthError::Unauthenticated("an identity header of the front proxy is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> IdentityHeaders {
        IdentityHeaders {
            username: vec![HeaderName::from_static("x-remote-user"), HeaderName::from_static("x-other-user")],
            uid: vec![HeaderName::from_static("x-remote-uid")],
            group: vec![HeaderName::from_static("x-remote-group")],
            extra_prefixes: vec!["x-remote-extra-".to_owned()],
        }
    }

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn the_captured_headers_make_the_captured_user() {
        let mut headers = headers(&[
            ("x-remote-extra-authentication.kubernetes.io%2fcredential-id", b"JTI=7f5c4d86"),
            ("x-remote-group", b"system:serviceaccounts"),
            ("x-remote-group", b"system:authenticated"),
            ("x-remote-uid", b"2496b188"),
            ("x-remote-user", b"system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
            ("accept", b"*/*"),
        ]);
        let user = identity(&headers, &names()).unwrap().unwrap();
        let expected = User {
            name: "system:serviceaccount:kube-system:horizontal-pod-autoscaler".to_owned(),
            uid: "2496b188".to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()],
            extra: [("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=7f5c4d86".to_owned()])].into(),
        };
        assert_eq!(user, expected);
        strip(&mut headers, &names());
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn keys_of_extra_headers_are_decoded_whole_or_not_at_all() {
        for (sent, key) in [("a%2fb", "a/b"), ("a%2Fb", "a/b"), ("a%2fb%", "a%2fb%"), ("%zz%2f", "%zz%2f"), ("", "")] {
            assert_eq!(unescape(sent).unwrap(), key, "{sent}");
        }
        assert!(unescape("%ff").is_err());
    }

    #[test]
    fn a_group_without_a_name_is_none() {
        let lines: [(&str, &[u8]); 3] =
            [("x-remote-user", b"jane"), ("x-remote-group", b""), ("x-remote-group", b"shop")];
        assert_eq!(identity(&headers(&lines), &names()).unwrap().unwrap().groups, ["shop"]);
    }

    #[test]
    fn the_first_username_header_that_is_not_empty_names_the_user() {
        let user = |lines: &[(&'static str, &[u8])]| identity(&headers(lines), &names()).unwrap().map(|user| user.name);
        assert_eq!(user(&[("x-remote-user", b""), ("x-other-user", b"jane")]), Some("jane".to_owned()));
        assert_eq!(user(&[("x-remote-user", b"jane"), ("x-remote-user", b"admin")]), Some("jane".to_owned()));
        assert_eq!(user(&[("x-remote-user", b""), ("x-remote-user", b"admin")]), None);
        assert_eq!(user(&[("x-remote-group", b"system:masters")]), None);
        assert!(identity(&headers(&[("x-remote-user", b"\xff")]), &names()).is_err());
    }
}
