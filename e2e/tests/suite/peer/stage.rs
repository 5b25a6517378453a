//! Equal metrics for both adapters: what the Go sample knows by itself and what is written into it, and a `static` plugin with the
//! same lines.

use anyhow::Result;
use e2e::{peer::TestAdapter, plugins};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::world::{CUSTOM, EXTERNAL, World};

/// Where all described objects are.
pub(super) const NAMESPACE: &str = "peer";

/// External metrics of the Go sample, which are fixed in its code.
const EXTERNAL_LINES: [&str; 3] =
    [r#"my-external-metric{foo="bar"} 42"#, r#"my-external-metric{foo="baz"} 43"#, "other-external-metric 44"];

/// Path, labels of the series, quantity.
const VALUES: [(&str, &str, &str); 16] = [
    ("namespaces/peer/pods/a/peer_packets", "", "10"),
    ("namespaces/peer/pods/b/peer_packets", "", "2500m"),
    ("namespaces/peer/pods/a/peer_labelled", "verb=GET", "3"),
    ("namespaces/peer/pods/b/peer_labelled", "verb=POST", "4"),
    ("namespaces/peer/pods/a/peer_binary", "", "1536Mi"),
    ("namespaces/peer/pods/b/peer_binary", "", "1Ki"),
    ("namespaces/peer/pods/a/peer_exponent", "", "15e3"),
    ("namespaces/peer/pods/b/peer_exponent", "", "1E"),
    ("namespaces/peer/pods/a/peer_small", "", "100n"),
    ("namespaces/peer/pods/b/peer_small", "", "-1500u"),
    ("namespaces/peer/pods/a/Peer|odd:Name@x", "", "0"),
    ("namespaces/peer/services/front/peer_rate", "", "1000"),
    ("namespaces/peer/services/front/peer_labelled", "verb=GET,code=200", "5"),
    ("namespaces/peer/deployments.apps/web/peer_rps", "", "7"),
    ("nodes/peer-node/peer_load", "", "300m"),
    ("namespaces/peer/metrics/peer_orders", "", "12"),
];

/// So many replica sets with names as long as they may be are more than the 128 KiB from which on answers are compressed.
const MANY: usize = 300;

/// Objects, the plugin, the Go adapter, and its values.
pub(super) async fn set(world: &World) -> Result<TestAdapter> {
    world.create_namespace(NAMESPACE).await?;
    world.kubectl.apply(&objects().to_string()).await?;
    let values = values();
    let custom: Vec<String> = values.iter().map(static_line).collect();
    let custom: Vec<&str> = custom.iter().map(String::as_str).collect();
    world.apply_static("peer", &EXTERNAL_LINES, &custom).await?;
    let peer = TestAdapter::start(&world.control_plane).await?;
    let writes = values.iter().map(|(path, labels, quantity)| peer.write(path, labels, quantity));
    stream::iter(writes).buffer_unordered(16).try_collect::<Vec<()>>().await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/{NAMESPACE}/my-external-metric"), &["42", "43"]).await?;
    world.expect_values(&format!("{CUSTOM}/namespaces/{NAMESPACE}/pods/*/peer_packets"), &["10", "2500m"]).await?;
    Ok(peer)
}

/// Leaves nothing behind for the other cases.
pub(super) async fn clear(world: &World) -> Result<()> {
    plugins::delete(&world.admin, "peer").await?;
    world.kubectl.run(&["delete", "node", "peer-node"]).await?;
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=false"]).await?;
    Ok(())
}

fn values() -> Vec<(String, &'static str, &'static str)> {
    let few = VALUES.map(|(path, labels, quantity)| (path.to_owned(), labels, quantity));
    let many =
        (0..MANY).map(|number| (format!("namespaces/peer/replicasets.apps/{}/peer_many", many(number)), "", "1"));
    few.into_iter().chain(many).collect()
}

/// `namespaces/peer/pods/a/rate` is `pods/a/rate` of the plugin, for every namespace.
fn static_line((path, labels, quantity): &(String, &str, &str)) -> String {
    let pairs: Vec<String> = labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    let path = match path.strip_prefix("namespaces/peer/") {
        Some(rest) => match rest.strip_prefix("metrics/") {
            Some(metric) => format!("namespaces/{NAMESPACE}/{metric}"),
            None => rest.to_owned(),
        },
        None => path.clone(),
    };
    format!("{path}{labels} {quantity}")
}

fn many(number: usize) -> String {
    format!("{}-{number:03}", "replicaset".repeat(24))
}

fn objects() -> serde_json::Value {
    let metadata =
        |name: &str| json!({ "name": name, "namespace": NAMESPACE, "labels": { "app": "web", "name": name } });
    let pod = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata(name),
            "spec": { "containers": [{ "name": "web", "image": "web" }] } })
    };
    let controller = |kind: &str, name: &str| {
        let labels = json!({ "set": "peer" });
        json!({ "apiVersion": "apps/v1", "kind": kind,
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": "web" } },
            "spec": { "replicas": 0, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "web", "image": "web" }] } } } })
    };
    let mut items = vec![
        pod("a"),
        pod("b"),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata("front"), "spec": { "ports": [{ "port": 80 }] } }),
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "peer-node", "labels": { "app": "web" } } }),
        controller("Deployment", "web"),
    ];
    items.extend((0..MANY).map(|number| controller("ReplicaSet", &many(number))));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}
