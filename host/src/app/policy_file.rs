//! The policy of `--policy`, followed. At the start a file that makes no sense is an error; later it changes nothing, and that is
//! told by the log and a metric until it is corrected.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::followed_file::FollowedFile;
use crate::{
    policy::{self, Policy},
    telemetry::Metrics,
};

/// The policy of now, and of later if there is a file. Without one it is that of [`Policy::default`].
pub(super) async fn start(
    path: Option<&Path>,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
    background: &TaskTracker,
) -> anyhow::Result<watch::Receiver<Arc<Policy>>> {
    let Some(path) = path else { return Ok(watch::Sender::new(Arc::default()).subscribe()) };
    let file = FollowedFile::read(path).await.with_context(|| format!("read --policy {}", path.display()))?;
    let policy = parse(file.content()).with_context(|| format!("--policy {}", path.display()))?;
    let (sender, receiver) = watch::channel(Arc::new(policy));
    let stop = stop.clone();
    background.spawn(async move { stop.run_until_cancelled(follow(file, sender, metrics)).await });
    Ok(receiver)
}

async fn follow(mut file: FollowedFile, sender: watch::Sender<Arc<Policy>>, metrics: Arc<Metrics>) {
    let path = file.path().display().to_string();
    loop {
        match parse(file.changed().await) {
            Ok(policy) => {
                metrics.policy_stale.set(0);
                tracing::info!(file = path, "plugins are judged by a new policy");
                sender.send_replace(Arc::new(policy));
            }
            Err(error) => {
                metrics.policy_stale.set(1);
                tracing::warn!(
                    file = path,
                    error = format!("{error:#}"),
                    "the policy stays as it was; correct the file of --policy"
                );
            }
        }
    }
}

fn parse(content: &[u8]) -> anyhow::Result<Policy> {
    Ok(policy::parse(std::str::from_utf8(content).context("the policy is not UTF-8")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: Policy\n";

    fn plugins(policy: &watch::Receiver<Arc<Policy>>) -> Option<u32> {
        policy.borrow().ceilings("shop", false).plugins
    }

    fn with_plugins(count: u32) -> String {
        format!("{HEAD}namespaces: {{'*': {{plugins: {count}}}}}\n")
    }

    /// As kubelet swaps the files of a volume: `..data` is a link that another one replaces.
    fn swap(folder: &Path, version: &str, content: &str) {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("policy.yaml"), content).unwrap();
        std::os::unix::fs::symlink(version, folder.join("..new")).unwrap();
        std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_swapped_policy_is_taken_and_a_broken_one_keeps_the_last_good() {
        let folder = tempfile::tempdir().unwrap();
        swap(folder.path(), "1", &with_plugins(1));
        let path = folder.path().join("..data/policy.yaml");
        let (metrics, stop, background) = (Arc::new(Metrics::default()), CancellationToken::new(), TaskTracker::new());
        let mut policy = start(Some(&path), metrics.clone(), &stop, &background).await.unwrap();
        assert_eq!(plugins(&policy), Some(1));
        swap(folder.path(), "2", &with_plugins(2));
        policy.changed().await.unwrap();
        assert_eq!((plugins(&policy), metrics.policy_stale.get()), (Some(2), 0));
        swap(folder.path(), "3", &format!("{HEAD}namespace: {{}}\n"));
        while metrics.policy_stale.get() == 0 {
            tokio::time::sleep(crate::app::certificate::LOOK_EVERY).await;
        }
        assert_eq!(plugins(&policy), Some(2), "the last good one");
        swap(folder.path(), "4", &with_plugins(4));
        policy.changed().await.unwrap();
        assert_eq!((plugins(&policy), metrics.policy_stale.get()), (Some(4), 0));
        stop.cancel();
        background.close();
        background.wait().await;
    }

    #[tokio::test]
    async fn a_broken_policy_at_the_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let start = async |content: Option<&[u8]>| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let (stop, background) = (CancellationToken::new(), TaskTracker::new());
            let started = start(Some(&path), Arc::default(), &stop, &background).await;
            format!("{:#}", started.expect_err("refused"))
        };
        assert!(start(None).await.contains("read --policy"));
        assert!(start(Some(b"\xff")).await.contains("not UTF-8"));
        assert!(start(Some(b"kind: Policy")).await.contains("the policy lacks `apiVersion`"));
    }
}
