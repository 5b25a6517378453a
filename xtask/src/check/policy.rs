//! The dependency policy of deny.toml, as far as it can be checked with cargo alone: licences, banned crates, sources. What is
//! asked is `cargo tree`: what would be built, and not all of Cargo.lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell;

/// The part of deny.toml that is read here.
#[derive(Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// A crate of the build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// Where it is from, if not from the public registry: a folder or a repository.
    source: Option<String>,
    /// An SPDX expression; empty if it says nothing.
    license: String,
}

pub(super) fn check(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let policy: Policy = toml::from_str(&text).context("cannot read deny.toml")?;
    let mut packages = BTreeSet::new();
    for manifest in super::workspaces(root)? {
        for target in &policy.graph.targets {
            let mut tree = shell::cargo();
            tree.args(["tree", "--quiet", "--locked", "--workspace", "--prefix", "none", "--format", "{p}|{l}"]);
            tree.args(["--target", target, "--manifest-path"]).arg(&manifest);
            packages.extend(parse(&shell::capture(&mut tree)?));
        }
    }
    println!("{} crates, for {}", packages.len(), policy.graph.targets.join(" and "));
    let faults = faults(&policy, &packages, root);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    tell_duplicates(&packages);
    Ok(())
}

/// Lines as `name v1.2.3|MIT`, `name v1.2.3 (proc-macro)|MIT (*)`, `name v0.1.0 (/a/folder)|Apache-2.0`.
fn parse(tree: &str) -> impl Iterator<Item = Package> {
    tree.lines().filter_map(|line| {
        let (package, license) = line.split_once('|')?;
        let mut words = package.splitn(3, ' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let source = words.next().unwrap_or_default().replace("(proc-macro)", "");
        let source = source.trim().trim_matches(['(', ')']);
        let license = license.trim_end().trim_end_matches("(*)").trim_end();
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            source: (!source.is_empty()).then(|| source.to_owned()),
            license: license.to_owned(),
        })
    })
}

fn faults(policy: &Policy, packages: &BTreeSet<Package>, root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == package.name) {
            faults.push(format!(
                "{name} is banned: {}; `cargo tree -i {}` shows who brings it",
                ban.reason, package.name
            ));
        }
        if let Some(source) = package.source.as_deref().filter(|source| !Path::new(source).starts_with(root)) {
            faults
                .push(format!("{name} comes from {source}; take crates from the public registry or from this project"));
        }
        if let Err(problem) = license(&package.license, &policy.licenses.allow) {
            faults
                .push(format!("{name} {problem}; choose another crate, or add the licence to deny.toml with a reason"));
        }
    }
    faults
}

fn license(expression: &str, allowed: &BTreeSet<String>) -> Result<(), String> {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)
        .map_err(|_| format!("has the licence `{expression}`, which is no SPDX expression"))?;
    if parsed.evaluate(|requirement| allowed.contains(&requirement.to_string())) {
        Ok(())
    } else {
        Err(format!("has the licence `{expression}`, which deny.toml does not allow"))
    }
}

fn tell_duplicates(packages: &BTreeSet<Package>) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        println!(
            "note: {} versions of {name}: {}",
            versions.len(),
            versions.iter().copied().collect::<Vec<_>>().join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        toml::from_str(
            r#"
            graph.targets = []
            licenses.allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
            bans.deny = [{ crate = "ring", reason = "one provider" }]
            "#,
        )
        .unwrap()
    }

    fn faults_of(tree: &str) -> Vec<String> {
        faults(&policy(), &parse(tree).collect(), Path::new("/project"))
    }

    #[test]
    fn a_tree_is_read_line_by_line() {
        let packages: Vec<_> =
            parse("a v1.0.0 (proc-macro)|MIT (*)\nb v2.0.0|MIT/Apache-2.0\n\nc v0.1.0 (/project/c)|").collect();
        let names: Vec<_> = packages.iter().map(|package| (package.name.as_str(), package.license.as_str())).collect();
        assert_eq!(names, [("a", "MIT"), ("b", "MIT/Apache-2.0"), ("c", "")]);
        let sources: Vec<_> = packages.iter().map(|package| package.source.as_deref()).collect();
        assert_eq!(sources, [None, None, Some("/project/c")]);
    }

    #[test]
    fn what_the_policy_allows_is_no_fault() {
        let fine = "a v1.0.0|MIT OR GPL-3.0-only\nb v1.0.0|MIT/Apache-2.0\nc v1.0.0|Apache-2.0 WITH LLVM-exception AND MIT\nd v1.0.0 (/project/d)|MIT";
        assert_eq!(faults_of(fine), Vec::<String>::new());
    }

    #[test]
    fn everything_else_is_a_fault_that_names_the_crate() {
        for (line, words) in [
            ("a v1.0.0|GPL-3.0-only", "a 1.0.0 has the licence `GPL-3.0-only`, which deny.toml does not allow"),
            ("a v1.0.0|MIT AND GPL-3.0-only", "does not allow"),
            ("a v1.0.0|", "is no SPDX expression"),
            ("ring v0.17.0|MIT", "ring 0.17.0 is banned: one provider"),
            ("a v1.0.0 (https://example.com/a?rev=1#1234)|MIT", "comes from https://example.com/a?rev=1#1234"),
            ("a v1.0.0 (/elsewhere/a)|MIT", "comes from /elsewhere/a"),
        ] {
            let faults = faults_of(line);
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.contains(words)), "{line}: {faults:?}");
        }
    }
}
