//! Bad packaging and bad company: parts, digests, bombs, Secrets, egress and rivals.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    ADAPTER_NAMESPACE,
    eventually::eventually,
    packaging::{self, Parts},
    plugins::{self, Plugin, component, only_warning, padded, static_configuration},
};
use serde_json::{Value, json};

use crate::{
    refusals::refused,
    world::{EXTERNAL, PATIENCE, World, ensure_words, values_of},
};

/// More than any plugin may have: 256 MiB of zeros fit into a ConfigMap when compressed.
const BOMB: usize = 256 << 20;

pub(crate) async fn a_wrong_digest(world: &mut World) -> Result<()> {
    let mut parts = Parts::of("bad-digest", &component("static")?, 2)?;
    for part in &parts.config_maps {
        packaging::apply(&world.admin, part).await?;
    }
    parts.sha256 = "0".repeat(64);
    let spoil = |plugin: &mut Plugin| {
        *plugin = parts.plugin(&static_configuration(&["bad_digest 2"], &[]));
        Ok(())
    };
    refused(world, "digest", spoil, &["SHA-256", &"0".repeat(64)]).await
}

pub(crate) async fn a_missing_part(world: &mut World) -> Result<()> {
    let parts = Parts::of("bad-part", &component("static")?, 2)?;
    let names = parts.names();
    let ([first, _], [_, missing]) = (parts.config_maps.as_slice(), names.as_slice()) else {
        anyhow::bail!("there are two parts")
    };
    packaging::apply(&world.admin, first).await?;
    let spoil = |plugin: &mut Plugin| {
        *plugin = parts.plugin(&static_configuration(&["bad_part 2"], &[]));
        Ok(())
    };
    refused(world, "part", spoil, &[missing, "apply the parts first"]).await
}

pub(crate) async fn two_packagings_at_once(world: &mut World) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        plugin.binary.insert("plugin.wasm.zst".to_owned(), zstd::encode_all(component("static")?.as_slice(), 3)?);
        Ok(())
    };
    refused(world, "packagings", spoil, &["exactly one", "plugin.wasm.zst"]).await
}

pub(crate) async fn no_code_at_all(world: &mut World) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        plugin.binary.clear();
        Ok(())
    };
    refused(world, "empty", spoil, &["exactly one", "plugin.wasm"]).await
}

pub(crate) async fn a_gzip_bomb(world: &mut World) -> Result<()> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB >> 20 {
        gzip.write_all(&zeros)?;
    }
    bomb(world, "gzip-bomb", "plugin.wasm.gz", gzip.finish()?).await
}

pub(crate) async fn a_zstd_bomb(world: &mut World) -> Result<()> {
    let bytes = zstd::encode_all(std::io::Read::take(std::io::repeat(0), BOMB as u64), 3)?;
    bomb(world, "zstd-bomb", "plugin.wasm.zst", bytes).await
}

async fn bomb(world: &World, name: &str, key: &str, bytes: Vec<u8>) -> Result<()> {
    let spoil = |plugin: &mut Plugin| {
        plugin.binary = [(key.to_owned(), bytes)].into();
        Ok(())
    };
    refused(world, name, spoil, &[key, "limit"]).await
}

/// The largest that the API server takes is served; one byte more is the API server's own refusal.
pub(crate) async fn a_config_map_as_large_as_they_come(world: &mut World) -> Result<()> {
    const MOST: usize = 1 << 20;
    let path = format!("{EXTERNAL}/namespaces/default/large");
    let mut plugin = Plugin::of_static("large", &["large 1"], &[])?;
    let code = component("static")?;
    // Names and framing of the custom section take twelve bytes.
    let padding = MOST - plugin.yaml.len() - code.len() - 12;
    let largest = padded(code.clone(), padding);
    ensure!(largest.len() + plugin.yaml.len() <= MOST, "{} bytes", largest.len());
    plugin.binary = [("plugin.wasm".to_owned(), largest)].into();
    plugin.apply(&world.admin).await?;
    world.expect_values(&path, &["1"]).await?;
    plugin.binary = [("plugin.wasm".to_owned(), padded(code, padding + 13))].into();
    let refused = plugin.apply(&world.admin).await.err().context("the API server took more than 1 MiB")?;
    ensure_words(&format!("{refused:#}"), &["Too long"])?;
    world.check_values(&path, &["1"]).await?;
    plugins::delete(&world.admin, "large").await
}

pub(crate) async fn an_unmarked_secret(world: &mut World) -> Result<()> {
    let namespace = format!("--namespace={ADAPTER_NAMESPACE}");
    world.kubectl.run(&["create", "secret", "generic", "unmarked", "--from-literal=token=hidden", &namespace]).await?;
    let spoil = |plugin: &mut Plugin| {
        let mut configuration = static_configuration(&["bad_secret 2"], &[]);
        let origin = "https://mq.example.com:443";
        let fields = configuration.as_object_mut().context("it is an object")?;
        fields.insert("egress".to_owned(), json!([origin]));
        fields.insert(
            "credentials".to_owned(),
            json!([{ "origin": origin, "bearer": { "secret": "unmarked", "key": "token" } }]),
        );
        plugin.yaml = configuration.to_string();
        Ok(())
    };
    refused(world, "secret", spoil, &["unmarked", "wasm-metrics-adapter.io/credential"]).await
}

/// A plugin may be loaded and want more than it may have: the request says so, and nothing is dialled.
pub(crate) async fn an_origin_outside_egress(world: &mut World) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["outside"] }, "egress": ["https://mq.example.com:443"],
        "config": { "behaviour": "imports", "metrics": "outside", "url": url },
    });
    Plugin::new("outside", component("probe")?, &configuration).apply(&world.admin).await?;
    let path = format!("{EXTERNAL}/namespaces/default/outside?labelSelector=import%3Dhttp.fetch");
    let answers = eventually("the plugin answers", PATIENCE, async || {
        let answers = world.get_everywhere(&path).await?;
        answers.iter().try_for_each(|answer| values_of(answer).map(drop))?;
        Ok(answers)
    })
    .await?;
    for answer in answers {
        let list = answer.json()?;
        let fetched =
            list["items"].as_array().into_iter().flatten().find(|item| item["metricLabels"]["import"] == "http.fetch");
        let detail =
            fetched.and_then(|item| item["metricLabels"]["detail"].as_str()).with_context(|| format!("{list}"))?;
        ensure_words(detail, &["egress"])?;
    }
    let dialled = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
    ensure!(dialled.is_err(), "the origin was dialled all the same");
    plugins::delete(&world.admin, "outside").await
}

/// The first by name owns the metric, on every replica; the other learns of it, and inherits.
pub(crate) async fn two_plugins_that_claim_one_metric(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/contested");
    world.apply_static("rival-b", &["contested 2"], &[]).await?;
    world.expect_values(&path, &["2"]).await?;
    world.apply_static("rival-a", &["contested 1"], &[]).await?;
    world.expect_values(&path, &["1"]).await?;
    let message =
        eventually("the loser is told", PATIENCE, async || only_warning(&world.admin, "rival-b").await).await?;
    ensure_words(&message, &["contested", "rival-a"])?;
    let winner: Vec<Value> = plugins::events(&world.admin, "rival-a", "Warning")
        .await?
        .into_iter()
        .map(|event| json!(event.message))
        .collect();
    ensure!(winner.is_empty(), "the owner is warned: {winner:?}");
    plugins::delete(&world.admin, "rival-a").await?;
    world.expect_values(&path, &["2"]).await?;
    plugins::delete(&world.admin, "rival-b").await
}
