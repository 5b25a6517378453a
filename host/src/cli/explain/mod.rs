//! `explain`: why a metric, or each metric of a HorizontalPodAutoscaler, is answered as it is. It asks what the HPA controller asks,
//! as the user of the kubeconfig, and reads what lies around it: who serves the API, conditions, Events. It changes nothing.

mod ask;
mod autoscaler;
mod diagnosis;
mod question;
mod report;
mod text;

use std::{io, path::PathBuf};

use clap::{Args, Subcommand};
use kube::Client;

use super::{
    cluster,
    preflight::{Format, Installation},
};
use question::Question;
pub use report::{Condition, MetricReport, Outcome, Report, Target, Verdict};

/// Says why metrics are answered as they are: who answers, what the backend said, what to do about it.
///
/// Exit codes: 0 every metric has a value, 1 one has none, 2 wrong usage, 3 it could not be asked.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    #[command(subcommand)]
    what: What,
    /// The cluster and the user to ask as; by default $KUBECONFIG, ~/.kube/config, or the pod's own account
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, where it is not the current one
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,
    /// The namespace; by default that of the context
    #[arg(long, short, value_name = "NAMESPACE", global = true)]
    namespace: Option<String>,
    /// Also URLs, bodies and log lines; takes the right to get explanations.wasm-metrics-adapter.io/raw
    #[arg(long, global = true)]
    raw: bool,
    /// The namespace in which the adapter is
    #[arg(long, value_name = "NAMESPACE", default_value = "wasm-metrics-adapter", global = true)]
    adapter_namespace: String,
    /// The adapter's Service
    #[arg(long, value_name = "NAME", default_value = "wasm-metrics-adapter", global = true)]
    adapter_service: String,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    output: Format,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Every metric of a HorizontalPodAutoscaler, as its controller asks for it
    Hpa {
        /// The HorizontalPodAutoscaler
        name: String,
    },
    /// A metric of external.metrics.k8s.io
    External {
        /// The metric
        metric: String,
        /// Which series, as in queue=orders
        #[arg(long, short, value_name = "SELECTOR", default_value = "")]
        selector: String,
    },
    /// A metric of custom.metrics.k8s.io
    Custom {
        /// The kind of objects, as in pods or deployments.apps
        resource: String,
        /// The metric
        metric: String,
        /// One object, instead of all that the selector selects
        #[arg(long, value_name = "NAME", default_value = "*")]
        object: String,
        /// Which objects, as in app=web
        #[arg(long, short, value_name = "SELECTOR", default_value = "")]
        selector: String,
        /// Which series of the metric
        #[arg(long, value_name = "SELECTOR", default_value = "")]
        metric_selector: String,
    },
    /// CPU and memory of pods or nodes, by metrics.k8s.io
    Resource {
        /// Of what
        #[arg(value_parser = ["pods", "nodes"])]
        resource: String,
        /// Of which, as in app=web
        #[arg(long, short, value_name = "SELECTOR", default_value = "")]
        selector: String,
    },
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// No cluster is configured, or its configuration is of no use.
    #[error(
        "cannot tell which cluster to ask: {0}; name a kubeconfig with --kubeconfig, a context of it with --context"
    )]
    Configuration(String),
    /// What is to be explained could not be read.
    #[error("cannot read {what}: {cause}; check its name, --namespace, and that you may read it")]
    Unreadable {
        /// As in `HorizontalPodAutoscaler shop/web`.
        what: String,
        /// In the API server's words.
        cause: String,
    },
    /// The answer could not be printed.
    #[error("cannot print the answer: {0}")]
    Print(#[from] io::Error),
}

impl ExplainError {
    /// The process's exit code for every such error.
    pub const EXIT_CODE: u8 = 3;
}

/// Asks the cluster of `args` and prints the answer.
pub async fn run(args: &ExplainArgs, output: &mut impl io::Write) -> Result<Outcome, ExplainError> {
    let connected = cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let (client, namespace) = connected.map_err(ExplainError::Configuration)?;
    let report = inspect(&client, args, args.namespace.as_deref().unwrap_or(&namespace)).await?;
    match args.output {
        Format::Text => text::print(&report, output)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *output, &report).map_err(io::Error::from)?;
            writeln!(output)?;
        }
    }
    Ok(report.outcome())
}

async fn inspect(client: &Client, args: &ExplainArgs, namespace: &str) -> Result<Report, ExplainError> {
    let mut report = Report::default();
    let questions = match &args.what {
        What::Hpa { name } => {
            let autoscaler = autoscaler::read(client, namespace, name).await?;
            report.conditions = autoscaler::conditions(&autoscaler);
            let (target, questions) = autoscaler::questions(client, namespace, &autoscaler).await;
            report.events =
                ask::events(client, namespace, "HorizontalPodAutoscaler", Some(name), &mut report.unanswered).await;
            report.target = Some(target);
            questions
        }
        What::External { metric, selector } => vec![Question::external(namespace, metric, selector)],
        What::Custom { resource, metric, object, selector, metric_selector } => {
            let scope = ask::namespace_of(client, resource, namespace).await;
            let scope =
                scope.map_err(|cause| ExplainError::Unreadable { what: format!("what {resource} are"), cause })?;
            vec![Question::custom(scope.as_deref(), resource, object, metric, selector, metric_selector)]
        }
        What::Resource { resource, selector } => {
            vec![Question::resource(Some(namespace).filter(|_| resource == "pods"), resource, selector)]
        }
    };
    let installation = Installation {
        namespace: args.adapter_namespace.clone(),
        service: args.adapter_service.clone(),
        service_account: String::new(),
        plugin_namespaces: Vec::new(),
    };
    let surroundings = ask::Surroundings::read(client, &installation, &mut report.unanswered).await;
    for question in questions {
        report.metrics.push(ask::explain(client, question, args.raw, &surroundings, &mut report.unanswered).await);
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
