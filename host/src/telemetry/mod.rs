//! What operators see of the process: log lines, Prometheus metrics, readiness. Any room may count here; this room imports none.

mod metrics;
mod readiness;
mod request_log;

pub use metrics::{
    CallLabels, CertificateLabels, CompilationLabels, LoadLabels, Metrics, ObjectLabels, PluginLabels, RequestLabels,
};
pub use readiness::{Latch, Notice, Readiness};
pub use request_log::{RequestLine, RequestLog, RequestLogEnd, RequestLogging};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `filter` is in the syntax of tracing's `EnvFilter`, as in `info,wasm_metrics_adapter=debug`.
pub fn start_logging(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;

    use anyhow::Context as _;
    let filter = tracing_subscriber::EnvFilter::try_new(filter).with_context(|| {
        format!("--log-filter {filter}: write a level or `target=level` pairs, as in `info,kube=warn`")
    })?;
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => logging.try_init(),
        LogFormat::Json => logging.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start logging: {error}"))
}
