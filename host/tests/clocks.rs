//! Time that passes is measured by a clock that only goes forward. The wall clock, which jumps when a machine wakes or its time is
//! set, is for what others gave a date to, and for what people read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The files that look at the wall clock, with what for. A new row needs a reason that a jump of a day in either direction does no
/// harm there.
const WALL_CLOCK: [(&str, &str); 8] = [
    ("api/openapi/served.rs", "the header Expires"),
    ("app/requests.rs", "when a request came, in the log"),
    ("certificates/mod.rs", "dates of a certificate"),
    ("certificates/self_issued.rs", "whether a certificate's dates ask for another"),
    ("model/metric.rs", "the timestamp of a value that has none of its own"),
    ("runtime/compile/cache.rs", "when a file was used last, to choose which one makes room"),
    ("source/directory/files.rs", "how old a file is, for one look: the next one takes it whatever its date"),
    ("source/report.rs", "dates of Events"),
];

/// Names of the wall clock, in the standard library and in the crates at hand.
const NAMES: [&str; 5] = ["SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now", "OffsetDateTime::now"];

#[test]
fn no_duration_is_measured_by_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for path in rust_files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        if lines.any(|line| NAMES.iter().any(|name| line.contains(name))) {
            found.insert(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
        }
    }
    found.retain(|path| !path.ends_with("tests.rs"));
    let allowed: BTreeSet<String> = WALL_CLOCK.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, allowed, "use `Instant`, or say here why the wall clock does no harm");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
