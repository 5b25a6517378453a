//! The walk-through that people build their first own metrics server by, with a plugin in the server's place: whatever
//! metric is asked for, the answer is 10.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::eventually,
    plugins::{Plugin, component},
};
use serde_json::{Value, json};

use crate::world::{CUSTOM, CUSTOM_OLD, PATIENCE, World, ensure_words};

const NAMESPACE: &str = "walkthrough";

/// List, raw answer, and `kubectl get hpa` with TARGETS 10/60.
pub(crate) async fn a_metric_that_always_answers_ten(world: &mut World) -> Result<()> {
    always_ten(&["pod_cpu_used_1m", "pod_cpu_used_5m", "container_cpu_used_1m"])?.apply(&world.admin).await?;
    world.create_namespace(NAMESPACE).await?;
    world.kubectl.apply(&workload()).await?;
    eventually("the metrics are in the group's list", PATIENCE, async || {
        for root in [CUSTOM_OLD, CUSTOM] {
            let list = world.kubectl.run(&["get", "--raw", root]).await?;
            ensure_words(&list, &["pods/pod_cpu_used_1m", "pods/pod_cpu_used_5m", "pods/container_cpu_used_1m"])?;
        }
        Ok(())
    })
    .await?;
    eventually("TARGETS is 10/60", PATIENCE, async || {
        let table = world.kubectl.run(&["get", "hpa", "zx-hpa", "--namespace", NAMESPACE, "--no-headers"]).await?;
        let columns: Vec<&str> = table.split_whitespace().collect();
        ensure!(columns.get(1..5) == Some(&["Deployment/zx-hpa", "10/60", "1", "3"]), "{table}");
        Ok(())
    })
    .await
}

/// "pod_aa_100m is not in the list and can be used all the same": what is passed on and answered is right.
pub(crate) async fn an_unlisted_metric_is_served_where_a_claim_covers_it(world: &mut World) -> Result<()> {
    // The very request that the HPA controller's log shows, percent signs and all.
    let path =
        |root: &str| format!("{root}/namespaces/{NAMESPACE}/pods/%2A/pod_aa_100m?labelSelector=app%3Dzx-hpa-test");
    let listed = world.kubectl.run(&["get", "--raw", CUSTOM]).await?;
    ensure!(!listed.contains("pod_aa_100m"), "it is listed: {listed}");
    let pods: Value =
        serde_json::from_str(&world.kubectl.run(&["get", "pods", "--namespace", NAMESPACE, "-o", "json"]).await?)?;
    let mut names: Vec<&str> = pods["items"]
        .as_array()
        .context("no pods")?
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    names.sort_unstable();
    ensure!(!names.is_empty(), "the deployment has no pods");
    for (root, metric) in [
        (CUSTOM_OLD, json!({ "metricName": "pod_aa_100m", "selector": null })),
        (CUSTOM, json!({ "metric": { "name": "pod_aa_100m", "selector": null } })),
    ] {
        let mut list: Value = serde_json::from_str(&world.kubectl.run(&["get", "--raw", &path(root)]).await?)?;
        let items = list["items"].as_array_mut().context("there are no items")?;
        items.sort_by_key(|item| item["describedObject"]["name"].to_string());
        let expected: Vec<Value> = names.iter().map(|name| item(name, &metric)).collect();
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            ensure!(item.remove("timestamp").is_some(), "an item has no timestamp");
            // Core objects are of `/v1` in the Go adapters, by an oversight, and of `v1` elsewhere. Both are read.
            if let Some(object) = item.get_mut("describedObject").and_then(Value::as_object_mut) {
                let version = object.remove("apiVersion").unwrap_or_default();
                ensure!(version == "v1" || version == "/v1", "a pod of {version}");
            }
        }
        ensure!(*items == expected, "{items:?} and not {expected:?}");
        ensure!(
            list["kind"] == "MetricValueList"
                && format!("/apis/{}", list["apiVersion"].as_str().unwrap_or_default()) == root,
            "{list}"
        );
    }
    Ok(())
}

/// A metric that no claim covers is 404, in the words that HPAs show.
pub(crate) async fn an_unknown_metric_is_not_found(world: &mut World) -> Result<()> {
    let path = format!("{CUSTOM}/namespaces/{NAMESPACE}/pods/%2A/nobody_serves_it");
    let message = world.expect_status(&path, 404).await?;
    ensure_words(&message, &["could not find the metric nobody_serves_it for pods"])
}

/// The probe plugin answers any metric with its value; its claim covers names that begin as the walk-through's do.
fn always_ten(listed: &[&str]) -> Result<Plugin> {
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "kind": "PluginConfiguration",
        "serves": { "custom": ["pods/pod_*", "pods/container_*"], "external": [] },
        "config": { "value": "10", "metrics": listed.join(",") },
    });
    Ok(Plugin::new("always-ten", component("probe")?, &configuration))
}

fn item(pod: &str, metric: &Value) -> Value {
    let mut item = json!({ "describedObject": { "kind": "Pod", "namespace": NAMESPACE, "name": pod }, "value": "10" });
    if let (Some(item), Some(metric)) = (item.as_object_mut(), metric.as_object()) {
        item.extend(metric.clone());
    }
    item
}

fn workload() -> String {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "zx-hpa", "namespace": NAMESPACE },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": "zx-hpa-test" } },
            "template": {
                "metadata": { "labels": { "app": "zx-hpa-test" } },
                "spec": { "containers": [{ "name": "main", "image": "nginx" }] },
            },
        },
    });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "zx-hpa", "namespace": NAMESPACE },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "zx-hpa" },
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{ "type": "Pods", "pods": {
                "metric": { "name": "pod_cpu_used_1m" }, "target": { "type": "AverageValue", "averageValue": "60" },
            } }],
        },
    });
    format!("{deployment}\n---\n{autoscaler}")
}
