//! Credentials that a plugin asks for, made of what consents: values of Secrets, checked to be what a request can carry, and
//! ServiceAccounts whose tokens are had when they are needed.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;
use zeroize::Zeroizing;

use crate::{
    manifest::{ClientAuthentication, ClientCredentials, CredentialForm, CredentialRequest, SecretForm},
    model::PluginId,
    source::{Dependencies, Dependency, IssuedToken},
};

use super::{
    BundleError, Grants, SecretRefused,
    consent::{self, Consenting},
};

/// Bytes of one credential: what HTTP servers commonly take in one header.
const MAX_BYTES: usize = 8 * 1024;
/// Bytes of a certificate chain in PEM: a chain of ten with large keys.
const MAX_PEM_BYTES: usize = 64 * 1024;
/// The keys of a certificate and its key, as in Secrets of type kubernetes.io/tls.
const CERTIFICATE_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

/// What the adapter puts on requests to one origin. The guest never sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The origin, as plugin.yaml writes it.
    pub origin: String,
    /// What it is.
    pub value: CredentialValue,
}

/// A credential that a request can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialValue {
    /// A header with its whole value, `Bearer ` included.
    Header(HeaderName, SecretValue),
    /// A parameter of the query with its value, not yet encoded.
    Query(String, SecretValue),
    /// A certificate chain and its key, both PEM.
    ClientCertificate(SecretValue, SecretValue),
    /// What gets tokens from an authorization server.
    Client(OAuth2Client),
    /// Whose tokens the API server issues.
    ServiceAccount(ServiceAccountTokens),
}

/// A client of an authorization server (RFC 6749, section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Client {
    /// The token endpoint.
    pub token_url: String,
    /// The client's id.
    pub id: SecretValue,
    /// The client's secret.
    pub secret: SecretValue,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Whom the token is to be for.
    pub audience: Option<String>,
    /// Whether the secret is sent in the body, not in a header.
    pub in_body: bool,
}

/// A ServiceAccount that consents to an origin and an audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountTokens {
    plugin: PluginId,
    account: String,
    origin: String,
    audience: String,
    lifetime: Duration,
}

/// Text of a Secret that no log shows and that is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The value itself, for the request that carries it and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// One allocation of the final size: growing would leave unwiped copies behind.
    fn concat(pieces: &[&str]) -> Self {
        let mut value = Zeroizing::new(String::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
        pieces.iter().for_each(|piece| value.push_str(piece));
        Self(value)
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretValue(redacted)")
    }
}

impl ServiceAccountTokens {
    /// A new token. The ServiceAccount is asked for its consent again: what it has withdrawn ends with the last token.
    pub async fn issue(&self, dependencies: &dyn Dependencies) -> Result<IssuedToken, BundleError> {
        self.check(dependencies).await?;
        let namespace = &self.plugin.namespace;
        let issued = dependencies.service_account_token(namespace, &self.account, &self.audience, self.lifetime).await;
        let account = || Dependency::ServiceAccount { namespace: namespace.clone(), name: self.account.clone() };
        issued.map_err(|cause| BundleError::unreadable(account(), cause))
    }

    async fn check(&self, dependencies: &dyn Dependencies) -> Result<(), BundleError> {
        let account = consent::service_account(&self.plugin, &self.account, dependencies).await?;
        let consents = account.consents_to(&self.origin).and_then(|()| account.consents_to_audience(&self.audience));
        consents.map_err(|cause| account.refusal(cause))
    }
}

/// Every credential that a plugin asks for; one refusal refuses the plugin.
pub(super) async fn resolve(
    id: &PluginId,
    requests: &[CredentialRequest],
    dependencies: &dyn Dependencies,
    grants: &Grants,
) -> Result<Vec<Credential>, BundleError> {
    let mut credentials = Vec::with_capacity(requests.len());
    for CredentialRequest { origin, form } in requests {
        let value = match form {
            CredentialForm::Secret { name, form } => {
                let as_certificate = matches!(form, SecretForm::ClientCertificate);
                let secret = consent::secret(id, name, as_certificate, dependencies, grants).await?;
                value(&secret, origin, form).map_err(|cause| secret.refusal(cause))?
            }
            CredentialForm::ServiceAccountToken { service_account, audience, expiration } => {
                let tokens = ServiceAccountTokens {
                    plugin: id.clone(),
                    account: service_account.clone(),
                    origin: origin.clone(),
                    audience: audience.clone(),
                    lifetime: *expiration,
                };
                tokens.check(dependencies).await?;
                CredentialValue::ServiceAccount(tokens)
            }
        };
        credentials.push(Credential { origin: origin.clone(), value });
    }
    Ok(credentials)
}

