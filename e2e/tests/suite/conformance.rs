//! Rows of the wire contract in which ours is better than the Go adapters, so that [`crate::peer`] cannot compare them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::{eventually, throughout},
    plugins::{self, Plugin, component},
    requests::Answer,
};
use serde_json::{Value, json};

use crate::world::{CUSTOM, CUSTOM_OLD, EXTERNAL, PATIENCE, World, text};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The Go library answers 500 to a metricLabelSelector that does not parse; it is the client's mistake, as a labelSelector is.
pub(crate) async fn a_bad_series_selector_is_the_clients_mistake(world: &mut World) -> Result<()> {
    world.apply_static("conformance", &["conformance_depth 1"], &[r#"pods/*/conformance_rate{verb="GET"} 1"#]).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/default/conformance_depth"), &["1"]).await?;
    for selector in ["%3Dx", "a%3Db%3Dc", "a+in+(b", "!!a"] {
        for root in [CUSTOM, CUSTOM_OLD] {
            let path = format!("{root}/namespaces/default/pods/*/conformance_rate");
            let objects = world.expect_status(&format!("{path}?labelSelector={selector}"), 400).await?;
            let series = world.expect_status(&format!("{path}?metricLabelSelector={selector}"), 400).await?;
            ensure!(objects == series, "{objects:?} and {series:?}");
        }
    }
    Ok(())
}

/// The Go library answers 500 to `!=`, because it cannot say it in the answer's `selector`; as `NotIn` it can be said.
pub(crate) async fn a_series_selector_may_say_not_equal(world: &mut World) -> Result<()> {
    world.create_namespace("conformance").await?;
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--namespace=conformance"]).await?;
    for (root, selector) in [(CUSTOM, "/items/0/metric/selector"), (CUSTOM_OLD, "/items/0/selector")] {
        let path = format!("{root}/namespaces/conformance/pods/*/conformance_rate?metricLabelSelector=verb!%3DPUT");
        world.expect_values(&path, &["1"]).await?;
        let list = world.get(&path).await?.json()?;
        let expected = json!({ "matchExpressions": [{ "key": "verb", "operator": "NotIn", "values": ["PUT"] }] });
        ensure!(list.pointer(selector) == Some(&expected), "{list}");
    }
    world.kubectl.run(&["delete", "namespace", "conformance", "--wait=false"]).await?;
    Ok(())
}

/// client-go sleeps inside an HPA worker when it is told to come back later, up to ten times.
pub(crate) async fn no_failure_asks_the_client_to_wait(world: &mut World) -> Result<()> {
    Plugin::new("dead-backend", component("http-json")?, &dead_backend()?).apply(&world.admin).await?;
    let dead = format!("{EXTERNAL}/namespaces/default/dead_depth");
    world.expect_status(&dead, 503).await?;
    let paths = [
        (dead.clone(), 503),
        (format!("{EXTERNAL}/namespaces/default/nobody_has_it"), 404),
        (format!("{EXTERNAL}/namespaces/default/conformance_depth?watch=true"), 405),
        (format!("{EXTERNAL}/namespaces/default/conformance_depth?labelSelector=%3D"), 400),
        (format!("{CUSTOM}/namespaces/default/pods/nobody/nobody_has_it"), 404),
    ];
    for (path, code) in &paths {
        for answer in world.get_everywhere(path).await? {
            ensure!(answer.status == *code, "{path} answered {}: {}", answer.status, answer.text());
            ensure!(!answer.headers.contains_key("retry-after"), "{path}: {:?}", answer.headers);
            ensure!(answer.json()?.pointer("/details/retryAfterSeconds").is_none(), "{path}: {}", answer.text());
        }
    }
    // A backend that stays down is no reason to change the words: they are in the autoscaler's condition, and each change is an event.
    let words = eventually("it has loaded and fails alike everywhere", PATIENCE, async || {
        let answers = world.get_everywhere(&dead).await?;
        let words = answers.first().map(Answer::text).unwrap_or_default();
        ensure!(words.contains("refused") && answers.iter().all(|answer| answer.text() == words), "{words}");
        Ok(words)
    })
    .await?;
    throughout("the message is the same", Duration::from_secs(2), async || {
        for answer in world.get_everywhere(&dead).await? {
            ensure!(answer.text() == words, "{} and {words}", answer.text());
        }
        Ok(())
    })
    .await?;
    plugins::delete(&world.admin, "dead-backend").await
}

/// The Go adapters' aggregated list is empty. Ours has both versions, the new one first, and is told apart by its ETag.
pub(crate) async fn the_aggregated_list_is_whole_and_conditional(world: &mut World) -> Result<()> {
    let [first, second] = world.adapter.replicas() else { anyhow::bail!("there are two replicas") };
    let ask = async |replica: &e2e::adapter::Replica, etag: &str| -> Result<Answer> {
        let headers = [("Accept", AGGREGATED), ("If-None-Match", etag)];
        replica.get_with("/apis", &headers).await
    };
    // What cases before withdrew, each replica withdraws in its own time: the list may change between any two questions.
    let one = eventually("the replicas tell the same, and nothing anew", PATIENCE, async || {
        let (one, other) = (ask(first, "").await?, ask(second, "").await?);
        ensure!(one.status == 200 && one.bytes() == other.bytes(), "{} and {}", one.text(), other.text());
        let etag = one.headers.get("etag").context("it has an ETag")?.to_str()?.to_owned();
        ensure!(other.headers.get("etag").is_some_and(|other| *other == etag), "{:?}", other.headers);
        for replica in [first, second] {
            let again = ask(replica, &etag).await?;
            ensure!(again.status == 304 && again.bytes().is_empty(), "{}: {}", again.status, again.text());
        }
        Ok(one)
    })
    .await?;
    let list = one.json()?;
    let groups = list["items"].as_array().context("it has groups")?;
    let names = groups.iter().map(|group| text(group, "/metadata/name")).collect::<Result<Vec<_>>>()?;
    for group in ["custom.metrics.k8s.io", "external.metrics.k8s.io"] {
        ensure!(names.contains(&group), "{group} is not among {names:?}");
    }
    let custom = groups.iter().find(|group| group["metadata"]["name"] == "custom.metrics.k8s.io");
    let versions = custom.and_then(|group| group["versions"].as_array()).context("it has versions")?;
    ensure!(versions.len() == 2 && versions[0]["version"] == "v1beta2", "{versions:?}");
    for version in versions {
        let resources = version["resources"].as_array().context("it has resources")?;
        let pods = resources.iter().find(|resource| resource["resource"] == "pods").context("pods are there")?;
        ensure!(pods["verbs"] == json!([]) && pods["scope"] == "Namespaced", "{pods}");
        let rate = pods["subresources"].as_array().into_iter().flatten();
        let rate = rate.filter(|subresource| subresource["subresource"] == "conformance_rate").collect::<Vec<&Value>>();
        ensure!(rate.len() == 1 && rate.iter().all(|rate| rate["verbs"] == json!(["get"])), "{pods}");
    }
    plugins::delete(&world.admin, "conformance").await
}

/// A backend on a port where nobody listens.
fn dead_backend() -> Result<Value> {
    let [port] = e2e::control_plane::free_ports()?;
    let origin = format!("http://127.0.0.1:{port}");
    Ok(json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["dead_depth"] },
        "egress": [origin],
        "config": { "metrics": [{ "name": "dead_depth", "type": "external", "url": format!("{origin}/"), "value": "$.value" }] },
    }))
}
