//! Compiled code on disk. Native code runs with the adapter's rights, so each file carries a MAC over the engine (wasmtime's
//! version, the processor, our configuration), the component's digest and the code; the key is a file that only this user reads.
//! Whatever does not verify is compiled anew.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tracing::warn;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Bytes that the folder may hold; what was not used for the longest time goes first. Room for some hundred Rust plugins and a few Python
/// ones.
const FOLDER_BYTES: u64 = 512 << 20;
/// A file that was begun this long ago is of a process that was killed at it.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder of compiled code. Replicas may share it: files appear whole and are replaced by their like.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    engine: u64,
}

impl Cache {
    /// Opens or makes the folder, with a key of its own, for code of the engine that `engine` stands for. A folder that can only be read
    /// will do if it has a key.
    pub(super) fn open(folder: PathBuf, engine: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let key = read_or_make_key(&folder.join("key"))?;
        Ok(Self { folder, key, engine })
    }

    /// The code for `digest`, if it is there and unchanged.
    pub(super) async fn load(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let (path, digest, key, engine) = (self.path(digest), *digest, self.key, self.engine);
        tokio::task::spawn_blocking(move || {
            let mut bytes = fs::read(&path).ok()?;
            let expected = bytes.split_off(bytes.len().saturating_sub(MAC_BYTES));
            if mac(&key, engine, &digest, &bytes).verify_slice(&expected).is_err() {
                warn!(path = %path.display(), "compile cache: a file does not verify, so it is compiled anew");
                return None;
            }
            // The time of the last use. A folder that can only be read is not made room in either.
            let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            Some(bytes)
        })
        .await
        .ok()?
    }

    /// Keeps the code for `digest`. Failing to is logged and no error: a full disk costs time at the next start, nothing else.
    pub(super) async fn store(&self, digest: &[u8; 32], mut compiled: Vec<u8>) {
        let (path, folder, digest, key, engine) =
            (self.path(digest), self.folder.clone(), *digest, self.key, self.engine);
        let work = tokio::task::spawn_blocking(move || {
            let tag = mac(&key, engine, &digest, &compiled).finalize().into_bytes();
            compiled.extend_from_slice(&tag);
            make_room(&folder, compiled.len() as u64, FOLDER_BYTES)?;
            write_whole(&path, &compiled)
        });
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(folder = %self.folder.display(), %error, "compile cache: not written, so the plugin is compiled again at the next start; give the folder more room, or a volume that can be written"),
            Err(error) => warn!(%error, "compile cache: not written"),
        }
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}-{:016x}.cwasm", self.engine))
    }
}

fn mac(key: &[u8; KEY_BYTES], engine: u64, digest: &[u8; 32], code: &[u8]) -> Hmac<Sha256> {
    // HMAC pads shorter keys than its block with zeros (RFC 2104).
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(padded, byte)| *padded = *byte);
    let mut mac = Hmac::<Sha256>::new(&block);
    mac.update(&engine.to_le_bytes());
    mac.update(digest);
    mac.update(code);
    mac
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let key: [u8; KEY_BYTES] = rand::random();
    let temporary = write_temporary(path, &key)?;
    // A link, unlike a rename, does not take the place of the key that another replica has made meanwhile.
    let made = match fs::hard_link(&temporary, path) {
        Ok(()) => Ok(key),
        Err(_) => match read_key(path)? {
            Some(theirs) => Ok(theirs),
            None => {
                warn!(path = %path.display(), "compile cache: the key is readable by others or broken, so a new one is made");
                fs::rename(&temporary, path).map(|()| key)
            }
        },
    };
    // After a rename it is gone already.
    let _ = fs::remove_file(&temporary);
    made
}

/// The key, if there is one that this user alone can read.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let Ok(bytes) = fs::read(path) else { return Ok(None) };
    let private = fs::metadata(path)?.permissions().mode() & 0o077 == 0;
    Ok(<[u8; KEY_BYTES]>::try_from(bytes).ok().filter(|_| private))
}

/// Writes a file that is whole or absent, for this user alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Writes a file beside `path`, of a name that no other process chooses: in containers all have the same number.
fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let temporary = path.with_extension(format!("{:016x}.tmp", rand::random::<u64>()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes));
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            // Half a file on a full disk would keep it full.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Removes what others left half done, and the files that were not used for the longest time until `needed` more bytes fit into `most`.
fn make_room(folder: &Path, needed: u64, most: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // One that has just been replaced or removed by another replica needs no room.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let used = metadata.modified()?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cwasm") => files.push((used, metadata.len(), path)),
            Some("tmp") if used.elapsed().is_ok_and(|age| age > ABANDONED) => remove(&path)?,
            _ => {}
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total + needed <= most {
            break;
        }
        remove(&path)?;
        total -= bytes;
    }
    Ok(())
}

