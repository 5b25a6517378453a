//! What stands in for nodes: every pod that a controller makes is said to run and to be ready at once. Pods have no node,
//! so deleting one needs nobody's confirmation. The adapter's own pods are left pending: the harness runs its replicas.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::ADAPTER_NAMESPACE;

/// The running stand-in; stops when dropped.
#[derive(Debug)]
pub struct Kubelet {
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Watches all pods of the cluster and starts each that is pending.
    #[must_use]
    pub fn start(client: Client) -> Self {
        Self { task: tokio::spawn(run(client)) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(client: Client) {
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff().applied_objects();
    // A pod that vanished meanwhile, or a watch that broke and is taken up again, is no failure of a kubelet.
    let mut pods = pods.into_stream().filter_map(async |pod| pod.ok()).boxed();
    while let Some(pod) = pods.next().await {
        if is_pending(&pod) {
            let _ = run_pod(&client, &pod).await;
        }
    }
}

fn is_pending(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending") == "Pending"
        && pod.metadata.deletion_timestamp.is_none()
        && pod.namespace().as_deref() != Some(ADAPTER_NAMESPACE)
}

async fn run_pod(client: &Client, pod: &Pod) -> Result<()> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = json!({ "status": {
        "phase": "Running", "startTime": now, "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }],
        "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }],
    }});
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
