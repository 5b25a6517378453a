//! Changes of custom resource definitions, so that a kind is known when it can be used, and forgotten when it is gone.

use std::{collections::HashMap, pin::pin, time::Duration};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::time::{Instant, MissedTickBehavior};

use super::{DiscoveredKinds, watch::patiently};

/// The API server takes a moment to serve what a definition says, and to cease: so long its group is looked at again and again.
const SETTLING: Duration = Duration::from_secs(5);
/// How often.
const LOOK: Duration = Duration::from_millis(500);

type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// Keeps `kinds` in step with custom resource definitions, for ever. Watches their metadata alone: the name of a definition is
/// `PLURAL.GROUP` (validation of k8s.io/apiextensions-apiserver).
pub(super) async fn follow(client: Client, kinds: &DiscoveredKinds) {
    let definitions: Api<Definition> = Api::all(client);
    let mut events = pin!(patiently(watcher(definitions, watcher::Config::default())));
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settling = HashMap::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(definition) | Event::Delete(definition))) => {
                    settling.extend(group(&definition).map(|group| (group, Instant::now())));
                }
                // Between the last watch and this one anything may have changed.
                Some(Ok(Event::InitDone)) => kinds.refresh().await,
                Some(Ok(Event::Init | Event::InitApply(_))) => {}
                Some(Err(error)) => warn(&error),
                None => return,
            },
            _ = looks.tick(), if !settling.is_empty() => {
                settling.retain(|_, changed| changed.elapsed() < SETTLING);
                for group in settling.keys() {
                    kinds.refresh_group(group).await;
                }
            }
        }
    }
}

fn group(definition: &Definition) -> Option<String> {
    let name = definition.name_any();
    name.split_once('.').map(|(_, group)| group.to_owned())
}

/// Without the watch nothing is wrong but late: what is missing is still asked for when it is needed.
fn warn(error: &watcher::Error) {
    tracing::warn!(
        %error,
        "custom resource definitions can't be watched, so that changes of their kinds are seen late; the adapter's ClusterRole must let it list and watch `customresourcedefinitions.apiextensions.k8s.io`"
    );
}
