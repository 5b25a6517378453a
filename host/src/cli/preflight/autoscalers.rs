//! Which HorizontalPodAutoscalers depend on each API group, told by their metrics' types.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{Api, Client, api::ListParams};
use serde::Serialize;

use super::ownership::{CUSTOM, EXTERNAL, RESOURCE};

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;

/// Who depends on a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependents {
    /// As in `external.metrics.k8s.io`.
    pub group: &'static str,
    /// Each as `namespace/name`, sorted.
    pub autoscalers: BTreeSet<String>,
    /// How many metrics of each type they have.
    pub metrics: BTreeMap<String, usize>,
}

/// Lists the HorizontalPodAutoscalers of all namespaces.
pub(super) async fn ask(client: &Client) -> kube::Result<Vec<Dependents>> {
    let objects = Api::<HorizontalPodAutoscaler>::all(client.clone());
    let mut groups = [CUSTOM, EXTERNAL, RESOURCE].map(|group| Dependents {
        group,
        autoscalers: BTreeSet::new(),
        metrics: BTreeMap::new(),
    });
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = objects.list(&parameters).await?;
        for object in &page.items {
            count(object, &mut groups);
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = ListParams::default().limit(PAGE).continue_token(&token),
            _ => return Ok(groups.into()),
        }
    }
}

fn count(object: &HorizontalPodAutoscaler, groups: &mut [Dependents]) {
    let name = |part: &Option<String>| part.clone().unwrap_or_default();
    let full_name = format!("{}/{}", name(&object.metadata.namespace), name(&object.metadata.name));
    for metric in object.spec.metrics.iter().flatten() {
        let group = group_of(&metric.type_);
        for dependents in groups.iter_mut().filter(|dependents| Some(dependents.group) == group) {
            dependents.autoscalers.insert(full_name.clone());
            *dependents.metrics.entry(metric.type_.clone()).or_default() += 1;
        }
    }
}

/// The group that the HPA controller asks for a metric of this type (pkg/controller/podautoscaler/metrics/client.go); none for
/// a type that is unknown here.
fn group_of(metric_type: &str) -> Option<&'static str> {
    match metric_type {
        "Pods" | "Object" => Some(CUSTOM),
        "External" => Some(EXTERNAL),
        "Resource" | "ContainerResource" => Some(RESOURCE),
        _ => None,
    }
}
