//! A file that is read again by content, through whatever links: kubelet swaps those of a volume, editors write new ones.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::time::sleep;

use super::certificate::LOOK_EVERY;

/// The file, as it was last seen.
pub(super) struct FollowedFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl FollowedFile {
    pub(super) async fn read(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), content: tokio::fs::read(path).await? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Waits until it holds something else than the last time. While it can't be read it is as it was. Dropping the future loses
    /// nothing.
    pub(super) async fn changed(&mut self) -> &[u8] {
        loop {
            sleep(LOOK_EVERY).await;
            match tokio::fs::read(&self.path).await {
                Ok(content) if content != self.content => {
                    self.content = content;
                    return &self.content;
                }
                _ => {}
            }
        }
    }
}
