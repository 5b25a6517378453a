//! plugin.yaml, parsed. Strict: a field that this version does not know is an error, never ignored, and the inside of
//! the adapter cannot hold a value that is out of bounds. No I/O; origins stay texts until the `egress` room parses
//! them.

mod document;
mod fields;
mod limits;
mod serves;
mod values;

use std::{collections::BTreeMap, time::Duration};

use http::HeaderName;

use crate::model::{Claims, ValuePolicy};

pub use document::MAX_BYTES;
pub use fields::nearest;
pub use limits::Limits;

use document::Value;
use fields::{Field, Fields};

const API_VERSION: &str = "wasm-metrics-adapter.io/v1alpha1";
const KIND: &str = "PluginConfiguration";

/// Parts of one component: 64 ConfigMaps of 1 MiB are more than any component may have.
const MAX_PARTS: usize = 64;

/// Headers that the adapter sets itself, or that belong to one connection (RFC 9110, section 7.6.1): no credential goes
/// there.
const RESERVED_HEADERS: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What plugin.yaml says, with defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfiguration {
    /// Where the code is, if not in the ConfigMap itself.
    pub component: Option<Parts>,
    /// Whether the plugin is to answer nothing for now.
    pub suspend: bool,
    /// How often its lists are asked for. Default 60 s, from 5 s to 24 h.
    pub list_every: Duration,
    /// What it may answer. Default: what it lists.
    pub claims: Claims,
    /// Its own settings: texts as they are, other YAML as JSON text.
    pub config: BTreeMap<String, String>,
    /// The origins that it may reach, as they were written.
    pub egress: Vec<String>,
    /// What the adapter puts on its requests.
    pub credentials: Vec<CredentialRequest>,
    /// What it may use.
    pub limits: Limits,
    /// How long its values are kept, and which are believed: `cache`, `onError` and `guard`.
    pub values: ValuePolicy,
}

impl Default for PluginConfiguration {
    fn default() -> Self {
        Self {
            component: None,
            suspend: false,
            list_every: limits::LIST_EVERY,
            claims: Claims::default(),
            config: BTreeMap::new(),
            egress: Vec::new(),
            credentials: Vec::new(),
            limits: Limits::default(),
            values: ValuePolicy::default(),
        }
    }
}

/// A component in several ConfigMaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The ConfigMaps, in order; at least one, none twice.
    pub names: Vec<String>,
    /// SHA-256 of the decompressed component, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// A credential that the plugin asks for. Whether it gets it, the Secret decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The origin whose requests carry it, as it was written.
    pub origin: String,
    /// How they carry it.
    pub form: CredentialForm,
    /// The Secret's name, in the plugin's namespace.
    pub secret: String,
    /// The key in the Secret's `data`.
    pub key: String,
}

/// How a request carries a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialForm {
    /// `Authorization: Bearer VALUE` (RFC 6750).
    Bearer,
    /// The value alone, in a header of this name.
    Header(HeaderName),
}

/// Why a plugin.yaml was refused. Each message names the field and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than `MAX_BYTES`.
    #[error(
        "plugin.yaml has {bytes} bytes and may have {MAX_BYTES}; move large settings to the backend or to the component"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not YAML.
    #[error("plugin.yaml is not YAML: {0}")]
    Syntax(String),
    /// Several documents.
    #[error("plugin.yaml holds several documents; keep one document")]
    ManyDocuments,
    /// Deeper than any setting needs.
    #[error("plugin.yaml nests more than {levels} levels at `{path}`; flatten it")]
    TooDeep {
        /// Where.
        path: String,
        /// How many levels are allowed.
        levels: usize,
    },
    /// YAML that is more than data.
    #[error("plugin.yaml has {what} at `{path}`, which is not supported; write plain YAML or JSON")]
    Unsupported {
        /// Where.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The same key twice in one mapping.
    #[error("plugin.yaml sets `{path}` twice; keep one")]
    RepeatedKey {
        /// The key.
        path: String,
    },
    /// A number that JSON can't write.
    #[error(
        "plugin.yaml has the number `{text}` at `{path}`, which JSON can't carry; quote it to make it a text, or write it in plain decimal digits"
    )]
    NumberForm {
        /// Where.
        path: String,
        /// As it was written.
        text: String,
    },
    /// A field that this version does not know.
    #[error("plugin.yaml has the unknown field `{path}`; {hint}known here: {known}")]
    UnknownField {
        /// The field.
        path: String,
        /// The nearest known one, as a question with a space behind it; or empty.
        hint: String,
        /// All known ones.
        known: String,
    },
    /// A field that must be there.
    #[error("plugin.yaml lacks `{path}`; set it to {expected}")]
    Missing {
        /// The field.
        path: String,
        /// What would do.
        expected: String,
    },
    /// A value that can't be.
    #[error("plugin.yaml has {found} at `{path}`; write {expected}")]
    Invalid {
        /// The field.
        path: String,
        /// What is there.
        found: String,
        /// What would do.
        expected: String,
    },
}

