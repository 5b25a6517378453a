//! A HorizontalPodAutoscaler: its conditions, and the question that its controller asks for each metric.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, MetricSpec, ObjectMetricSource,
};
use kube::{Api, Client, core::DynamicObject};

use super::{
    Condition, ExplainError, Target, ask,
    question::{Question, selector},
};
use crate::cli::{
    cluster::cause,
    preflight::ownership::{CUSTOM, EXTERNAL, RESOURCE},
};

pub(super) async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<HorizontalPodAutoscaler, ExplainError> {
    let objects = Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), namespace);
    objects.get(name).await.map_err(|error| ExplainError::Unreadable {
        what: format!("HorizontalPodAutoscaler {namespace}/{name}"),
        cause: cause(&error),
    })
}

pub(super) fn conditions(autoscaler: &HorizontalPodAutoscaler) -> Vec<Condition> {
    let conditions = autoscaler.status.as_ref().and_then(|status| status.conditions.as_ref());
    let told = conditions.into_iter().flatten().map(|condition| Condition {
        kind: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    });
    told.collect()
}

/// What it scales, and its questions. What can't be found out of one metric fails that one alone.
pub(super) async fn questions(
    client: &Client,
    namespace: &str,
    autoscaler: &HorizontalPodAutoscaler,
) -> (Target, Vec<Question>) {
    let reference = autoscaler.spec.scale_target_ref.clone();
    let pods = scaled_pods(client, namespace, &reference).await;
    let mut questions = Vec::new();
    for metric in autoscaler.spec.metrics.iter().flatten() {
        questions.push(question(client, namespace, metric, &pods).await);
    }
    let name = autoscaler.metadata.name.as_deref().unwrap_or_default();
    let target = Target {
        autoscaler: format!("{namespace}/{name}"),
        scales: format!("{} {}", reference.kind, reference.name),
        selector: pods,
    };
    (target, questions)
}

/// The selector of the scale subresource, by which the controller finds the pods.
async fn scaled_pods(client: &Client, namespace: &str, target: &CrossVersionObjectReference) -> Result<String, String> {
    let (resource, _) = ask::kind_of(client, target.api_version.as_deref(), &target.kind).await?;
    let objects = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let scale = objects.get_scale(&target.name).await.map_err(|error| cause(&error))?;
    let selector = scale.status.and_then(|status| status.selector).filter(|selector| !selector.is_empty());
    selector.ok_or_else(|| format!("{} {} has no selector in its scale subresource", target.kind, target.name))
}

async fn question(client: &Client, namespace: &str, metric: &MetricSpec, pods: &Result<String, String>) -> Question {
    let formed = match (metric.type_.as_str(), metric) {
        ("External", MetricSpec { external: Some(external), .. }) => {
            let metric = &external.metric;
            let series = selector(metric.selector.as_ref());
            series.map(|series| Question::external(namespace, &metric.name, &series)).map_err(|why| (EXTERNAL, why))
        }
        ("Pods", MetricSpec { pods: Some(source), .. }) => {
            let metric = &source.metric;
            let both = selector(metric.selector.as_ref()).and_then(|series| Ok((series, pods.clone()?)));
            both.map(|(series, pods)| Question::custom(Some(namespace), "pods", "*", &metric.name, &pods, &series))
                .map_err(|why| (CUSTOM, why))
        }
        ("Object", MetricSpec { object: Some(source), .. }) => {
            object(client, namespace, source).await.map_err(|why| (CUSTOM, why))
        }
        ("Resource" | "ContainerResource", _) => {
            let question = pods.clone().map(|pods| Question::resource(Some(namespace), "pods", &pods));
            question.map_err(|why| (RESOURCE, why))
        }
        (other, _) => Err((CUSTOM, format!("metrics of type {other} are not known to this version"))),
    };
    formed.unwrap_or_else(|(group, why)| Question::impossible(format!("metric of type {}", metric.type_), group, why))
}

async fn object(client: &Client, namespace: &str, source: &ObjectMetricSource) -> Result<Question, String> {
    let described = &source.described_object;
    let series = selector(source.metric.selector.as_ref())?;
    let (resource, namespaced) = ask::kind_of(client, described.api_version.as_deref(), &described.kind).await?;
    let place = Some(namespace).filter(|_| namespaced);
    let resource =
        if resource.group.is_empty() { resource.plural } else { format!("{}.{}", resource.plural, resource.group) };
    Ok(Question::custom(place, &resource, &described.name, &source.metric.name, "", &series))
}