/// Removes a file that another replica may have removed already.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_stored_comes_back_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1).unwrap();
        let digest = [7; 32];
        assert!(cache.load(&digest).await.is_none());
        cache.store(&digest, b"code".to_vec()).await;
        assert_eq!(cache.load(&digest).await.unwrap(), b"code");
        let again = Cache::open(folder.path().to_owned(), 1).unwrap();
        assert_eq!(again.load(&digest).await.unwrap(), b"code");
    }

    #[tokio::test]
    async fn a_changed_moved_or_foreign_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1).unwrap();
        let (one, other) = ([1; 32], [2; 32]);
        cache.store(&one, b"code".to_vec()).await;
        fs::copy(cache.path(&one), cache.path(&other)).unwrap();
        assert!(cache.load(&other).await.is_none(), "another component's code");
        let mut bytes = fs::read(cache.path(&one)).unwrap();
        bytes[0] ^= 1;
        fs::write(cache.path(&one), bytes).unwrap();
        assert!(cache.load(&one).await.is_none(), "a flipped bit");
        fs::remove_file(folder.path().join("key")).unwrap();
        cache.store(&one, b"code".to_vec()).await;
        let stranger = Cache::open(folder.path().to_owned(), 1).unwrap();
        assert!(stranger.load(&one).await.is_none(), "made with another key");
    }

    #[tokio::test]
    async fn a_truncated_file_is_not_used_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1).unwrap();
        cache.store(&[1; 32], b"a component's code".to_vec()).await;
        let whole = fs::read(cache.path(&[1; 32])).unwrap();
        for length in 0..whole.len() {
            fs::write(cache.path(&[1; 32]), &whole[..length]).unwrap();
            assert!(cache.load(&[1; 32]).await.is_none(), "{length} bytes of {}", whole.len());
        }
        cache.store(&[1; 32], b"a component's code".to_vec()).await;
        assert_eq!(cache.load(&[1; 32]).await.unwrap(), b"a component's code");
        let other_engine = Cache::open(folder.path().to_owned(), 2).unwrap();
        fs::copy(cache.path(&[1; 32]), other_engine.path(&[1; 32])).unwrap();
        assert!(other_engine.load(&[1; 32]).await.is_none(), "another engine's code");
    }

    #[test]
    fn replicas_that_start_together_in_one_folder_make_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                Cache::open(folder.path().to_owned(), 1).unwrap().key
            };
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            opening.into_iter().map(|replica| replica.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(names(folder.path()), ["key"], "nothing is left over");
    }

    #[test]
    fn a_key_that_others_can_read_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = Cache::open(folder.path().to_owned(), 1).unwrap().key;
        fs::set_permissions(folder.path().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
        let second = Cache::open(folder.path().to_owned(), 1).unwrap().key;
        assert_ne!(first, second);
        assert_eq!(Cache::open(folder.path().to_owned(), 1).unwrap().key, second);
    }

    #[tokio::test]
    async fn a_write_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1).unwrap();
        // A folder in the place of the file: the last step fails, as any may on a broken disk.
        fs::create_dir_all(cache.path(&[1; 32]).join("in the way")).unwrap();
        cache.store(&[1; 32], b"code".to_vec()).await;
        assert!(cache.load(&[1; 32]).await.is_none());
        assert!(names(folder.path()).iter().all(|name| !name.ends_with("tmp")), "{:?}", names(folder.path()));
    }

    #[test]
    fn what_was_not_used_for_long_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let aged = |name: &str, age: u64| {
            fs::write(folder.path().join(name), [0; 100]).unwrap();
            let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        for (name, age) in [("a.cwasm", 30), ("b.cwasm", 20), ("c.cwasm", 10), ("old.tmp", 7200), ("new.tmp", 5), ("key", 9000)] {
            aged(name, age);
        }
        make_room(folder.path(), 100, 300).unwrap();
        assert_eq!(names(folder.path()), ["b.cwasm", "c.cwasm", "key", "new.tmp"]);
        make_room(folder.path(), 300, 300).unwrap();
        assert_eq!(names(folder.path()), ["key", "new.tmp"]);
    }

    #[tokio::test]
    async fn what_is_used_stays_longer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().to_owned(), 1).unwrap();
        for digest in [[1; 32], [2; 32]] {
            cache.store(&digest, b"code".to_vec()).await;
            let file = fs::File::options().write(true).open(cache.path(&digest)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        }
        cache.load(&[1; 32]).await.unwrap();
        make_room(folder.path(), 0, 40).unwrap();
        assert!(cache.load(&[1; 32]).await.is_some() && cache.load(&[2; 32]).await.is_none());
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}
