//! Tenants: plugins of namespaces of their own, within the operator's policy. Both namespaces are missing until the first case makes
//! them, and the replicas were ready all the same.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    TENANTS,
    adapter::{POLICY_FILE, policy},
    eventually::eventually,
    plugins::{Plugin, component, static_configuration},
};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

/// A namespace that was missing is asked for again after half a minute at the latest.
const FOUND: Duration = Duration::from_secs(120);

pub(crate) async fn a_tenants_plugin_scales_an_autoscaler_of_its_namespace(world: &mut World) -> Result<()> {
    admit(world).await?;
    let [tenant, other] = TENANTS;
    apply(world, tenant, "queue", &static_configuration(&["tenant_depth 30"], &[])).await?;
    let path = |namespace: &str| format!("{EXTERNAL}/namespaces/{namespace}/tenant_depth");
    eventually("the tenant's metric is served", FOUND, async || world.check_values(&path(tenant), &["30"]).await)
        .await?;
    world.expect_status(&path(other), 404).await?;
    world.expect_status(&path("default"), 404).await?;
    for answer in world.get_everywhere(EXTERNAL).await? {
        ensure!(!answer.text().contains("tenant_depth"), "a tenant's metric is in discovery: {}", answer.text());
    }
    world.kubectl.apply(&WORKLOAD.replace("NAMESPACE", tenant)).await?;
    eventually("the tenant's Deployment has three replicas", PATIENCE * 2, async || {
        let printed = world.kubectl.run(&["get", "deployment", "web", "--namespace", tenant, "-o", "json"]).await?;
        let deployment: Value = serde_json::from_str(&printed)?;
        ensure!(deployment["spec"]["replicas"] == 3, "it has {}", deployment["spec"]["replicas"]);
        Ok(())
    })
    .await
}

/// Each asks for one thing that no tenant gets.
pub(crate) async fn each_refusal_is_told_in_the_tenants_namespace(world: &mut World) -> Result<()> {
    admit(world).await?;
    let [tenant, other] = TENANTS;
    world.apply_static("platform", &["platform_depth 1"], &[]).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/{tenant}/platform_depth"), &["1"]).await?;
    secrets(world, tenant, other).await?;
    let own = format!("http://mq.{tenant}.svc");
    let bearer = |secret: &str| json!([{ "origin": own, "bearer": { "secret": secret, "key": "token" } }]);
    let digest = "a".repeat(64);
    let cases = [
        ("loopback", json!({ "egress": ["http://127.0.0.1:8080"] }), "egress to http://127.0.0.1:8080"),
        ("link-local", json!({ "egress": ["http://169.254.0.7"] }), "egress to http://169.254.0.7"),
        ("metadata", json!({ "egress": ["http://169.254.169.254"] }), "its ceiling `egress` is"),
        ("api-server", json!({ "egress": ["https://kubernetes.default.svc"] }), "egress to https://kubernetes"),
        ("other-service", json!({ "egress": [format!("http://mq.{other}.svc")] }), "its ceiling `egress` is"),
        ("other-secret", json!({ "egress": [own], "credentials": bearer("theirs") }), "does not exist"),
        ("unmarked", json!({ "egress": [own], "credentials": bearer("unmarked") }), "is not labelled as a credential"),
        ("origin", json!({ "egress": [own], "credentials": bearer("marked") }), "does not consent to be sent to"),
        (
            "read",
            json!({ "secrets": { "external": { "secret": "marked", "key": "token" } }, "config": {} }),
            "does not consent to be read by plugins",
        ),
        ("memory", json!({ "limits": { "memory": "65Mi" } }), "its ceiling `limits.memory` is 64Mi"),
        ("namespace", json!({ "serves": { "namespaces": [other] } }), "serves.namespaces with"),
        ("resource", json!({ "serves": { "resource": true } }), "serves.resource is for plugins in the adapter's own"),
        ("platform", json!({ "serves": { "external": ["platform_depth"] } }), "is answered by"),
        ("file", json!({ "component": { "file": "queue.wasm" } }), "its ceiling `sources` is inline, parts"),
        (
            "registry",
            json!({ "component": { "oci": { "ref": format!("r.example/queue@sha256:{digest}") } } }),
            "its ceiling `sources` is inline, parts",
        ),
    ];
    for (name, change, words) in cases {
        let mut configuration = static_configuration(&["refused_depth 666"], &[]);
        let fields = configuration.as_object_mut().context("it is a mapping")?;
        fields.extend(change.as_object().cloned().unwrap_or_default());
        apply(world, tenant, name, &configuration).await?;
        let why = format!("an Event says why {name} is refused");
        let message = eventually(&why, FOUND, async || warning(world, tenant, name).await).await?;
        ensure_words(&message, &[words])?;
        // One after the other: all of them together are more than the quota of a tenant.
        world.kubectl.run(&["delete", "configmap", name, "--namespace", tenant]).await?;
    }
    world.check_values(&format!("{EXTERNAL}/namespaces/{tenant}/platform_depth"), &["1"]).await?;
    world.expect_status(&format!("{EXTERNAL}/namespaces/{other}/refused_depth"), 404).await?;
    e2e::plugins::delete(&world.admin, "platform").await
}

