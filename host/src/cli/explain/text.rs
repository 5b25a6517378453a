//! The report for people: each metric with its verdict first, then who answered, what happened, and what to do.

use std::io;

use serde_json::Value;

use super::{
    MetricReport, Report, Verdict,
    diagnosis::{items, text},
};
use crate::cli::cluster::printable;

/// Columns of a label.
const LABEL: usize = 10;

pub(super) fn print(report: &Report, output: &mut impl io::Write) -> io::Result<()> {
    if let Some(target) = &report.target {
        writeln!(output, "HORIZONTALPODAUTOSCALER {}, which scales {}", target.autoscaler, target.scales)?;
        match &target.selector {
            Ok(selector) => row(output, "pods", selector)?,
            Err(why) => row(output, "pods", &format!("unknown: {why}"))?,
        }
        for condition in &report.conditions {
            let words = format!("{} {}: {}", condition.status, condition.reason, condition.message);
            row(output, &condition.kind, &words)?;
        }
        for event in &report.events {
            row(output, "event", event)?;
        }
        writeln!(output)?;
    }
    for (number, metric) in (1..).zip(&report.metrics) {
        print_metric(number, metric, output)?;
    }
    if !report.unanswered.is_empty() {
        writeln!(output, "COULD NOT ASK")?;
        report.unanswered.iter().try_for_each(|question| writeln!(output, "   {}", printable(question)))?;
    }
    Ok(())
}

fn print_metric(number: usize, metric: &MetricReport, output: &mut impl io::Write) -> io::Result<()> {
    let verdict = match metric.verdict {
        Verdict::Answers => "answers",
        Verdict::Fails => "FAILS",
        Verdict::Unasked => "not asked",
    };
    writeln!(output, "{number}. {}", printable(&metric.question.title))?;
    row(output, verdict, &metric.summary)?;
    for remedy in &metric.remedies {
        row(output, "to do", remedy)?;
    }
    if !metric.explanation.is_null() {
        print_explanation(&metric.explanation, output)?;
    }
    if let Ok(path) = &metric.question.path {
        row(output, "by hand", &format!("kubectl get --raw '{path}'"))?;
    }
    writeln!(output)
}

fn print_explanation(explanation: &Value, output: &mut impl io::Write) -> io::Result<()> {
    for claim in items(explanation, "/claims/items") {
        let (plugin, claimed) = (text(claim, "/plugin"), text(claim, "/claim"));
        let words = match text(claim, "/standing") {
            "owns" => format!("{plugin}, which claims {claimed}"),
            "loading" => format!("{plugin}, which claims {claimed} and has not loaded yet"),
            _ => format!("not {plugin}, which claims {claimed}: {}", text(claim, "/because")),
        };
        row(output, "plugin", &words)?;
    }
    if let Some(cache) = explanation.get("cache") {
        let age = cache.get("ageMs").map(|age| format!(", {age} ms old")).unwrap_or_default();
        let failures = cache.get("failures").and_then(Value::as_u64).filter(|failures| *failures > 0);
        let failures = failures.map(|failures| format!(", {failures} failures in a row")).unwrap_or_default();
        row(output, "cache", &format!("{}{age}{failures}", text(cache, "/state")))?;
    }
    let Some(call) = explanation.get("call") else { return Ok(()) };
    for lookup in items(call, "/lookups/items") {
        let found =
            lookup.get("found").map_or_else(|| text(lookup, "/error").to_owned(), |found| format!("{found} found"));
        row(output, "objects", &format!("{} {:?}: {found}", text(lookup, "/resource"), text(lookup, "/selector")))?;
    }
    items(call, "/backendCalls/items").iter().try_for_each(|backend| print_backend(backend, output))?;
    left_out(call, "/backendCalls/leftOut", "backend", output)?;
    for value in items(call, "/values/items") {
        let became = value.get("quantity").map_or_else(|| text(value, "/error"), |_| text(value, "/quantity"));
        row(output, "value", &format!("{:?}: {} -> {became}", text(value, "/of"), text(value, "/number")))?;
    }
    left_out(call, "/values/leftOut", "value", output)?;
    for line in items(call, "/log/items") {
        row(output, "log", &format!("{}: {}", text(line, "/level"), text(line, "/text")))?;
    }
    let of = |pointer: &str| call.pointer(pointer).map(ToString::to_string).unwrap_or_else(|| "?".to_owned());
    let words = format!(
        "{} of {} ms, {} of {} ms CPU, {} of {} bytes of memory",
        of("/durationMs"),
        of("/limits/timeoutMs"),
        of("/cpuMs"),
        of("/limits/cpuMs"),
        of("/memoryBytes"),
        of("/limits/memoryBytes"),
    );
    row(output, "used", &words)
}

fn print_backend(backend: &Value, output: &mut impl io::Write) -> io::Result<()> {
    let duration = backend.get("durationMs").map(|duration| format!(" after {duration} ms")).unwrap_or_default();
    let outcome = match backend.get("status") {
        Some(status) => format!("{status}, {} bytes", backend.get("bytes").unwrap_or(&Value::Null)),
        None => text(backend, "/error").to_owned(),
    };
    row(output, "backend", &format!("{} {}: {outcome}{duration}", text(backend, "/method"), text(backend, "/origin")))?;
    let Some(raw) = backend.get("raw") else { return Ok(()) };
    row(output, "", &format!("sent {} {}", text(raw, "/url"), text(raw, "/requestBody")))?;
    row(output, "", &format!("got {}", text(raw, "/responseBody")))
}

fn left_out(document: &Value, pointer: &str, label: &str, output: &mut impl io::Write) -> io::Result<()> {
    match document.pointer(pointer).and_then(Value::as_u64) {
        Some(more) if more > 0 => row(output, label, &format!("and {more} more")),
        _ => Ok(()),
    }
}

fn row(output: &mut impl io::Write, label: &str, words: &str) -> io::Result<()> {
    writeln!(output, "   {label:LABEL$} {}", printable(words).trim_end())
}
