//! Starting, restarting, and what must go on meanwhile.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{eventually::eventually, plugins};
use futures::StreamExt as _;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Event};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinHandle;

use crate::world::{EXTERNAL, PATIENCE, World, values_of};

/// Ready means: the plugins that were there first are loaded. So the first answer after it is a value.
pub(crate) async fn replicas_become_ready_with_the_plugins_that_are_there(world: &mut World) -> Result<()> {
    world.apply_static("early", &["early_bird 1"], &[]).await?;
    for number in 0..world.adapter.replicas().len() {
        let took = world.adapter.start(number).await?;
        world
            .figures
            .push(format!("replica {number}: start to ready with one plugin and a cold compile cache: {took:.0?}"));
        let replica = world.adapter.replicas().get(number).context("it was started")?;
        let values = values_of(&replica.get(&format!("{EXTERNAL}/namespaces/default/early_bird")).await?)?;
        ensure!(values == ["1"], "{values:?}");
    }
    Ok(())
}

/// An adapter whose discovery fails would block the deletion of every namespace of the cluster.
pub(crate) async fn namespaces_are_deleted_while_the_adapter_runs(world: &mut World) -> Result<()> {
    world.create_namespace("short-lived").await?;
    world
        .kubectl
        .run(&["create", "deployment", "web", "--image=web", "--replicas=2", "--namespace=short-lived"])
        .await?;
    world.kubectl.run(&["delete", "namespace", "short-lived", "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// Each replica ends by SIGTERM and comes back, while autoscalers ask every second: no condition and no event tells.
pub(crate) async fn a_restart_of_either_replica_goes_unnoticed(world: &mut World) -> Result<()> {
    world.create_namespace("restarts").await?;
    world.apply_static("restarts", &["restart_depth 20"], &["pods/*/restart_rate 10"]).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/restarts/restart_depth"), &["20"]).await?;
    world.kubectl.apply(WORKLOAD).await?;
    eventually("the autoscaler is satisfied", PATIENCE, async || {
        let autoscaler = Api::<HorizontalPodAutoscaler>::namespaced(world.admin.clone(), "restarts").get("web").await?;
        let replicas = autoscaler.status.as_ref().and_then(|status| status.current_replicas);
        ensure!(replicas == Some(2) && complaints_of(&autoscaler).is_empty(), "{:?}", autoscaler.status);
        Ok(())
    })
    .await?;
    let complaints = Complaints::watch(&world.admin, "restarts").await?;
    for replica in 0..world.adapter.replicas().len() {
        let before = world.adapter.connections(1 - replica);
        world.adapter.stop(replica).await?;
        eventually("the aggregator has gone over to the other replica", PATIENCE, async || {
            let answer = world.get(&format!("{EXTERNAL}/namespaces/restarts/restart_depth")).await?;
            ensure!(values_of(&answer)? == ["20"], "{}", answer.text());
            Ok(())
        })
        .await?;
        let syncs = three_syncs(&world.admin).await?;
        let took = world.adapter.start(replica).await?;
        let moved = world.adapter.connections(1 - replica) - before;
        world.figures.push(format!("replica {replica}: start to ready with a warm compile cache: {took:.0?} ({moved} connections moved over, {syncs} autoscaler syncs meanwhile)"));
    }
    three_syncs(&world.admin).await?;
    let found = complaints.found();
    ensure!(found.is_empty(), "the autoscalers noticed: {found:#?}");
    plugins::delete(&world.admin, "restarts").await
}

/// Waits for the HPA controller to have asked three times more, by the spec that each sync compares with.
async fn three_syncs(admin: &Client) -> Result<usize> {
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(admin.clone(), "restarts");
    let mut seen = 0;
    for target in ["11", "12", "10"] {
        let patch = serde_json::json!([{ "op": "replace", "path": "/spec/metrics/0/external/target/averageValue", "value": target }]);
        let patch: kube::api::Patch<HorizontalPodAutoscaler> = kube::api::Patch::Json(serde_json::from_value(patch)?);
        let generation = autoscalers.patch("web", &Default::default(), &patch).await?.metadata.generation;
        eventually("the controller has seen the change", PATIENCE, async || {
            let autoscaler = autoscalers.get("web").await?;
            ensure!(autoscaler.status.and_then(|status| status.observed_generation) >= generation, "not yet");
            Ok(())
        })
        .await?;
        seen += 1;
    }
    Ok(seen)
}

/// Every complaint of the autoscalers of a namespace from now on: conditions and warning Events.
struct Complaints {
    found: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Complaints {
    async fn watch(admin: &Client, namespace: &str) -> Result<Self> {
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

    fn found(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn complaints_of(autoscaler: &HorizontalPodAutoscaler) -> Vec<String> {
    let conditions = autoscaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| {
            ["ScalingActive", "AbleToScale"].contains(&condition.type_.as_str()) && condition.status != "True"
        })
        .map(|condition| format!("{}: {}", condition.type_, condition.message.as_deref().unwrap_or_default()))
        .collect()
}

const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: restarts }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: main, image: web }] }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, namespace: restarts }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  minReplicas: 2
  maxReplicas: 5
  metrics:
    - type: External
      external: { metric: { name: restart_depth }, target: { type: AverageValue, averageValue: "10" } }
    - type: Pods
      pods: { metric: { name: restart_rate }, target: { type: AverageValue, averageValue: "10" } }
"#;
