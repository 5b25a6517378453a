//! The report for people: columns where things compare, sentences where they don't.

use std::io;

use super::{ApiService, Dependents, Owner, Permissions, Report, ownership::RESOURCE};
use crate::cli::cluster::printable;

pub(super) fn print(report: &Report, output: &mut impl io::Write) -> io::Result<()> {
    print_ownership(report, output)?;
    print_permissions(report, output)?;
    print_findings(report, output)?;
    if !report.unanswered.is_empty() {
        writeln!(output, "\nCOULD NOT ASK")?;
        for question in &report.unanswered {
            writeln!(output, "  {}", printable(question))?;
        }
    }
    let roll_back = &report.roll_back;
    print_commands("BEFORE AN INSTALL: KEEP WHAT IS THERE", &roll_back.save, output)?;
    print_commands("TO ROLL BACK", &roll_back.restore, output)?;
    print_commands("TO UNINSTALL: ROLL BACK FIRST (OR NAMESPACES CAN'T BE DELETED), THEN", &roll_back.uninstall, output)
}

fn print_ownership(report: &Report, output: &mut impl io::Write) -> io::Result<()> {
    let mut rows = vec![["API", "SERVED BY", "STATE", "HORIZONTALPODAUTOSCALERS"].map(str::to_owned)];
    let mut shown = Vec::new();
    for api in &report.api_services {
        // Dependence is on the group, whatever the version.
        let dependents = if shown.contains(&api.group) {
            "(as above)".to_owned()
        } else {
            let dependents = report.dependents.iter().find(|dependents| dependents.group == api.group);
            let people = if api.group == RESOURCE { ", and kubectl top" } else { "" };
            format!("{}{people}", describe_dependents(dependents))
        };
        shown.push(api.group);
        rows.push([api.name.clone(), describe_owner(&api.owner), describe_state(api), dependents]);
    }
    print_columns(&rows, output)
}

fn describe_owner(owner: &Owner) -> String {
    match owner {
        Owner::Nobody => "nobody".to_owned(),
        Owner::ThisAdapter => "this adapter".to_owned(),
        Owner::Other { namespace, name } => format!("{namespace}/{name}"),
        Owner::ApiServer => "the API server itself".to_owned(),
    }
}

fn describe_state(api: &ApiService) -> String {
    match &api.state {
        None => "-".to_owned(),
        Some(state) if state.available => "available".to_owned(),
        Some(state) => {
            let reason = state.reason.split(':').next().unwrap_or_default();
            format!("not available ({})", printable(reason))
        }
    }
}

fn describe_dependents(dependents: Option<&Dependents>) -> String {
    match dependents {
        None => "unknown".to_owned(),
        Some(dependents) if dependents.autoscalers.is_empty() => "none".to_owned(),
        Some(dependents) => {
            let metrics: Vec<_> = dependents.metrics.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            format!("{} (metrics: {})", dependents.autoscalers.len(), metrics.join(", "))
        }
    }
}

fn print_permissions(report: &Report, output: &mut impl io::Write) -> io::Result<()> {
    writeln!(output, "\nRIGHTS OF {}", report.installation.user())?;
    match &report.permissions {
        Some(Permissions { asked, missing }) if missing.is_empty() => writeln!(output, "  all {asked} granted"),
        Some(Permissions { asked, missing }) => {
            let missing: usize = missing.iter().map(|missing| missing.verbs.len()).sum();
            writeln!(output, "  {} of {asked} granted; the others are among the findings", asked - missing)
        }
        None if report.installed == Some(false) => {
            writeln!(output, "  not installed yet: ask again after `kubectl apply -k deploy/base`")
        }
        None => writeln!(output, "  unknown"),
    }
}

fn print_findings(report: &Report, output: &mut impl io::Write) -> io::Result<()> {
    writeln!(output, "\nFINDINGS")?;
    if report.findings.is_empty() {
        return writeln!(output, "  none");
    }
    for (number, finding) in (1..).zip(&report.findings) {
        writeln!(output, "  {number}. {}\n     {}", printable(&finding.problem), printable(&finding.remedy))?;
    }
    Ok(())
}

fn print_commands(title: &str, commands: &[String], output: &mut impl io::Write) -> io::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    writeln!(output, "\n{title}")?;
    commands.iter().try_for_each(|command| writeln!(output, "  {command}"))
}

fn print_columns<const COLUMNS: usize>(rows: &[[String; COLUMNS]], output: &mut impl io::Write) -> io::Result<()> {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("  {cell:width$}")).collect();
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}
