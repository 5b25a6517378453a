//! Metrics that fail: the autoscaler's owner reads why, and the cluster is not filled with Events about it.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::eventually,
    plugins::{self, Plugin, component},
};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, ensure_words, text};

const NAMESPACE: &str = "failing";

/// Autoscaler, kind of metric, settings of the plugin, and what its owner reads.
const FAILURES: [(&str, &str, &str, &str); 6] = [
    (
        "backend",
        "External",
        r#"{ "behaviour": "fails", "message": "the queue server is down" }"#,
        "the queue server is down",
    ),
    ("unknown", "External", r#"{ "behaviour": "lies" }"#, "the server could not find the metric failing_unknown"),
    (
        "trap",
        "External",
        r#"{ "behaviour": "traps" }"#,
        "the plugin stopped with a trap (wasm trap: wasm `unreachable` instruction executed)",
    ),
    ("nan", "External", r#"{ "behaviour": "nan" }"#, "NaN is not a number that Kubernetes can carry"),
    (
        "cpu",
        "External",
        r#"{ "behaviour": "spins" }"#,
        "used more than 50ms of CPU time for one request; make it do less, or raise limits.cpu",
    ),
    ("object", "Pods", r#"{ "behaviour": "wrong-object" }"#, "it has two values for one object"),
];

/// Each text is in `kubectl describe hpa`, names the plugin, and stays the same: the Event of a failure is counted up, and never
/// becomes a second one.
pub(crate) async fn an_autoscaler_says_why_and_its_event_is_counted_up(world: &mut World) -> Result<()> {
    world.create_namespace(NAMESPACE).await?;
    for (name, kind, config, _) in FAILURES {
        world.kubectl.apply(&deployment(name).to_string()).await?;
        plugin(name, kind, config)?.apply(&world.admin).await?;
        world.kubectl.apply(&autoscaler(name, kind).to_string()).await?;
    }
    for (name, kind, _, words) in FAILURES {
        let of_plugin = format!("plugin wasm-metrics-adapter/failing-{name}: ");
        let described = eventually(&format!("autoscaler {name} says why"), PATIENCE, async || {
            let described = world.kubectl.run(&["describe", "hpa", name, "--namespace", NAMESPACE]).await?;
            ensure_words(&described, &["ScalingActive", "False", &of_plugin, words]).map(|()| described)
        })
        .await?;
        ensure!(!described.contains("Retry-After"), "{described}");
        let reason = format!("FailedGet{kind}Metric");
        let event = eventually(&format!("autoscaler {name} has failed four times"), PATIENCE, async || {
            let events = events(world, name, &reason, words).await?;
            let counted = |event: &Value| event["count"].as_u64().unwrap_or(1);
            ensure!(events.iter().map(counted).sum::<u64>() >= 4, "{events:#?}");
            ensure!(events.len() == 1, "{} Events tell of one failure: {events:#?}", events.len());
            events.into_iter().next().context("there is one")
        })
        .await?;
        ensure_words(text(&event, "/message")?, &[&of_plugin, words])?;
    }
    for (name, ..) in FAILURES {
        plugins::delete(&world.admin, &format!("failing-{name}")).await?;
    }
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// The Events about an autoscaler of one reason. Before its plugin was loaded the metric failed for another cause.
async fn events(world: &World, autoscaler: &str, reason: &str, words: &str) -> Result<Vec<Value>> {
    let filter = format!("--field-selector=involvedObject.name={autoscaler},reason={reason}");
    let printed = world.kubectl.run(&["get", "events", "--namespace", NAMESPACE, &filter, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    let events = list["items"].as_array().cloned().context("there are no items")?;
    Ok(events.into_iter().filter(|event| text(event, "/message").is_ok_and(|text| text.contains(words))).collect())
}

fn plugin(name: &str, kind: &str, config: &str) -> Result<Plugin> {
    let metric = format!("failing_{name}");
    let serves =
        if kind == "Pods" { json!({ "custom": [format!("pods/{metric}")] }) } else { json!({ "external": [metric] }) };
    let mut config: Value = serde_json::from_str(config)?;
    config["metrics"] = json!(metric);
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "kind": "PluginConfiguration",
        "serves": serves,
        "limits": { "cpu": "50ms" },
        "config": config,
    });
    Ok(Plugin::new(&format!("failing-{name}"), component("probe")?, &configuration))
}

/// Two pods, so that a Pods metric can have two values for one object.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "main" }] },
            },
        },
    })
}

fn autoscaler(name: &str, kind: &str) -> Value {
    let field = kind.to_lowercase();
    let metric = json!({
        "type": kind,
        field: { "metric": { "name": format!("failing_{name}") }, "target": { "type": "AverageValue", "averageValue": "1" } },
    });
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "minReplicas": 1, "maxReplicas": 3, "metrics": [metric],
        },
    })
}
