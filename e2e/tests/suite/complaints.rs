//! What autoscalers have to say of their metrics, from one moment on.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Event};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinHandle;

/// Every complaint of the autoscalers of a namespace from now on: conditions and warning Events.
pub(crate) struct Complaints {
    found: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Complaints {
    pub(crate) async fn watch(admin: &Client, namespace: &str) -> Result<Self> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(admin.clone(), namespace);
        let events = Api::<Event>::namespaced(admin.clone(), namespace);
        // Before the restarts there may have been warnings: an autoscaler that was made before its pods were ready.
        let before = events.list(&Default::default()).await?.items.len();
        let conditions = Arc::clone(&found);
        let warnings = Arc::clone(&found);
        let tasks = [
            tokio::spawn(async move {
                let mut changes =
                    pin!(watcher(autoscalers, watcher::Config::default()).default_backoff().applied_objects());
                while let Some(change) = changes.next().await {
                    let complaints = change.map(|autoscaler| complaints_of(&autoscaler)).unwrap_or_default();
                    conditions.lock().unwrap_or_else(PoisonError::into_inner).extend(complaints);
                }
            }),
            tokio::spawn(async move {
                let changes = watcher(events, watcher::Config::default()).default_backoff().applied_objects();
                let mut changes = pin!(changes.skip(before));
                while let Some(change) = changes.next().await {
                    if let Ok(event) = change
                        && event.type_.as_deref() == Some("Warning")
                    {
                        warnings.lock().unwrap_or_else(PoisonError::into_inner).push(event.message.unwrap_or_default());
                    }
                }
            }),
        ];
        Ok(Self { found, tasks })
    }

    pub(crate) fn found(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn complaints_of(autoscaler: &HorizontalPodAutoscaler) -> Vec<String> {
    let conditions = autoscaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| {
            ["ScalingActive", "AbleToScale"].contains(&condition.type_.as_str()) && condition.status != "True"
        })
        .map(|condition| format!("{}: {}", condition.type_, condition.message.as_deref().unwrap_or_default()))
        .collect()
}
