//! The clients of k8s.io/metrics, from which the HPA controller and kubectl are built: `e2e/go/clients` asks what it is told to,
//! and says what each client made of the answers.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::programs;

/// Which client, and what it is to ask for. What does not apply stays empty.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<'a> {
    /// `custom` (as the HPA controller: the version that discovery prefers), `custom/v1beta1`, `custom/v1beta2`, `external`,
    /// `pods` or `nodes`.
    pub client: &'a str,
    /// Empty for what has none.
    pub namespace: &'a str,
    /// The kind of the described objects, as `Deployment.apps`.
    pub kind: &'a str,
    /// One object; else `selector` chooses among all.
    pub name: &'a str,
    /// Of objects; of series for external metrics.
    pub selector: &'a str,
    /// The metric.
    pub metric: &'a str,
    /// Of series.
    pub metric_selector: &'a str,
}

/// What the client gave, and what came over the wire.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The values; none beside an error.
    pub items: Option<Vec<Item>>,
    /// Why there are none.
    pub error: Option<Failure>,
    /// The requests that the client made, without those of discovery.
    pub wire: Vec<Wire>,
}

/// One value of any of the groups. What a group does not have is empty.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
pub struct Item {
    /// Of the described object.
    pub kind: String,
    /// Of the described object.
    pub api_version: String,
    /// Of the described object, or of the pod.
    pub namespace: String,
    /// Of the described object, the pod or the node.
    pub name: String,
    /// The metric's name.
    pub metric: String,
    /// The selector of series that the value is for.
    pub selector: String,
    /// Of the series, the pod or the node.
    pub labels: BTreeMap<String, String>,
    /// A canonical quantity.
    pub value: String,
    /// What period the value is of, if the server says so.
    pub window_seconds: Option<f64>,
    /// How long ago the value was taken.
    pub age_seconds: f64,
    /// Of each container; of a node under `node`.
    pub usage: BTreeMap<String, BTreeMap<String, String>>,
}

/// An error as Go programs tell them apart.
#[derive(Debug, Deserialize)]
pub struct Failure {
    /// `metav1.StatusReason`, as `NotFound`; empty for an error that is not the server's.
    pub reason: String,
    /// The HTTP status; 0 for an error that is not the server's.
    pub code: u16,
    /// What a person is shown.
    pub message: String,
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wire {
    /// The path with its query.
    pub path: String,
    /// The request's `Accept`.
    pub accept: String,
    /// The HTTP status.
    pub status: u16,
    /// The answer's `Content-Type`.
    pub content_type: String,
}

/// Asks as the user of a kubeconfig. The clients prefer `content_type`, or what they prefer themselves when it is empty.
///
/// # Errors
/// Fails when the program was not built or cannot ask at all; a refusal is an answer.
pub async fn ask(kubeconfig: &Path, content_type: &str, questions: &[Question<'_>]) -> Result<Vec<Answer>> {
    let mut child = Command::new(programs::go("clients")?)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--content-type={content_type}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().context("it has an input")?.write_all(&serde_json::to_vec(questions)?).await?;
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Answer> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not a list of answers: {}", String::from_utf8_lossy(&output.stdout)))?;
    ensure!(answers.len() == questions.len(), "{} answers to {} questions", answers.len(), questions.len());
    Ok(answers)
}
