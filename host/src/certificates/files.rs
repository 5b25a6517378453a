//! The serving certificate in two files, re-read by content: volumes of Secrets are swapped by symlink, which raises no event on
//! the files themselves. A pair that cannot be served is named in the log once and leaves the last good one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::CertificateError;
use crate::serve::ServingCertificate;

/// A certificate file and its key file, `--tls-cert-file` and `--tls-private-key-file`.
pub struct Files {
    certificate_file: PathBuf,
    key_file: PathBuf,
    certificate: Arc<ServingCertificate>,
    /// Of the contents that were tried last, good or bad.
    seen: Option<[u8; 32]>,
}

impl Files {
    /// Serves what is in the files now.
    pub async fn start(
        certificate_file: PathBuf,
        key_file: PathBuf,
        certificate: Arc<ServingCertificate>,
    ) -> Result<Self, CertificateError> {
        let mut files = Self { certificate_file, key_file, certificate, seen: None };
        files.refresh().await?;
        Ok(files)
    }

    /// Looks at the files `every` so often until `shutdown`.
    pub async fn run(mut self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.refresh().await {
                Ok(true) => {
                    tracing::info!(file = %self.certificate_file.display(), "the serving certificate was replaced");
                }
                Ok(false) => {}
                // A missing file fails at each look, a bad one only when it changes.
                Err(CertificateError::File { .. }) if complained => {}
                Err(error) => {
                    complained = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, "the serving certificate stays as it was");
                    continue;
                }
            }
            complained = complained && !self.exists().await;
        }
    }

    /// Serves the files' contents if they are others than before; whether they are.
    async fn refresh(&mut self) -> Result<bool, CertificateError> {
        let chain = read(&self.certificate_file).await?;
        let key = read(&self.key_file).await?;
        let digest =
            Sha256::new().chain_update(Sha256::digest(&chain)).chain_update(Sha256::digest(&key)).finalize().into();
        if self.seen == Some(digest) {
            return Ok(false);
        }
        self.seen = Some(digest);
        self.certificate.replace(&chain, &key)?;
        Ok(true)
    }

    async fn exists(&self) -> bool {
        read(&self.certificate_file).await.is_ok() && read(&self.key_file).await.is_ok()
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    tokio::fs::read(path).await.map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, time::SystemTime};

    use super::*;
    use crate::certificates::issue::{Pair, self_signed};

    /// A volume as kubelet makes it: files are links into `..data`, which is a link to the version's folder and swapped by
    /// rename.
    struct Volume(tempfile::TempDir);

    impl Volume {
        fn new(pair: &Pair) -> Self {
            let volume = Self(tempfile::tempdir().unwrap());
            volume.swap("1", &pair.certificate, &pair.key);
            for name in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(name), volume.0.path().join(name)).unwrap();
            }
            volume
        }

        fn swap(&self, version: &str, certificate: &str, key: &str) {
            let folder = self.0.path().join(format!("..{version}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("tls.crt"), certificate).unwrap();
            fs::write(folder.join("tls.key"), key).unwrap();
            symlink(format!("..{version}"), self.0.path().join("..data_tmp")).unwrap();
            fs::rename(self.0.path().join("..data_tmp"), self.0.path().join("..data")).unwrap();
        }

        async fn start(&self, certificate: &Arc<ServingCertificate>) -> Files {
            let path = self.0.path();
            Files::start(path.join("tls.crt"), path.join("tls.key"), certificate.clone()).await.unwrap()
        }
    }

    fn pair() -> Pair {
        self_signed(&["localhost".to_owned()], SystemTime::now()).unwrap()
    }

    #[tokio::test]
    async fn a_volume_swapped_by_symlink_is_noticed() {
        let volume = Volume::new(&pair());
        let certificate = Arc::new(ServingCertificate::default());
        let files = volume.start(&certificate).await;
        let first = certificate.leaf().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(files.run(Duration::from_millis(1), shutdown.clone()));
        let second = pair();
        volume.swap("2", &second.certificate, &second.key);
        tokio::time::timeout(Duration::from_secs(10), async {
            while certificate.leaf().unwrap() == first {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        shutdown.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn garbage_and_missing_files_leave_the_last_good_pair() {
        let (first, second) = (pair(), pair());
        let volume = Volume::new(&first);
        let certificate = Arc::new(ServingCertificate::default());
        let mut files = volume.start(&certificate).await;
        let served = certificate.leaf().unwrap();
        for (version, chain, key) in
            [("2", "garbage", "garbage"), ("3", &second.certificate, &first.key), ("4", "", "")]
        {
            volume.swap(version, chain, key);
            assert!(matches!(files.refresh().await, Err(CertificateError::Unusable(_))), "{version}");
            assert!(!files.refresh().await.unwrap(), "told once: {version}");
        }
        fs::remove_file(volume.0.path().join("..data")).unwrap();
        assert!(matches!(files.refresh().await, Err(CertificateError::File { .. })));
        assert_eq!(certificate.leaf().unwrap(), served);
        volume.swap("5", &second.certificate, &second.key);
        assert!(files.refresh().await.unwrap());
        assert_ne!(certificate.leaf().unwrap(), served);
    }
}
