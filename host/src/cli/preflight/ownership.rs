//! Who serves each metrics API: the APIService objects, read one by one, so that no right to list them is needed.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, ServiceReference};
use kube::{Api, Client};
use serde::Serialize;

use super::Installation;
use crate::cli::cluster::cause;

/// The group that selectors of Pods and Object metrics lead to.
pub(in crate::cli) const CUSTOM: &str = "custom.metrics.k8s.io";
/// The group of External metrics.
pub(in crate::cli) const EXTERNAL: &str = "external.metrics.k8s.io";
/// The group of Resource metrics and of `kubectl top`. No overlay takes it by itself.
pub(in crate::cli) const RESOURCE: &str = "metrics.k8s.io";

/// Each API, as version and group; its APIService is named `version.group`.
const APIS: [(&str, &str); 4] =
    [("v1beta1", CUSTOM), ("v1beta2", CUSTOM), ("v1beta1", EXTERNAL), ("v1beta1", RESOURCE)];

/// One API and who serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiService {
    /// As in `v1beta1.external.metrics.k8s.io`.
    pub name: String,
    /// As in `external.metrics.k8s.io`.
    pub group: &'static str,
    /// Who serves it.
    pub owner: Owner,
    /// Whether it answers; absent where nobody serves it.
    pub state: Option<State>,
}

/// Who serves an API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Owner {
    /// There is no APIService.
    Nobody,
    /// This adapter's Service.
    ThisAdapter,
    /// Another Service.
    Other {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API server itself, by an APIService without a Service.
    ApiServer,
}

/// The condition `Available` of an APIService.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether the API server can reach it.
    pub available: bool,
    /// Why not, as in `FailedDiscoveryCheck: ...`; empty while it is available.
    pub reason: String,
}

/// Reads every APIService; one that can't be read is told in `unanswered` and left out.
pub(in crate::cli) async fn ask(
    client: &Client,
    installation: &Installation,
    unanswered: &mut Vec<String>,
) -> Vec<ApiService> {
    let objects = Api::<APIService>::all(client.clone());
    let mut answers = Vec::with_capacity(APIS.len());
    for (version, group) in APIS {
        let name = format!("{version}.{group}");
        match objects.get_opt(&name).await {
            Ok(object) => {
                let owner = object.as_ref().map_or(Owner::Nobody, |object| owner(object, installation));
                answers.push(ApiService { name, group, owner, state: object.as_ref().map(state) });
            }
            Err(error) => unanswered.push(format!("who serves {name}: {}", cause(&error))),
        }
    }
    answers
}

fn owner(object: &APIService, installation: &Installation) -> Owner {
    let Some(ServiceReference { namespace, name, .. }) = object.spec.as_ref().and_then(|spec| spec.service.clone())
    else {
        return Owner::ApiServer;
    };
    let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
    if namespace == installation.namespace && name == installation.service {
        Owner::ThisAdapter
    } else {
        Owner::Other { namespace, name }
    }
}

fn state(object: &APIService) -> State {
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Available") {
        Some(condition) if condition.status == "True" => State { available: true, reason: String::new() },
        Some(condition) => {
            let words = [condition.reason.as_deref(), condition.message.as_deref()];
            State { available: false, reason: words.into_iter().flatten().collect::<Vec<_>>().join(": ") }
        }
        None => State { available: false, reason: "the API server has not checked it yet".to_owned() },
    }
}
