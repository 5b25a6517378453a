//! What the host puts on a request so that the guest need not know it. Never printed; wiped from memory when dropped.

use std::fmt;

use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::Origin;

/// A header for every request to one origin.
#[derive(Clone)]
pub struct Credential {
    origin: Origin,
    header: HeaderName,
    value: Zeroizing<String>,
}

/// Why a Secret's value is no credential. The value itself is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// No header name, or one that the adapter sets itself.
    #[error("`{0}` can't carry a credential; name a header such as `x-api-key`")]
    Header(String),
    /// Empty, or bytes that no header carries.
    #[error("the credential for {origin} is empty or holds characters that no header can carry; correct the Secret")]
    Value {
        /// Where it was to be sent.
        origin: Origin,
    },
}

impl Credential {
    /// `Authorization: Bearer TOKEN` (RFC 6750). White space around the token is dropped: files end with a newline.
    ///
    /// # Errors
    ///
    /// An empty token, or one with characters that a header can't carry.
    pub fn bearer(origin: Origin, token: &str) -> Result<Self, InvalidCredential> {
        if token.trim().is_empty() {
            return Err(InvalidCredential::Value { origin });
        }
        Self::new(origin, header::AUTHORIZATION, Zeroizing::new(format!("Bearer {}", token.trim())))
    }

    /// `HEADER: VALUE`. White space around the value is dropped.
    ///
    /// # Errors
    ///
    /// A header that is none or that the adapter sets itself, and a value that is empty or can't be sent.
    pub fn header(origin: Origin, header: &str, value: &str) -> Result<Self, InvalidCredential> {
        let name =
            HeaderName::from_bytes(header.as_bytes()).map_err(|_| InvalidCredential::Header(header.to_owned()))?;
        if super::request::is_connection_header(&name) {
            return Err(InvalidCredential::Header(header.to_owned()));
        }
        Self::new(origin, name, Zeroizing::new(value.trim().to_owned()))
    }

    fn new(origin: Origin, header: HeaderName, value: Zeroizing<String>) -> Result<Self, InvalidCredential> {
        if value.is_empty() || HeaderValue::from_str(&value).is_err() {
            return Err(InvalidCredential::Value { origin });
        }
        Ok(Self { origin, header, value })
    }

    /// Where it is sent.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The header that it is sent in.
    pub fn header_name(&self) -> &HeaderName {
        &self.header
    }

    /// The value as it is sent, to be taken out of texts.
    pub(super) fn secret(&self) -> Zeroizing<String> {
        self.value.clone()
    }

    /// The header's value, marked so that neither hyper nor a debug line shows it and HTTP/2 does not index it.
    pub(super) fn header_value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({} for {}, value hidden)", self.header, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::parse("https://mq.example.com").unwrap()
    }

    #[test]
    fn a_secrets_value_is_trimmed_checked_and_never_printed() {
        let credential = Credential::bearer(origin(), "hunter2\n").unwrap();
        assert_eq!(credential.header_value().unwrap(), "Bearer hunter2");
        assert!(credential.header_value().unwrap().is_sensitive());
        assert!(!format!("{credential:?}").contains("hunter2"));
        for refused in ["", " \n", "two\nlines", "nul\0"] {
            let error = Credential::bearer(origin(), refused).unwrap_err();
            assert_eq!(error, InvalidCredential::Value { origin: origin() }, "{refused:?}");
            assert!(Credential::header(origin(), "x-api-key", refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn headers_of_the_connection_carry_no_credentials() {
        for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "", "x y"] {
            assert_eq!(
                Credential::header(origin(), name, "v").unwrap_err(),
                InvalidCredential::Header(name.to_owned())
            );
        }
        assert_eq!(Credential::header(origin(), "X-Api-Key", "v").unwrap().header_name(), "x-api-key");
    }
}
