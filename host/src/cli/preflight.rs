//! `preflight`: before and after an install, in words, who serves the metrics APIs, which HorizontalPodAutoscalers depend on
//! them, what the adapter may not do, and how to roll back. It reads and asks, and never changes anything.

mod autoscalers;
mod judgement;
pub(super) mod ownership;
mod permissions;
mod text;

use std::{io, path::PathBuf};

use clap::{Args, ValueEnum};
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, SelfSubjectReviewStatus},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use serde::Serialize;

use super::cluster::{self, cause};
use crate::config::namespace;

pub use autoscalers::Dependents;
pub use judgement::{Finding, RollBack};
pub use ownership::{ApiService, Owner, State};
pub use permissions::{Missing, Permissions};

/// Says who serves the metrics APIs now, what depends on them, what the adapter lacks, and how to roll back.
///
/// Exit codes: 0 nothing would break, 1 findings, 2 a question could not be asked and there are no findings.
#[derive(Debug, Clone, Args)]
pub struct PreflightArgs {
    /// The cluster and the user to ask as; by default $KUBECONFIG, ~/.kube/config, or the pod's own account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace in which the adapter is, or will be
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "wasm-metrics-adapter")]
    pub namespace: String,
    /// The adapter's Service
    #[arg(long, value_name = "NAME", default_value = "wasm-metrics-adapter")]
    pub service: String,
    /// The adapter's ServiceAccount
    #[arg(long, value_name = "NAME", default_value = "wasm-metrics-adapter")]
    pub service_account: String,
    /// The namespaces of tenants, as for `serve`
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = namespace)]
    pub plugin_namespaces: Vec<String>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing would break.
    Fine,
    /// Something is broken, or an install would break it.
    Findings,
    /// No findings, but not everything could be asked.
    Unanswered,
}

impl Outcome {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Findings => 1,
            Self::Unanswered => PreflightError::EXIT_CODE,
        }
    }
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// No cluster is configured, or its configuration is of no use.
    #[error("cannot tell which cluster to ask: {0}; name a kubeconfig with --kubeconfig")]
    Configuration(String),
    /// The API server does not answer.
    #[error("cannot ask the API server: {0}; check the server and the user of the kubeconfig")]
    Unreachable(String),
    /// The answer could not be printed.
    #[error("cannot print the answer: {0}")]
    Print(#[from] io::Error),
}

impl PreflightError {
    /// The process's exit code for every such error.
    pub const EXIT_CODE: u8 = 2;
}

/// Where the adapter is, or will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// Its namespace.
    pub namespace: String,
    /// Its Service.
    pub service: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The namespaces of tenants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugin_namespaces: Vec<String>,
}

impl Installation {
    /// The name under which the API server knows the adapter.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was looked for.
    pub installation: Installation,
    /// The APIServices of the metrics groups; those that could not be read are left out.
    pub api_services: Vec<ApiService>,
    /// Who depends on each group; empty where that could not be asked.
    pub dependents: Vec<Dependents>,
    /// Whether the adapter's ServiceAccount exists; absent where that could not be asked.
    pub installed: Option<bool>,
    /// What the adapter may do; absent where it is not installed, or where that could not be asked.
    pub permissions: Option<Permissions>,
    /// What is broken, or would break.
    pub findings: Vec<Finding>,
    /// What could not be asked, and why.
    pub unanswered: Vec<String>,
    /// How to go back.
    pub roll_back: RollBack,
}

impl Report {
    /// Findings outweigh questions left open: they are certain.
    pub fn outcome(&self) -> Outcome {
        match (self.findings.is_empty(), self.unanswered.is_empty()) {
            (false, _) => Outcome::Findings,
            (true, false) => Outcome::Unanswered,
            (true, true) => Outcome::Fine,
        }
    }
}

/// Asks the cluster of `args` and prints the answer.
pub async fn run(args: &PreflightArgs, output: &mut impl io::Write) -> Result<Outcome, PreflightError> {
    let connected = cluster::connect(args.kubeconfig.as_deref(), None).await;
    let (client, _) = connected.map_err(PreflightError::Configuration)?;
    let installation = Installation {
        namespace: args.namespace.clone(),
        service: args.service.clone(),
        service_account: args.service_account.clone(),
        plugin_namespaces: args.plugin_namespaces.clone(),
    };
    let report = inspect(&client, installation).await?;
    match args.output {
        Format::Text => text::print(&report, output)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *output, &report).map_err(io::Error::from)?;
            writeln!(output)?;
        }
    }
    Ok(report.outcome())
}

/// Asks everything. A question that is refused is told in the report; only an API server that does not answer is an error.
pub async fn inspect(client: &Client, installation: Installation) -> Result<Report, PreflightError> {
    let asker = who_asks(client).await?;
    let mut unanswered = Vec::new();
    let api_services = ownership::ask(client, &installation, &mut unanswered).await;
    let dependents = autoscalers::ask(client).await.unwrap_or_else(|error| {
        unanswered.push(format!("which HorizontalPodAutoscalers depend on each API: {}", cause(&error)));
        Vec::new()
    });
    let installed = is_installed(client, &installation, asker.as_deref()).await.map_err(|error| {
        unanswered.push(format!("whether {} exists: {}", installation.user(), cause(&error)));
    });
    let permissions = match installed {
        Ok(true) => permissions::ask(client, &installation, asker.as_deref()).await.map(Some).unwrap_or_else(|error| {
            unanswered.push(format!("what {} may do: {}", installation.user(), cause(&error)));
            None
        }),
        Ok(false) | Err(()) => None,
    };
    let findings = judgement::judge(&installation, &api_services, &dependents, permissions.as_ref());
    let roll_back = judgement::roll_back(&api_services);
    let installed = installed.ok();
    Ok(Report { installation, api_services, dependents, installed, permissions, findings, unanswered, roll_back })
}

/// The name of the user who asks; absent where the API server does not tell (before Kubernetes 1.28).
async fn who_asks(client: &Client) -> Result<Option<String>, PreflightError> {
    match Api::<SelfSubjectReview>::all(client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
    {
        Ok(review) => Ok(review.status.and_then(user_name)),
        Err(kube::Error::Api(status)) if status.code != 401 => Ok(None),
        Err(error) => Err(PreflightError::Unreachable(cause(&error))),
    }
}

fn user_name(status: SelfSubjectReviewStatus) -> Option<String> {
    status.user_info?.username
}

/// Whether the adapter's account exists. Before it does, that it lacks every right is no news.
async fn is_installed(client: &Client, installation: &Installation, asker: Option<&str>) -> kube::Result<bool> {
    if asker == Some(installation.user().as_str()) {
        return Ok(true);
    }
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &installation.namespace);
    Ok(accounts.get_opt(&installation.service_account).await?.is_some())
}

#[cfg(test)]
mod tests;
