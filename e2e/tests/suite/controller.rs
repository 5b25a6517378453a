//! The real HPA controller on the wire: it is answered in the form that it asks for, and scales by it. An observer between the
//! aggregator and a replica sees both.

use anyhow::{Result, ensure};
use e2e::{
    eventually::eventually,
    installation::API_SERVICES,
    observer::{Exchange, Observer},
    plugins,
};
use serde_json::json;

use crate::world::{CUSTOM, EXTERNAL, PATIENCE, World};

const NAMESPACE: &str = "controller";
const CONTROLLER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

/// By default it asks for protobuf; `--kube-api-content-type=application/json` is the other way that it is run.
pub(crate) async fn it_scales_on_protobuf_and_on_json(world: &mut World) -> Result<()> {
    stage(world).await?;
    let replica = world.adapter.replicas().first().ok_or_else(|| anyhow::anyhow!("there are two replicas"))?;
    let observer = Observer::start(&world.control_plane, replica).await?;
    redirect(world, observer.port()).await?;
    scales(world, &observer, "application/vnd.kubernetes.protobuf", 3).await?;
    world.control_plane.restart_controllers(&["--kube-api-content-type=application/json"]).await?;
    scales(world, &observer, "application/json", 5).await?;
    world.control_plane.restart_controllers(&[]).await?;
    redirect(world, world.adapter.balancer.port()).await?;
    plugins::delete(&world.admin, NAMESPACE).await?;
    world.kubectl.run(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s"]).await?;
    Ok(())
}

/// From here on, the external metric wants so many replicas, and all three metrics are asked for and answered in this form.
async fn scales(world: &World, observer: &Observer, form: &str, replicas: usize) -> Result<()> {
    let before = observer.seen().len();
    apply_values(world, replicas).await?;
    let expected = format!("{replicas} {replicas}");
    eventually(&format!("the deployment has {replicas} replicas"), PATIENCE * 2, async || {
        let columns = "jsonpath={.spec.replicas} {.status.readyReplicas}";
        let found = world.kubectl.run(&["get", "deployment", "web", "--namespace", NAMESPACE, "-o", columns]).await?;
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
    .await?;
    let asked = format!("{form}, */*");
    eventually(&format!("all metrics were answered in {form}"), PATIENCE, async || {
        let seen = observer.seen();
        let of_controller: Vec<&Exchange> = seen.iter().skip(before).filter(|seen| seen.user == CONTROLLER).collect();
        for metric in ["controller_depth", "pods/%2A/controller_requests", "services/front/controller_rate"] {
            let exchange = of_controller.iter().rev().find(|exchange| exchange.path.contains(metric));
            let Some(exchange) = exchange else { anyhow::bail!("it did not ask for {metric}") };
            ensure!(
                exchange.status == 200 && exchange.accept == asked && exchange.content_type == form,
                "{exchange:?} is not {form}"
            );
        }
        Ok(())
    })
    .await
}

/// One Deployment, and an autoscaler on one metric of each kind.
async fn stage(world: &World) -> Result<()> {
    world.create_namespace(NAMESPACE).await?;
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--namespace", NAMESPACE]).await?;
    world.kubectl.run(&["create", "service", "clusterip", "front", "--tcp=80", "--namespace", NAMESPACE]).await?;
    apply_values(world, 1).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/{NAMESPACE}/controller_depth"), &["1"]).await?;
    world.expect_values(&format!("{CUSTOM}/namespaces/{NAMESPACE}/services/front/controller_rate"), &["1"]).await?;
    let one = json!({ "type": "AverageValue", "averageValue": "1" });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 5,
            "metrics": [
                { "type": "External", "external": { "metric": { "name": "controller_depth" }, "target": one } },
                { "type": "Pods", "pods": { "metric": { "name": "controller_requests" }, "target": one } },
                { "type": "Object", "object": { "metric": { "name": "controller_rate" }, "target": one,
                    "describedObject": { "apiVersion": "v1", "kind": "Service", "name": "front" } } },
            ],
        },
    });
    world.kubectl.apply(&autoscaler.to_string()).await?;
    Ok(())
}

async fn apply_values(world: &World, external: usize) -> Result<()> {
    let custom = ["pods/*/controller_requests 1", "services/front/controller_rate 1"];
    world.apply_static(NAMESPACE, &[&format!("controller_depth {external}")], &custom).await
}

/// Has the aggregator dial another port for all groups, and waits until it has.
async fn redirect(world: &World, port: u16) -> Result<()> {
    let patch = json!([{ "op": "replace", "path": "/spec/service/port", "value": port }]).to_string();
    for name in API_SERVICES {
        world.kubectl.run(&["patch", "apiservice", name, "--type=json", "--patch", &patch]).await?;
    }
    let mut arguments = vec!["wait", "--for=condition=Available", "--timeout=60s", "apiservice"];
    arguments.extend(API_SERVICES);
    world.kubectl.run(&arguments).await?;
    Ok(())
}
