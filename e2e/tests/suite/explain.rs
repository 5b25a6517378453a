//! Why a metric is answered as it is: `?explain=true` through the aggregator, and the command for a failing autoscaler.

use anyhow::{Result, ensure};
use e2e::{
    ADAPTER_NAMESPACE,
    eventually::eventually,
    kubectl::Printed,
    plugins::{self, Plugin, component},
    programs,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinHandle,
};

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

const NAMESPACE: &str = "explaining";
/// The token of the backend, which the backend repeats in its answer.
const TOKEN: &str = "t0ken-that-never-shows";

/// One autoscaler with a metric of each way to fail, and one that works.
pub(crate) async fn a_failing_autoscaler_is_explained_in_words(world: &mut World) -> Result<()> {
    let backend = Backend::start().await?;
    stage(world, &backend.origin).await?;
    let kubeconfig = world.control_plane.admin()?.kubeconfig;
    let explain = async |arguments: &[&str]| {
        let kubeconfig = kubeconfig.to_string_lossy().into_owned();
        run(&[&["explain", "--kubeconfig", &kubeconfig, "--namespace", NAMESPACE], arguments].concat()).await
    };
    let (code, printed) = eventually("the autoscaler's conditions and every cause are told", PATIENCE, async || {
        let (code, printed) = explain(&["hpa", "web"]).await?;
        let origin = &backend.origin;
        let words = [
            "which scales Deployment web",
            "ScalingActive",
            "FailedGetExternalMetric",
            // The backend that fails, by its origin and status.
            &format!("backend {origin} answered 500"),
            "plugin     wasm-metrics-adapter/explain-backend, which claims explain_dead",
            // The name that is nearly right, and the plugin that could not be loaded.
            "no plugin serves explain_qeue",
            "similar names are served here: explain_queue",
            "explain-rejected: Rejected",
            // The selector that nothing has.
            "ask without the selector",
            // The one that works.
            "answers    7",
        ];
        ensure_words(&printed.stdout, &words)?;
        Ok((code, printed))
    })
    .await?;
    ensure!(code == Some(1), "a metric fails: {}", printed.stderr);
    ensure!(!printed.stdout.contains(TOKEN), "{}", printed.stdout);

    // What was sent and received, without what is secret.
    let (_, raw) = explain(&["external", "explain_dead", "--raw"]).await?;
    ensure_words(&raw.stdout, &["/api/queues?key=in-the-url", "you sent authorization: [secret]"])?;
    ensure!(!raw.stdout.contains(TOKEN) && !printed.stdout.contains("in-the-url"), "{}", raw.stdout);

    let (code, good) = explain(&["external", "EXPLAIN_QUEUE", "--output", "json"]).await?;
    let report: Value = serde_json::from_str(&good.stdout)?;
    ensure!(code == Some(0) && report["metrics"][0]["verdict"] == "answers", "{report:#}");
    let (code, absent) = explain(&["hpa", "nobody"]).await?;
    ensure!(code == Some(3) && absent.stderr.contains("cannot read HorizontalPodAutoscaler"), "{}", absent.stderr);
    remove(world).await
}

