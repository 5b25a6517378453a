//! `cargo xtask bench`: one replica with ten plugins on a real control plane: time to ready, memory, CPU per request. Prints figures;
//! fails on wrong answers alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    adapter::{Adapter, service_host},
    control_plane::ControlPlane,
    installation::Installation,
    load::{self, Connection, Measured, Question},
    plugins::Plugin,
};
use http::HeaderName;

/// Plugins that are loaded while anything is measured.
const PLUGINS: usize = 10;
/// Before each measurement, not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// One measurement.
const PERIOD: Duration = Duration::from_secs(2);
/// Measurements of a row; the median counts.
const RUNS: usize = 5;
/// From ready to the look at idle memory.
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut adapter = Adapter::prepare(&control_plane).await?;
    let installation = Installation::prepare(&control_plane, &adapter)?;
    let admin = control_plane.admin()?;
    installation.apply(&control_plane.kubectl(&admin)?, &installation.base).await?;
    let client = admin.client().await?;
    for number in 0..PLUGINS {
        let external = format!("queue_depth_{number}{{queue=\"orders\"}} 42");
        let custom = format!("services/front/requests_{number} 10");
        Plugin::of_static(&format!("bench-{number}"), &[&external], &[&custom])?.apply(&client).await?;
    }
    let cold = adapter.start(0).await?;
    adapter.stop(0).await?;
    let warm = adapter.start(0).await?;
    println!(
        "start to ready, {PLUGINS} plugins: compile cache cold {} ms, warm {} ms",
        cold.as_millis(),
        warm.as_millis()
    );
    tokio::time::sleep(IDLE).await;
    let replica = adapter.replicas().first().context("no replica")?;
    let process = replica.process_id().context("the replica does not run")?;
    let (resident, anonymous) = load::resident_mib(process)?;
    println!("idle memory, {PLUGINS} plugins: {resident:.1} MiB resident, {anonymous:.1} MiB of it anonymous");

    let identity = control_plane.front_proxy().client("front-proxy-client", &[])?;
    let connection = Connection::open(replica.port(), &service_host(), control_plane.authority(), &identity).await?;
    println!("\n{:<34} {:>9} {:>10} {:>10} {:>14}", "request, streams", "req/s", "p50 us", "p99 us", "CPU us/request");
    for (name, question) in questions() {
        for streams in [1, 32] {
            row(&connection, process, name, &question, streams).await?;
        }
    }
    let (resident, anonymous) = load::resident_mib(process)?;
    println!("\nmemory after the load: {resident:.1} MiB resident, {anonymous:.1} MiB of it anonymous");
    Ok(())
}

fn questions() -> [(&'static str, Question); 3] {
    let headers = |user: &str, groups: &[&str]| {
        let line = |name: &'static str, value: &str| (HeaderName::from_static(name), value.to_owned());
        let mut headers = vec![line("x-remote-user", user)];
        headers.extend(groups.iter().map(|group| line("x-remote-group", group)));
        headers.push(line("accept", "application/vnd.kubernetes.protobuf, */*"));
        headers
    };
    let autoscaler = || {
        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
        headers("system:serviceaccount:kube-system:horizontal-pod-autoscaler", &groups)
    };
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

async fn row(connection: &Connection, process: u32, name: &str, question: &Question, streams: usize) -> Result<()> {
    connection.load(question, streams, WARM_UP).await?;
    let mut runs: Vec<(Measured, f64)> = Vec::new();
    for _ in 0..RUNS {
        let before = load::cpu_seconds(process)?;
        let measured = connection.load(question, streams, PERIOD).await?;
        let cpu_micros = (load::cpu_seconds(process)? - before) * 1e6 / measured.answers as f64;
        ensure!(
            measured.wrong == 0,
            "{} of {} answers to {} were wrong",
            measured.wrong,
            measured.answers,
            question.path
        );
        runs.push((measured, cpu_micros));
    }
    runs.sort_by(|one, other| one.1.total_cmp(&other.1));
    let (measured, cpu_micros) = runs.get(RUNS / 2).context("no run")?;
    println!(
        "{:<34} {:>9.0} {:>10.0} {:>10.0} {:>14.1}",
        format!("{name}, {streams}"),
        measured.answers as f64 / measured.seconds,
        measured.p50_micros,
        measured.p99_micros,
        cpu_micros
    );
    Ok(())
}
