//! Bad plugins: each update is refused by one Event that names the fix, and what served before goes on serving.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::{
    eventually::{eventually, throughout},
    plugins::{Plugin, only_warning, static_configuration},
};
use serde_json::json;

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

/// An update of a good plugin to a bad one: `spoil` makes it bad, the words must be in the one Warning.
pub(crate) async fn refused(
    world: &World,
    name: &str,
    spoil: impl FnOnce(&mut Plugin) -> Result<()>,
    words: &[&str],
) -> Result<()> {
    let name = format!("bad-{name}");
    let metric = name.replace('-', "_");
    let path = format!("{EXTERNAL}/namespaces/default/{metric}");
    let mut plugin = Plugin::of_static(&name, &[&format!("{metric} 1")], &[])?;
    plugin.apply(&world.admin).await?;
    world.expect_values(&path, &["1"]).await?;
    spoil(&mut plugin)?;
    // The API server keeps keys that another manager set: the whole object is replaced.
    plugin.replace(&world.admin).await?;
    let message = eventually("an Event says why", PATIENCE, async || only_warning(&world.admin, &name).await).await?;
    ensure_words(&message, words)?;
    throughout("the good version is served and nothing more is said", Duration::from_secs(1), async || {
        world.check_values(&path, &["1"]).await?;
        only_warning(&world.admin, &name).await.map(drop)
    })
    .await?;
    e2e::plugins::delete(&world.admin, &name).await
}

fn code(bytes: impl Into<Vec<u8>>) -> impl FnOnce(&mut Plugin) -> Result<()> {
    let bytes = bytes.into();
    |plugin| {
        plugin.binary = [("plugin.wasm".to_owned(), bytes)].into();
        Ok(())
    }
}

pub(crate) async fn garbage(world: &mut World) -> Result<()> {
    refused(world, "garbage", code("no wasm at all"), &["not a WebAssembly component", "no wasm at all"]).await
}

pub(crate) async fn a_core_module(world: &mut World) -> Result<()> {
    let module = wat::parse_str("(module)")?;
    refused(world, "module", code(module), &["core module", "wasm32-wasip2"]).await
}

pub(crate) async fn a_component_of_another_world(world: &mut World) -> Result<()> {
    let component = exporting("wasi:cli/run@0.2.0", "")?;
    refused(world, "other-world", code(component), &["wasi:cli/run@0.2.0", "external-metrics"]).await
}

pub(crate) async fn a_component_of_another_version(world: &mut World) -> Result<()> {
    let component = exporting("wasm-metrics-adapter:plugin/external-metrics@9.0.0", "")?;
    refused(world, "other-version", code(component), &["@9.0.0", "speaks version 0.1"]).await
}

pub(crate) async fn a_component_with_foreign_imports(world: &mut World) -> Result<()> {
    let import = r#"(import "other:thing/api@1.0.0" (instance))"#;
    let component = exporting("wasm-metrics-adapter:plugin/external-metrics@0.1.0", import)?;
    refused(world, "foreign-import", code(component), &["other:thing/api@1.0.0", "imports"]).await
}

pub(crate) async fn an_unknown_field(world: &mut World) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        let mut configuration = static_configuration(&["bad_unknown_field 2"], &[]);
        configuration
            .as_object_mut()
            .context("it is an object")?
            .insert("limit".to_owned(), json!({ "memory": "64Mi" }));
        plugin.yaml = configuration.to_string();
        Ok(())
    };
    refused(world, "unknown-field", spoil, &["`limit`", "`limits`"]).await
}

pub(crate) async fn settings_that_the_plugin_rejects(world: &mut World) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        let mut configuration = static_configuration(&["bad_settings 2"], &[]);
        *configuration.pointer_mut("/config").context("it has settings")? = json!({ "extrenal": "bad_settings 2" });
        plugin.yaml = configuration.to_string();
        Ok(())
    };
    refused(world, "settings", spoil, &["extrenal", "the keys are external and custom"]).await
}

pub(crate) async fn an_illegal_path_segment(world: &mut World) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        plugin.yaml = static_configuration(&["bad/segment 2"], &[]).to_string();
        Ok(())
    };
    refused(world, "segment", spoil, &["bad/segment"]).await
}

/// A component that exports one empty instance by a name.
fn exporting(name: &str, import: &str) -> Result<Vec<u8>> {
    let text = format!(
        r#"(component {import} (component $empty) (instance $it (instantiate $empty)) (export "{name}" (instance $it)))"#
    );
    Ok(wat::parse_str(text)?)
}
