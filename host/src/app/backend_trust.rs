//! Which authorities backends are verified by: the system's and those of `--backend-ca-file`, which is read again by content.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::followed_file::FollowedFile;
use crate::egress::{Shared, TrustRoots};

/// The file, as it was last seen.
pub(super) struct BackendTrust(FollowedFile);

impl BackendTrust {
    /// The authorities at the start.
    pub(super) async fn read(path: &Path) -> anyhow::Result<(TrustRoots, Self)> {
        let file = FollowedFile::read(path).await;
        let trust = Self(file.with_context(|| format!("read --backend-ca-file {}", path.display()))?);
        Ok((trust.roots()?, trust))
    }

    /// Follows the file until `stop`. What can't be read, or is no bundle, changes nothing.
    pub(super) async fn follow(mut self, shared: Arc<Shared>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.0.changed()).await.is_some() {
            match self.roots().and_then(|roots| Ok(shared.replace_roots(roots)?)) {
                Ok(()) => tracing::info!(file = %self.0.path().display(), "backends are verified by new authorities"),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the authorities of backends stay as they were; correct --backend-ca-file"
                ),
            }
        }
    }

    fn roots(&self) -> anyhow::Result<TrustRoots> {
        Ok(TrustRoots::system().with_pem(&self.0.path().display().to_string(), self.0.content())?)
    }
}
