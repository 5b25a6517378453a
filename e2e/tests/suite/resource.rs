//! metrics.k8s.io from a plugin: what `kubectl top` shows and what the HPA controller scales on, without metrics-server. The
//! cases build on each other: taken over, used, given back.

use anyhow::{Result, ensure};
use e2e::{
    eventually::eventually,
    plugins::{self, Plugin},
};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, ensure_words};

const API: &str = "/apis/metrics.k8s.io/v1beta1";
const API_SERVICE: &str = "v1beta1.metrics.k8s.io";
const NAMESPACE: &str = "measured";

/// The fixture `usage`: every container of a pod uses so much CPU, and 64 MiB.
fn usage(name: &str, cpu: &str, priority: i32) -> Result<Plugin> {
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "kind": "PluginConfiguration",
        "serves": { "resource": true, "priority": priority },
        "config": { "cpu": cpu, "nodeCpu": "1500m", "nodeMemory": "2Gi" },
    });
    Ok(Plugin::new(name, plugins::component("usage")?, &configuration))
}

/// The API is there as soon as it is registered, and tells the operator what to do.
pub(crate) async fn taken_over_without_a_plugin_it_says_what_is_missing(world: &mut World) -> Result<()> {
    world.installation.apply(&world.kubectl, &world.installation.resource).await?;
    world.kubectl.run(&["wait", "--for=condition=Available", "--timeout=60s", "apiservice", API_SERVICE]).await?;
    let message = world.expect_status(&format!("{API}/nodes"), 503).await?;
    ensure_words(&message, &["no plugin serves metrics.k8s.io", "serves.resource: true"])?;
    eventually("kubectl top passes it on", PATIENCE, async || {
        let printed = world.kubectl.attempt(&["top", "nodes"]).await?;
        ensure!(!printed.success, "{}", printed.stdout);
        ensure_words(&printed.stderr, &["no plugin serves metrics.k8s.io"])
    })
    .await
}