/// The credential that is in `secret`, if it consents to be sent to `origin`.
fn value(secret: &Consenting, origin: &str, form: &SecretForm) -> Result<CredentialValue, SecretRefused> {
    secret.consents_to(origin)?;
    match form {
        SecretForm::Bearer { key } => {
            let value = SecretValue::concat(&["Bearer ", line(secret, key)?]);
            Ok(CredentialValue::Header(http::header::AUTHORIZATION, value))
        }
        SecretForm::Header { name, key } => {
            Ok(CredentialValue::Header(name.clone(), SecretValue::concat(&[line(secret, key)?])))
        }
        SecretForm::Query { name, key } => {
            Ok(CredentialValue::Query(name.clone(), SecretValue::concat(&[line(secret, key)?])))
        }
        SecretForm::Basic { username_key, password_key } => basic(secret, username_key, password_key),
        SecretForm::ClientCertificate => {
            let [chain, key] = CERTIFICATE_KEYS.map(|key| pem(secret, key));
            Ok(CredentialValue::ClientCertificate(chain?, key?))
        }
        SecretForm::ClientCredentials(client) => client_credentials(secret, client),
    }
}

/// User and password as RFC 7617 joins them.
fn basic(secret: &Consenting, username_key: &str, password_key: &str) -> Result<CredentialValue, SecretRefused> {
    let (user, password) = (line(secret, username_key)?, line(secret, password_key)?);
    if user.contains(':') {
        return Err(SecretRefused::UserName { name: secret.name(), key: username_key.to_owned() });
    }
    let joined = SecretValue::concat(&[user, ":", password]);
    let encoded = Zeroizing::new(STANDARD.encode(joined.reveal()));
    Ok(CredentialValue::Header(http::header::AUTHORIZATION, SecretValue::concat(&["Basic ", &encoded])))
}

fn client_credentials(secret: &Consenting, client: &ClientCredentials) -> Result<CredentialValue, SecretRefused> {
    // The client's secret goes to the token endpoint alone, so its origin needs consent too.
    let endpoint = url::Url::parse(&client.token_url).map(|url| url.origin().ascii_serialization());
    secret.consents_to(endpoint.as_deref().unwrap_or(&client.token_url))?;
    Ok(CredentialValue::Client(OAuth2Client {
        token_url: client.token_url.clone(),
        id: SecretValue::concat(&[line(secret, &client.client_id_key)?]),
        secret: SecretValue::concat(&[line(secret, &client.client_secret_key)?]),
        scopes: client.scopes.clone(),
        audience: client.audience.clone(),
        in_body: client.method == ClientAuthentication::Post,
    }))
}

/// The value under `key`, without the newline that editors and `echo` leave behind, if a request can carry it.
fn line<'a>(secret: &'a Consenting, key: &str) -> Result<&'a str, SecretRefused> {
    let bytes = secret.bytes(key)?;
    let not_a_value = || SecretRefused::NotAValue { name: secret.name(), key: key.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| not_a_value())?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let legal = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let outer_space = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let fits = legal && !outer_space && !text.is_empty() && text.len() <= MAX_BYTES;
    if fits { Ok(text) } else { Err(not_a_value()) }
}

/// Text of a certificate or key, which is read where TLS is set up.
fn pem(secret: &Consenting, key: &str) -> Result<SecretValue, SecretRefused> {
    let text = std::str::from_utf8(secret.bytes(key)?).ok().filter(|text| text.len() <= MAX_PEM_BYTES);
    let text = text.ok_or_else(|| SecretRefused::NotPem { name: secret.name(), key: key.to_owned() })?;
    Ok(SecretValue::concat(&[text]))
}

#[cfg(test)]
mod tests;