pub(crate) async fn a_tightened_policy_withdraws_a_running_plugin(world: &mut World) -> Result<()> {
    admit(world).await?;
    let [_, tenant] = TENANTS;
    let path = format!("{EXTERNAL}/namespaces/{tenant}/policy_depth");
    apply(world, tenant, "governed", &static_configuration(&["policy_depth 7"], &[])).await?;
    eventually("the tenant's metric is served", FOUND, async || world.check_values(&path, &["7"]).await).await?;
    let file = world.control_plane.folder().join(POLICY_FILE);
    std::fs::write(&file, policy(&format!("{tenant}: {{ plugins: 0 }}")))?;
    world.expect_status(&path, 404).await?;
    let message = eventually("an Event says why", PATIENCE, async || warning(world, tenant, "governed").await).await?;
    ensure_words(&message, &["its ceiling `plugins` is 0", "ask the platform team", "its metrics are not served"])?;
    std::fs::write(&file, policy(""))?;
    world.expect_values(&path, &["7"]).await
}

/// Makes both namespaces tenants, as deploy/examples/tenant says, unless an earlier case has.
async fn admit(world: &World) -> Result<()> {
    let example = std::fs::read_to_string(world.installation.deploy.join("examples/tenant/rbac.yaml"))?;
    for tenant in TENANTS {
        if !world.kubectl.attempt(&["get", "namespace", tenant]).await?.success {
            world.create_namespace(tenant).await?;
        }
        world.kubectl.apply(&example.replace("wasm-metrics-adapter-example", tenant)).await?;
    }
    Ok(())
}

/// Secrets of `tenant`: one without a label, one for another origin. One of `other` that would do.
async fn secrets(world: &World, tenant: &str, other: &str) -> Result<()> {
    let secret = |namespace: &str, name: &str, label: &str, origin: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "token": "t0ken" },
            "metadata": {
                "name": name, "namespace": namespace, "labels": { "wasm-metrics-adapter.io/credential": label },
                "annotations": { "wasm-metrics-adapter.io/allowed-origins": origin },
            },
        })
    };
    let own = format!("http://mq.{tenant}.svc");
    for secret in [
        secret(tenant, "unmarked", "false", &own),
        secret(tenant, "marked", "true", "http://elsewhere.example.com"),
        secret(other, "theirs", "true", &own),
    ] {
        world.kubectl.apply(&secret.to_string()).await?;
    }
    Ok(())
}

async fn apply(world: &World, namespace: &str, name: &str, configuration: &Value) -> Result<()> {
    let mut object = Plugin::new(name, component("static")?, configuration).config_map();
    object.metadata.namespace = Some(namespace.to_owned());
    let config_maps = Api::<ConfigMap>::namespaced(world.admin.clone(), namespace);
    config_maps.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// What the Warnings about a plugin say. Two replicas say one thing.
async fn warning(world: &World, namespace: &str, name: &str) -> Result<String> {
    let filter = format!("involvedObject.kind=ConfigMap,involvedObject.name={name},type=Warning");
    let events = Api::<Event>::namespaced(world.admin.clone(), namespace);
    let events = events.list(&ListParams::default().fields(&filter)).await?.items;
    let messages: BTreeSet<String> = events.into_iter().filter_map(|event| event.message).collect();
    ensure!(messages.len() == 1, "expected one Warning about ConfigMap `{name}`, found {messages:#?}");
    Ok(messages.into_iter().collect())
}

const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: NAMESPACE }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: main, image: web }] }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, namespace: NAMESPACE }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  minReplicas: 1
  maxReplicas: 5
  metrics:
    - type: External
      external: { metric: { name: tenant_depth }, target: { type: AverageValue, averageValue: "10" } }
"#;
