//! `plugins/prometheus-usage` with its default queries on a real Prometheus, and what kubectl shows of that.

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::eventually,
    plugins::{self, Plugin},
    prometheus::{Cgroup, Prometheus},
};
use serde_json::{Value, json};

use crate::{
    resource::create_node,
    world::{PATIENCE, World, ensure_words},
};

const API: &str = "/apis/metrics.k8s.io/v1beta1";
const NAMESPACE: &str = "scraped";
const NODE: &str = "scraped-1";
/// A dot, which is not just any letter in a query.
const POD: &str = "web.1";

/// The plugin is the API's owner for this case alone.
pub(crate) async fn usage_comes_out_of_a_real_prometheus(world: &mut World) -> Result<()> {
    world.create_namespace(NAMESPACE).await?;
    create_node(world, NODE).await?;
    for name in [POD, "unscraped"] {
        world.kubectl.apply(&pod(name)).await?;
    }
    world.installation.apply(&world.kubectl, &world.installation.resource).await?;
    let prometheus = Prometheus::start(cgroups(), world.control_plane.folder()).await?;
    plugin(prometheus.origin())?.apply(&world.admin).await?;
    pod_comes_and_stays(world, &prometheus).await?;
    eventually("both replicas answer with what is used", PATIENCE, async || values_are_right(world).await).await?;
    eventually("kubectl shows it", PATIENCE, async || kubectl_shows_them(world).await).await?;
    drop(prometheus);
    let message = world.expect_status(&format!("{API}/nodes"), 503).await?;
    ensure_words(&message, &["prometheus-usage"])?;
    world.kubectl.run(&["delete", "-k", &world.installation.resource.display().to_string()]).await?;
    plugins::delete(&world.admin, "prometheus-usage").await?;
    world.kubectl.run(&["delete", "node", NODE]).await?;
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// What cAdvisor of one node shows: beside containers and the node there are cgroups that are neither, and pods of others.
fn cgroups() -> Vec<Cgroup> {
    let cgroup = |labels: String, cores, mebibytes: u64| Cgroup { labels, cores, bytes: mebibytes << 20, brief: false };
    let of_pod = |container: &str, pod: &str, cores, mebibytes| {
        let id = format!("/kubepods/{pod}/{container}");
        let names = format!(r#"namespace="{NAMESPACE}",pod="{pod}",container="{container}""#);
        cgroup(format!(r#"id="{id}",node="{NODE}",{names}"#), cores, mebibytes)
    };
    vec![
        cgroup(format!(r#"id="/",node="{NODE}""#), 1.5, 2048),
        cgroup(format!(r#"id="/kubepods",node="{NODE}""#), 1.0, 1024),
        cgroup(r#"id="/",node="another""#.to_owned(), 3.0, 4096),
        of_pod("main", POD, 0.25, 64),
        of_pod("proxy", POD, 0.05, 16),
        // An init container, whose rate outlives it.
        Cgroup { brief: true, ..of_pod("init", POD, 1.0, 32) },
        // The pod's own cgroup, the pause container of old runtimes, and a pod that only a pattern would take for ours.
        of_pod("", POD, 0.4, 100),
        of_pod("POD", POD, 0.1, 1),
        of_pod("main", "web-1", 2.0, 512),
    ]
}

fn pod(name: &str) -> String {
    let containers = json!([{ "name": "main", "image": "main" }, { "name": "proxy", "image": "proxy" }]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "containers": containers },
    })
    .to_string()
}

/// As README.md of the plugin has it. The window fits the scrapes of each second.
fn plugin(origin: &str) -> Result<Plugin> {
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1",
        "kind": "PluginConfiguration",
        "serves": { "resource": true },
        "egress": [origin],
        "config": { "url": origin, "window": "5s" },
    });
    Ok(Plugin::new("prometheus-usage", plugins::component("prometheus-usage")?, &configuration))
}

/// The pod comes with its init container, and does not go with it.
async fn pod_comes_and_stays(world: &World, prometheus: &Prometheus) -> Result<()> {
    let pods = format!("{API}/namespaces/{NAMESPACE}/pods");
    let containers = async || {
        let list = world.get(&pods).await?.json()?;
        let names = list["items"][0]["containers"].as_array().with_context(|| format!("there is no pod in {list}"))?;
        anyhow::Ok(
            names.iter().map(|container| container["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>(),
        )
    };
    eventually("the pod has three containers", PATIENCE, async || {
        let found = containers().await?;
        ensure!(found == ["init", "main", "proxy"], "{found:?}");
        Ok(())
    })
    .await?;
    prometheus.end_brief();
    let mut missed = None;
    eventually("the pod has two containers", PATIENCE, async || {
        let found = containers().await.inspect_err(|error| missed = Some(error.to_string()))?;
        ensure!(found == ["main", "proxy"], "{found:?}");
        Ok(())
    })
    .await?;
    ensure!(missed.is_none(), "the pod was away for a while: {missed:?}");
    Ok(())
}

async fn values_are_right(world: &World) -> Result<()> {
    for answer in world.get_everywhere(&format!("{API}/namespaces/{NAMESPACE}/pods")).await? {
        ensure!(answer.status.is_success(), "{}", answer.text());
        let list = answer.json()?;
        let pods = list["items"].as_array().context("there are no items")?;
        ensure!(pods.len() == 1 && pods[0]["metadata"]["name"] == POD && pods[0]["window"] == "5s", "{list}");
        let containers = pods[0]["containers"].as_array().context("there are no containers")?;
        ensure!(containers.len() == 2 && containers[0]["name"] == "main" && containers[1]["name"] == "proxy", "{list}");
        ensure_usage(&containers[0]["usage"], 0.25, "64Mi")?;
        ensure_usage(&containers[1]["usage"], 0.05, "16Mi")?;
    }
    for answer in world.get_everywhere(&format!("{API}/nodes/{NODE}")).await? {
        ensure!(answer.status.is_success(), "{}", answer.text());
        ensure_usage(&answer.json()?["usage"], 1.5, "2Gi")?;
    }
    Ok(())
}

/// Memory is exact; CPU is a rate, within a tenth.
fn ensure_usage(usage: &Value, cores: f64, memory: &str) -> Result<()> {
    let cpu = usage["cpu"].as_str().with_context(|| format!("there is no CPU in {usage}"))?;
    ensure!(
        (cores_of(cpu)? / cores - 1.0).abs() < 0.1 && usage["memory"] == memory,
        "{usage} is not {cores}, {memory}"
    );
    Ok(())
}

/// A quantity of cores, which is written in the largest unit that keeps it whole.
fn cores_of(quantity: &str) -> Result<f64> {
    let (number, scale) = [('n', 1e9), ('u', 1e6), ('m', 1e3)]
        .into_iter()
        .find_map(|(unit, scale)| Some((quantity.strip_suffix(unit)?, scale)))
        .unwrap_or((quantity, 1.0));
    Ok(number.parse::<f64>().with_context(|| format!("`{quantity}` is no quantity of cores"))? / scale)
}

async fn kubectl_shows_them(world: &World) -> Result<()> {
    let pods = world.kubectl.run(&["top", "pods", "-n", NAMESPACE, "--no-headers"]).await?;
    ensure_row(&pods, POD, 0.3, &["80Mi"])?;
    let nodes = world.kubectl.run(&["top", "nodes", "--no-headers"]).await?;
    // 2 of 8 GiB.
    ensure_row(&nodes, NODE, 1.5, &["2048Mi", "25%"])
}

/// kubectl printed one row: a name, CPU within a tenth, and these in the end.
fn ensure_row(printed: &str, name: &str, cores: f64, ends: &[&str]) -> Result<()> {
    let row: Vec<&str> = printed.split_whitespace().collect();
    ensure!(printed.lines().count() == 1 && row.first() == Some(&name) && row.ends_with(ends), "{printed}");
    let cpu = cores_of(row.get(1).context("there is no CPU")?)?;
    ensure!((cpu / cores - 1.0).abs() < 0.1, "{cpu} is not {cores}: {printed}");
    Ok(())
}
