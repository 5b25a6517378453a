//! `wasm-metrics-adapter:plugin@0.1`: its bindings, and conversion between its words and the model's. Nothing else.

mod said;
mod usage;

use std::time::Duration;

use wasmtime::{
    Engine, Store,
    component::{HasSelf, InstancePre, Linker},
};

use super::{Answer, Exports, Question};
use crate::{
    model,
    model::{CustomQuery, ExternalQuery, FetchError, ObjectSelection, UnixMillis},
    runtime::{fault::Fault, store::CallState},
};

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "plugin",
        imports: {
            "wasm-metrics-adapter:plugin/http": async | trappable,
            "wasm-metrics-adapter:plugin/objects": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

use bindings::{
    exports::wasm_metrics_adapter::plugin::{custom_metrics, external_metrics, resource_metrics, settings},
    wasm_metrics_adapter::plugin::types,
};

/// Offers the package's imports to guests.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    use bindings::wasm_metrics_adapter::plugin::{config, http, log, objects, state};
    config::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    http::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    objects::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    state::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// A component of this track, with the exports that it has.
#[derive(Clone)]
pub(in crate::runtime) struct Plugin {
    instance: InstancePre<CallState>,
    custom: Option<custom_metrics::GuestIndices>,
    external: Option<external_metrics::GuestIndices>,
    resource: Option<resource_metrics::GuestIndices>,
    settings: Option<settings::GuestIndices>,
}

impl Plugin {
    pub(super) fn new(instance: InstancePre<CallState>) -> Self {
        Self {
            custom: custom_metrics::GuestIndices::new(&instance).ok(),
            external: external_metrics::GuestIndices::new(&instance).ok(),
            resource: resource_metrics::GuestIndices::new(&instance).ok(),
            settings: settings::GuestIndices::new(&instance).ok(),
            instance,
        }
    }

    pub(super) fn exports(&self) -> Exports {
        Exports {
            custom: self.custom.is_some(),
            external: self.external.is_some(),
            resource: self.resource.is_some(),
            settings: self.settings.is_some(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        self.instance.engine()
    }

    pub(super) async fn ask(&self, store: &mut Store<CallState>, question: Question) -> wasmtime::Result<Answer> {
        let missing =
            |interface: &str| wasmtime::Error::from(Fault::Host(format!("the component does not export {interface}")));
        let instance = self.instance.instantiate_async(&mut *store).await?;
        match question {
            Question::Validate => {
                let guest = self.settings.as_ref().ok_or_else(|| missing("settings"))?.load(&mut *store, &instance)?;
                let outcome = guest.call_validate(&mut *store).await?;
                Ok(Answer::Valid(outcome.map_err(|reported| failure(&reported))))
            }
            Question::ListCustom => {
                let guest =
                    self.custom.as_ref().ok_or_else(|| missing("custom-metrics"))?.load(&mut *store, &instance)?;
                let outcome = guest.call_list_metrics(&mut *store).await?;
                Ok(Answer::CustomList(collect(outcome, |metric| Ok(custom_metric(metric)))?))
            }
            Question::ListExternal => {
                let guest =
                    self.external.as_ref().ok_or_else(|| missing("external-metrics"))?.load(&mut *store, &instance)?;
                let outcome = guest.call_list_metrics(&mut *store).await?;
                Ok(Answer::ExternalList(collect(outcome, |name| Ok(model::MetricName::new(name)))?))
            }
            Question::Custom(query) => {
                let guest =
                    self.custom.as_ref().ok_or_else(|| missing("custom-metrics"))?.load(&mut *store, &instance)?;
                ask_custom(&guest, store, &query).await
            }
            Question::External(ExternalQuery { namespace, metric, series }) => {
                let guest =
                    self.external.as_ref().ok_or_else(|| missing("external-metrics"))?.load(&mut *store, &instance)?;
                let outcome = guest.call_get(&mut *store, &namespace, metric.as_str(), &selector(&series)).await?;
                said::external(store.data(), &outcome);
                Ok(Answer::External(collect(outcome, |sample| external_sample(sample, metric.as_str()))?))
            }
            Question::Pods(pods) => {
                let guest =
                    self.resource.as_ref().ok_or_else(|| missing("resource-metrics"))?.load(&mut *store, &instance)?;
                let outcome =
                    guest.call_pods(&mut *store, &pods.into_iter().map(usage::pod_ref).collect::<Vec<_>>()).await?;
                said::pods(store.data(), &outcome);
                Ok(Answer::Pods(collect(outcome, usage::pod)?))
            }
            Question::Nodes(names) => {
                let guest =
                    self.resource.as_ref().ok_or_else(|| missing("resource-metrics"))?.load(&mut *store, &instance)?;
                let outcome = guest.call_nodes(&mut *store, &names).await?;
                said::nodes(store.data(), &outcome);
                Ok(Answer::Nodes(collect(outcome, usage::node)?))
            }
        }
    }
}

async fn ask_custom(
    guest: &custom_metrics::Guest,
    store: &mut Store<CallState>,
    query: &CustomQuery,
) -> wasmtime::Result<Answer> {
    let metric = custom_metrics::Metric {
        resource: types::GroupResource {
            group: query.metric.resource.group.clone(),
            name: query.metric.resource.name.clone(),
        },
        name: query.metric.name.as_str().to_owned(),
    };
    let namespace = query.namespace.as_deref();
    let series = selector(&query.series);
    let samples = match &query.objects {
        ObjectSelection::Named(object) => {
            let outcome = guest.call_get_by_name(&mut *store, &metric, namespace, object, &series).await?;
            outcome.map(|sample| vec![sample])
        }
        ObjectSelection::Selected(objects) => {
            guest.call_get_by_selector(&mut *store, &metric, namespace, &selector(objects), &series).await?
        }
    };
    said::custom(store.data(), &samples);
    Ok(Answer::Custom(collect(samples, |sample| custom_sample(sample, &metric.name))?))
}

/// Converts each item of a good answer; an item that can't be converted ends the call.
fn collect<From, To>(
    outcome: Result<Vec<From>, types::Failure>,
    convert: impl FnMut(From) -> Result<To, Fault>,
) -> wasmtime::Result<Result<Vec<To>, FetchError>> {
    match outcome {
        Ok(items) => Ok(Ok(items.into_iter().map(convert).collect::<Result<_, _>>()?)),
        Err(reported) => Ok(Err(failure(&reported))),
    }
}

fn custom_metric(metric: custom_metrics::Metric) -> Result<model::CustomMetric, model::InvalidMetricName> {
    let resource = model::GroupResource { group: metric.resource.group, name: metric.resource.name };
    Ok(model::CustomMetric { resource, name: model::MetricName::new(metric.name)? })
}

fn custom_sample(sample: custom_metrics::Sample, metric: &str) -> Result<model::CustomSample, Fault> {
    let value = quantity(sample.value).map_err(|error| {
        Fault::Nonsense(format!("the value of {metric} for {}: {error}", printable(&sample.object)))
    })?;
    Ok(model::CustomSample {
        object: sample.object,
        value,
        timestamp: timestamp(sample.timestamp),
        window: window(sample.window_ms),
    })
}

fn external_sample(sample: external_metrics::Sample, metric: &str) -> Result<model::ExternalSample, Fault> {
    let value = quantity(sample.value).map_err(|error| Fault::Nonsense(format!("a value of {metric}: {error}")))?;
    let mut labels: Vec<_> = sample.labels.into_iter().map(|label| (label.key, label.value)).collect();
    labels.sort();
    if let Some(key) = labels.windows(2).find_map(|pair| match pair {
        [(first, _), (second, _)] if first == second => Some(first.as_str()),
        _ => None,
    }) {
        return Err(Fault::Nonsense(format!("a series of {metric} has the label {} twice", printable(key))));
    }
    Ok(model::ExternalSample {
        labels,
        value,
        timestamp: timestamp(sample.timestamp),
        window: window(sample.window_ms),
    })
}

fn quantity(number: types::Number) -> Result<model::Quantity, model::InvalidQuantity> {
    match number {
        types::Number::Integer(value) => Ok(model::Quantity::integer(value)),
        types::Number::Float(value) => model::Quantity::float(value),
        types::Number::Exact(exact) => Ok(model::Quantity::decimal(exact.digits, exact.exponent)),
    }
}

fn timestamp(millis: Option<u64>) -> UnixMillis {
    millis.map_or_else(UnixMillis::now, UnixMillis)
}

fn window(millis: Option<u32>) -> Option<Duration> {
    millis.map(|millis| Duration::from_millis(millis.into()))
}

fn printable(text: &str) -> String {
    crate::runtime::log::one_line(text)
}

/// A selector in the guest's words.
fn selector(selector: &model::Selector) -> Vec<types::Requirement> {
    let operator = |operator| match operator {
        model::Operator::In => types::Operator::In,
        model::Operator::NotIn => types::Operator::NotIn,
        model::Operator::Exists => types::Operator::Exists,
        model::Operator::DoesNotExist => types::Operator::DoesNotExist,
        model::Operator::GreaterThan => types::Operator::GreaterThan,
        model::Operator::LessThan => types::Operator::LessThan,
    };
    let requirement = |requirement: &model::Requirement| types::Requirement {
        key: requirement.key.clone(),
        operator: operator(requirement.operator),
        values: requirement.values.clone(),
    };
    selector.requirements().iter().map(requirement).collect()
}

/// A selector in the model's words; one that no client could have sent is an error for the guest.
pub(super) fn model_selector(requirements: Vec<types::Requirement>) -> Result<model::Selector, model::InvalidSelector> {
    let operator = |operator| match operator {
        types::Operator::In => model::Operator::In,
        types::Operator::NotIn => model::Operator::NotIn,
        types::Operator::Exists => model::Operator::Exists,
        types::Operator::DoesNotExist => model::Operator::DoesNotExist,
        types::Operator::GreaterThan => model::Operator::GreaterThan,
        types::Operator::LessThan => model::Operator::LessThan,
    };
    let requirement = |requirement: types::Requirement| model::Requirement {
        key: requirement.key,
        operator: operator(requirement.operator),
        values: requirement.values,
    };
    model::Selector::new(requirements.into_iter().map(requirement).collect())
}

/// A guest's failure in the model's words.
fn failure(failure: &types::Failure) -> FetchError {
    let reason = match failure.reason {
        types::Reason::MetricNotFound => model::Reason::MetricNotFound,
        types::Reason::ObjectNotFound => model::Reason::ObjectNotFound,
        types::Reason::BadRequest => model::Reason::BadRequest,
        types::Reason::RateLimited => model::Reason::RateLimited,
        types::Reason::Unavailable => model::Reason::Unavailable,
        types::Reason::Unauthorized => model::Reason::Unauthorized,
        types::Reason::Timeout => model::Reason::Timeout,
        types::Reason::Internal => model::Reason::Internal,
    };
    FetchError {
        reason,
        plugin: None,
        message: printable(&failure.message),
        retry_after: failure.retry_after_ms.map(|millis| Duration::from_millis(millis.into())),
        cache: model::CacheState::None,
    }
}

/// The host's failure in the guest's words, for the imports that fail as exports do.
pub(super) fn guest_failure(error: FetchError) -> types::Failure {
    let reason = match error.reason {
        model::Reason::MetricNotFound => types::Reason::MetricNotFound,
        model::Reason::ObjectNotFound => types::Reason::ObjectNotFound,
        model::Reason::BadRequest => types::Reason::BadRequest,
        model::Reason::RateLimited | model::Reason::Overloaded => types::Reason::RateLimited,
        model::Reason::Unavailable | model::Reason::Loading => types::Reason::Unavailable,
        model::Reason::Unauthorized => types::Reason::Unauthorized,
        model::Reason::Timeout => types::Reason::Timeout,
        model::Reason::Internal => types::Reason::Internal,
    };
    let retry_after_ms = error.retry_after.map(|delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
    types::Failure { reason, message: error.message, retry_after_ms }
}
