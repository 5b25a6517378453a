//! Starting, restarting, and what must go on meanwhile.

use anyhow::{Context as _, Result, ensure};
use e2e::{eventually::eventually, plugins};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{Api, Client};

use crate::{
    complaints::{Complaints, complaints_of},
    world::{EXTERNAL, PATIENCE, World, values_of},
};

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
    world.apply_static("restarts", &["restarts_depth 20"], &["pods/*/restarts_rate 10"]).await?;
    let complaints = satisfied_autoscaler(world, "restarts").await?;
    for replica in 0..world.adapter.replicas().len() {
        let before = world.adapter.connections(1 - replica);
        world.adapter.stop(replica).await?;
        eventually("the aggregator has gone over to the other replica", PATIENCE, async || {
            let answer = world.get(&format!("{EXTERNAL}/namespaces/restarts/restarts_depth")).await?;
            ensure!(values_of(&answer)? == ["20"], "{}", answer.text());
            Ok(())
        })
        .await?;
        let syncs = three_syncs(&world.admin, "restarts").await?;
        let took = world.adapter.start(replica).await?;
        let moved = world.adapter.connections(1 - replica) - before;
        world.figures.push(format!("replica {replica}: start to ready with a warm compile cache: {took:.0?} ({moved} connections moved over, {syncs} autoscaler syncs meanwhile)"));
    }
    three_syncs(&world.admin, "restarts").await?;
    let found = complaints.found();
    ensure!(found.is_empty(), "the autoscalers noticed: {found:#?}");
    plugins::delete(&world.admin, "restarts").await
}

/// A Deployment of two pods in a namespace of its own, with an autoscaler on `NAMESPACE_depth`, which is 20, and
/// `pods/NAMESPACE_rate`, which is 10: it wants these two, and has nothing to complain of from now on.
pub(crate) async fn satisfied_autoscaler(world: &World, namespace: &str) -> Result<Complaints> {
    world.create_namespace(namespace).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/{namespace}/{namespace}_depth"), &["20"]).await?;
    world.kubectl.apply(&WORKLOAD.replace("restarts", namespace)).await?;
    eventually("the autoscaler is satisfied", PATIENCE, async || {
        let autoscaler = Api::<HorizontalPodAutoscaler>::namespaced(world.admin.clone(), namespace).get("web").await?;
        let replicas = autoscaler.status.as_ref().and_then(|status| status.current_replicas);
        ensure!(replicas == Some(2) && complaints_of(&autoscaler).is_empty(), "{:?}", autoscaler.status);
        Ok(())
    })
    .await?;
    Complaints::watch(&world.admin, namespace).await
}

/// Waits for the HPA controller to have asked three times more, by the spec that each sync compares with.
pub(crate) async fn three_syncs(admin: &Client, namespace: &str) -> Result<usize> {
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(admin.clone(), namespace);
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
      external: { metric: { name: restarts_depth }, target: { type: AverageValue, averageValue: "10" } }
    - type: Pods
      pods: { metric: { name: restarts_rate }, target: { type: AverageValue, averageValue: "10" } }
"#;
