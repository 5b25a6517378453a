//! Compiled code on disk. Native code runs with the adapter's rights, so each file carries a MAC over the engine (wasmtime's
//! version, the processor, our configuration), the component's digest and the code; the key is a file that only this user reads.
//! Whatever does not verify is compiled anew.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tracing::warn;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Bytes that the folder may hold; the oldest files go first. Room for some hundred Rust plugins and a few Python ones.
const FOLDER_BYTES: u64 = 512 << 20;

/// A folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    engine: u64,
}

impl Cache {
    /// Opens or makes the folder, with a key of its own, for code of the engine that `engine` stands for.
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
            let code_len = bytes.len().checked_sub(MAC_BYTES)?;
            let expected = bytes.split_off(code_len);
            if mac(&key, engine, &digest, &bytes).verify_slice(&expected).is_err() {
                warn!(path = %path.display(), "compile cache: a file does not verify, so it is compiled anew");
                return None;
            }
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
            make_room(&folder, compiled.len() as u64)?;
            write_whole(&path, &compiled)
        });
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "compile cache: not written"),
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
    if let Ok(bytes) = fs::read(path) {
        let private = fs::metadata(path)?.permissions().mode() & 0o077 == 0;
        if let (Ok(key), true) = (<[u8; KEY_BYTES]>::try_from(bytes), private) {
            return Ok(key);
        }
        warn!(path = %path.display(), "compile cache: the key is readable by others or broken, so a new one is made");
    }
    let key: [u8; KEY_BYTES] = rand::random();
    write_whole(path, &key)?;
    Ok(key)
}

/// Writes a file that is whole or absent, for this user alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Half a file on a full disk would keep it full.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes the oldest files until `needed` more bytes fit.
fn make_room(folder: &Path, needed: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total + needed <= FOLDER_BYTES {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
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
}
