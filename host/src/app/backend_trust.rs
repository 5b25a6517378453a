//! Which authorities backends are verified by: the system's and those of `--backend-ca-file`, which is read again by content.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::certificate::LOOK_EVERY;
use crate::egress::{Shared, TrustRoots};

/// The file, as it was last seen.
pub(super) struct BackendTrust {
    path: PathBuf,
    content: Vec<u8>,
}

impl BackendTrust {
    /// The authorities at the start.
    pub(super) async fn read(path: &Path) -> anyhow::Result<(TrustRoots, Self)> {
        let content =
            tokio::fs::read(path).await.with_context(|| format!("read --backend-ca-file {}", path.display()))?;
        let trust = Self { path: path.to_owned(), content };
        Ok((trust.roots()?, trust))
    }

    /// Follows the file until `stop`. What can't be read, or is no bundle, changes nothing.
    pub(super) async fn follow(mut self, shared: Arc<Shared>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let Ok(content) = tokio::fs::read(&self.path).await else { continue };
            if content == self.content {
                continue;
            }
            self.content = content;
            match self.roots().and_then(|roots| Ok(shared.replace_roots(roots)?)) {
                Ok(()) => tracing::info!(file = %self.path.display(), "backends are verified by new authorities"),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the authorities of backends stay as they were; correct --backend-ca-file"
                ),
            }
        }
    }

    fn roots(&self) -> anyhow::Result<TrustRoots> {
        Ok(TrustRoots::system().with_pem(&self.path.display().to_string(), &self.content)?)
    }
}
