//! `serves` of plugin.yaml: what the plugin may answer.

use crate::model::{Claims, CustomPattern, GroupResource, MetricName, Pattern};

use super::{
    ManifestError,
    fields::{Field, Fields},
    is_namespace, is_object_name,
};

/// External names that can't be asked for: every API server reads `namespaces/NAMESPACE/status` as a subresource of the
/// namespace (`namespaceSubresources` in `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).
const RESERVED: [&str; 2] = ["status", "finalize"];

pub(super) fn parse(field: Field) -> Result<Claims, ManifestError> {
    let mut fields = Fields::of(field, &["external", "custom", "resource", "namespaces", "priority"])?;
    let resource = fields.take("resource");
    let namespaces = fields.take("namespaces").map(|field| list(field, "namespaces", namespace)).transpose()?;
    Ok(Claims {
        external: fields.take("external").map(|field| list(field, "patterns as in `queue_*`", external)).transpose()?,
        custom: fields.take("custom").map(|field| list(field, "patterns as in `pods/queue_*`", custom)).transpose()?,
        resource: resource.map(|field| all_or_nothing(field, namespaces.is_some())).transpose()?.unwrap_or_default(),
        namespaces,
        priority: match fields.take("priority") {
            Some(field) => {
                let number = field.integer(i64::from(i32::MIN), i64::from(i32::MAX))?;
                i32::try_from(number).unwrap_or_default()
            }
            None => 0,
        },
    })
}

/// metrics.k8s.io has one owner for the whole cluster, nodes included.
fn all_or_nothing(field: Field, for_some_namespaces: bool) -> Result<bool, ManifestError> {
    let path = field.path.clone();
    match (field.boolean()?, for_some_namespaces) {
        (true, true) => Err(ManifestError::Invalid {
            path,
            found: "`true` beside `serves.namespaces`".to_owned(),
            expected: "it in a plugin for all namespaces: metrics.k8s.io is served whole, nodes included".to_owned(),
        }),
        (wanted, _) => Ok(wanted),
    }
}

fn list<T>(field: Field, of_what: &str, item: fn(Field) -> Result<T, ManifestError>) -> Result<Vec<T>, ManifestError> {
    field.items(&format!("a list of {of_what}"))?.into_iter().map(item).collect()
}

fn external(field: Field) -> Result<Pattern, ManifestError> {
    field.parsed(
        "a metric's name, in which `*` stands for any text, without `/` and `%`, and neither `status` nor `finalize`",
        |text| {
            let reserved = RESERVED.iter().any(|name| name.eq_ignore_ascii_case(text));
            (!reserved && MetricName::new(text).is_ok()).then(|| Pattern::new(text))
        },
    )
}

fn custom(field: Field) -> Result<CustomPattern, ManifestError> {
    field.parsed("`RESOURCE/METRIC`, as in `pods/queue_*` or `deployments.apps/queue_depth`, with `*` in the metric's name alone", |text| {
        let (resource, name) = text.split_once('/')?;
        MetricName::new(name).ok()?;
        if !is_object_name(resource) {
            return None;
        }
        let Ok(resource) = resource.parse::<GroupResource>();
        Some(CustomPattern { resource, name: Pattern::new(name) })
    })
}

fn namespace(field: Field) -> Result<String, ManifestError> {
    field.parsed("a namespace's name", |text| is_namespace(text).then(|| text.to_owned()))
}
