//! URL to [`Target`], once: authorization asks about the same value that the handler serves, and nothing rewrites it later.
//!
//! Invariant: no segment of a target decodes to a text with `/` or `%`, so what kube-apiserver authorized on its decoded path is
//! what is served here.

mod resource;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use super::{
    group::{CustomVersion, Group, GroupVersion},
    parameters::{BadParameter, Parameters},
};
use crate::model::{
    Attributes, CustomMetric, CustomQuery, Detail, ExternalQuery, GroupResource, MetricName, ObjectSelection,
    ResourceAttributes, Selector,
};
pub use resource::ResourceTarget;

/// The object name that stands for all objects that the label selector selects (`AllObjects` in k8s.io/metrics).
const ALL_OBJECTS: &str = "*";

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The HTTP method; whether it is allowed is decided after authorization.
    pub method: Method,
    /// The path, understood.
    pub form: Form,
    /// The query parameters that mean something here.
    pub parameters: Parameters,
    /// The decoded path.
    pub path: String,
}

/// The forms of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A metric of objects.
    Custom(CustomTarget),
    /// A metric of nothing in the cluster.
    External(ExternalTarget),
    /// Pods and nodes of metrics.k8s.io.
    Resource(ResourceTarget),
    /// A document that lists what there is.
    Discovery(Discovery),
    /// A document that describes the types.
    OpenApi(OpenApi),
    /// Any path that is not of the metrics APIs, as `/healthz`: the application's.
    Other,
}

/// A path of custom.metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomTarget {
    /// The version asked for, which is the version of the answer.
    pub version: CustomVersion,
    /// Which objects.
    pub objects: Objects,
    /// Which metric of them.
    pub metric: CustomMetric,
}

/// Where the objects of a custom metric are. `object` may be `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// `/namespaces/{namespace}/{resource}/{object}/{metric}`
    InNamespace {
        /// The objects' namespace.
        namespace: String,
        /// The object's name.
        object: String,
    },
    /// `/{resource}/{object}/{metric}`
    InCluster {
        /// The object's name.
        object: String,
    },
    /// `/namespaces/{name}/metrics/{metric}`: the Namespace object itself.
    Namespace {
        /// The Namespace's name.
        name: String,
    },
}

/// A path of external.metrics.k8s.io.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTarget {
    /// The namespace of whoever asks.
    pub namespace: String,
    /// The metric, in the client's spelling.
    pub metric: MetricName,
}

/// The documents of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// `/apis`
    Groups,
    /// `/apis/{group}`
    Group(Group),
    /// `/apis/{group}/{version}`
    Resources(GroupVersion),
}

/// The documents of OpenAPI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenApi {
    /// `/openapi/v2`: everything in one.
    V2,
    /// `/openapi/v3`: where the documents are.
    V3Index,
    /// `/openapi/v3/{key}`, as in `apis/custom.metrics.k8s.io/v1beta2`; not every key has a document.
    V3(String),
}

/// Why a URL has no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing is served there.
    #[error("the server could not find the requested resource")]
    NotFound,
    /// A segment that could be authorized as one thing and served as another.
    #[error(
        "path segment {0:?} is refused: decoded, it must be plain text without `/`, `%` and control characters, and not `.` or `..`"
    )]
    Segment(String),
    /// What RequestInfo of k8s.io/apiserver takes for a resource without a name.
    #[error("invalid request path")]
    Invalid,
    /// RequestInfo of k8s.io/apiserver takes the name for a subresource of the namespace.
    #[error(
        "external metric {0:?} can't be served: kube-apiserver takes this path for a subresource of the namespace; rename the metric"
    )]
    Reserved(String),
    /// No namespace has such a name.
    #[error("{0:?} is no namespace's name: it must be a lower-case RFC 1123 label of at most 63 characters")]
    Namespace(String),
}

/// Understands a request's method and URL. One slash at the end of a path means nothing, as in k8s.io/apiserver.
pub fn parse(method: &Method, uri: &Uri) -> Result<Target, PathError> {
    let mut segments = decode(uri.path())?;
    let path = format!("/{}", segments.join("/"));
    if segments.len() > 1 && segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let form = match segments.as_slice() {
        ["apis"] => Form::Discovery(Discovery::Groups),
        ["apis", group, rest @ ..] => match Group::named(group) {
            Some(group) => below_group(group, rest)?,
            None => Form::Other,
        },
        ["openapi", "v2"] => Form::OpenApi(OpenApi::V2),
        ["openapi", "v3"] => Form::OpenApi(OpenApi::V3Index),
        ["openapi", "v3", key @ ..] => Form::OpenApi(OpenApi::V3(key.join("/"))),
        _ => Form::Other,
    };
    Ok(Target { method: method.clone(), form, parameters: Parameters::parse(uri.query().unwrap_or_default()), path })
}