/// What a person sees.
pub(crate) async fn top_shows_pods_containers_and_nodes(world: &mut World) -> Result<()> {
    world.create_namespace(NAMESPACE).await?;
    world.kubectl.apply(&deployment("web", 2)).await?;
    world.kubectl.apply(&deployment("db", 1)).await?;
    for name in ["n1", "n2"] {
        create_node(world, name).await?;
    }
    usage("usage", "120m", 0)?.apply(&world.admin).await?;
    eventually("kubectl top shows every running pod", PATIENCE, async || {
        let all = world.kubectl.run(&["top", "pods", "--all-namespaces", "--no-headers"]).await?;
        let ours = all.lines().filter(|line| line.starts_with(NAMESPACE)).collect::<Vec<_>>();
        ensure!(ours.len() == 3 && ours.iter().all(|line| line.contains("120m") && line.contains("64Mi")), "{all}");
        Ok(())
    })
    .await?;
    let web =
        world.kubectl.run(&["top", "pods", "-n", NAMESPACE, "-l", "app=web", "--containers", "--no-headers"]).await?;
    ensure!(
        web.lines().count() == 2 && web.lines().all(|line| line.contains("main") && line.contains("120m")),
        "{web}"
    );
    let nodes = world.kubectl.run(&["top", "nodes", "--no-headers"]).await?;
    let first = nodes.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    // 1500m of 4 cores, 2 of 8 GiB.
    ensure!(first == ["n1", "1500m", "37%", "2048Mi", "25%"] && nodes.lines().count() == 2, "{nodes}");
    let table = world.kubectl.run(&["get", "pods.metrics.k8s.io", "-n", NAMESPACE, "-l", "app=db"]).await?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines.len() == 2 && lines[0] == ["NAME", "CPU", "MEMORY", "WINDOW"], "{table}");
    ensure!(lines[1][0].starts_with("db-") && lines[1][1..] == ["120m", "64Mi", "15s"], "{table}");
    let listed = world.kubectl.run(&["get", "pods.metrics.k8s.io", "-n", NAMESPACE, "-o", "json"]).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    ensure!(listed["items"][0]["containers"][0]["usage"]["memory"] == "64Mi", "{listed}");
    let one = world.kubectl.attempt(&["get", "--raw", &format!("{API}/namespaces/{NAMESPACE}/pods/nobody")]).await?;
    ensure_words(&one.stderr, &[r#"pods "nobody" not found"#])?;
    viewers_see_pods(world).await
}

/// Whoever may view the namespace, by the role of Kubernetes itself; nobody else.
async fn viewers_see_pods(world: &World) -> Result<()> {
    world
        .kubectl
        .run(&["create", "rolebinding", "viewer", "--clusterrole=view", "--user=viewer", "-n", NAMESPACE])
        .await?;
    eventually("a viewer may read metrics of pods", PATIENCE, async || {
        let pods = format!("pods.metrics.k8s.io -n {NAMESPACE} --as=viewer");
        world.kubectl.run(&[&["auth", "can-i", "list"], pods.split(' ').collect::<Vec<_>>().as_slice()].concat()).await
    })
    .await?;
    let viewed = world.kubectl.run(&["top", "pods", "-n", NAMESPACE, "--as=viewer"]).await?;
    ensure_words(&viewed, &["web-", "120m"])?;
    let refused = world.kubectl.attempt(&["top", "nodes", "--as=viewer"]).await?;
    ensure!(!refused.success && refused.stderr.contains("forbidden"), "{}{}", refused.stdout, refused.stderr);
    Ok(())
}

/// The main job of metrics.k8s.io: 50% of a request of 200m is the target, and the plugin says what is used.
pub(crate) async fn an_autoscaler_follows_cpu_utilisation(world: &mut World) -> Result<()> {
    world.kubectl.apply(&autoscaler()).await?;
    // 120m of 200m is 60% at 2 pods: 60/50 * 2 = 2.4, so 3; there as many again: 3.6, so 4; 4.8, so 5 at most.
    expect_replicas(world, 5).await?;
    usage("usage", "20m", 0)?.apply(&world.admin).await?;
    expect_replicas(world, 1).await?;
    let described = world.kubectl.run(&["describe", "hpa", "web", "-n", NAMESPACE]).await?;
    ensure_words(&described, &["resource cpu on pods", "10% (20m) / 50%", "ScalingActive", "ValidMetricFound"])
}

/// Of two plugins that claim the API the one with the higher priority answers; the owner of the other one reads why it does not,
/// and the owner of a plugin that could answer but claims nothing, what to set.
pub(crate) async fn a_conflict_and_a_missing_claim_are_told(world: &mut World) -> Result<()> {
    usage("usage-too", "70m", 1)?.apply(&world.admin).await?;
    eventually("the higher priority answers, and the loser is told", PATIENCE, async || {
        let pods = world.kubectl.run(&["top", "pods", "-n", NAMESPACE, "--no-headers"]).await?;
        ensure!(pods.lines().all(|line| line.contains("70m")), "{pods}");
        let events = world.kubectl.run(&["get", "events", "-n", e2e::ADAPTER_NAMESPACE]).await?;
        ensure_words(&events, &["resource metrics is answered by wasm-metrics-adapter/usage-too"])
    })
    .await?;
    plugins::delete(&world.admin, "usage-too").await?;
    let mut unclaimed = usage("usage-unclaimed", "1", 0)?;
    unclaimed.yaml = unclaimed.yaml.replace(r#""resource":true"#, r#""resource":false"#);
    unclaimed.apply(&world.admin).await?;
    eventually("the owner of a plugin without a claim is told what to set", PATIENCE, async || {
        let events = world.kubectl.run(&["get", "events", "-n", e2e::ADAPTER_NAMESPACE]).await?;
        ensure_words(&events, &["configmap/usage-unclaimed", "set `serves.resource: true`"])
    })
    .await?;
    plugins::delete(&world.admin, "usage-unclaimed").await
}

/// The way back of docs/operations.md.
pub(crate) async fn given_back_it_is_nobodys(world: &mut World) -> Result<()> {
    world.kubectl.run(&["delete", "-k", &world.installation.resource.display().to_string()]).await?;
    plugins::delete(&world.admin, "usage").await?;
    eventually("there is no such API", PATIENCE, async || {
        let printed = world.kubectl.attempt(&["top", "nodes"]).await?;
        ensure!(!printed.success && printed.stderr.contains("Metrics API not available"), "{}", printed.stderr);
        Ok(())
    })
    .await?;
    world.kubectl.run(&["delete", "node", "n1", "n2"]).await?;
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

async fn expect_replicas(world: &World, count: u64) -> Result<()> {
    eventually(&format!("the deployment is scaled to {count}"), PATIENCE * 2, async || {
        let printed = world.kubectl.run(&["get", "deployment", "web", "-n", NAMESPACE, "-o", "json"]).await?;
        let deployment: Value = serde_json::from_str(&printed)?;
        ensure!(deployment["status"]["readyReplicas"] == count, "{}", deployment["status"]);
        Ok(())
    })
    .await
}

fn deployment(name: &str, replicas: u32) -> String {
    let container = json!({ "name": "main", "image": name, "resources": { "requests": { "cpu": "200m" } } });
    let pod = json!({ "metadata": { "labels": { "app": name } }, "spec": { "containers": [container] } });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": pod },
    })
    .to_string()
}

fn autoscaler() -> String {
    let cpu = json!({ "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } });
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": {
            "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5,
            "metrics": [{ "type": "Resource", "resource": cpu }],
        },
    })
    .to_string()
}

/// A node of 4 cores and 8 GiB, which says that it is ready.
pub(crate) async fn create_node(world: &World, name: &str) -> Result<()> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    world.kubectl.apply(&node.to_string()).await?;
    let size = json!({ "cpu": "4", "memory": "8Gi" });
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" }]);
    let status = json!({ "status": { "capacity": size, "allocatable": size, "conditions": ready } }).to_string();
    let patch = ["patch", "node", name, "--subresource=status", "--type=merge", "--patch", &status];
    world.kubectl.run(&patch).await?;
    Ok(())
}
