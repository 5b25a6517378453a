//! The manifests of deploy/: each is YAML with what every object has, each is named by the kustomization of its folder, and they
//! keep what the documents promise. What the API server says of them, the end-to-end suite asks.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

const KUSTOMIZATION: &str = "kustomization.yaml";

pub(super) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    let files = super::tracked(root, &["deploy/**/*.yaml"])?;
    let directories: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        match documents(&text) {
            Ok(documents) => {
                let in_base = file.starts_with(root.join("deploy/base"));
                let found =
                    documents.iter().flat_map(|document| fault(document).into_iter().chain(broken(document, in_base)));
                faults.extend(found.map(|fault| format!("{name} {fault}")));
            }
            Err(error) => faults.push(format!("{name} is not YAML: {error}")),
        }
    }
    for directory in directories {
        faults.extend(unlisted(directory)?.into_iter().map(|fault| format!("{}: {fault}", directory.display())));
    }
    if files.is_empty() {
        bail!("deploy/ holds no manifests");
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("{} manifests", files.len());
    Ok(())
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

/// What an object lacks. Settings of plugins and of kustomize have no name.
fn fault(document: &Value) -> Option<String> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(kind) = text("/kind") else { return Some("has an object without a kind".to_owned()) };
    if text("/apiVersion").is_none() {
        return Some(format!("has a {kind} without an apiVersion"));
    }
    let nameless = ["Kustomization", "Component", "PluginConfiguration", "Policy"].contains(&kind);
    (!nameless && text("/metadata/name").is_none()).then(|| format!("has a {kind} without a name"))
}

/// A promise of docs/security.md or docs/operations.md that an object breaks.
fn broken(document: &Value, in_base: bool) -> Option<String> {
    let kind = document.get("kind").and_then(Value::as_str)?;
    if kind == "APIService" && in_base {
        return Some("has an APIService: applying the base must take no API group from anybody".to_owned());
    }
    let rules = document.get("rules").and_then(Value::as_array).into_iter().flatten();
    let reads_secrets = |rule: &Value| has(rule, "apiGroups", &["", "*"]) && has(rule, "resources", &["secrets", "*"]);
    (kind == "ClusterRole" && rules.clone().any(reads_secrets)).then(|| {
        "has a ClusterRole with a right to Secrets: the adapter reads those of its own namespace alone".to_owned()
    })
}

/// Whether the list `field` of a rule has one of `items`.
fn has(rule: &Value, field: &str, items: &[&str]) -> bool {
    let list = rule.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).any(|item| items.contains(&item))
}

/// Names that a kustomization lists and that are not there, and files that are there and that it does not list.
fn unlisted(directory: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(directory.join(KUSTOMIZATION))
        .with_context(|| format!("{} has no {KUSTOMIZATION}", directory.display()))?;
    let listed = listed(&text).with_context(|| format!("{}", directory.display()))?;
    let missing = listed.iter().filter(|name| !directory.join(name).exists() && !is_built(name));
    let mut faults: Vec<_> =
        missing.map(|name| format!("{KUSTOMIZATION} lists {name}, which does not exist")).collect();
    for entry in directory.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && name != KUSTOMIZATION && !listed.contains(&name) {
            faults.push(format!("{KUSTOMIZATION} does not list {name}"));
        }
    }
    Ok(faults)
}

/// Components are built before they are applied, and not kept.
fn is_built(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "wasm")
}

/// Every file and folder that a kustomization names.
fn listed(text: &str) -> Result<BTreeSet<String>> {
    let documents = documents(text).map_err(anyhow::Error::msg)?;
    let Some(kustomization) = documents.first() else { bail!("{KUSTOMIZATION} is empty") };
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names = [list(kustomization.get("resources")), list(kustomization.get("components"))].concat();
    for generator in list(kustomization.get("configMapGenerator")) {
        names.extend(list(generator.get("files")));
    }
    Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_kind_a_version_and_a_name() {
        for (text, expected) in [
            ("apiVersion: v1\nkind: Service\nmetadata: { name: a }", None),
            ("apiVersion: a/v1\nkind: Component", None),
            ("apiVersion: v1\nkind: Service\nmetadata: {}", Some("has a Service without a name")),
            ("kind: Service", Some("has a Service without an apiVersion")),
            ("a: b", Some("has an object without a kind")),
        ] {
            let documents = documents(text).unwrap();
            assert_eq!(documents.first().and_then(fault).as_deref(), expected, "{text}");
        }
        assert!(documents("a: [b").is_err());
    }

    #[test]
    fn the_base_takes_no_api_group_and_no_cluster_role_reads_secrets() {
        let broken = |text: &str, in_base| broken(documents(text).unwrap().first().unwrap(), in_base).is_some();
        let role = |kind: &str, group: &str, resource: &str| {
            format!(
                "kind: {kind}\nrules: [{{ apiGroups: ['{group}'], resources: [pods, '{resource}'], verbs: [get] }}]"
            )
        };
        for (text, in_base, expected) in [
            ("kind: APIService".to_owned(), true, true),
            ("kind: APIService".to_owned(), false, false),
            (role("ClusterRole", "", "secrets"), true, true),
            (role("ClusterRole", "*", "*"), true, true),
            (role("ClusterRole", "external.metrics.k8s.io", "*"), true, false),
            (role("Role", "", "secrets"), true, false),
        ] {
            assert_eq!(broken(&text, in_base), expected, "{text}");
        }
    }

    #[test]
    fn a_kustomization_lists_files_folders_and_what_its_generators_read() {
        let text =
            "resources: [a.yaml, ../b]\ncomponents: [c]\nconfigMapGenerator:\n  - name: x\n    files: [plugin.wasm]";
        let names: Vec<_> = listed(text).unwrap().into_iter().collect();
        assert_eq!(names, ["../b", "a.yaml", "c", "plugin.wasm"]);
    }
}
