//! `wasm-metrics-adapter preflight`, before and after the installation.

use anyhow::{Context as _, Result, ensure};
use e2e::{installation::API_SERVICES, kubectl::Printed, programs};
use tokio::process::Command;

use crate::world::{World, ensure_words};

/// Somebody else's adapter owns a group, an autoscaler depends on it, and nothing of ours is installed.
pub(crate) async fn before_it_names_the_owner_and_what_is_missing(world: &mut World) -> Result<()> {
    let foreign = r#"{
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1beta1.external.metrics.k8s.io" },
        "spec": { "group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": { "namespace": "keda", "name": "keda-metrics-apiserver", "port": 443 }, "insecureSkipTLSVerify": true }
    }"#;
    world.kubectl.apply(foreign).await?;
    world.create_namespace("preflight").await?;
    let autoscaler = r#"{
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web", "namespace": "preflight" },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 5,
            "metrics": [{ "type": "External", "external": { "metric": { "name": "s0" }, "target": { "type": "Value", "value": "1" } } }] }
    }"#;
    world.kubectl.apply(autoscaler).await?;
    let printed = preflight(world).await;
    world.kubectl.run(&["delete", "apiservice", "v1beta1.external.metrics.k8s.io"]).await?;
    world.kubectl.run(&["delete", "namespace", "preflight", "--wait=true", "--timeout=60s"]).await?;
    let printed = printed?;
    let row = line_of(&printed.stdout, "v1beta1.external.metrics.k8s.io")?;
    ensure_words(row, &["keda/keda-metrics-apiserver", "not available", "1 (metrics: 1 External)"])?;
    for group in ["v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"] {
        ensure_words(line_of(&printed.stdout, group)?, &["nobody"])?;
    }
    ensure_words(&printed.stdout, &["not installed yet", "roll back"])?;
    ensure!(!printed.success, "an API group that would be taken away is a finding: {}", printed.stdout);
    Ok(())
}

/// All groups are ours, all rights are there, and the way back is told.
pub(crate) async fn after_it_finds_nothing_and_tells_the_way_back(world: &mut World) -> Result<()> {
    let printed = preflight(world).await?;
    for name in API_SERVICES {
        ensure_words(line_of(&printed.stdout, name)?, &["this adapter", "available"])?;
    }
    ensure_words(&printed.stdout, &["granted", "roll back", "kubectl delete"])?;
    ensure!(printed.success, "there should be no findings: {}{}", printed.stdout, printed.stderr);
    Ok(())
}

async fn preflight(world: &World) -> Result<Printed> {
    let kubeconfig = world.control_plane.admin()?.kubeconfig;
    let output = Command::new(programs::adapter()?)
        .args(["preflight".as_ref(), "--kubeconfig".as_ref(), kubeconfig.as_os_str()])
        .output()
        .await?;
    Ok(Printed {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn line_of<'a>(printed: &'a str, name: &str) -> Result<&'a str> {
    printed
        .lines()
        .find(|line| line.trim_start().starts_with(name))
        .with_context(|| format!("no line begins with {name} in:\n{printed}"))
}
