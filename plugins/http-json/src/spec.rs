//! The settings: config key `metrics`, a list with one entry for each metric. An entry is compiled whole, with its
//! template and paths, or refused with the field at fault.

use std::collections::BTreeMap;

use metrics_plugin::{Failure, GroupResource, ParseNumberError, Quantity, config};
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::extract::{Aggregate, Extraction, LabelSource};
use crate::template::{Template, TemplateError};

/// All entries, in their order; not compiled yet, since a request is for one of them.
#[derive(Debug)]
pub(crate) struct Specs {
    entries: Vec<Entry>,
}

/// A metric that can be asked for.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) url: Template,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) extraction: Extraction,
}

/// An entry as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    resource: Option<String>,
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    items: Option<String>,
    value: String,
    object: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    timestamp: Option<String>,
    #[serde(default)]
    aggregate: Aggregate,
    scale: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    External,
    Custom,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    metrics: Vec<Value>,
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
enum FieldError {
    #[error("`{0}` is no metric name; it must not be empty, `.` or `..`, nor hold `/` or `%`")]
    Name(String),
    #[error("a custom metric needs the kind of its objects, as in pods or deployments.apps")]
    ResourceMissing,
    #[error("an external metric describes no Kubernetes objects; remove it, or set `type: custom`")]
    OfCustomOnly,
    #[error(
        "a custom metric needs its objects' names: {{object}} in `url` for one request each, or a path in `object`"
    )]
    ObjectMissing,
    #[error("{{object}} in `url` already names the object; remove one of the two")]
    ObjectTwice,
    #[error(transparent)]
    Url(#[from] TemplateError),
    #[error("`{path}` is no JSONPath (RFC 9535): {reason}")]
    Path { path: String, reason: String },
    #[error("`{0}` is no method that can be sent")]
    Method(String),
    #[error("it is neither a number nor a text with one")]
    ScaleKind,
    #[error(transparent)]
    Scale(#[from] ParseNumberError),
}

impl Specs {
    /// The entries in the configuration. Fails as `bad-request` if they cannot be read.
    pub(crate) fn load() -> Result<Self, Failure> {
        let Config { metrics } = config::load()?;
        let read = |(index, value): (usize, Value)| {
            let name = value.get("name").and_then(Value::as_str).map(|name| format!("`{name}`"));
            let name = name.unwrap_or_else(|| format!("number {}", index + 1));
            Entry::deserialize(value).map_err(|error| Failure::bad_request(format!("metric {name}: {error}")))
        };
        Ok(Self { entries: metrics.into_iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Compiles every entry and throws it away: what fails here would fail a request.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.entries.is_empty() {
            return Err(Failure::bad_request("config key `metrics` is empty; describe at least one metric"));
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if self
                .entries
                .iter()
                .take(index)
                .any(|before| before.is_for(entry.kind, entry.resource().as_ref(), &entry.name))
            {
                return Err(Failure::bad_request(format!("metric `{}` is described twice; remove one", entry.name)));
            }
            entry.compile()?;
        }
        Ok(())
    }

    pub(crate) fn external_names(&self) -> Vec<String> {
        self.entries.iter().filter(|entry| entry.kind == Kind::External).map(|entry| entry.name.clone()).collect()
    }

    /// The resource and the name of each custom metric.
    pub(crate) fn custom_names(&self) -> Vec<(GroupResource, String)> {
        let custom = self.entries.iter().filter(|entry| entry.kind == Kind::Custom);
        custom.filter_map(|entry| Some((entry.resource()?, entry.name.clone()))).collect()
    }

    pub(crate) fn external(&self, name: &str) -> Result<Metric, Failure> {
        self.find(Kind::External, None, name)
    }

    pub(crate) fn custom(&self, resource: &GroupResource, name: &str) -> Result<Metric, Failure> {
        self.find(Kind::Custom, Some(resource), name)
    }

    fn find(&self, kind: Kind, resource: Option<&GroupResource>, name: &str) -> Result<Metric, Failure> {
        let entry = self.entries.iter().find(|entry| entry.is_for(kind, resource, name));
        entry.ok_or_else(|| Failure::metric_not_found(name))?.compile()
    }
}

impl Entry {
    fn resource(&self) -> Option<GroupResource> {
        self.resource.as_deref().map(GroupResource::from)
    }

    fn is_for(&self, kind: Kind, resource: Option<&GroupResource>, name: &str) -> bool {
        self.kind == kind && self.name == name && self.resource().as_ref() == resource
    }

    fn compile(&self) -> Result<Metric, Failure> {
        let at = |field: &'static str| {
            move |error: FieldError| Failure::bad_request(format!("metric `{}`, field `{field}`: {error}", self.name))
        };
        check_name(&self.name).map_err(at("name"))?;
        let url = Template::parse(&self.url).map_err(|error| at("url")(error.into()))?;
        self.check_objects(&url).map_err(|(field, error)| at(field)(error))?;
        let optional =
            |field: &'static str, text: &Option<String>| text.as_deref().map(path).transpose().map_err(at(field));
        let labels = self.labels.iter().map(|(key, text)| Ok((key.clone(), label_source(text)?)));
        let extraction = Extraction {
            items: optional("items", &self.items)?,
            value: path(&self.value).map_err(at("value"))?,
            object: optional("object", &self.object)?,
            labels: labels.collect::<Result<_, _>>().map_err(at("labels"))?,
            timestamp: optional("timestamp", &self.timestamp)?,
            aggregate: self.aggregate,
            scale: self.scale.as_ref().map(scale).transpose().map_err(at("scale"))?,
        };
        let (name, mut headers) = (self.name.clone(), self.headers.clone());
        let body = match &self.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(json) => {
                if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
                    headers.insert("content-type".to_owned(), "application/json".to_owned());
                }
                json.to_string().into_bytes()
            }
        };
        Ok(Metric { name, method: method(&self.method).map_err(at("method"))?, url, headers, body, extraction })
    }

    /// Whether the entry says, in one way, which objects its values describe.
    fn check_objects(&self, url: &Template) -> Result<(), (&'static str, FieldError)> {
        match self.kind {
            Kind::External if self.resource.is_some() => Err(("resource", FieldError::OfCustomOnly)),
            Kind::External if self.object.is_some() => Err(("object", FieldError::OfCustomOnly)),
            Kind::External if url.names_the_object() => Err(("url", FieldError::OfCustomOnly)),
            Kind::External => Ok(()),
            Kind::Custom if self.resource.as_deref().unwrap_or_default().is_empty() => {
                Err(("resource", FieldError::ResourceMissing))
            }
            Kind::Custom => match (url.names_the_object(), self.object.is_some()) {
                (true, true) => Err(("object", FieldError::ObjectTwice)),
                (false, false) => Err(("object", FieldError::ObjectMissing)),
                _ => Ok(()),
            },
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn check_name(name: &str) -> Result<(), FieldError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(FieldError::Name(name.to_owned()));
    }
    Ok(())
}

fn method(text: &str) -> Result<String, FieldError> {
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_token || matches!(text, "CONNECT" | "TRACE") {
        return Err(FieldError::Method(text.to_owned()));
    }
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<JsonPath, FieldError> {
    JsonPath::parse(text).map_err(|error| FieldError::Path { path: text.to_owned(), reason: error.to_string() })
}

/// A path begins with `$`; everything else is the label's value itself.
fn label_source(text: &str) -> Result<LabelSource, FieldError> {
    if text.starts_with('$') { path(text).map(LabelSource::Path) } else { Ok(LabelSource::Literal(text.to_owned())) }
}

fn scale(value: &Value) -> Result<Quantity, FieldError> {
    match value {
        Value::Number(number) => Ok(number.as_str().parse()?),
        Value::String(text) => Ok(text.parse()?),
        _ => Err(FieldError::ScaleKind),
    }
}
