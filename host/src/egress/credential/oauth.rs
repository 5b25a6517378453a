//! Tokens of an authorization server, for the adapter as a client of its own (RFC 6749, section 4.4). The token endpoint is
//! asked over the plugin's own connections, so by the plugin's own rules; nothing that it says but a token leaves this file.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::{InvalidCredential, Origin, Token, TokenError, TokenSource, hidden};
use crate::egress::{EgressError, Origins, client::Pool, request::target};

/// Bytes of a token endpoint's answer: a token and what surrounds it.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The life of a token whose server does not say (`expires_in` is only recommended).
const UNSAID_LIFETIME: Duration = Duration::from_secs(300);
/// The longest life that is believed.
const LONGEST_LIFETIME: Duration = Duration::from_secs(86_400);
/// What servers say that refuse (RFC 6749, section 5.2). Anything else is not repeated: it may be what they were sent.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A client of an authorization server.
pub struct OAuth2Client {
    origin: Origin,
    uri: Uri,
    /// The Authorization header, unless the secret is sent in the body.
    authorization: Option<Zeroizing<String>>,
    body: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// How a client proves itself (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProof {
    /// In an Authorization header.
    Header,
    /// In the body.
    Body,
}

impl OAuth2Client {
    /// The client `id`, with the endpoint that issues tokens for `origin`.
    ///
    /// # Errors
    ///
    /// A token endpoint that is no URL, or not among `origins`.
    pub fn new(
        origin: &Origin,
        origins: &Origins,
        token_url: &str,
        (id, secret, proof): (&str, &str, ClientProof),
        scopes: &[String],
        audience: Option<&str>,
    ) -> Result<Self, InvalidCredential> {
        let not_a_url = |cause| InvalidCredential::TokenUrl { origin: origin.clone(), cause };
        let url = Url::parse(token_url)
            .map_err(|cause| not_a_url(super::InvalidOrigin::Syntax { text: token_url.to_owned(), cause }))?;
        let endpoint = Origin::of(&url).map_err(not_a_url)?;
        if !origins.contains(&endpoint) {
            return Err(InvalidCredential::TokenOrigin(endpoint));
        }
        let uri =
            target(&endpoint, &url).ok_or_else(|| not_a_url(super::InvalidOrigin::NotAlone(token_url.to_owned())))?;
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            body.append_pair("scope", &scopes.join(" "));
        }
        if let Some(audience) = audience {
            body.append_pair("audience", audience);
        }
        let authorization = match proof {
            ClientProof::Header => Some(basic(id, secret)),
            ClientProof::Body => {
                body.append_pair("client_id", id).append_pair("client_secret", secret);
                None
            }
        };
        Ok(Self {
            origin: endpoint,
            uri,
            authorization,
            body: Zeroizing::new(body.finish()),
            secret: Zeroizing::new(secret.to_owned()),
        })
    }

    pub(super) fn secret(&self) -> Zeroizing<String> {
        self.secret.clone()
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(self.body.as_bytes())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, hidden(authorization)?);
        }
        Some(request)
    }
}

/// Id and secret, each encoded as in a form before they are joined.
fn basic(id: &str, secret: &str) -> Zeroizing<String> {
    let encoded = |text: &str| Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
    let joined = Zeroizing::new(format!("{}:{}", *encoded(id), *encoded(secret)));
    Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(joined.as_bytes()))))
}

/// A client with the connections over which it asks.
pub(in crate::egress) struct Endpoint {
    pub(in crate::egress) client: Arc<OAuth2Client>,
    pub(in crate::egress) pool: Pool,
}

#[async_trait]
impl TokenSource for Endpoint {
    async fn issue(&self) -> Result<Token, TokenError> {
        let origin = &self.client.origin;
        let failed = |what: &str| TokenError::Failed(format!("the token endpoint {origin} {what}"));
        let request = self.client.request().ok_or_else(|| failed("can't be asked"))?;
        let response = self.pool.request(request).await;
        let response =
            response.map_err(|error| TokenError::Failed(EgressError::explain(origin, &error).to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| failed("broke off, or sent more than 64 KiB"))?.to_bytes();
        if status != StatusCode::OK {
            return Err(failed(&refusal(status, &body)));
        }
        read(&body).map_err(failed)
    }
}

/// What a refusal means to whoever runs the plugin.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        error: &'a str,
    }
    let said = serde_json::from_slice::<Refusal<'_>>(body).ok().map(|refusal| refusal.error);
    let said = ERRORS.into_iter().find(|known| Some(*known) == said).map(|error| format!(" ({error})"));
    let remedy = if status.is_redirection() {
        "; redirects are not followed: write the URL that it leads to into `tokenUrl`"
    } else if status.is_client_error() {
        "; correct the client's id and secret, or its scopes"
    } else {
        ""
    };
    format!("answered {}{}{remedy}", status.as_u16(), said.unwrap_or_default())
}

/// The token in an answer (RFC 6749, section 5.1).
fn read(body: &[u8]) -> Result<Token, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        token_type: String,
        expires_in: Option<Seconds>,
    }
    /// Some servers write a text where the RFC has a number.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Number(f64),
        Text(String),
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "sent something else than JSON with access_token and token_type")?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err("issued a token of a type other than Bearer, which can't be sent");
    }
    let seconds = match answer.expires_in {
        None => UNSAID_LIFETIME.as_secs_f64(),
        Some(Seconds::Number(seconds)) => seconds,
        Some(Seconds::Text(text)) => text.parse().map_err(|_| "sent an expires_in that is no number of seconds")?,
    };
    let lifetime = Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST_LIFETIME.as_secs_f64()));
    let lifetime = lifetime.map_err(|_| "sent an expires_in that is no number of seconds")?;
    Ok(Token { value: Zeroizing::new(answer.access_token), lifetime })
}

#[cfg(test)]
mod tests;
