//! `deploy/` on a real API server: it applies, it registers, and it goes away again.

use anyhow::{Context as _, Result, ensure};
use e2e::{ADAPTER_NAMESPACE, eventually::eventually, installation::API_SERVICES, programs};

use crate::world::{PATIENCE, World};

/// Applying the base takes no API group from anybody.
pub(crate) async fn the_base_installs_and_takes_no_api_group(world: &mut World) -> Result<()> {
    world.installation.apply(&world.kubectl, &world.installation.base).await?;
    let registered = world.kubectl.run(&["get", "apiservice", "-o", "name"]).await?;
    ensure!(!registered.contains("metrics.k8s.io"), "the base registered an API group: {registered}");
    // A second time would change nothing; `kubectl diff` fails when there is a difference.
    world.kubectl.run(&["diff", "-k", &world.installation.base.display().to_string()]).await?;
    Ok(())
}

/// Every kustomization of `deploy/`, as it is there, in kubectl's and in the API server's own eyes.
pub(crate) async fn every_manifest_is_accepted_by_client_and_server(world: &mut World) -> Result<()> {
    let deploy = world.installation.deploy.clone();
    // A dry run looks for the namespaces of what it is shown.
    world.create_namespace("wasm-metrics-adapter-example").await?;
    std::fs::copy(programs::guest("static")?, deploy.join("examples/plugin/plugin.wasm"))?;
    let mut folders = vec!["base".to_owned()];
    for parent in ["overlays", "examples"] {
        let Ok(entries) = std::fs::read_dir(deploy.join(parent)) else { continue };
        folders.extend(entries.flatten().map(|entry| format!("{parent}/{}", entry.file_name().to_string_lossy())));
    }
    ensure!(folders.len() >= 3, "`deploy/` holds fewer kustomizations than expected: {folders:?}");
    for folder in folders {
        let folder = deploy.join(folder).display().to_string();
        world.kubectl.run(&["apply", "--dry-run=client", "-k", &folder]).await?;
        world.kubectl.run(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", &folder]).await?;
    }
    world.kubectl.run(&["delete", "namespace", "wasm-metrics-adapter-example", "--timeout=60s"]).await?;
    Ok(())
}

/// The components register the groups, and the aggregator reaches the adapter.
pub(crate) async fn the_components_register_the_api_groups(world: &mut World) -> Result<()> {
    world.installation.apply(&world.kubectl, &world.installation.complete).await?;
    let mut arguments = vec!["wait", "--for=condition=Available", "--timeout=60s", "apiservice"];
    arguments.extend(API_SERVICES);
    let printed = world.kubectl.attempt(&arguments).await?;
    if !printed.success {
        let status = world.kubectl.run(&["get", "apiservice", "-o", "yaml", "v1beta1.external.metrics.k8s.io"]).await?;
        anyhow::bail!("{}{status}", printed.stderr);
    }
    Ok(())
}

/// The order of docs: APIServices first, then the rest; with the adapter gone, namespaces can still be deleted.
pub(crate) async fn removal_in_order_leaves_nothing_and_namespaces_go(world: &mut World) -> Result<()> {
    world.create_namespace("bystander").await?;
    world.installation.remove(&world.kubectl).await?;
    for replica in 0..world.adapter.replicas().len() {
        world.adapter.stop(replica).await?;
    }
    world.kubectl.run(&["delete", "namespace", "bystander", "--wait=true", "--timeout=60s"]).await?;
    eventually("nothing of the adapter is left", PATIENCE, async || {
        for kind in ["namespaces", "clusterroles", "clusterrolebindings", "apiservices"] {
            let names = world.kubectl.run(&["get", kind, "-o", "name"]).await?;
            let left = names
                .lines()
                .find(|name| name.contains(ADAPTER_NAMESPACE) || API_SERVICES.iter().any(|api| name.contains(api)));
            ensure!(left.is_none(), "{} is left", left.context("a name")?);
        }
        let roles = world.kubectl.run(&["get", "rolebindings", "-n", "kube-system", "-o", "name"]).await?;
        ensure!(!roles.contains(ADAPTER_NAMESPACE), "a role binding is left in kube-system: {roles}");
        Ok(())
    })
    .await
}
