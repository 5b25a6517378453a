//! The control plane before the adapter is there: what the other cases build on is true.

use anyhow::{Result, ensure};
use e2e::eventually::eventually;
use serde_json::Value;

use crate::world::{PATIENCE, World, ensure_words};

/// Deployments make pods, and the stand-in kubelet makes them ready.
pub(crate) async fn controllers_run_and_pods_become_ready(world: &mut World) -> Result<()> {
    world.create_namespace("alone").await?;
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--replicas=3", "--namespace=alone"]).await?;
    eventually("three pods are ready", PATIENCE, async || {
        let deployment = world.kubectl.run(&["get", "deployment", "web", "--namespace=alone", "-o", "json"]).await?;
        let deployment: Value = serde_json::from_str(&deployment)?;
        ensure!(deployment["status"]["readyReplicas"] == 3, "{}", deployment["status"]);
        Ok(())
    })
    .await
}

/// The HPA controller asks for external metrics, and there is nobody to answer.
pub(crate) async fn an_autoscaler_without_a_metrics_api_says_so(world: &mut World) -> Result<()> {
    let manifest = r#"{
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web", "namespace": "alone" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 5,
            "metrics": [{ "type": "External", "external": {
                "metric": { "name": "nobody_has_it" }, "target": { "type": "AverageValue", "averageValue": "1" }
            } }]
        }
    }"#;
    world.kubectl.apply(manifest).await?;
    eventually("the autoscaler has a reason", PATIENCE, async || {
        let words = world.kubectl.run(&["describe", "hpa", "web", "--namespace=alone"]).await?;
        ensure_words(&words, &["ScalingActive", "False", "FailedGetExternalMetric"])
    })
    .await?;
    world.kubectl.run(&["delete", "namespace", "alone", "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}