impl Target {
    /// What authorization is asked: the attributes that RequestInfo of k8s.io/apiserver `pkg/endpoints/request` makes of the
    /// same request. A label selector that is none is left out; the handler refuses it afterwards.
    pub fn attributes(&self) -> Attributes {
        let resource = match &self.form {
            Form::Custom(custom) => custom.attributes(self.verb(false)),
            Form::External(external) => ResourceAttributes {
                verb: self.verb(true).to_owned(),
                group: Group::External.name().to_owned(),
                version: GroupVersion::External.version().to_owned(),
                namespace: external.namespace.clone(),
                resource: external.metric.as_str().to_owned(),
                label_selector: self.parameters.labels().ok().filter(|selector| !selector.is_everything()),
                ..ResourceAttributes::default()
            },
            Form::Resource(resource) => resource.attributes(self),
            Form::Discovery(_) | Form::OpenApi(_) | Form::Other => {
                return Attributes::NonResource { path: self.path.clone(), verb: self.method.as_str().to_lowercase() };
            }
        };
        Attributes::Resource(resource)
    }

    /// What authorization is asked besides for `explain=raw`: absent where nothing of the kind is asked for. The name is the metric's,
    /// an external one's in lower case, so that a role may name metrics by `resourceNames`.
    pub fn raw_attributes(&self) -> Option<Attributes> {
        if self.parameters.explain() != Ok(Some(Detail::Raw)) {
            return None;
        }
        let (namespace, name) = match &self.form {
            Form::Custom(custom) => (custom.namespace(), custom.metric.name.to_string()),
            Form::External(external) => (Some(external.namespace.as_str()), external.metric.folded()),
            Form::Resource(resource) => (resource.namespace(), resource.resource().to_owned()),
            Form::Discovery(_) | Form::OpenApi(_) | Form::Other => return None,
        };
        Some(Attributes::Resource(ResourceAttributes {
            verb: "get".to_owned(),
            group: "wasm-metrics-adapter.io".to_owned(),
            version: "v1alpha1".to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            resource: "explanations".to_owned(),
            subresource: "raw".to_owned(),
            name,
            label_selector: None,
        }))
    }

    fn verb(&self, collection: bool) -> &'static str {
        match (&self.method, collection) {
            (&Method::GET | &Method::HEAD, true) if self.parameters.watch => "watch",
            (&Method::GET | &Method::HEAD, true) => "list",
            (&Method::GET | &Method::HEAD, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "deletecollection",
            (&Method::DELETE, false) => "delete",
            _ => "",
        }
    }
}

impl CustomTarget {
    /// The object's name, or `*`.
    pub fn object(&self) -> &str {
        match &self.objects {
            Objects::InNamespace { object, .. } | Objects::InCluster { object } => object,
            Objects::Namespace { name } => name,
        }
    }

    /// The namespace in the path; that of a Namespace object is its own.
    pub fn namespace(&self) -> Option<&str> {
        match &self.objects {
            Objects::InNamespace { namespace, .. } => Some(namespace),
            Objects::Namespace { name } => Some(name),
            Objects::InCluster { .. } => None,
        }
    }

    /// The question to the provider.
    pub fn query(&self, parameters: &Parameters) -> Result<CustomQuery, BadParameter> {
        parameters.check_integers()?;
        let selected = parameters.labels()?;
        let series = parameters.metric_labels()?;
        let object = self.object();
        parameters.check_name(object)?;
        let namespace = match &self.objects {
            Objects::InNamespace { namespace, .. } => Some(namespace.clone()),
            Objects::InCluster { .. } | Objects::Namespace { .. } => None,
        };
        let objects = if object == ALL_OBJECTS {
            ObjectSelection::Selected(selected)
        } else {
            ObjectSelection::Named(object.to_owned())
        };
        Ok(CustomQuery { metric: self.metric.clone(), namespace, objects, series })
    }

    fn attributes(&self, verb: &str) -> ResourceAttributes {
        let attributes = ResourceAttributes {
            verb: verb.to_owned(),
            group: Group::Custom.name().to_owned(),
            version: GroupVersion::Custom(self.version).version().to_owned(),
            ..ResourceAttributes::default()
        };
        let metric = self.metric.name.as_str().to_owned();
        let resource = self.metric.resource.to_string();
        match &self.objects {
            Objects::InNamespace { namespace, object } => ResourceAttributes {
                namespace: namespace.clone(),
                resource,
                subresource: metric,
                name: object.clone(),
                ..attributes
            },
            Objects::InCluster { object } => {
                ResourceAttributes { resource, subresource: metric, name: object.clone(), ..attributes }
            }
            Objects::Namespace { name } => ResourceAttributes {
                namespace: name.clone(),
                resource: "metrics".to_owned(),
                name: metric,
                ..attributes
            },
        }
    }
}

