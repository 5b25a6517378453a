//! The folder of plugins that the adapter watches, and what the demo writes there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::shell;

const HEAD: &str = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n";

/// `plugins/` with `queues` and `orders`.
pub(super) struct Plugins(PathBuf);

impl Plugins {
    /// Writes both plugins below `folder`; `orders` asks a JSON API on this port of loopback.
    pub(super) fn create(folder: &Path, backend: u16) -> Result<Self> {
        let plugins = Self(folder.join("plugins"));
        fs::create_dir_all(&plugins.0)?;
        for (guest, name) in [("static", "queues"), ("http-json", "orders")] {
            let built = shell::root().join(format!("target/guests/{guest}.wasm"));
            fs::copy(&built, plugins.0.join(format!("{name}.wasm")))
                .with_context(|| format!("cannot copy {}", built.display()))?;
        }
        plugins.write("orders", &orders(backend))?;
        plugins.set_queue(42)?;
        Ok(plugins)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The file that a person edits.
    pub(super) fn queues(&self) -> PathBuf {
        self.0.join("queues.yaml")
    }

    /// Gives queue `orders` this depth; returns the moment at which the file was there.
    pub(super) fn set_queue(&self, depth: u32) -> Result<Instant> {
        self.write("queues", &queues("config", depth))
    }

    /// Writes what no version of the adapter accepts.
    pub(super) fn break_queue(&self) -> Result<Instant> {
        self.write("queues", &queues("confg", 0))
    }

    /// As editors do it: the file is the old one or the new one at every moment.
    fn write(&self, name: &str, text: &str) -> Result<Instant> {
        let unfinished = self.0.join(format!(".{name}.yaml"));
        fs::write(&unfinished, text)?;
        fs::rename(&unfinished, self.0.join(format!("{name}.yaml")))?;
        Ok(Instant::now())
    }
}

fn queues(config: &str, depth: u32) -> String {
    format!(
        r#"{HEAD}{config}:
  external: |
    queue_depth{{queue="orders"}} {depth}
    queue_depth{{queue="mail"}} 7
  custom: |
    pods/*/http_requests 10
    services/front/requests_per_second 2500m
"#
    )
}

fn orders(port: u16) -> String {
    format!(
        r#"{HEAD}egress: ["http://127.0.0.1:{port}"]
config:
  metrics:
    - name: open_orders
      type: external
      url: http://127.0.0.1:{port}/orders
      items: $.cities[*]
      value: $.open
      labels: {{ city: $.name }}
"#
    )
}
