//! The value cache, from the API server's end: what a backend is spared, and what is answered when it is gone.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::{
    eventually::eventually,
    plugins::{self, Plugin, component},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    backends::Backend,
    request_log::logs,
    world::{EXTERNAL, PATIENCE, World, values_of},
};

const REQUESTS: usize = 1_000;
/// As many as kube-apiserver lets through at once with room for everybody else (`--max-requests-inflight`, 400).
const PARALLEL: usize = 100;
const TTL_SECONDS: u64 = 5;

/// A thousand requests through the real aggregator, as of a thousand autoscalers on one metric.
pub(crate) async fn a_thousand_requests_cost_one_backend_request_a_ttl(world: &mut World) -> Result<()> {
    let backend = Backend::start().await?;
    let values = json!({ "cache": { "ttl": format!("{TTL_SECONDS}s") } });
    plugin("thousand", &backend.origin, &values)?.apply(&world.admin).await?;
    let path = format!("{EXTERNAL}/namespaces/default/thousand_depth");
    world.expect_values(&path, &["42", "2500m"]).await?;
    let (before, began) = (backend.count(), Instant::now());
    stream::iter(0..REQUESTS)
        .map(|_| async {
            let answer = world.get(&path).await?;
            ensure!(values_of(&answer)? == ["42", "2500m"], "{}", answer.text());
            anyhow::Ok(())
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await?;
    let (calls, took) = (backend.count() - before, began.elapsed());
    let each = usize::try_from(took.as_secs() / TTL_SECONDS)? + 1;
    let most = each * world.adapter.replicas().len();
    ensure!(calls <= most, "{calls} backend requests in {took:.1?}, where a ttl of {TTL_SECONDS} s allows {most}");
    world.figures.push(format!("{REQUESTS} requests for one metric in {took:.1?}: {calls} backend requests"));
    plugins::delete(&world.admin, "thousand").await
}

/// First the last values, then the owner's fallback, then the failure in the backend's name; each is in the request log.
pub(crate) async fn a_dead_backend_is_covered_for_a_time_and_told(world: &mut World) -> Result<()> {
    let backend = Backend::start().await?;
    let values = json!({
        "cache": { "ttl": "1s", "staleFor": "5s" },
        "onError": { "fallback": { "value": "5", "afterFailures": 2, "for": "10s" } },
    });
    plugin("mortal", &backend.origin, &values)?.apply(&world.admin).await?;
    let path = format!("{EXTERNAL}/namespaces/default/mortal_depth");
    world.expect_values(&path, &["42", "2500m"]).await?;
    drop(backend);
    eventually("nobody answers with values any more", PATIENCE, async || {
        // Until then each answer is one of the two: an error here would be one that nothing stood in for.
        let values = values_of(&world.get(&path).await?)?;
        ensure!(values == ["42", "2500m"] || values == ["5"], "{values:?}");
        ensure!(values == ["5"], "still stale");
        Ok(())
    })
    .await?;
    let message = world.expect_status(&path, 503).await?;
    ensure!(message.contains("plugin wasm-metrics-adapter/mortal: "), "{message}");
    eventually("the log tells what stood in", PATIENCE, async || {
        let logs = logs(world)?;
        for cache in ["miss", "stale", "fallback"] {
            let told = |line: &str| line.contains("mortal_depth") && line.contains(&format!(r#"cache="{cache}""#));
            ensure!(logs.lines().any(told), "no line of a request says {cache}");
        }
        ensure!(logs.contains("its fallback is answered from now on"), "nobody says that the fallback began");
        Ok(())
    })
    .await?;
    plugins::delete(&world.admin, "mortal").await
}

/// `plugins/http-json` with these sections of plugin.yaml.
fn plugin(name: &str, origin: &str, values: &Value) -> Result<Plugin> {
    let mut configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": [format!("{name}_depth")] },
        "egress": [origin],
        "config": { "metrics": [{
            "name": format!("{name}_depth"), "type": "external", "url": format!("{origin}/api/queues"),
            "items": "$.queues[*]", "value": "$.messages", "labels": { "queue": "$.name" },
        }] },
    });
    if let (Some(all), Some(values)) = (configuration.as_object_mut(), values.as_object()) {
        all.extend(values.clone());
    }
    Ok(Plugin::new(name, component("http-json")?, &configuration))
}