/// The parameter passes the aggregator; the metric's own right is needed, and for raw another one.
pub(crate) async fn explaining_takes_the_metrics_right_and_raw_another(world: &mut World) -> Result<()> {
    let backend = Backend::start().await?;
    stage(world, &backend.origin).await?;
    let path = format!("{EXTERNAL}/namespaces/{NAMESPACE}/explain_dead");
    let printed = world.kubectl.run(&["get", "--raw", &format!("{path}?explain=true")]).await?;
    let document: Value = serde_json::from_str(&printed)?;
    ensure!(document["kind"] == "MetricExplanation" && document["response"]["code"] == 503, "{document:#}");
    ensure!(document["call"]["backendCalls"]["items"][0]["status"] == 500, "{document:#}");
    ensure!(!printed.contains(TOKEN) && !printed.contains("in-the-url"), "{printed}");

    let user = world.control_plane.user("explainer", &[])?;
    let kubeconfig = user.kubeconfig.to_string_lossy().into_owned();
    let kubectl = world.control_plane.kubectl(&user)?;
    let refused = kubectl.attempt(&["get", "--raw", &format!("{path}?explain=true")]).await?;
    ensure!(!refused.success && refused.stderr.contains("forbidden"), "{refused:?}");
    let (code, told) =
        run(&["explain", "--kubeconfig", &kubeconfig, "-n", NAMESPACE, "external", "explain_dead"]).await?;
    ensure!(code == Some(3), "{told:?}");
    ensure_words(&told.stdout, &["not asked", "wasm-metrics-adapter-reader"])?;

    bind(world, "readers", "wasm-metrics-adapter-reader").await?;
    eventually("a reader has the metric explained", PATIENCE, async || {
        kubectl.run(&["get", "--raw", &format!("{path}?explain=true")]).await
    })
    .await?;
    let refused = kubectl.attempt(&["get", "--raw", &format!("{path}?explain=raw")]).await?;
    ensure!(!refused.success, "{refused:?}");
    ensure_words(&refused.stderr, &[r#"User "explainer" cannot get resource "explanations/raw""#])?;

    bind(world, "explainers", "wasm-metrics-adapter-raw-explainer").await?;
    let raw = eventually("the explainer sees what was sent", PATIENCE, async || {
        kubectl.run(&["get", "--raw", &format!("{path}?explain=raw")]).await
    })
    .await?;
    ensure!(raw.contains("in-the-url") && raw.contains("[secret]") && !raw.contains(TOKEN), "{raw}");
    remove(world).await
}

async fn bind(world: &World, name: &str, role: &str) -> Result<String> {
    let role = format!("--clusterrole={role}");
    world.kubectl.run(&["create", "rolebinding", name, &role, "--user=explainer", "--namespace", NAMESPACE]).await
}

/// A backend that fails, a plugin that works, one that is rejected, and an autoscaler on all of them.
async fn stage(world: &World, origin: &str) -> Result<()> {
    world.create_namespace(NAMESPACE).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "explain-backend", "namespace": ADAPTER_NAMESPACE,
            "labels": { "wasm-metrics-adapter.io/credential": "true" },
            "annotations": { "wasm-metrics-adapter.io/allowed-origins": origin },
        },
        "stringData": { "token": TOKEN },
    });
    world.kubectl.apply(&secret.to_string()).await?;
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["explain_dead"] },
        "egress": [origin],
        "credentials": [{ "origin": origin, "bearer": { "secret": "explain-backend", "key": "token" } }],
        "config": { "metrics": [{ "name": "explain_dead", "type": "external", "value": "$.messages",
            "url": format!("{origin}/api/queues?key=in-the-url") }] },
    });
    Plugin::new("explain-backend", component("http-json")?, &configuration).apply(&world.admin).await?;
    let rejected =
        json!({ "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration", "serve": {} });
    Plugin::new("explain-rejected", component("static")?, &rejected).apply(&world.admin).await?;
    world.apply_static("explain-static", &[r#"explain_queue{queue="orders"} 7"#], &["pods/*/explain_rate 1"]).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/{NAMESPACE}/explain_queue"), &["7"]).await?;
    world.expect_status(&format!("{EXTERNAL}/namespaces/{NAMESPACE}/explain_dead"), 503).await?;
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--namespace", NAMESPACE]).await?;
    let one = json!({ "type": "AverageValue", "averageValue": "1" });
    let external = |name: &str, selector: Value| json!({ "type": "External", "external": { "metric": { "name": name, "selector": selector }, "target": one } });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 2,
            "metrics": [
                external("explain_dead", Value::Null),
                external("explain_qeue", Value::Null),
                external("explain_queue", json!({ "matchLabels": { "queue": "nobody" } })),
                external("explain_queue", json!({ "matchLabels": { "queue": "orders" } })),
                { "type": "Pods", "pods": { "metric": { "name": "explain_rate" }, "target": one } },
            ],
        },
    });
    world.kubectl.apply(&autoscaler.to_string()).await?;
    Ok(())
}

async fn remove(world: &World) -> Result<()> {
    for plugin in ["explain-backend", "explain-rejected", "explain-static"] {
        plugins::delete(&world.admin, plugin).await?;
    }
    world.kubectl.run(&["delete", "secret", "explain-backend", "--namespace", ADAPTER_NAMESPACE]).await?;
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// The adapter's own command line; its exit code beside what it printed.
async fn run(arguments: &[&str]) -> Result<(Option<i32>, Printed)> {
    let output = Command::new(programs::adapter()?).args(arguments).output().await?;
    let printed = Printed {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    Ok((output.status.code(), printed))
}

/// Answers every request with 500 and the Authorization header that it was sent. (502 to 504 would open the circuit after
/// the autoscaler's fifth question, and nothing would be sent to be explained.)
struct Backend {
    origin: String,
    accepting: JoinHandle<()>,
}

impl Backend {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up early is no concern of a server.
                tokio::spawn(async move { drop(answer(stream).await) });
            }
        });
        Ok(Self { origin, accepting })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let sent = head.lines().find(|line| line.to_lowercase().starts_with("authorization:")).unwrap_or_default();
    let body = format!("you sent {sent}");
    let length = body.len();
    let answer =
        format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    Ok(())
}
