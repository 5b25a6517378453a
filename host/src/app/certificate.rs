//! Which certificate is served, kept fresh.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificates::{self, Files, SelfIssued, SelfIssuedSettings},
    config::{Certificate, Config, TlsVersion},
    serve::{ServingCertificate, TlsPolicy},
};

/// How often files are looked at: kubelet swaps those of a volume about once a minute.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn start(
    config: &Config,
    client: Option<kube::Client>,
    stop: &CancellationToken,
    background: &TaskTracker,
) -> anyhow::Result<Arc<ServingCertificate>> {
    let serving = Arc::new(ServingCertificate::default());
    match &config.certificate {
        Certificate::Files { certificate, key } => {
            let files = Files::start(certificate.clone(), key.clone(), serving.clone()).await?;
            background.spawn(files.run(LOOK_EVERY, stop.clone()));
        }
        Certificate::SelfIssued { secret, service } => {
            let client = client.context("a self-issued certificate needs a cluster")?;
            let settings = SelfIssuedSettings {
                namespace: config.namespace.clone(),
                service: service.clone(),
                secret: secret.clone(),
            };
            let issued = SelfIssued::start(client, settings, serving.clone(), stop).await?;
            background.spawn(issued.run(stop.clone()));
        }
        Certificate::Ephemeral => {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            certificates::ephemeral(&names, &serving)?;
        }
    }
    Ok(serving)
}

/// What of TLS the flags leave.
pub(super) fn policy(config: &Config) -> TlsPolicy {
    TlsPolicy {
        tls13_only: config.tls_min_version == TlsVersion::Tls13,
        cipher_suites: config.tls_cipher_suites.clone(),
    }
}
