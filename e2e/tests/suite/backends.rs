//! A plugin that asks a real HTTP server, with a credential that it never sees itself.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    ADAPTER_NAMESPACE,
    eventually::eventually,
    plugins::{self, Plugin, component},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::world::{EXTERNAL, PATIENCE, World};

const QUEUES: &str = r#"{ "queues": [{ "name": "orders", "messages": 42 }, { "name": "mail", "messages": "2500m" }] }"#;

/// `plugins/http-json`: one request, two series, a bearer token from a Secret that consents; a new token is used at once.
pub(crate) async fn an_http_backend_is_read_with_a_consenting_secret(world: &mut World) -> Result<()> {
    let backend = Backend::start().await?;
    consenting_secret(world, &backend.origin, "first-token").await?;
    Plugin::new("backend", component("http-json")?, &configuration(&backend.origin)).apply(&world.admin).await?;
    let path = format!("{EXTERNAL}/namespaces/default/backend_depth");
    world.expect_values(&path, &["42", "2500m"]).await?;
    world.expect_values(&format!("{path}?labelSelector=queue%3Dmail"), &["2500m"]).await?;
    let asked = backend.last_request().context("nobody asked the backend")?;
    ensure!(asked.starts_with("GET /api/queues?namespace=default HTTP/1.1\r\n"), "{asked}");
    ensure!(asked.to_lowercase().contains("\r\nauthorization: bearer first-token\r\n"), "{asked}");
    consenting_secret(world, &backend.origin, "second-token").await?;
    eventually("the new token is used", PATIENCE, async || {
        world.check_values(&path, &["42", "2500m"]).await?;
        let asked = backend.last_request().unwrap_or_default();
        ensure!(asked.to_lowercase().contains("\r\nauthorization: bearer second-token\r\n"), "{asked}");
        Ok(())
    })
    .await?;
    plugins::delete(&world.admin, "backend").await
}

/// A plugin that speaks a backend's own protocol by `wasi:sockets`: to the origin that it names, and to no other. When the backend
/// dies, its metric alone fails.
pub(crate) async fn a_tcp_backend_is_spoken_to_by_the_plugin_itself(world: &mut World) -> Result<()> {
    let redis = Redis::start().await?;
    let configured = |metric: &str, origin: &str| {
        json!({
            "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
            "serves": { "external": [metric] },
            "egress": [origin],
            "config": { "address": redis.address, "queue": "orders" },
        })
    };
    let granted = configured("tcp_granted", &format!("tcp://{}", redis.address));
    Plugin::new("tcp-granted", component("sockets")?, &granted).apply(&world.admin).await?;
    let refused = configured("tcp_refused", &format!("http://{}", redis.address));
    Plugin::new("tcp-refused", component("sockets")?, &refused).apply(&world.admin).await?;
    let path = |metric: &str| format!("{EXTERNAL}/namespaces/default/{metric}");
    world.expect_values(&path("tcp_granted"), &["42"]).await?;
    world.expect_values(&path("tcp_refused"), &["-1"]).await?;
    drop(redis);
    world.expect_values(&path("tcp_granted"), &["-1"]).await?;
    plugins::delete(&world.admin, "tcp-granted").await?;
    plugins::delete(&world.admin, "tcp-refused").await
}

/// As much of a Redis server as one question needs: each line that names a command's last word is answered with 42.
struct Redis {
    address: String,
    accepting: JoinHandle<()>,
}

impl Redis {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let accepting = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut asked, expected) = (Vec::new(), b"*2\r\n$4\r\nLLEN\r\n$6\r\norders\r\n");
                    while !asked.ends_with(expected) {
                        asked.push(stream.read_u8().await?);
                    }
                    stream.write_all(b":42\r\n").await
                });
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn consenting_secret(world: &World, origin: &str, token: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "backend", "namespace": ADAPTER_NAMESPACE,
            "labels": { "wasm-metrics-adapter.io/credential": "true" },
            "annotations": { "wasm-metrics-adapter.io/allowed-origins": origin },
        },
        "stringData": { "token": token },
    });
    world.kubectl.apply(&secret.to_string()).await?;
    Ok(())
}

fn configuration(origin: &str) -> Value {
    json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["backend_depth"] },
        "egress": [origin],
        "credentials": [{ "origin": origin, "bearer": { "secret": "backend", "key": "token" } }],
        "config": { "metrics": [{
            "name": "backend_depth", "type": "external", "url": format!("{origin}/api/queues?namespace={{namespace}}"),
            "items": "$.queues[*]", "value": "$.messages", "labels": { "queue": "$.name" },
        }] },
    })
}

/// A small HTTP/1.1 server that remembers what it was asked.
pub(crate) struct Backend {
    pub(crate) origin: String,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Backend {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let remembered = Arc::clone(&remembered);
                tokio::spawn(async move {
                    // A client that hangs up early is no concern of a server.
                    if let Ok(request) = answer(stream).await {
                        remembered.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    }
                });
            }
        });
        Ok(Self { origin, requests, accepting })
    }

    /// How many requests it has answered.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn last_request(&self) -> Option<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers one request without a body, and closes.
async fn answer(mut stream: TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let length = QUEUES.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{QUEUES}"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(String::from_utf8(head)?)
}
