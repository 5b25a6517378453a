//! The main job: real HorizontalPodAutoscalers scale real Deployments on metrics that come from plugins.

use anyhow::{Context as _, Result, ensure};
use e2e::{eventually::eventually, plugins, programs};
use serde_json::Value;

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

const EXAMPLE: &str = "wasm-metrics-adapter-example";

/// The examples of `deploy/` as they are: one Deployment each on an External, a Pods and an Object metric.
pub(crate) async fn the_examples_scale_three_deployments_and_follow(world: &mut World) -> Result<()> {
    let examples = world.installation.deploy.join("examples");
    std::fs::copy(programs::guest("static")?, examples.join("plugin/plugin.wasm"))?;
    for example in ["plugin", "workloads"] {
        world.kubectl.run(&["apply", "--server-side", "-k", &examples.join(example).display().to_string()]).await?;
    }
    // 10 of 60 requests a pod; 2.5 requests a second at 1 each; 42 orders at 10 each would be 5 pods, but one step may lead
    // from 1 pod to 4, and there 42 of 40 is within the controller's tolerance of a tenth.
    expect_replicas(world, &[("worker", 4), ("web", 1), ("front", 3)]).await?;
    change(world, "orders\"} 42", "orders\"} 95").await?;
    change(world, "http_requests 10", "http_requests 120").await?;
    change(world, "requests_per_second 2500m", "requests_per_second 7").await?;
    // A Pods metric of twice the target doubles the pods again and again, up to maxReplicas.
    expect_replicas(world, &[("worker", 10), ("web", 10), ("front", 7)]).await?;
    change(world, "orders\"} 95", "orders\"} 0").await?;
    change(world, "http_requests 120", "http_requests 1").await?;
    change(world, "requests_per_second 7", "requests_per_second 1500m").await?;
    expect_replicas(world, &[("worker", 1), ("web", 1), ("front", 2)]).await?;
    for autoscaler in autoscalers(world).await? {
        ensure!(condition(&autoscaler, "ScalingActive")? == "True", "{}", autoscaler["status"]);
    }
    Ok(())
}

/// client-go lower-cases external names: the autoscaler that says `Upper_Depth` asks for `upper_depth`.
pub(crate) async fn an_external_name_is_found_in_any_case(world: &mut World) -> Result<()> {
    world.apply_static("upper", &["Upper_Depth 30"], &[]).await?;
    for name in ["upper_depth", "Upper_Depth"] {
        world.expect_values(&format!("{EXTERNAL}/namespaces/{EXAMPLE}/{name}"), &["30"]).await?;
    }
    let metric =
        r#"[{ "op": "replace", "path": "/spec/metrics/0/external/metric", "value": { "name": "Upper_Depth" } }]"#;
    world.kubectl.run(&["patch", "hpa", "worker", "--namespace", EXAMPLE, "--type=json", "--patch", metric]).await?;
    expect_replicas(world, &[("worker", 3)]).await
}

/// A plugin that is gone is a metric that is gone: the autoscaler says so and leaves the Deployment alone.
pub(crate) async fn a_metric_that_vanishes_stops_the_autoscaler_with_a_reason(world: &mut World) -> Result<()> {
    plugins::delete(&world.admin, "upper").await?;
    eventually("the autoscaler has a reason", PATIENCE, async || {
        let words = world.kubectl.run(&["describe", "hpa", "worker", "--namespace", EXAMPLE]).await?;
        ensure_words(&words, &["FailedGetExternalMetric", "upper_depth"])
    })
    .await?;
    expect_replicas(world, &[("worker", 3)]).await?;
    let metric = r#"[{ "op": "replace", "path": "/spec/metrics/0/external/metric", "value": { "name": "queue_depth", "selector": { "matchLabels": { "queue": "mail" } } } }]"#;
    world.kubectl.run(&["patch", "hpa", "worker", "--namespace", EXAMPLE, "--type=json", "--patch", metric]).await?;
    expect_replicas(world, &[("worker", 1)]).await?;
    world.kubectl.run(&["delete", "namespace", EXAMPLE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// Waits until the Deployments have so many pods, all of them ready.
async fn expect_replicas(world: &World, expected: &[(&str, u64)]) -> Result<()> {
    let what = format!("the deployments are scaled to {expected:?}");
    eventually(&what, PATIENCE * 2, async || {
        for (name, count) in expected {
            let printed = world.kubectl.run(&["get", "deployment", name, "--namespace", EXAMPLE, "-o", "json"]).await?;
            let deployment: Value = serde_json::from_str(&printed)?;
            let (wanted, ready) = (&deployment["spec"]["replicas"], &deployment["status"]["readyReplicas"]);
            ensure!(wanted == count && ready == count, "{name} has {wanted} replicas, {ready} of them ready");
        }
        Ok(())
    })
    .await
}

/// Changes a piece of the example's plugin.yaml, as `kubectl edit` would.
async fn change(world: &World, from: &str, to: &str) -> Result<()> {
    let config_map = plugins::config_maps(&world.admin).get("example").await?;
    let yaml = config_map.data.as_ref().and_then(|data| data.get("plugin.yaml")).context("there is no plugin.yaml")?;
    ensure!(yaml.contains(from), "`{from}` is not in the example: {yaml}");
    let patch = serde_json::json!({ "data": { "plugin.yaml": yaml.replace(from, to) } }).to_string();
    let namespace = format!("--namespace={}", e2e::ADAPTER_NAMESPACE);
    world.kubectl.run(&["patch", "configmap", "example", &namespace, "--type=merge", "--patch", &patch]).await?;
    Ok(())
}

async fn autoscalers(world: &World) -> Result<Vec<Value>> {
    let list: Value =
        serde_json::from_str(&world.kubectl.run(&["get", "hpa", "--namespace", EXAMPLE, "-o", "json"]).await?)?;
    list["items"].as_array().cloned().context("there are no autoscalers")
}

fn condition<'a>(autoscaler: &'a Value, kind: &str) -> Result<&'a str> {
    let conditions = autoscaler["status"]["conditions"].as_array().context("there are no conditions")?;
    let found = conditions.iter().find(|condition| condition["type"] == kind).context("the condition is not there")?;
    found["status"].as_str().context("the condition has no status")
}
