//! `cargo xtask soak`: two replicas with ten plugins, half of them hostile, under steady questions for minutes, while plugins are
//! edited all the time, backends die and come back, replicas are replaced, and kube-apiserver and etcd fail. Fails when a request
//! for a good plugin's metric does, or when memory or descriptors grow. Prints what it did.

mod backend;
mod faults;
mod footprints;
mod plugins;
mod storm;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{
    adapter::Adapter, control_plane::ControlPlane, eventually::eventually, installation::Installation,
    kubectl::Kubectl, requests, traffic::Counts,
};

use faults::Faults;
use footprints::Footprints;
use plugins::Plugins;
use storm::Storm;

/// Long enough for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut stage = Stage::prepare().await?;
    let outcome = soak(&mut stage, &options).await;
    if outcome.is_err() {
        println!("\nthe ends of the logs:\n{}", stage.control_plane.logs());
    }
    outcome
}

/// What is asked for on the command line.
struct Options {
    period: Duration,
    /// Edits of one plugin, spread over the period.
    reloads: u32,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { period: Duration::from_secs(600), reloads: 1000 };
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u32> {
                let value = arguments.next().with_context(|| format!("{argument} needs a number"))?;
                let number: u32 = value.parse().with_context(|| format!("{argument} {value} is no number"))?;
                ensure!(number > 0, "{argument} must be at least 1");
                Ok(number)
            };
            match argument.as_str() {
                "--minutes" => options.period = Duration::from_secs(60) * number()?,
                "--reloads" => options.reloads = number()?,
                other => bail!("`{other}` is no option; there are --minutes N and --reloads N"),
            }
        }
        Ok(options)
    }
}

/// What runs.
struct Stage {
    // The adapter ends before the control plane.
    adapter: Adapter,
    control_plane: ControlPlane,
    admin: kube::Client,
    kubectl: Kubectl,
}

impl Stage {
    /// The adapter is installed and registered, and does not run yet.
    async fn prepare() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        let adapter = Adapter::prepare(&control_plane).await?;
        let installation = Installation::prepare(&control_plane, &adapter)?;
        let admin = control_plane.admin()?;
        let kubectl = control_plane.kubectl(&admin)?;
        installation.apply(&kubectl, &installation.complete).await?;
        Ok(Self { admin: admin.client().await?, kubectl, adapter, control_plane })
    }

    /// Waits until the aggregator gives this path's answers of the adapter.
    async fn answers(&self, path: &str) -> Result<()> {
        eventually(&format!("{path} is answered"), PATIENCE, async || {
            let answer = requests::get(&self.admin, path).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(())
        })
        .await
    }
}

async fn soak(stage: &mut Stage, options: &Options) -> Result<()> {
    let mut plugins = Plugins::apply(&stage.admin).await?;
    for replica in 0..stage.adapter.replicas().len() {
        stage.adapter.start(replica).await?;
    }
    stage.kubectl.run(&["create", "service", "clusterip", "front", "--tcp=80", "--namespace=default"]).await?;
    for question in plugins.good_questions() {
        stage.answers(&question.path).await?;
    }
    // Replica 0 is replaced again and again; this one stays, so its memory tells.
    let staying = stage.adapter.replicas().get(1).and_then(|replica| replica.process_id());
    let (began, ends) = (Instant::now(), Instant::now() + options.period);
    let footprints = Footprints::watch(staying.context("the replica does not run")?);
    let storm = Storm::begin(&stage.admin, options.period / options.reloads);
    let mut faults = Faults::new(stage, &mut plugins);
    while Instant::now() < ends {
        faults.round().await?;
    }
    let (good, hostile, injected) = faults.end();
    let storm = storm.end().await?;
    let footprints = footprints.end();
    println!("\nsoak of {:.1} minutes, two replicas, ten plugins:", began.elapsed().as_secs_f64() / 60.0);
    println!("  faults injected: {injected}, and {} versions that can't be loaded", storm.broken);
    println!("  edits of one plugin: {} versions that can be loaded", storm.good);
    println!("  requests to good plugins and discovery: {} sent, {} failed", good.sent, good.failed);
    println!(
        "  requests to hostile plugins and dead backends: {} sent, {} not refused in words",
        hostile.sent, hostile.failed
    );
    println!("  the replica that stayed: {footprints}");
    verdict(&good, &hostile)?;
    footprints.ensure_flat()
}

fn verdict(good: &Counts, hostile: &Counts) -> Result<()> {
    good.ensure_flawless().context("good plugins")?;
    hostile.ensure_flawless().context("hostile plugins")
}
