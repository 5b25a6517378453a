//! Keeps [`Trust`] as the cluster and the operator's files have it: the ConfigMap `kube-system/extension-apiserver-authentication`
//! is watched, files are re-read by content, and files win. Never drops what was trusted because it can't be read any more; what
//! is read and no longer names a CA ends that CA's trust with the next request.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::trust::{InvalidTrust, Trust, TrustInputs};
use crate::config::FrontProxy;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// For the first look at the ConfigMap; a later one is the watch's.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often files are read again. Volumes of Secrets and ConfigMaps are swapped by symlink, which file watches miss.
const FILES_EVERY: Duration = Duration::from_secs(5);

/// Where trust comes from.
#[derive(Default)]
pub struct Sources {
    /// Looks the ConfigMap up and watches it; absent skips both (`--authentication-skip-lookup`).
    pub client: Option<kube::Client>,
    /// Whether to start although the ConfigMap may not be read (`--authentication-tolerate-lookup-failure`).
    pub tolerate_lookup_failure: bool,
    /// In place of the ConfigMap's `client-ca-file`.
    pub client_ca_file: Option<PathBuf>,
    /// In place of everything that the ConfigMap says of front proxies.
    pub front_proxy: Option<FrontProxy>,
}

/// Why there is no trust to start with.
#[derive(Debug, thiserror::Error)]
pub enum ClusterConfigError {
    /// RBAC forbids the lookup.
    #[error(
        "the adapter may not read ConfigMap {NAMESPACE}/{NAME}, which says whom to trust; add a RoleBinding in {NAMESPACE} from \
         the adapter's service account to the Role `extension-apiserver-authentication-reader`: {0}"
    )]
    Forbidden(String),
    /// A file that a flag names cannot be read.
    #[error("the CA file {path} cannot be read; check the flag that names it")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What was read makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidTrust),
}

/// Keeps one [`Trust`] up to date while [`ClusterConfig::run`] runs.
pub struct ClusterConfig {
    sources: Sources,
    /// The ConfigMap as it was last seen.
    cluster: TrustInputs,
    trust: Arc<Trust>,
    /// What was wrong last time, so that the log says it once.
    complaint: Option<String>,
}

impl ClusterConfig {
    /// Reads files and ConfigMap once. A ConfigMap that is missing, or an API server that is away, is no error: until it is
    /// there, certificates prove nothing.
    pub async fn start(sources: Sources) -> Result<(Arc<Trust>, Self), ClusterConfigError> {
        let cluster = look_up(&sources).await?;
        let trust = Arc::new(Trust::new(effective(&sources, &cluster).await?)?);
        Ok((trust.clone(), Self { sources, cluster, trust, complaint: None }))
    }

    /// Follows ConfigMap and files until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut config_map = match &self.sources.client {
            Some(client) => {
                let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
                watcher::watch_object(api, NAME).default_backoff().boxed()
            }
            None => futures::stream::pending().boxed(),
        };
        let mut files = interval(FILES_EVERY);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                seen = config_map.next() => match seen {
                    Some(Ok(Some(config_map))) => self.see(&config_map),
                    Some(Ok(None)) => tracing::warn!("ConfigMap {NAMESPACE}/{NAME} does not exist; what it last said stays in force"),
                    Some(Err(error)) => tracing::warn!(%error, "ConfigMap {NAMESPACE}/{NAME} cannot be watched; trying again"),
                    None => return,
                },
                _ = files.tick() => {}
            }
            self.refresh().await;
        }
    }

    fn see(&mut self, config_map: &ConfigMap) {
        match TrustInputs::from_config_map(&config_map.data.clone().unwrap_or_default()) {
            Ok(inputs) => self.cluster = inputs,
            Err(error) => {
                tracing::warn!(%error, "ConfigMap {NAMESPACE}/{NAME} makes no sense; what it last said stays in force");
            }
        }
    }

    async fn refresh(&mut self) {
        let updated = match effective(&self.sources, &self.cluster).await {
            Ok(inputs) => self.trust.update(inputs).map_err(ClusterConfigError::from),
            Err(error) => Err(error),
        };
        if let Ok(true) = updated {
            tracing::info!("whom to trust has changed; certificates are verified anew");
        }
        let problem = updated.as_ref().err().map(ToString::to_string);
        if let Err(error) = updated
            && problem != self.complaint
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whom to trust cannot be updated; it stays as it was"
            );
        }
        self.complaint = problem;
    }
}

async fn look_up(sources: &Sources) -> Result<TrustInputs, ClusterConfigError> {
    let Some(client) = &sources.client else { return Ok(TrustInputs::default()) };
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    match timeout(LOOKUP_TIMEOUT, api.get_opt(NAME)).await {
        Ok(Ok(Some(config_map))) => return Ok(TrustInputs::from_config_map(&config_map.data.unwrap_or_default())?),
        Ok(Ok(None)) => tracing::warn!(
            "ConfigMap {NAMESPACE}/{NAME} does not exist yet; until it does, client certificates prove nothing"
        ),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() && !sources.tolerate_lookup_failure => {
            return Err(ClusterConfigError::Forbidden(status.message));
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "ConfigMap {NAMESPACE}/{NAME} cannot be read yet; until it can, client certificates prove nothing");
        }
        Err(_) => tracing::warn!("the API server did not answer yet; until it does, client certificates prove nothing"),
    }
    Ok(TrustInputs::default())
}

/// What the cluster says, with the operator's files and flags in its place where there are any.
async fn effective(sources: &Sources, cluster: &TrustInputs) -> Result<TrustInputs, ClusterConfigError> {
    let mut inputs = cluster.clone();
    if let Some(path) = &sources.client_ca_file {
        inputs.client_ca = Some(read(path).await?);
    }
    if let Some(flags) = &sources.front_proxy {
        let FrontProxy { ca_file, allowed_names, username_headers, uid_headers, group_headers, extra_header_prefixes } =
            flags.clone();
        inputs = TrustInputs {
            client_ca: inputs.client_ca,
            front_proxy_ca: Some(read(&ca_file).await?),
            allowed_names,
            username_headers,
            uid_headers,
            group_headers,
            extra_header_prefixes,
        };
    }
    Ok(inputs)
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, ClusterConfigError> {
    tokio::fs::read(path).await.map_err(|source| ClusterConfigError::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests;
