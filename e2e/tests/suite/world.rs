//! What every case has: the control plane, its administrator, the adapter, and the usual questions.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    adapter::Adapter,
    control_plane::ControlPlane,
    eventually::eventually,
    installation::Installation,
    kubectl::Kubectl,
    plugins::Plugin,
    requests::{self, Answer},
};
use kube::Client;
use serde_json::Value;

/// Long enough for anything on a busy machine, short enough to wait for in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
pub(crate) const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
pub(crate) const CUSTOM_OLD: &str = "/apis/custom.metrics.k8s.io/v1beta1";

pub(crate) struct World {
    // The adapter ends before the control plane.
    pub(crate) adapter: Adapter,
    pub(crate) control_plane: ControlPlane,
    pub(crate) admin: Client,
    pub(crate) kubectl: Kubectl,
    pub(crate) installation: Installation,
    /// Lines for the end of the report.
    pub(crate) figures: Vec<String>,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        let admin = control_plane.admin()?;
        let adapter = Adapter::prepare(&control_plane).await?;
        Ok(Self {
            installation: Installation::prepare(&control_plane, &adapter)?,
            admin: admin.client().await?,
            kubectl: control_plane.kubectl(&admin)?,
            adapter,
            control_plane,
            figures: Vec::new(),
        })
    }

    pub(crate) async fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl.run(&["create", "namespace", name]).await?;
        // The service account without which no pod may be made comes a moment later.
        eventually("the namespace has its default service account", PATIENCE, async || {
            self.kubectl.run(&["get", "serviceaccount", "default", "--namespace", name]).await
        })
        .await?;
        Ok(())
    }

    /// Applies `plugins/static` with these lines.
    pub(crate) async fn apply_static(&self, name: &str, external: &[&str], custom: &[&str]) -> Result<()> {
        Plugin::of_static(name, external, custom)?.apply(&self.admin).await
    }

    /// GETs a path as the administrator through the aggregator.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        requests::get(&self.admin, path).await
    }

    /// The answers of everybody who can be asked: the aggregator and each replica.
    pub(crate) async fn get_everywhere(&self, path: &str) -> Result<Vec<Answer>> {
        let mut answers = vec![self.get(path).await?];
        for replica in self.adapter.replicas() {
            answers.push(replica.get(path).await?);
        }
        Ok(answers)
    }

    /// Waits until everybody answers these values for the path's metric, in order.
    pub(crate) async fn expect_values(&self, path: &str, values: &[&str]) -> Result<()> {
        eventually(&format!("{path} is {values:?} everywhere"), PATIENCE, async || {
            self.check_values(path, values).await
        })
        .await
    }

    /// Everybody answers these values for the path's metric, now.
    pub(crate) async fn check_values(&self, path: &str, values: &[&str]) -> Result<()> {
        for answer in self.get_everywhere(path).await? {
            let found = values_of(&answer)?;
            ensure!(found == values, "{path} is {found:?} and not {values:?}");
        }
        Ok(())
    }

    /// Waits until everybody refuses the path with a status, and gives the message of the last.
    pub(crate) async fn expect_status(&self, path: &str, code: u16) -> Result<String> {
        eventually(&format!("{path} is answered by {code} everywhere"), PATIENCE, async || {
            let mut message = String::new();
            for answer in self.get_everywhere(path).await? {
                ensure!(answer.status == code, "{path} answered {}: {}", answer.status, answer.text());
                message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
            }
            Ok(message)
        })
        .await
    }
}

/// The values of a list of metrics, in order.
pub(crate) fn values_of(answer: &Answer) -> Result<Vec<String>> {
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
    let list = answer.json()?;
    let items = list["items"].as_array().with_context(|| format!("there are no items in {list}"))?;
    Ok(items.iter().map(|item| item["value"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Every one of the words is in the text, in any case of letters.
pub(crate) fn ensure_words(text: &str, words: &[&str]) -> Result<()> {
    let lower = text.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "`{word}` is missing in: {text}");
    }
    Ok(())
}

/// A field of JSON that must be a text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("there is no text at {pointer} of {value}"))
}
