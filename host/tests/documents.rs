//! The documents say what the program does: examples are parsed by the program itself, and tables are compared with it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{collections::BTreeSet, path::Path};

use clap::{Args, Command};
use serde_json::Value;
use wasm_metrics_adapter::{
    cli::{explain::ExplainArgs, preflight::PreflightArgs},
    config::ServeArgs,
    manifest::PluginConfiguration,
    policy, telemetry,
};

const HEAD: &str = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(manifest: &str) -> PluginConfiguration {
    PluginConfiguration::parse(Some(manifest)).unwrap_or_else(|error| panic!("{error}\n{manifest}"))
}

/// The code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The plugin.yaml of a block, which may be a whole ConfigMap, or some fields; none for other objects.
fn plugin_yaml(block: &str) -> Option<String> {
    let document: Value = serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    match document.get("kind").and_then(Value::as_str) {
        None => Some(format!("{HEAD}{block}")),
        Some("ConfigMap") => Some(document["data"]["plugin.yaml"].as_str().unwrap().to_owned()),
        Some(_) => None,
    }
}

#[test]
fn every_example_of_a_plugin_is_accepted() {
    parse(&read("deploy/examples/plugin/plugin.yaml"));
    let text = read("docs/plugin-configuration.md");
    let examples: Vec<_> = blocks(&text, "yaml").into_iter().filter_map(plugin_yaml).collect();
    assert_eq!(examples.len(), 7, "the whole one, claims, parts, backends, credentials, secrets, values");
    for example in examples {
        parse(&example);
    }
}

#[test]
fn every_example_of_a_policy_is_accepted_and_the_table_has_every_ceiling() {
    let text = read("docs/operations.md");
    let (_, section) = text.split_once("### Policy").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let examples = [read("deploy/examples/tenant/policy.yaml"), blocks(section, "yaml").concat()];
    for example in &examples {
        policy::parse(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect::<Vec<_>>();
    let head = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: Policy\n";
    let unknown = policy::parse(&format!("{head}namespaces: {{ a: {{ b: c }} }}")).unwrap_err().to_string();
    assert_eq!(rows.join(", "), unknown.split_once("known here: ").unwrap().1);
}

/// Rows of the table of limits, as name, default, least and most.
fn documented_limits() -> Vec<[String; 4]> {
    let text = read("docs/plugin-configuration.md");
    let (_, rest) = text.split_once("### Limits").unwrap();
    let section = rest.split("\n###").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
        let (least, most) = cells[3].split_once(", ").unwrap();
        [cells[1].clone(), cells[2].clone(), least.to_owned(), most.to_owned()]
    })
    .collect()
}

#[test]
fn limits_are_as_documented() {
    let rows = documented_limits();
    assert_eq!(rows.len(), 12);
    let set = |name: &str, value: &str| format!("{HEAD}limits: {{ {name}: {value} }}");
    for [name, default, least, most] in rows {
        assert_eq!(parse(&set(&name, &default)), PluginConfiguration::default(), "{name}");
        for bound in [&least, &most] {
            parse(&set(&name, bound));
        }
        let digits: String = most.chars().take_while(char::is_ascii_digit).collect();
        let above = most.replacen(&digits, &(digits.parse::<u64>().unwrap() + 1).to_string(), 1);
        assert!(PluginConfiguration::parse(Some(&set(&name, &above))).is_err(), "{name}: {above}");
    }
}

#[test]
fn the_times_of_values_are_as_documented() {
    let text = read("docs/plugin-configuration.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `cache."));
    let mut names = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
        let (least, most) = cells[2].split_once(", ").unwrap();
        let set = |value: &str| format!("{HEAD}cache: {{ {}: {value} }}", cells[0]);
        assert_eq!(parse(&set(&cells[1])), PluginConfiguration::default(), "{}", cells[0]);
        let digits: String = most.chars().take_while(char::is_ascii_digit).collect();
        let above = most.replacen(&digits, &(digits.parse::<u64>().unwrap() + 1).to_string(), 1);
        for bound in [least, most] {
            parse(&set(bound));
        }
        assert!(PluginConfiguration::parse(Some(&set(&above))).is_err(), "{}: {above}", cells[0]);
        names.insert(cells[0].clone());
    }
    assert_eq!(names, ["maxAge", "staleFor", "ttl"].map(str::to_owned).into());
}

/// Long flags of a command.
fn flags(command: &Command) -> BTreeSet<String> {
    let names = command.get_arguments().filter_map(|argument| argument.get_long()).map(|name| format!("--{name}"));
    names.collect()
}

