//! The rooms of the adapter and what each may import, executed. It reads text, not what the compiler sees: whoever hides a path
//! from it in a macro has been warned.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each room with the rooms that it may import. An arrow more is a change of the architecture: say why in docs/decisions.
const ROOMS: [(&str, &[&str]); 20] = [
    ("model", &[]),
    ("serve", &["model"]),
    ("certificates", &["serve"]),
    ("auth", &["config", "model"]),
    ("api", &["model"]),
    ("registry", &["model"]),
    ("egress", &["model", "telemetry"]),
    ("values", &["model", "telemetry"]),
    ("runtime", &["model", "egress", "telemetry"]),
    ("objects", &["model"]),
    ("source", &["model"]),
    ("manifest", &["model"]),
    ("policy", &["egress", "manifest", "model"]),
    ("bundle", &["manifest", "model", "source"]),
    (
        "reload",
        &["bundle", "egress", "manifest", "model", "policy", "registry", "runtime", "source", "telemetry", "values"],
    ),
    ("config", &["telemetry"]),
    ("telemetry", &[]),
    (
        "app",
        &[
            "api",
            "auth",
            "bundle",
            "certificates",
            "config",
            "egress",
            "manifest",
            "model",
            "objects",
            "policy",
            "registry",
            "reload",
            "runtime",
            "serve",
            "source",
            "telemetry",
            "values",
        ],
    ),
    ("cli", &["app", "config", "manifest", "model", "runtime", "telemetry"]),
    ("main", &["cli"]),
];

/// Crates that tell what a room is about, with the rooms that may use them. Those of no row are for everybody.
const CRATES: [(&[&str], &[&str]); 11] = [
    (&["kube", "k8s_openapi"], &["app", "auth", "certificates", "cli", "objects", "source"]),
    (&["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http"], &["runtime"]),
    (&["wasmparser"], &["bundle"]),
    (&["axum"], &["api", "app"]),
    (&["h2", "hyper", "hyper_util", "hyper_rustls"], &["egress", "serve"]),
    (&["rustls", "tokio_rustls"], &["app", "auth", "cli", "egress", "serve"]),
    (&["rcgen"], &["certificates"]),
    (&["prometheus_client", "tracing_subscriber"], &["telemetry"]),
    (&["clap"], &["cli", "config", "main", "telemetry"]),
    // The words of a failure are a room's own; only where rooms are joined may they be mixed.
    (&["anyhow"], &["app", "cli", "telemetry"]),
    (
        &["tokio", "tokio_util"],
        &[
            "app",
            "auth",
            "bundle",
            "certificates",
            "cli",
            "egress",
            "objects",
            "reload",
            "runtime",
            "serve",
            "source",
            "values",
        ],
    ),
];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let sources = sources();
    let rooms: BTreeSet<&str> = sources.iter().map(|source| source.room.as_str()).collect();
    assert_eq!(rooms, table.keys().copied().collect(), "every room has its row in this table, and every row its room");
    let mut offences = Vec::new();
    for source in &sources {
        let allowed = table[source.room.as_str()];
        for target in crate_paths(&source.text) {
            if target != source.room && !allowed.contains(&target.as_str()) {
                offences.push(format!("{}: {} -> {target}", source.path.display(), source.room));
            }
        }
    }
    assert!(offences.is_empty(), "arrows that the table does not have:\n{}", offences.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        for (name, rooms) in CRATES.iter().flat_map(|(names, rooms)| names.iter().map(move |name| (name, rooms))) {
            if uses_crate(production(&source.text), name) && !rooms.contains(&source.room.as_str()) {
                offences.push(format!("{}: {} -> crate {name}", source.path.display(), source.room));
            }
        }
    }
    assert!(offences.is_empty(), "crates in rooms that are not theirs:\n{}", offences.join("\n"));
}

#[test]
fn no_room_reaches_another_by_its_parent() {
    let mut offences = Vec::new();
    for source in sources() {
        let is_root = source.path.components().count() == 1 || source.path.ends_with(format!("{}/mod.rs", source.room));
        let leaves = is_root && production(&source.text).contains("super::");
        if leaves || source.text.contains("super::super") {
            offences.push(source.path.display().to_string());
        }
        if source.text.contains("pub use crate::") {
            offences.push(format!("{}: gives out what belongs to another room", source.path.display()));
        }
    }
    assert!(offences.is_empty(), "write `crate::ROOM` where another room is meant:\n{}", offences.join("\n"));
}

#[test]
fn the_reader_of_this_test_sees_paths() {
    let text = "use crate::{\n    egress::{self, Client},\n    model,\n};\nfn f() -> crate::api::Path { crate::auth::f() } // crate::serve";
    let seen = crate_paths(&without_comments(text));
    assert_eq!(seen, ["api", "auth", "egress", "model"].map(str::to_owned).into());
    assert!(uses_crate("use kube::Client;", "kube") && uses_crate("fn f(_: kube::Api) {}", "kube"));
    assert!(!uses_crate("crate::kube::x; my_kube::y", "kube"));
    assert_eq!(production("a\n#[cfg(test)]\nmod tests {\n    b\n}\n"), "a\n");
    assert_eq!(production("a\n#[cfg(test)]\nmod tests;\nb\n"), "a\n#[cfg(test)]\nmod tests;\nb\n");
}

/// A file of `src`.
struct Source {
    /// Below `src`.
    path: PathBuf,
    room: String,
    /// Whether it is compiled for tests alone.
    is_test: bool,
    /// Without comments.
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let texts: BTreeMap<PathBuf, String> =
        files.into_iter().map(|path| (path.clone(), without_comments(&fs::read_to_string(&path).unwrap()))).collect();
    let test_modules: BTreeSet<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let sources = texts.iter().map(|(path, text)| {
        let below = path.strip_prefix(&root).unwrap().to_owned();
        let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = path.with_extension("");
        Source {
            room: first.trim_end_matches(".rs").to_owned(),
            is_test: module.ancestors().any(|module| test_modules.contains(module)),
            text: text.clone(),
            path: below,
        }
    });
    // lib.rs lists the rooms and is none.
    sources.filter(|source| source.room != "lib").collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that `text` declares for tests alone, as paths without extension.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = if path.ends_with("mod.rs") { path.parent().unwrap().to_owned() } else { path.with_extension("") };
    let declared = text.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let name = after.trim_start().strip_prefix("mod ")?.split(|end: char| !is_word(end)).next()?;
        Some(folder.join(name))
    });
    declared.collect()
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// What stands before a test module within the file.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// The first names of all paths from the crate's root.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (position, start) in text.match_indices("crate::") {
        let before = text.get(..position).and_then(|before| before.chars().next_back());
        if before.is_some_and(is_word) {
            continue;
        }
        let rest = text.get(position + start.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group)),
            None => {
                found.insert(first_word(rest));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The first name of each path of a group whose opening brace is behind us.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_word(group.get(start..position).unwrap_or_default().trim()));
                start = position + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|character| is_word(*character)).collect()
}

fn uses_crate(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(position, _)| {
        let before = text.get(..position).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| is_word(before) || before == ':')
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
