//! `credentials` of plugin.yaml: what the adapter puts on requests to one origin, and from where. Only names are here, of Secrets
//! and their keys; whether a Secret consents is decided where it is opened.

use std::{collections::BTreeSet, time::Duration};

use http::HeaderName;
use url::Url;

use super::{
    ManifestError,
    fields::{Field, Fields},
    object_name,
};

/// Headers that the adapter sets itself, or that belong to one connection (RFC 9110, section 7.6.1): no credential goes
/// there.
const RESERVED_HEADERS: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// The ways in which a request carries a credential, as plugin.yaml calls them.
const FORMS: [&str; 7] =
    ["bearer", "basic", "header", "query", "clientCertificate", "oauth2ClientCredentials", "serviceAccountToken"];

/// Scopes of one token: several times what authorization servers know.
const MAX_SCOPES: usize = 32;

/// Seconds that a service account's token is good for: the API server grants no shorter one (`TokenRequestSpec` of
/// `k8s.io/api/authentication/v1`), and one that lives longer than a day is a password. Default: the API server's own.
const TOKEN_SECONDS: (i64, i64, i64) = (600, 3600, 86_400);

/// A credential that the plugin asks for. Whether it gets it, the Secret or ServiceAccount decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The origin whose requests carry it, as it was written.
    pub origin: String,
    /// How they carry it.
    pub form: CredentialForm,
}

/// Where a credential comes from, and how a request carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialForm {
    /// From a Secret of the plugin's namespace.
    Secret {
        /// The Secret's name.
        name: String,
        /// How.
        form: SecretForm,
    },
    /// A bearer token of a ServiceAccount of the plugin's namespace, which the API server issues (TokenRequest).
    ServiceAccountToken {
        /// The ServiceAccount's name.
        service_account: String,
        /// Whom the token is for.
        audience: String,
        /// How long it is good. From 600 s to a day.
        expiration: Duration,
    },
}

/// How a request carries what is in a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretForm {
    /// `Authorization: Bearer VALUE` (RFC 6750).
    Bearer {
        /// The key of the token.
        key: String,
    },
    /// `Authorization: Basic ...` (RFC 7617).
    Basic {
        /// The key of the user name. Default `username`, as in Secrets of type kubernetes.io/basic-auth.
        username_key: String,
        /// The key of the password. Default `password`.
        password_key: String,
    },
    /// The value alone, in a header.
    Header {
        /// The header's name.
        name: HeaderName,
        /// The key of its value.
        key: String,
    },
    /// The value as a parameter of the URL's query.
    Query {
        /// The parameter: characters that no encoding changes (unreserved ones of RFC 3986).
        name: String,
        /// The key of its value.
        key: String,
    },
    /// A certificate for the TLS handshake: the keys `tls.crt` and `tls.key`, as in Secrets of type kubernetes.io/tls.
    ClientCertificate,
    /// A bearer token that an authorization server issues (RFC 6749, section 4.4).
    ClientCredentials(ClientCredentials),
}

/// How a client gets tokens for itself (RFC 6749, section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// The token endpoint: an http or https URL without user name and fragment.
    pub token_url: String,
    /// The key of the client's id. Default `client-id`.
    pub client_id_key: String,
    /// The key of the client's secret. Default `client-secret`.
    pub client_secret_key: String,
    /// The scopes to ask for; none leaves them to the server.
    pub scopes: Vec<String>,
    /// Whom the token is to be for, for servers that have this parameter.
    pub audience: Option<String>,
    /// How the client proves itself to the token endpoint.
    pub method: ClientAuthentication,
}

/// How a client sends its secret to the token endpoint (RFC 6749, section 2.3.1), by the names of RFC 7591.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`: in an Authorization header, which every server takes.
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

impl CredentialForm {
    /// What plugin.yaml calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ServiceAccountToken { .. } => "serviceAccountToken",
            Self::Secret { form, .. } => match form {
                SecretForm::Bearer { .. } => "bearer",
                SecretForm::Basic { .. } => "basic",
                SecretForm::Header { .. } => "header",
                SecretForm::Query { .. } => "query",
                SecretForm::ClientCertificate => "clientCertificate",
                SecretForm::ClientCredentials(_) => "oauth2ClientCredentials",
            },
        }
    }
}

/// The value of `credentials`.
pub(super) fn parse(field: Field) -> Result<Vec<CredentialRequest>, ManifestError> {
    field.items("a list of credentials")?.into_iter().map(credential).collect()
}

fn credential(field: Field) -> Result<CredentialRequest, ManifestError> {
    let path = field.path.clone();
    let known: Vec<&str> = std::iter::once("origin").chain(FORMS).collect();
    let mut fields = Fields::of(field, &known)?;
    let expected = "an origin that `egress` names, as in `https://mq.example.com:443`";
    let origin = fields.require("origin", expected)?.text(expected)?;
    let mut given: Vec<(&str, Field)> = FORMS.iter().filter_map(|name| Some((*name, fields.take(name)?))).collect();
    match (given.pop(), given.is_empty()) {
        (Some((name, field)), true) => Ok(CredentialRequest { origin, form: form(name, field)? }),
        (last, _) => {
            let names: Vec<_> = given.iter().chain(&last).map(|(name, _)| format!("`{name}`")).collect();
            let found = if names.is_empty() { "no form of credential".to_owned() } else { names.join(" and ") };
            Err(ManifestError::Invalid { path, found, expected: format!("exactly one of {}", FORMS.join(", ")) })
        }
    }
}