impl ExternalTarget {
    /// The question to the provider.
    pub fn query(&self, parameters: &Parameters) -> Result<ExternalQuery, BadParameter> {
        parameters.check_integers()?;
        let series: Selector = parameters.labels()?;
        Ok(ExternalQuery { namespace: self.namespace.clone(), metric: self.metric.clone(), series })
    }
}

/// The path's segments, decoded one by one: an encoded `/` never separates.
fn decode(path: &str) -> Result<Vec<String>, PathError> {
    let path = path.strip_prefix('/').ok_or(PathError::NotFound)?;
    let decoded = path.split('/').map(|raw| {
        let refuse = || PathError::Segment(raw.to_owned());
        let segment = percent_decode_str(raw).decode_utf8().map_err(|_| refuse())?.into_owned();
        let plain = !segment.chars().any(|character| matches!(character, '/' | '%') || character.is_control());
        if plain && !matches!(segment.as_str(), "." | "..") { Ok(segment) } else { Err(refuse()) }
    });
    decoded.collect()
}

fn below_group(group: Group, segments: &[&str]) -> Result<Form, PathError> {
    let Some((version, rest)) = segments.split_first() else { return Ok(Form::Discovery(Discovery::Group(group))) };
    let version = group.version(version).ok_or(PathError::NotFound)?;
    match (version, rest) {
        (version, []) => Ok(Form::Discovery(Discovery::Resources(version))),
        (_, rest) if rest.contains(&"") => Err(PathError::NotFound),
        (GroupVersion::Custom(version), rest) => custom(version, rest).map(Form::Custom),
        (GroupVersion::External, rest) => external(rest).map(Form::External),
        (GroupVersion::Resource, rest) => resource::resource(rest).map(Form::Resource),
    }
}

/// The routes of custom-metrics-apiserver `pkg/apiserver/installer/cmhandlers.go`.
fn custom(version: CustomVersion, segments: &[&str]) -> Result<CustomTarget, PathError> {
    let (objects, resource, metric) = match *segments {
        ["namespaces", name, "metrics", metric] => {
            (Objects::Namespace { name: namespace(name)? }, GroupResource::core("namespaces"), metric)
        }
        // kube-apiserver takes these for subresources of the namespace, whatever follows.
        ["namespaces", _, "status" | "finalize", _, _] => return Err(PathError::NotFound),
        ["namespaces", namespace_name, resource, object, metric] => {
            let objects = Objects::InNamespace { namespace: namespace(namespace_name)?, object: object.to_owned() };
            (objects, group_resource(resource)?, metric)
        }
        ["namespaces", _, _] => return Err(PathError::Invalid),
        [resource, object, metric] => {
            (Objects::InCluster { object: object.to_owned() }, group_resource(resource)?, metric)
        }
        _ => return Err(PathError::NotFound),
    };
    Ok(CustomTarget { version, objects, metric: CustomMetric { resource, name: metric_name(metric)? } })
}

/// The one route of custom-metrics-apiserver `pkg/apiserver/installer/emhandlers.go`.
fn external(segments: &[&str]) -> Result<ExternalTarget, PathError> {
    let ["namespaces", namespace_name, metric] = *segments else { return Err(PathError::NotFound) };
    if matches!(metric.to_lowercase().as_str(), "status" | "finalize") {
        return Err(PathError::Reserved(metric.to_owned()));
    }
    Ok(ExternalTarget { namespace: namespace(namespace_name)?, metric: metric_name(metric)? })
}

/// Kinds are looked up by this, in the end at the API server: what can be none is refused before, and so is a second spelling of
/// one, `pods.`, which kube-apiserver authorizes as another resource.
fn group_resource(segment: &str) -> Result<GroupResource, PathError> {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    match segment.parse() {
        Ok(resource) if segment.bytes().all(is_legal) && !segment.ends_with('.') => Ok(resource),
        Ok(_) => Err(PathError::NotFound),
        Err(never) => match never {},
    }
}

fn metric_name(segment: &str) -> Result<MetricName, PathError> {
    MetricName::new(segment).map_err(|_| PathError::NotFound)
}

fn namespace(name: &str) -> Result<String, PathError> {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = name.bytes().next().is_some_and(edge) && name.bytes().next_back().is_some_and(edge);
    if edges && name.len() <= 63 && name.bytes().all(|byte| edge(byte) || byte == b'-') {
        Ok(name.to_owned())
    } else {
        Err(PathError::Namespace(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
