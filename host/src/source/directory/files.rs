//! Which files of a folder have changed and are at rest. Files that belong together (`NAME.wasm`, `NAME.yaml`) are one
//! group and change together. Compared are times, sizes and identities; only what is another by them is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;

/// The endings that mean something; none is the end of another.
const ENDINGS: [&str; 5] = ["wasm", "wasm.gz", "wasm.zst", "yaml", "yml"];
/// A file this old is at rest without being seen twice.
const SETTLED: Duration = Duration::from_secs(2);
/// The largest file: what decompresses to the largest component is smaller by far.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// A folder, as it was at the last look.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    /// As seen at the last look, and whether that state has been told.
    seen: BTreeMap<String, Seen>,
    unreadable: bool,
}

/// The times, sizes and identities of a group's files.
type Stamps = BTreeMap<&'static str, Stamp>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    changed: (i64, i64),
    bytes: u64,
    file: (u64, u64),
}

#[derive(Debug, Default)]
struct Seen {
    stamps: Stamps,
    told: bool,
}

/// The files of one NAME, by ending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) contents: BTreeMap<&'static str, Bytes>,
    /// Of the youngest of them.
    pub(super) modified: Option<SystemTime>,
    paths: Vec<PathBuf>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Groups by name; `None` is gone.
    pub(super) changed: BTreeMap<String, Option<Group>>,
    /// Whether nothing was in motion: all that is there has been told.
    pub(super) at_rest: bool,
}

impl Group {
    /// The files' paths, for messages.
    pub(super) fn describe(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }
}

impl Files {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: BTreeMap::new(), unreadable: false }
    }

    /// What has changed and come to rest since the last look: a state counts when it is old, or the same in two looks
    /// in a row, so that a burst of writes is one change and a file that is renamed away for a moment is none.
    pub(super) fn look(&mut self) -> Changes {
        let found = match stamps(&self.path) {
            Ok(found) => found,
            Err(error) => {
                if !self.unreadable {
                    tracing::warn!(folder = %self.path.display(), %error, "the plugin folder can't be read; what was loaded stays");
                }
                self.unreadable = true;
                return Changes::default();
            }
        };
        self.unreadable = false;
        let now = SystemTime::now();
        let mut changes = Changes { at_rest: true, ..Changes::default() };
        let names: BTreeSet<String> = self.seen.keys().chain(found.keys()).cloned().collect();
        for name in names {
            let stamps = found.get(&name).cloned().unwrap_or_default();
            let seen = self.seen.entry(name.clone()).or_default();
            let moved = seen.stamps != stamps;
            if moved {
                *seen = Seen { stamps, told: false };
            }
            if seen.told {
                continue;
            }
            if moved && !settled(&seen.stamps, now) {
                changes.at_rest = false;
                continue;
            }
            if seen.stamps.is_empty() {
                self.seen.remove(&name);
                changes.changed.insert(name, None);
                continue;
            }
            match read(&self.path, &name, &seen.stamps) {
                Ok(Some(group)) => {
                    seen.told = true;
                    changes.changed.insert(name, Some(group));
                }
                // Written while it was read: the next look sees a new state.
                Ok(None) => changes.at_rest = false,
                Err(error) => {
                    tracing::warn!(folder = %self.path.display(), name, %error, "files of a plugin can't be read and are left as they were");
                    seen.told = true;
                }
            }
        }
        changes
    }
}

/// Whether all of them are old. A group that is gone never is: many editors rename a file away before they write it
/// anew.
fn settled(stamps: &Stamps, now: SystemTime) -> bool {
    let old = |stamp: &Stamp| now.duration_since(stamp.modified).is_ok_and(|age| age >= SETTLED);
    !stamps.is_empty() && stamps.values().all(old)
}

/// The groups of a folder. Symbolic links are followed: a mounted ConfigMap consists of them.
fn stamps(folder: &Path) -> io::Result<BTreeMap<String, Stamps>> {
    let mut groups: BTreeMap<String, Stamps> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let file_name = entry?.file_name();
        let Some((name, ending)) = file_name.to_str().and_then(split) else { continue };
        // A file that is gone by now is none.
        let Ok(metadata) = fs::metadata(folder.join(&file_name)) else { continue };
        if metadata.is_file() {
            groups.entry(name.to_owned()).or_default().insert(ending, stamp(&metadata)?);
        }
    }
    Ok(groups)
}

/// NAME and ending; `None` for hidden files, those that editors leave, and others.
fn split(file_name: &str) -> Option<(&str, &'static str)> {
    let of = |ending: &&'static str| Some((file_name.strip_suffix(*ending)?.strip_suffix('.')?, *ending));
    let (name, ending) = ENDINGS.iter().find_map(of)?;
    (!name.is_empty() && !name.starts_with('.')).then_some((name, ending))
}

fn stamp(metadata: &fs::Metadata) -> io::Result<Stamp> {
    Ok(Stamp {
        modified: metadata.modified()?,
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.len(),
        file: (metadata.dev(), metadata.ino()),
    })
}

/// The group's contents, or `None` if a file is no longer what `stamps` says.
fn read(folder: &Path, name: &str, stamps: &Stamps) -> io::Result<Option<Group>> {
    let mut group = Group { modified: stamps.values().map(|stamp| stamp.modified).max(), ..Group::default() };
    for (ending, stamp_before) in stamps {
        let path = folder.join(format!("{name}.{ending}"));
        if stamp_before.bytes > MAX_FILE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{} is larger than 128 MiB", path.display()),
            ));
        }
        let unchanged = |path: &Path| Ok::<_, io::Error>(stamp(&fs::metadata(path)?)? == *stamp_before);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !unchanged(&path).unwrap_or(false) {
            return Ok(None);
        }
        group.contents.insert(ending, bytes.into());
        group.paths.push(path);
    }
    Ok(Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_a_known_ending_begins() {
        for (file, expected) in [
            ("queue.wasm", Some(("queue", "wasm"))),
            ("queue.wasm.gz", Some(("queue", "wasm.gz"))),
            ("queue.v1.wasm.zst", Some(("queue.v1", "wasm.zst"))),
            ("queue.yaml", Some(("queue", "yaml"))),
            ("queue.yml", Some(("queue", "yml"))),
            (".queue.yaml", None),
            ("..data", None),
            ("queue.yaml~", None),
            ("queue.wasm.swp", None),
            (".wasm", None),
            ("wasm", None),
        ] {
            assert_eq!(split(file), expected, "{file}");
        }
    }
}