impl PluginConfiguration {
    /// Reads `data["plugin.yaml"]`; absent means all defaults.
    pub fn parse(text: Option<&str>) -> Result<Self, ManifestError> {
        let Some(text) = text else { return Ok(Self::default()) };
        let root = Field { path: String::new(), value: document::parse(text)? };
        let known = [
            "apiVersion",
            "kind",
            "component",
            "suspend",
            "listEvery",
            "serves",
            "config",
            "egress",
            "credentials",
            "limits",
            "cache",
            "onError",
            "guard",
        ];
        let mut fields = Fields::of(root, &known)?;
        for (name, value) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let expected = format!("`{value}`");
            fields.require(name, &expected)?.parsed(&expected, |text| (text == value).then_some(()))?;
        }
        Ok(Self {
            component: fields.take("component").map(parts).transpose()?,
            suspend: fields.take("suspend").map(Field::boolean).transpose()?.unwrap_or_default(),
            list_every: fields.take("listEvery").map(limits::list_every).transpose()?.unwrap_or(limits::LIST_EVERY),
            claims: fields.take("serves").map(serves::parse).transpose()?.unwrap_or_default(),
            config: fields.take("config").map(config).transpose()?.unwrap_or_default(),
            egress: fields.take("egress").map(egress).transpose()?.unwrap_or_default(),
            credentials: fields.take("credentials").map(credentials).transpose()?.unwrap_or_default(),
            limits: fields.take("limits").map(Limits::parse).transpose()?.unwrap_or_default(),
            values: values::parse(&mut fields)?,
        })
    }
}

fn parts(field: Field) -> Result<Parts, ManifestError> {
    let names = "a list of at least one and at most 64 names of ConfigMaps, none twice";
    let mut fields = Fields::of(field, &["parts"])?;
    let mut fields = Fields::of(fields.require("parts", "`{names: [...], sha256: ...}`")?, &["names", "sha256"])?;
    let field = fields.require("names", names)?;
    let path = field.path.clone();
    let list: Vec<String> = field.items(names)?.into_iter().map(object_name).collect::<Result<_, _>>()?;
    let distinct: std::collections::BTreeSet<_> = list.iter().collect();
    if list.is_empty() || list.len() > MAX_PARTS || distinct.len() < list.len() {
        let found = format!("{} names, {} of them different,", list.len(), distinct.len());
        return Err(ManifestError::Invalid { path, found, expected: names.to_owned() });
    }
    let digest = "the SHA-256 of the decompressed component in 64 hexadecimal digits, in quotes";
    let sha256 = fields.require("sha256", digest)?.parsed(digest, |text| {
        let legal = text.len() == 64 && text.chars().all(|digit| digit.is_ascii_hexdigit());
        legal.then(|| text.to_ascii_lowercase())
    })?;
    Ok(Parts { names: list, sha256 })
}

fn config(field: Field) -> Result<BTreeMap<String, String>, ManifestError> {
    let Value::Mapping(entries) = field.value else {
        return Err(fields::invalid(field.path, &field.value, "a mapping of the plugin's own settings"));
    };
    let entries = entries.into_iter().map(|(key, value)| match value {
        Value::String(text) => (key, text),
        other => (key, other.to_json()),
    });
    Ok(entries.collect())
}

fn egress(field: Field) -> Result<Vec<String>, ManifestError> {
    let expected = "an origin, as in `https://mq.example.com:443`";
    field.items("a list of origins")?.into_iter().map(|field| field.text(expected)).collect()
}

fn credentials(field: Field) -> Result<Vec<CredentialRequest>, ManifestError> {
    field.items("a list of credentials")?.into_iter().map(credential).collect()
}

fn credential(field: Field) -> Result<CredentialRequest, ManifestError> {
    let path = field.path.clone();
    let mut fields = Fields::of(field, &["origin", "bearer", "header"])?;
    let expected = "an origin that `egress` names, as in `https://mq.example.com:443`";
    let origin = fields.require("origin", expected)?.text(expected)?;
    let (mut source, form) = match (fields.take("bearer"), fields.take("header")) {
        (Some(bearer), None) => (Fields::of(bearer, &["secret", "key"])?, CredentialForm::Bearer),
        (None, Some(header)) => {
            let mut header = Fields::of(header, &["name", "secret", "key"])?;
            let expected =
                "a header's name, other than those that the adapter sets itself (Host, Content-Length, Connection ...)";
            let name = header.require("name", expected)?.parsed(expected, header_name)?;
            (header, CredentialForm::Header(name))
        }
        (bearer, _) => {
            let found = if bearer.is_some() { "both `bearer` and `header`" } else { "neither `bearer` nor `header`" };
            let expected = "one of `bearer: {secret, key}` and `header: {name, secret, key}`".to_owned();
            return Err(ManifestError::Invalid { path, found: found.to_owned(), expected });
        }
    };
    let secret = object_name(source.require("secret", "the name of a Secret")?)?;
    let key = source.require("key", "a key of the Secret")?.text("a key of the Secret")?;
    Ok(CredentialRequest { origin, form, secret, key })
}

fn header_name(text: &str) -> Option<HeaderName> {
    let name: HeaderName = text.parse().ok()?;
    let reserved = RESERVED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-");
    (!reserved).then_some(name)
}

fn object_name(field: Field) -> Result<String, ManifestError> {
    field.parsed("an object's name: lower-case letters, digits, `-` and `.`", |text| {
        is_object_name(text).then(|| text.to_owned())
    })
}

/// A DNS subdomain (RFC 1123), as Kubernetes asks of names: also what keeps a name from changing the path of a URL.
fn is_object_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let legal_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()].into_iter().all(|end| end.copied().is_some_and(alphanumeric));
        ends && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(legal_label)
}

#[cfg(test)]
mod tests;
