//! `pods/*` of namespaces with more and more pods, beside the Go test adapter in the same run: ours answers names from a watch, and
//! the other lists the pods each time, at most five times a second as it comes.
//!
//! The pods are small (one container, two labels, no node): real ones would cost the Go adapter and the API server more.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{
    eventually::eventually,
    load::{self, Connection, Question},
    peer::{ClientRate, TestAdapter},
    plugins::{Plugin, component, static_configuration},
    requests,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{Bench, autoscaler, measure::measure};

/// Pods of a namespace, and namespaces.
const PODS: [usize; 4] = [1, 50, 500, 5_000];
/// Objects that are created at once.
const PARALLEL: usize = 16;
/// Until all pods run.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let client = bench.admin.client().await?;
    let began = Instant::now();
    create_pods(&client).await?;
    let sum: usize = PODS.iter().sum();
    println!("{sum} pods were made in {:.0} s", began.elapsed().as_secs_f64());
    ours(bench, &client).await?;
    theirs(bench, ClientRate::Unlimited, &PODS).await?;
    theirs(bench, ClientRate::Default, &[50]).await
}

/// Ours, by a plugin that asks for names and has one value for all.
async fn ours(bench: &mut Bench, client: &Client) -> Result<()> {
    let mut configuration = static_configuration(&[], &["pods/*/rate 10"]);
    let fields = configuration.as_object_mut().context("plugin.yaml is an object")?;
    fields.insert("limits".to_owned(), json!({ "listItems": 10_000, "concurrency": 64 }));
    // What is measured is the plugin, not the value cache before it.
    fields.insert("cache".to_owned(), json!({ "ttl": "0s" }));
    Plugin::new("pods", component("static")?, &configuration).apply(client).await?;
    bench.adapter.start(0).await?;
    let replica = bench.adapter.replicas().first().context("no replica")?;
    let process = replica.process_id().context("the replica does not run")?;
    let (before, _) = load::resident_mib(process)?;
    let connection = bench.connect(replica.port()).await?;
    let first = Instant::now();
    eventually("the first listing is there", PATIENCE, async || {
        let answer = replica.get(&path(5_000, "")).await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
        Ok(())
    })
    .await?;
    let first = first.elapsed();
    let (after, _) = load::resident_mib(process)?;
    println!(
        "\nours: first answer, with the pods of the whole cluster listed, after {} ms; {before:.0} MiB resident before it, {after:.0} MiB after",
        first.as_millis()
    );
    heading();
    for pods in PODS {
        for streams in [1, 32] {
            row(bench, &connection, process, &format!("ours, {pods} pods, {streams}"), &question(pods, ""), streams)
                .await?;
        }
    }
    let half = question(5_000, "?labelSelector=half%3Da");
    row(bench, &connection, process, "ours, 2500 of 5000 pods, 1", &half, 1).await?;
    let (resident, anonymous) = load::resident_mib(process)?;
    println!("ours: {resident:.0} MiB resident after the load, {anonymous:.0} MiB of it anonymous");
    bench.adapter.stop(0).await
}

/// The Go adapter, with a value for each pod.
async fn theirs(bench: &Bench, rate: ClientRate, namespaces: &[usize]) -> Result<()> {
    let adapter = TestAdapter::start_with(&bench.control_plane, rate).await?;
    let pods = namespaces.iter().flat_map(|pods| (0..*pods).map(move |number| (*pods, number)));
    stream::iter(pods)
        .map(|(pods, number)| {
            let path = format!("namespaces/{}/pods/{}/rate", namespace(pods), name(number));
            let adapter = &adapter;
            async move { adapter.write(&path, "", "10").await }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await?;
    let process = adapter.process_id().context("the Go adapter does not run")?;
    let smallest = namespaces.first().context("no namespace")?;
    let identity = bench.control_plane.front_proxy().client("front-proxy-client", &[])?;
    let client = bench.control_plane.client_of(adapter.port(), "localhost", Some(&identity)).await?;
    let headers = autoscaler();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    eventually("the Go adapter answers", PATIENCE, async || {
        let answer = requests::get_with(&client, &path(*smallest, ""), &headers).await?;
        ensure!(answer.status.is_success(), "{} {}", answer.status, answer.text());
        Ok(())
    })
    .await?;
    let connection = bench.connect(adapter.port()).await?;
    let told = match rate {
        ClientRate::Default => "Go, 5 lists/s",
        ClientRate::Unlimited => "Go",
    };
    println!();
    heading();
    for pods in namespaces {
        row(bench, &connection, process, &format!("{told}, {pods} pods, 1"), &question(*pods, ""), 1).await?;
    }
    if namespaces.contains(&5_000) {
        let half = question(5_000, "?labelSelector=half%3Da");
        row(bench, &connection, process, &format!("{told}, 2500 of 5000 pods, 1"), &half, 1).await?;
    }
    let (resident, _) = load::resident_mib(process)?;
    println!("{told}: {resident:.0} MiB resident after the load");
    Ok(())
}

fn heading() {
    println!(
        "{:<30} {:>9} {:>10} {:>10} {:>14} {:>16}",
        "request, streams", "req/s", "p50 us", "p99 us", "CPU us/request", "API server's CPU"
    );
}

async fn row(
    bench: &Bench,
    connection: &Connection,
    process: u32,
    name: &str,
    question: &Question,
    streams: usize,
) -> Result<()> {
    let api_server = bench.control_plane.api_server_id().context("the API server does not run")?;
    let (measured, cpu) = measure(connection, question, streams, &[process, api_server]).await?;
    let [own, asked] = cpu.as_slice() else { bail!("two processes were measured") };
    println!(
        "{name:<30} {:>9.1} {:>10.0} {:>10.0} {own:>14.1} {asked:>16.1}",
        measured.answers as f64 / measured.seconds,
        measured.p50_micros,
        measured.p99_micros,
    );
    Ok(())
}

fn question(pods: usize, query: &str) -> Question {
    // The last pod must be in the answer.
    Question { path: path(pods, query), headers: autoscaler(), expected: name(pods - 1) }
}

fn path(pods: usize, query: &str) -> String {
    format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/%2A/rate{query}", namespace(pods))
}

fn namespace(pods: usize) -> String {
    format!("pods-{pods}")
}

/// As long as those that a Deployment makes.
fn name(number: usize) -> String {
    format!("web-7c9d8f6b5d-{number:05}")
}

async fn create_pods(client: &Client) -> Result<()> {
    for pods in PODS {
        create::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": namespace(pods) } })).await?;
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace(pods));
        eventually("the namespace has its default service account", PATIENCE, async || {
            Ok(accounts.get("default").await?)
        })
        .await?;
        let api = Api::<Pod>::namespaced(client.clone(), &namespace(pods));
        stream::iter(0..pods)
            .map(|number| create(&api, pod(pods, number)))
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
    }
    for pods in PODS {
        let api = Api::<Pod>::namespaced(client.clone(), &namespace(pods));
        let pending = ListParams::default().fields("status.phase=Pending").limit(1);
        eventually("all pods run", PATIENCE, async || {
            ensure!(api.list_metadata(&pending).await?.items.is_empty(), "some are pending");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The last is of half `a`, so that it is in every answer.
fn pod(pods: usize, number: usize) -> Value {
    let half = if (pods - number) % 2 == 1 { "a" } else { "b" };
    json!({
        "metadata": { "name": name(number), "labels": { "app": "web", "half": half } },
        "spec": { "containers": [{ "name": "main", "image": "main" }], "automountServiceAccountToken": false },
    })
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}
