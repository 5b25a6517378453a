//! Components in files below the operator's folder (`component.file`). A path can't leave the folder, whatever links there are in it:
//! the kernel resolves it beneath the folder or not at all (`openat2`, Linux 5.6). What was read is looked at again, so that a file
//! that changes reloads the plugins that name it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use tokio::sync::mpsc::Sender;

use crate::model::PluginId;

use super::{Dependencies, Dependency, Event, IssuedToken, Part, RawPlugin, ReadError, Secret, ServiceAccount};

/// How often files that plugins name are looked at, as those of certificates are: kubelet swaps a volume's about once a minute.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The operator's folder.
pub struct PluginFiles {
    folder: PathBuf,
    /// Each path that a plugin named, with what was found there last.
    known: Mutex<BTreeMap<String, Option<Stamp>>>,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl PluginFiles {
    /// Nothing is opened yet: a folder that is not there is told to who names a file in it.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// Sends what changed until `events` is closed.
    pub async fn run(self: Arc<Self>, events: Sender<Event>) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = events.closed() => return,
                _ = interval.tick() => {}
            }
            let files = self.clone();
            let Ok(changed) = tokio::task::spawn_blocking(move || files.changed()).await else { return };
            for path in changed {
                if events.send(Event::Touched(Dependency::File { path })).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The paths at which there is something else than the last time.
    fn changed(&self) -> Vec<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        for (path, last) in known.iter_mut() {
            let now = open_beneath(&self.folder, path).and_then(|file| stamp(&file)).ok();
            if now != *last {
                *last = now;
                changed.push(path.clone());
            }
        }
        changed
    }

    /// The bytes at `path`, and the file's state before they were read: a change meanwhile is seen by the next look.
    fn read(&self, path: &str, cap: usize) -> Result<Bytes, ReadError> {
        let opened = open_beneath(&self.folder, path).and_then(|file| Ok((stamp(&file)?, file)));
        let state = opened.as_ref().ok().map(|(state, _)| *state);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), state);
        let (state, file) = opened.map_err(|error| explained(path, &error))?;
        if state.size > cap as u64 {
            let size = state.size;
            return Err(ReadError::Malformed(format!("component.file {path} has {size} bytes and may have {cap}")));
        }
        let mut bytes = Vec::new();
        file.take(cap as u64).read_to_end(&mut bytes).map_err(|error| explained(path, &error))?;
        Ok(bytes.into())
    }
}

/// Opens a regular file without ever waiting for one: a pipe or device below the folder must not hold a thread.
fn open_beneath(folder: &Path, path: &str) -> io::Result<File> {
    let folder: OwnedFd = rustix::fs::open(folder, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(rustix::fs::openat2(&folder, path, flags, Mode::empty(), beneath)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

fn explained(path: &str, error: &io::Error) -> ReadError {
    let leaves = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::XDEV);
    match error.kind() {
        _ if leaves => ReadError::Malformed(format!(
            "component.file {path} leads out of the folder of --plugin-files-dir; put the file itself there"
        )),
        io::ErrorKind::NotFound => ReadError::NotFound(format!("the file {path} in the folder of --plugin-files-dir")),
        _ => ReadError::Unavailable(format!("component.file {path} could not be read: {error}")),
    }
}

/// Without the flag no file is anybody's code.
pub(super) fn no_folder(path: &str) -> ReadError {
    ReadError::Malformed(format!(
        "component.file {path} needs a folder of the operator's; start the adapter with --plugin-files-dir, or put the component into the ConfigMap or parts"
    ))
}

/// What `objects` has, and files from the operator's folder.
pub struct WithFiles {
    objects: Arc<dyn Dependencies>,
    files: Arc<PluginFiles>,
}

impl WithFiles {
    /// Joins both.
    pub fn new(objects: Arc<dyn Dependencies>, files: Arc<PluginFiles>) -> Self {
        Self { objects, files }
    }
}

#[async_trait]
impl Dependencies for WithFiles {
    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        self.objects.part(namespace, name).await
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        self.objects.secret(namespace, name).await
    }

    async fn config_map_key(&self, namespace: &str, name: &str, key: &str) -> Result<Bytes, ReadError> {
        self.objects.config_map_key(namespace, name, key).await
    }

    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ReadError> {
        self.objects.service_account(namespace, name).await
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        lifetime: Duration,
    ) -> Result<IssuedToken, ReadError> {
        self.objects.service_account_token(namespace, name, audience, lifetime).await
    }

    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError> {
        self.objects.plugin(id).await
    }

    async fn file(&self, path: &str, cap: usize) -> Result<Bytes, ReadError> {
        let (files, path) = (self.files.clone(), path.to_owned());
        let read = tokio::task::spawn_blocking(move || files.read(&path, cap)).await;
        read.unwrap_or_else(|_| Err(ReadError::Unavailable("the adapter is stopping".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, PluginFiles) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        fs::create_dir_all(folder.join("team")).unwrap();
        fs::write(root.path().join("outside"), "secret").unwrap();
        fs::write(folder.join("team/queue.wasm"), "code").unwrap();
        (root, PluginFiles::new(folder))
    }

    #[test]
    fn a_file_is_read_and_its_change_is_told_once() {
        let (_root, files) = folder();
        assert_eq!(files.read("team/queue.wasm", 100), Ok(Bytes::from_static(b"code")));
        assert_eq!(files.changed(), Vec::<String>::new());
        // As kubelet and editors do: another file takes the name.
        fs::write(files.folder.join("new"), "c0de").unwrap();
        fs::rename(files.folder.join("new"), files.folder.join("team/queue.wasm")).unwrap();
        assert_eq!(files.changed(), ["team/queue.wasm"]);
        assert_eq!(files.changed(), Vec::<String>::new());
        fs::remove_file(files.folder.join("team/queue.wasm")).unwrap();
        assert_eq!(files.changed(), ["team/queue.wasm"]);
    }

    #[test]
    fn a_file_that_is_missing_is_told_of_when_it_comes() {
        let (_root, files) = folder();
        assert!(matches!(files.read("late.wasm", 100), Err(ReadError::NotFound(_))));
        fs::write(files.folder.join("late.wasm"), "code").unwrap();
        assert_eq!(files.changed(), ["late.wasm"]);
    }

    #[test]
    fn no_link_leads_out_of_the_folder() {
        let (root, files) = folder();
        let link = |name: &str, target: &Path| std::os::unix::fs::symlink(target, files.folder.join(name)).unwrap();
        link("relative", Path::new("../outside"));
        link("absolute", &root.path().join("outside"));
        link("up", Path::new(".."));
        link("process", Path::new("/proc/self/root"));
        link("within", Path::new("team/queue.wasm"));
        for path in ["relative", "absolute", "up/outside", "process/etc/passwd", "../outside", "/etc/passwd"] {
            let read = files.read(path, 100);
            assert!(matches!(&read, Err(ReadError::Malformed(why)) if why.contains("leads out")), "{path}: {read:?}");
        }
        assert_eq!(files.read("within", 100), Ok(Bytes::from_static(b"code")), "as kubelet's ..data does");
    }

    #[test]
    fn pipes_folders_and_huge_files_are_refused_at_once() {
        let (_root, files) = folder();
        let pipe = files.folder.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for path in ["pipe", "team"] {
            assert!(matches!(files.read(path, 100), Err(ReadError::Unavailable(_))), "{path}");
        }
        let sparse = File::create(files.folder.join("huge")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let huge = files.read("huge", 100);
        assert!(matches!(&huge, Err(ReadError::Malformed(why)) if why.contains("may have 100")), "{huge:?}");
    }
}