/// Flags in the first column of the tables of a section.
fn documented_flags(section: &str) -> BTreeSet<String> {
    let text = read("docs/command-line.md");
    let (_, rest) = text.split_once(&format!("## `{section}`")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.filter_map(|text| text.split(' ').next()).filter(|text| text.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_flag_is_documented_and_every_documented_flag_exists() {
    assert_eq!(flags(&ServeArgs::augment_args(Command::new("serve"))), documented_flags("serve"));
    assert_eq!(flags(&PreflightArgs::augment_args(Command::new("preflight"))), documented_flags("preflight"));
    assert_eq!(flags(&ExplainArgs::augment_args(Command::new("explain"))), documented_flags("explain"));
}

/// Each metric with one sample: those without are left out of the text.
fn used_metrics() -> telemetry::Metrics {
    let metrics = telemetry::Metrics::default();
    let request = telemetry::RequestLabels { group: "other", code: 200 };
    let plugin = telemetry::PluginLabels { plugin: "a/b".to_owned() };
    metrics.requests.get_or_create(&request).inc();
    metrics.request_seconds.get_or_create(&request).observe(1.0);
    metrics.calls.get_or_create(&telemetry::CallLabels { plugin: "a/b".to_owned(), outcome: "ok" }).inc();
    metrics.call_seconds.get_or_create(&plugin).observe(1.0);
    metrics.log_dropped.get_or_create(&plugin).inc();
    metrics.unmeasured.get_or_create(&telemetry::ObjectLabels { plugin: "a/b".to_owned(), object: "pod" }).inc();
    metrics.value_answers.get_or_create(&telemetry::AnswerLabels { plugin: "a/b".to_owned(), cache: "hit" }).inc();
    metrics.value_refreshes.get_or_create(&plugin).inc();
    metrics.value_refusals.get_or_create(&telemetry::RefusalLabels { plugin: "a/b".to_owned(), rule: "min" }).inc();
    metrics.circuits_open.get_or_create(&plugin).set(0);
    metrics.circuits_opened.get_or_create(&plugin).inc();
    metrics.backend_retries.get_or_create(&plugin).inc();
    metrics.loads.get_or_create(&telemetry::LoadLabels { plugin: "a/b".to_owned(), outcome: "loaded" }).inc();
    metrics.compilations.get_or_create(&telemetry::CompilationLabels { outcome: "compiled" }).inc();
    metrics.generation.get_or_create(&plugin).set(1);
    metrics.rejected.get_or_create(&plugin).set(0);
    metrics.certificate_ends.get_or_create(&telemetry::CertificateLabels { certificate: "serving" }).set(1);
    metrics
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let text = used_metrics().encode();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let metrics: BTreeSet<_> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    let text = read("docs/operations.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `wasm_metrics_adapter_")?.split('`').next());
    let documented: BTreeSet<_> = rows.map(|name| format!("wasm_metrics_adapter_{name}")).collect();
    assert_eq!(metrics, documented);
}

/// Rows of a table of faults, as fault and test.
fn faults(document: &str) -> Vec<[String; 2]> {
    let text = read(document);
    let (_, section) = text.split_once("\n## Faults\n").unwrap_or_else(|| panic!("{document} has no section `Faults`"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').rsplitn(2, " | ").collect();
        [cells[1].trim().to_owned(), cells[0].trim().trim_matches('`').to_owned()]
    })
    .collect()
}

/// Where the test of a row is defined: `host/tests/a.rs::name`, or `e2e module::case`.
fn is_a_test(name: &str) -> bool {
    let (file, function) = match name.strip_prefix("e2e ") {
        Some(case) => {
            let (module, function) = case.split_once("::").unwrap();
            (format!("e2e/tests/suite/{module}.rs"), function)
        }
        None => {
            let (file, function) = name.split_once("::").unwrap();
            (file.to_owned(), function)
        }
    };
    read(&file).contains(&format!("fn {function}("))
}

#[test]
fn every_fault_is_injected_by_a_test() {
    let rows: Vec<_> = ["docs/security.md", "docs/operations.md"].into_iter().flat_map(faults).collect();
    assert!(rows.len() >= 60, "{} faults", rows.len());
    let told: BTreeSet<_> = rows.iter().map(|[fault, _]| fault).collect();
    assert_eq!(told.len(), rows.len(), "a fault is told twice");
    for [fault, test] in &rows {
        assert!(is_a_test(test), "`{fault}`: there is no test {test}");
    }
}