fn form(name: &str, field: Field) -> Result<CredentialForm, ManifestError> {
    type Read = fn(&mut Fields) -> Result<SecretForm, ManifestError>;
    let (known, read): (&[&str], Read) = match name {
        "bearer" => (&["secret", "key"], |fields| Ok(SecretForm::Bearer { key: key(fields)? })),
        "basic" => (&["secret", "usernameKey", "passwordKey"], basic),
        "header" => (&["secret", "name", "key"], header),
        "query" => (&["secret", "name", "key"], query),
        "clientCertificate" => (&["secret"], |_| Ok(SecretForm::ClientCertificate)),
        "oauth2ClientCredentials" => (
            &["tokenUrl", "secret", "clientIdKey", "clientSecretKey", "scopes", "audience", "authMethod"],
            client_credentials,
        ),
        _ => return service_account_token(field),
    };
    let mut fields = Fields::of(field, known)?;
    let name = object_name(fields.require("secret", "the name of a Secret")?)?;
    Ok(CredentialForm::Secret { name, form: read(&mut fields)? })
}

fn basic(fields: &mut Fields) -> Result<SecretForm, ManifestError> {
    Ok(SecretForm::Basic {
        username_key: key_or(fields, "usernameKey", "username")?,
        password_key: key_or(fields, "passwordKey", "password")?,
    })
}

fn header(fields: &mut Fields) -> Result<SecretForm, ManifestError> {
    let expected =
        "a header's name, other than those that the adapter sets itself (Host, Content-Length, Connection ...)";
    let name = fields.require("name", expected)?.parsed(expected, header_name)?;
    Ok(SecretForm::Header { name, key: key(fields)? })
}

fn query(fields: &mut Fields) -> Result<SecretForm, ManifestError> {
    let expected = "a query parameter's name of at most 64 letters, digits and `-._~`";
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let name = fields.require("name", expected)?.parsed(expected, |text| {
        (!text.is_empty() && text.len() <= 64 && text.bytes().all(unreserved)).then(|| text.to_owned())
    })?;
    Ok(SecretForm::Query { name, key: key(fields)? })
}

fn client_credentials(fields: &mut Fields) -> Result<SecretForm, ManifestError> {
    let expected = "the token endpoint's URL, of an origin in `egress` and without user name or fragment, as in `https://login.example.com/token`";
    let methods = "`client_secret_basic` or `client_secret_post`";
    Ok(SecretForm::ClientCredentials(ClientCredentials {
        token_url: fields.require("tokenUrl", expected)?.parsed(expected, token_url)?,
        client_id_key: key_or(fields, "clientIdKey", "client-id")?,
        client_secret_key: key_or(fields, "clientSecretKey", "client-secret")?,
        scopes: fields.take("scopes").map(scopes).transpose()?.unwrap_or_default(),
        audience: fields.take("audience").map(audience).transpose()?,
        method: match fields.take("authMethod") {
            None => ClientAuthentication::Basic,
            Some(field) => field.parsed(methods, |text| match text {
                "client_secret_basic" => Some(ClientAuthentication::Basic),
                "client_secret_post" => Some(ClientAuthentication::Post),
                _ => None,
            })?,
        },
    }))
}

fn service_account_token(field: Field) -> Result<CredentialForm, ManifestError> {
    let mut fields = Fields::of(field, &["serviceAccount", "audience", "expirationSeconds"])?;
    let (least, default, most) = TOKEN_SECONDS;
    let seconds = fields.take("expirationSeconds").map(|field| field.integer(least, most)).transpose()?;
    Ok(CredentialForm::ServiceAccountToken {
        service_account: object_name(fields.require("serviceAccount", "the name of a ServiceAccount")?)?,
        audience: audience(fields.require("audience", "whom the token is for, as the backend calls itself")?)?,
        expiration: Duration::from_secs(seconds.unwrap_or(default).unsigned_abs()),
    })
}

fn key(fields: &mut Fields) -> Result<String, ManifestError> {
    fields.require("key", "a key of the Secret")?.text("a key of the Secret")
}

fn key_or(fields: &mut Fields, name: &str, default: &str) -> Result<String, ManifestError> {
    fields.take(name).map_or_else(|| Ok(default.to_owned()), |field| field.text("a key of the Secret"))
}

fn header_name(text: &str) -> Option<HeaderName> {
    let name: HeaderName = text.parse().ok()?;
    let reserved = RESERVED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-");
    (!reserved).then_some(name)
}

fn token_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let anonymous = url.username().is_empty() && url.password().is_none();
    let legal = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
    (legal && anonymous && text.len() <= 2048).then(|| text.to_owned())
}

/// Scope tokens of RFC 6749, section 3.3.
fn scopes(field: Field) -> Result<Vec<String>, ManifestError> {
    let expected = "a list of at most 32 scopes, each one word of printable ASCII without quotes and backslashes";
    let path = field.path.clone();
    let legal = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let scope = |field: Field| {
        field.parsed(expected, |text| (!text.is_empty() && text.bytes().all(legal)).then(|| text.to_owned()))
    };
    let scopes = field.items(expected)?.into_iter().map(scope).collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<_> = scopes.iter().collect();
    if scopes.len() > MAX_SCOPES || distinct.len() < scopes.len() {
        let found = format!("{} scopes, {} of them different,", scopes.len(), distinct.len());
        return Err(ManifestError::Invalid { path, found, expected: expected.to_owned() });
    }
    Ok(scopes)
}

fn audience(field: Field) -> Result<String, ManifestError> {
    field.parsed("an audience: 1 to 512 printable ASCII characters without spaces", |text| {
        let legal = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| text.to_owned())
    })
}
