//! What the host puts on a request so that the guest need not know it. Never printed; wiped from memory when dropped.

mod oauth;
mod query;
mod tokens;

use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue, Uri, header};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

pub(super) use self::{oauth::Endpoint, tokens::TokenCache};
pub use self::{
    oauth::{ClientProof, OAuth2Client},
    tokens::{Token, TokenError, TokenSource},
};
use super::{InvalidOrigin, Origin, Scheme};

/// What goes with every request to one origin, and with no other.
#[derive(Clone)]
pub struct Credential {
    origin: Origin,
    form: Form,
}

/// How a credential is carried.
#[derive(Clone)]
pub(super) enum Form {
    Header(HeaderName, Zeroizing<String>),
    Query(String, Zeroizing<String>),
    ClientCertificate(Arc<CertifiedKey>),
    /// A bearer token that somebody outside of HTTP issues.
    Token(Arc<dyn TokenSource>),
    /// A bearer token of an authorization server.
    OAuth2(Arc<OAuth2Client>),
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
    /// A certificate where there is no TLS.
    #[error("a client certificate is for TLS, and {0} has none; write an https origin, or another form of credential")]
    NotTls(Origin),
    /// A certificate or key that can't be used.
    #[error(
        "the client certificate for {origin} can't be used: {cause}; write the chain to `tls.crt` and its key to `tls.key`, both in PEM"
    )]
    Certificate {
        /// Where it was to be shown.
        origin: Origin,
        /// What is wrong with it.
        cause: String,
    },
    /// A token endpoint that is no URL.
    #[error("`tokenUrl` of the credential for {origin} can't be used: {cause}")]
    TokenUrl {
        /// Where the token was to be sent.
        origin: Origin,
        /// What is wrong with it.
        cause: InvalidOrigin,
    },
    /// A token endpoint that the plugin may not reach.
    #[error(
        "the token endpoint {0} is not in `egress`, and the adapter asks it under the plugin's own rules; add it there"
    )]
    TokenOrigin(Origin),
    /// Two in one place.
    #[error("two credentials for {origin} go to the same place, {place}; keep one of them")]
    Twice {
        /// Where both were to be sent.
        origin: Origin,
        /// How.
        place: String,
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
        Self::checked_header(origin, header::AUTHORIZATION, Zeroizing::new(format!("Bearer {}", token.trim())))
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
        Self::checked_header(origin, name, Zeroizing::new(value.trim().to_owned()))
    }

    /// A parameter of the URL's query, percent-encoded.
    ///
    /// # Errors
    ///
    /// An empty value.
    pub fn query(origin: Origin, name: &str, value: &str) -> Result<Self, InvalidCredential> {
        if name.is_empty() || value.is_empty() {
            return Err(InvalidCredential::Value { origin });
        }
        Ok(Self { origin, form: Form::Query(name.to_owned(), Zeroizing::new(value.to_owned())) })
    }

    /// A certificate chain and its key, both PEM, shown in the TLS handshake.
    ///
    /// # Errors
    ///
    /// An origin without TLS, and what is no chain, no key, or not the chain's key.
    pub fn client_certificate(origin: Origin, chain: &str, key: &str) -> Result<Self, InvalidCredential> {
        if origin.scheme() != Scheme::Https {
            return Err(InvalidCredential::NotTls(origin));
        }
        let certified = certified_key(chain, key);
        let certified = certified.map_err(|cause| InvalidCredential::Certificate { origin: origin.clone(), cause })?;
        Ok(Self { origin, form: Form::ClientCertificate(Arc::new(certified)) })
    }

    /// A bearer token that `source` issues, and issues again before it ends.
    pub fn token(origin: Origin, source: Arc<dyn TokenSource>) -> Self {
        Self { origin, form: Form::Token(source) }
    }

    /// A bearer token that an authorization server issues to `client` (RFC 6749, section 4.4).
    pub fn oauth2(origin: Origin, client: OAuth2Client) -> Self {
        Self { origin, form: Form::OAuth2(Arc::new(client)) }
    }

    fn checked_header(origin: Origin, header: HeaderName, value: Zeroizing<String>) -> Result<Self, InvalidCredential> {
        if value.is_empty() || HeaderValue::from_str(&value).is_err() {
            return Err(InvalidCredential::Value { origin });
        }
        Ok(Self { origin, form: Form::Header(header, value) })
    }

    /// Where it is sent.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where on a request it goes, in words: two of one origin must not go to one place.
    pub fn place(&self) -> String {
        match &self.form {
            Form::Header(name, _) => format!("the header {name}"),
            Form::Query(name, _) => format!("the query parameter {}", name.to_ascii_lowercase()),
            Form::ClientCertificate(_) => "the TLS handshake".to_owned(),
            Form::Token(_) | Form::OAuth2(_) => format!("the header {}", header::AUTHORIZATION),
        }
    }

    /// Whether both go to one place of one origin.
    pub fn collides_with(&self, other: &Self) -> bool {
        self.origin == other.origin && self.place() == other.place()
    }

    pub(super) fn form(&self) -> &Form {
        &self.form
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({} for {}, value hidden)", self.place(), self.origin)
    }
}

/// A header's value, marked so that neither hyper nor a debug line shows it and HTTP/2 does not index it.
pub(super) fn hidden(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The URI with the query parameters for its origin, in place of the guest's own of these names.
pub(super) fn on_query(credentials: &[&Credential], uri: Uri) -> Option<Uri> {
    let parameters: Vec<_> = parameters(credentials).collect();
    if parameters.is_empty() { Some(uri) } else { query::put_on(&parameters, uri) }
}

/// What a guest may see of a response's header: a redirect often repeats the query that it was asked with.
pub(super) fn without_query(credentials: &[&Credential], name: &str, value: String) -> String {
    let parameters: Vec<_> = parameters(credentials).collect();
    if parameters.is_empty() { value } else { query::take_off(&parameters, name, value) }
}

fn parameters<'a>(credentials: &'a [&Credential]) -> impl Iterator<Item = (&'a str, &'a str)> {
    credentials.iter().filter_map(|credential| match credential.form() {
        Form::Query(name, value) => Some((name.as_str(), value.as_str())),
        _ => None,
    })
}

fn certified_key(chain: &str, key: &str) -> Result<CertifiedKey, String> {
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| format!("its chain is no PEM ({error})"))?;
    if certificates.is_empty() {
        return Err("its chain holds no certificate".to_owned());
    }
    // The error of a key is not repeated: it may show a piece of it.
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "its key is no PEM of a private key")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "its key is not the key of its first certificate".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests;
