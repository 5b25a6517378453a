//! What kubectl and the aggregator see of the adapter's API groups.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{eventually::eventually, installation::API_SERVICES, requests};
use serde_json::{Value, json};

use crate::world::{CUSTOM, CUSTOM_OLD, EXTERNAL, World, ensure_words, text};

const LINES: ([&str; 2], [&str; 4]) = (
    [r#"seen_depth{queue="orders"} 42"#, r#"seen_depth{queue="mail"} 7"#],
    ["pods/*/seen_requests 10", "services/front/seen_rate 2500m", "nodes/n1/seen_load 3", "namespaces/*/seen_orders 5"],
);

/// `kubectl get apiservice` shows them available, and each says why.
pub(crate) async fn api_services_are_available(world: &mut World) -> Result<()> {
    let table = world.kubectl.run(&["get", "apiservice"]).await?;
    for name in API_SERVICES {
        let row =
            table.lines().find(|row| row.starts_with(name)).with_context(|| format!("{name} is not in {table}"))?;
        let columns: Vec<&str> = row.split_whitespace().collect();
        ensure!(columns.get(1..3) == Some(&["wasm-metrics-adapter/wasm-metrics-adapter", "True"]), "{row}");
        let object: Value =
            serde_json::from_str(&world.kubectl.run(&["get", "apiservice", name, "-o", "json"]).await?)?;
        let conditions = object["status"]["conditions"].as_array().context("there are no conditions")?;
        let available =
            conditions.iter().find(|condition| condition["type"] == "Available").context("not a word of Available")?;
        ensure!(available["reason"] == "Passed" && available["message"] == "all checks passed", "{available}");
    }
    Ok(())
}

/// `kubectl api-versions`, the groups as kube-apiserver tells them, and each version's resources as the adapter does.
pub(crate) async fn groups_and_resources_are_listed(world: &mut World) -> Result<()> {
    world.apply_static("seen", &LINES.0, &LINES.1).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/default/seen_depth"), &["42", "7"]).await?;
    let versions = world.kubectl.run(&["api-versions"]).await?;
    for version in ["custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"]
    {
        ensure!(versions.lines().any(|line| line == version), "{version} is not in {versions}");
    }
    let group = world.get("/apis/custom.metrics.k8s.io").await?.json()?;
    ensure!(group["kind"] == "APIGroup" && group["preferredVersion"]["version"] == "v1beta2", "{group}");
    let listed = |name: &str, kind: &str, namespaced: bool| json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"] });
    for root in [CUSTOM, CUSTOM_OLD] {
        for (name, namespaced) in
            [("pods/seen_requests", true), ("services/seen_rate", true), ("nodes/seen_load", false)]
        {
            ensure_listed(world, root, &listed(name, "MetricValueList", namespaced)).await?;
        }
    }
    ensure_listed(world, EXTERNAL, &listed("seen_depth", "ExternalMetricValueList", true)).await
}

async fn ensure_listed(world: &World, root: &str, resource: &Value) -> Result<()> {
    for answer in world.get_everywhere(root).await? {
        let list = answer.json()?;
        ensure!(
            list["kind"] == "APIResourceList" && format!("/apis/{}", text(&list, "/groupVersion")?) == root,
            "{list}"
        );
        let resources = list["resources"].as_array().context("there are no resources")?;
        ensure!(resources.contains(resource), "{resource} is not in {list}");
    }
    Ok(())
}

/// `kubectl api-resources` shows external metrics: the Go adapters' empty aggregated list hides them.
pub(crate) async fn api_resources_shows_external_metrics(world: &mut World) -> Result<()> {
    // The aggregator fetches a Service's list once a minute, when the first of its APIServices is due. Another one that is due a
    // moment before that takes the list that is there, and so is a minute behind (handler_discovery.go of kube-aggregator).
    let within = Duration::from_secs(150);
    eventually("kubectl api-resources shows the metric", within, async || {
        let arguments = ["api-resources", "--api-group=external.metrics.k8s.io", "--cached=false", "--no-headers"];
        let table = world.kubectl.run(&arguments).await?;
        let row =
            table.lines().find(|row| row.starts_with("seen_depth")).with_context(|| format!("not in {table:?}"))?;
        ensure_words(row, &["external.metrics.k8s.io/v1beta1", "true"])
    })
    .await?;
    // The aggregated list as a whole: custom metrics are subresources of what they describe.
    let accept = [("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    eventually("the aggregated list shows the custom metric", within, async || {
        let groups = requests::get_with(&world.admin, "/apis", &accept).await?.json()?;
        let items = groups["items"].as_array().context("there are no groups")?;
        let custom = items.iter().find(|group| group["metadata"]["name"] == "custom.metrics.k8s.io");
        let custom = custom.context("the custom group is not there")?.to_string();
        ensure_words(&custom, &[r#""subresource":"seen_requests""#, r#""freshness":"Current""#])
    })
    .await
}

/// One kube-apiserver talks to one replica, another to the other: they must not disagree.
pub(crate) async fn replicas_answer_byte_for_byte_alike(world: &mut World) -> Result<()> {
    let [first, second] = world.adapter.replicas() else { anyhow::bail!("there are two replicas") };
    for path in ["/apis", "/apis/custom.metrics.k8s.io", CUSTOM, CUSTOM_OLD, EXTERNAL, "/openapi/v2", "/openapi/v3"] {
        let (one, other) = (first.get(path).await?, second.get(path).await?);
        ensure!(one.status == other.status, "{path}: {} and {}", one.status, other.status);
        ensure!(one.bytes() == other.bytes(), "{path} differs: {} and {}", one.text(), other.text());
    }
    Ok(())
}

/// "There is no redirect: it is a reverse proxy", and the answer is the whole object that HPAs read.
pub(crate) async fn a_raw_answer_is_proxied_and_not_redirected(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/seen_depth?labelSelector=queue%3Dorders");
    let answer = world.get(&path).await?;
    ensure!(answer.status == 200 && !answer.headers.contains_key("location"), "{} {:?}", answer.status, answer.headers);
    ensure!(!answer.headers.contains_key("retry-after"), "client-go would sleep inside an HPA worker");
    let mut list: Value = serde_json::from_str(&world.kubectl.run(&["get", "--raw", &path]).await?)?;
    let time = list.pointer_mut("/items/0/timestamp").context("there is no timestamp")?.take();
    ensure!(
        time.as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')),
        "{time} is not in whole seconds, UTC"
    );
    let expected = json!({
        "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
        "items": [{ "metricName": "seen_depth", "metricLabels": { "queue": "orders" }, "timestamp": null, "value": "42" }],
    });
    ensure!(list == expected, "{list}");
    Ok(())
}

/// A named object, `*` with a selector, an object without a namespace, and the namespace itself; in both versions.
pub(crate) async fn objects_are_addressed_in_each_form(world: &mut World) -> Result<()> {
    world.create_namespace("forms").await?;
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--replicas=2", "--namespace=forms"]).await?;
    world.kubectl.run(&["create", "service", "clusterip", "front", "--tcp=80", "--namespace=forms"]).await?;
    world.kubectl.apply(r#"{ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } }"#).await?;
    for root in [CUSTOM, CUSTOM_OLD] {
        world
            .expect_values(
                &format!("{root}/namespaces/forms/pods/*/seen_requests?labelSelector=app%3Dweb"),
                &["10", "10"],
            )
            .await?;
        world
            .expect_values(
                &format!("{root}/namespaces/forms/pods/%2A/seen_requests?labelSelector=app+in+%28none%29"),
                &[],
            )
            .await?;
        world.expect_values(&format!("{root}/namespaces/forms/services/front/seen_rate"), &["2500m"]).await?;
        world.expect_values(&format!("{root}/nodes/n1/seen_load"), &["3"]).await?;
        world.expect_values(&format!("{root}/namespaces/forms/metrics/seen_orders"), &["5"]).await?;
    }
    let described = world.get(&format!("{CUSTOM}/namespaces/forms/services/front/seen_rate")).await?.json()?;
    let object = described.pointer("/items/0/describedObject").context("there is no described object")?;
    ensure!(object["kind"] == "Service" && object["namespace"] == "forms" && object["name"] == "front", "{object}");
    world.kubectl.run(&["delete", "node", "n1"]).await?;
    Ok(())
}

/// Probes need no credential; Prometheus needs a right.
pub(crate) async fn health_and_version_answer(world: &mut World) -> Result<()> {
    for replica in world.adapter.replicas() {
        for path in ["/healthz", "/livez", "/readyz"] {
            let answer = replica.get_anonymously(path, &[]).await?;
            ensure!(answer.status == 200, "{path} answered {}: {}", answer.status, answer.text());
        }
        let version = replica.get("/version").await?;
        ensure!(version.status == 200, "/version answered {}: {}", version.status, version.text());
        let refused = replica.get_anonymously("/metrics", &[]).await?;
        ensure!(refused.status == 403, "/metrics answered {} to anybody", refused.status);
        let metrics = replica.get("/metrics").await?;
        ensure!(metrics.status == 200 && metrics.text().contains("# TYPE "), "/metrics answered {}", metrics.status);
    }
    Ok(())
}
