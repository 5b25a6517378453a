//! plugin.yaml, parsed. Strict: a field that this version does not know is an error, never ignored, and the inside of
//! the adapter cannot hold a value that is out of bounds. No I/O; origins stay texts until the `egress` room parses
//! them.

mod ceiling;
mod component;
mod credentials;
mod document;
mod fields;
mod limits;
mod secrets;
mod serves;
mod tls;
mod values;

use std::{collections::BTreeMap, time::Duration};

use crate::model::{Claims, ValuePolicy};

pub use ceiling::Excess;
pub use component::{Component, OciArtifact, Parts};
pub use credentials::{ClientAuthentication, ClientCredentials, CredentialForm, CredentialRequest, SecretForm};
pub use document::MAX_BYTES;
pub use fields::nearest;
pub(crate) use fields::{Field, Fields};
pub use limits::Limits;
pub use secrets::SecretKey;
pub use tls::ConfigMapKey;

use document::Value;

const KIND: &str = "PluginConfiguration";

/// What plugin.yaml says, with defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfiguration {
    /// Where the code is, if not in the ConfigMap itself.
    pub component: Option<Component>,
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
    /// Values of Secrets that it reads itself, by the names under which it finds them beside `config`.
    pub secrets: BTreeMap<String, SecretKey>,
    /// More authorities that vouch for its backends, in PEM.
    pub ca_from: Option<ConfigMapKey>,
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
            secrets: BTreeMap::new(),
            ca_from: None,
            limits: Limits::default(),
            values: ValuePolicy::default(),
        }
    }
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

impl ManifestError {
    /// The same of another document than plugin.yaml, which is written in the same way.
    pub(crate) fn about(&self, document: &str) -> String {
        let text = self.to_string();
        text.strip_prefix("plugin.yaml").map_or_else(|| text.clone(), |rest| format!("{document}{rest}"))
    }
}

impl PluginConfiguration {
    /// Reads `data["plugin.yaml"]`; absent means all defaults.
    pub fn parse(text: Option<&str>) -> Result<Self, ManifestError> {
        let Some(text) = text else { return Ok(Self::default()) };
        let root = Field::document(text)?;
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
            "secrets",
            "tls",
            "limits",
            "cache",
            "onError",
            "guard",
        ];
        let mut fields = Fields::of(root, &known)?;
        fields.expect_kind(KIND)?;
        let config = fields.take("config").map(config).transpose()?.unwrap_or_default();
        let secrets = fields.take("secrets").map(|field| secrets::parse(field, &config)).transpose()?;
        Ok(Self {
            component: fields.take("component").map(component::parse).transpose()?,
            suspend: fields.take("suspend").map(Field::boolean).transpose()?.unwrap_or_default(),
            list_every: fields.take("listEvery").map(limits::list_every).transpose()?.unwrap_or(limits::LIST_EVERY),
            claims: fields.take("serves").map(serves::parse).transpose()?.unwrap_or_default(),
            config,
            egress: fields.take("egress").map(egress).transpose()?.unwrap_or_default(),
            credentials: fields.take("credentials").map(credentials::parse).transpose()?.unwrap_or_default(),
            secrets: secrets.unwrap_or_default(),
            ca_from: fields.take("tls").map(tls::parse).transpose()?,
            limits: fields.take("limits").map(Limits::parse).transpose()?.unwrap_or_default(),
            values: values::parse(&mut fields)?,
        })
    }
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

fn object_name(field: Field) -> Result<String, ManifestError> {
    field.parsed("an object's name: lower-case letters, digits, `-` and `.`", |text| {
        is_object_name(text).then(|| text.to_owned())
    })
}

/// A DNS label (RFC 1123), as the names of namespaces are.
pub(crate) fn is_namespace(text: &str) -> bool {
    is_object_name(text) && text.len() <= 63 && !text.contains('.')
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
