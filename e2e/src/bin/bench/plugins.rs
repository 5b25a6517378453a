//! One replica with ten plugins: time to ready, memory, CPU per request.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::{
    load::{self, Question},
    plugins::{Plugin, component, static_configuration},
};
use serde_json::json;

use crate::{Bench, autoscaler, headers, measure::measure};

/// Plugins that are loaded while anything is measured.
const PLUGINS: usize = 10;
/// From ready to the look at idle memory.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let client = bench.admin.client().await?;
    for number in 0..PLUGINS {
        let external = format!("queue_depth_{number}{{queue=\"orders\"}} 42");
        let custom = format!("services/front/requests_{number} 10");
        let mut configuration = static_configuration(&[&external], &[&custom]);
        // What is measured is the plugin, not the value cache before it.
        let fields = configuration.as_object_mut().context("plugin.yaml is an object")?;
        fields.insert("cache".to_owned(), json!({ "ttl": "0s" }));
        Plugin::new(&format!("bench-{number}"), component("static")?, &configuration).apply(&client).await?;
    }
    let cold = bench.adapter.start(0).await?;
    bench.adapter.stop(0).await?;
    let warm = bench.adapter.start(0).await?;
    println!(
        "start to ready, {PLUGINS} plugins: compile cache cold {} ms, warm {} ms",
        cold.as_millis(),
        warm.as_millis()
    );
    tokio::time::sleep(IDLE).await;
    let replica = bench.adapter.replicas().first().context("no replica")?;
    let process = replica.process_id().context("the replica does not run")?;
    let (resident, anonymous) = load::resident_mib(process)?;
    println!("idle memory, {PLUGINS} plugins: {resident:.1} MiB resident, {anonymous:.1} MiB of it anonymous");

    let connection = bench.connect(replica.port()).await?;
    println!("\n{:<34} {:>9} {:>10} {:>10} {:>14}", "request, streams", "req/s", "p50 us", "p99 us", "CPU us/request");
    for (name, question) in questions() {
        for streams in [1, 32] {
            let (measured, cpu) = measure(&connection, &question, streams, &[process]).await?;
            println!(
                "{:<34} {:>9.0} {:>10.0} {:>10.0} {:>14.1}",
                format!("{name}, {streams}"),
                measured.answers as f64 / measured.seconds,
                measured.p50_micros,
                measured.p99_micros,
                cpu.first().context("no process")?
            );
        }
    }
    let (resident, anonymous) = load::resident_mib(process)?;
    println!("\nmemory after the load: {resident:.1} MiB resident, {anonymous:.1} MiB of it anonymous\n");
    bench.adapter.stop(0).await
}

fn questions() -> [(&'static str, Question); 3] {
    let question = |path: &str, headers, expected: &str| Question {
        path: path.to_owned(),
        headers,
        expected: expected.to_owned(),
    };
    let external =
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue_depth_3?labelSelector=queue%3Dorders";
    let object = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/front/requests_3";
    let discovery = "/apis/external.metrics.k8s.io/v1beta1";
    [
        ("external, fresh instance", question(external, autoscaler(), "queue_depth_3")),
        ("object, fresh instance", question(object, autoscaler(), "requests_3")),
        ("discovery", question(discovery, headers("system:kube-aggregator", &["system:masters"]), "queue_depth_3")),
    ]
}
