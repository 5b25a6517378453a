//! Kinds of objects that come, go and change while the adapter runs.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::{eventually::eventually, plugins};
use serde_json::{Value, json};

use crate::world::{CUSTOM, PATIENCE, World, values_of};

const NAMED: &str = "/namespaces/default/widgets.e2e.example.com/w1/widget_load";
const IN_CLUSTER: &str = "/widgets.e2e.example.com/w1/widget_load";

/// A custom resource definition is created, deleted, and created again with another scope.
pub(crate) async fn a_custom_resource_is_known_when_it_can_be_used_and_forgotten_when_it_is_gone(
    world: &mut World,
) -> Result<()> {
    world.apply_static("widgets", &[], &["widgets.e2e.example.com/w1/widget_load 7"]).await?;
    world.expect_status(&format!("{CUSTOM}{NAMED}"), 404).await?;

    world.kubectl.apply(&definition("Namespaced").to_string()).await?;
    let created = Instant::now();
    world.expect_values(&format!("{CUSTOM}{NAMED}"), &["7"]).await?;
    world
        .figures
        .push(format!("a new kind was served {} ms after its definition was accepted", created.elapsed().as_millis()));
    let message = world.expect_status(&format!("{CUSTOM}{IN_CLUSTER}"), 404).await?;
    ensure!(message.contains("these objects live in namespaces"), "{message}");

    let delete = ["delete", "crd", "widgets.e2e.example.com", "--wait=true", "--timeout=30s"];
    world.kubectl.run(&delete).await?;
    let deleted = Instant::now();
    world.expect_status(&format!("{CUSTOM}{NAMED}"), 404).await?;
    world
        .figures
        .push(format!("a kind was forgotten {} ms after its definition was gone", deleted.elapsed().as_millis()));

    world.kubectl.apply(&definition("Cluster").to_string()).await?;
    eventually("the kind is of the cluster everywhere", PATIENCE, async || {
        for answer in world.get_everywhere(&format!("{CUSTOM}{IN_CLUSTER}")).await? {
            ensure!(values_of(&answer)? == ["7"], "{}", answer.text());
        }
        Ok(())
    })
    .await?;
    let message = world.expect_status(&format!("{CUSTOM}{NAMED}"), 404).await?;
    ensure!(message.contains("these objects live in no namespace"), "{message}");
    world.kubectl.run(&delete).await?;
    plugins::delete(&world.admin, "widgets").await
}

fn definition(scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.e2e.example.com" },
        "spec": {
            "group": "e2e.example.com", "scope": scope,
            "names": { "kind": "Widget", "plural": "widgets" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }],
        },
    })
}
