//! The adapter as its own certificate authority: one CA in a Secret, made by whichever replica comes first, and a serving
//! certificate of it for each replica, which never leaves the process. The CA's key is never written anywhere else; a Secret that
//! the adapter did not make is never overwritten.
//!
//! A new CA is published, beside the old one, before anything is served under it: a replica that sees it in the Secret waits
//! [`SETTLE`] first.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    CertificateError,
    issue::{self, Pair},
    registration::Registration,
};
use crate::serve::ServingCertificate;

/// From seeing a new CA to serving under it: longer than any API server takes to notice a changed APIService.
const SETTLE: Duration = Duration::from_secs(60);
/// Between looks at Secret and APIServices.
const EVERY: Duration = Duration::from_secs(60);
/// The same, until a first APIService is the adapter's: whoever installs it waits for it.
const EVERY_UNTIL_FOUND: Duration = Duration::from_secs(3);
/// Between attempts while the API server is away at start.
const START_RETRY: Duration = Duration::from_secs(2);
/// How often a lost race for the Secret is run again at once.
const RACES: usize = 5;

const CERTIFICATE_KEY: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const BUNDLE_KEY: &str = "ca-bundle.crt";

/// Whose certificates these are.
#[derive(Debug, Clone)]
pub struct SelfIssuedSettings {
    /// The adapter's namespace.
    pub namespace: String,
    /// The Service in front of the adapter, whose names the certificate carries.
    pub service: String,
    /// The Secret of the CA, shared by the replicas.
    pub secret: String,
}

impl SelfIssuedSettings {
    fn names(&self) -> [String; 3] {
        let Self { namespace, service, .. } = self;
        [service.clone(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
    }
}

/// Serves self-issued certificates.
pub struct SelfIssued {
    secrets: Api<Secret>,
    settings: SelfIssuedSettings,
    registration: Registration,
    certificate: Arc<ServingCertificate>,
    served: Option<Served>,
}

/// What is served now.
struct Served {
    /// The serving certificate, in PEM.
    certificate: String,
    /// The CA's certificate, in PEM.
    authority: String,
    /// Since when the Secret holds another CA.
    superseded: Option<SystemTime>,
}

/// The Secret's content.
#[derive(Clone, PartialEq, Eq)]
struct Authority {
    pair: Pair,
    /// This CA's certificate and those before it that have not ended.
    bundle: String,
}

impl SelfIssued {
    /// Makes or reads the CA, serves a certificate of it and publishes the CA. While the API server is away it tries again;
    /// missing rights and a Secret of somebody else are errors.
    pub async fn start(
        client: kube::Client,
        settings: SelfIssuedSettings,
        certificate: Arc<ServingCertificate>,
        shutdown: &CancellationToken,
    ) -> Result<Self, CertificateError> {
        let registration = Registration::new(client.clone(), settings.namespace.clone(), settings.service.clone());
        let secrets = Api::namespaced(client, &settings.namespace);
        let mut issued = Self { secrets, settings, registration, certificate, served: None };
        loop {
            match issued.refresh(SystemTime::now()).await {
                Ok(_) => return Ok(issued),
                Err(error @ CertificateError::Unavailable { .. }) if !shutdown.is_cancelled() => {
                    tracing::warn!(%error, "no certificate to serve yet; trying again");
                    tokio::select! {
                        () = sleep(START_RETRY) => {}
                        () = shutdown.cancelled() => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps Secret, APIServices and the served certificate up to date until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut wait = EVERY_UNTIL_FOUND;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(wait) => {}
            }
            match self.refresh(SystemTime::now()).await {
                Ok(0) => wait = EVERY_UNTIL_FOUND,
                Ok(_) => wait = EVERY,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the serving certificate stays as it was");
                    wait = EVERY;
                }
            }
        }
    }

    /// One round: read the CA, publish it, serve under it where that is due. How many APIServices are the adapter's.
    async fn refresh(&mut self, now: SystemTime) -> Result<usize, CertificateError> {
        let authority = self.authority(now).await?;
        if self.served.is_none() {
            // Without a certificate nobody could even read the first answer, so it doesn't wait for the APIServices.
            self.serve(&authority, now)?;
        }
        let ours = self.registration.publish(&authority.bundle).await;
        let Some(served) = &mut self.served else { return Ok(ours) };
        if served.authority == authority.pair.certificate {
            served.superseded = None;
            if issue::is_due(&served.certificate, now) {
                self.serve(&authority, now)?;
            }
        } else {
            let since = *served.superseded.get_or_insert(now);
            if now.duration_since(since).unwrap_or_default() >= SETTLE {
                self.serve(&authority, now)?;
            }
        }
        Ok(ours)
    }

    fn serve(&mut self, authority: &Authority, now: SystemTime) -> Result<(), CertificateError> {
        let Pair { certificate, key } = issue::serving(&authority.pair, &self.settings.names(), now)?;
        self.certificate.replace(certificate.as_bytes(), key.as_bytes())?;
        self.served = Some(Served { certificate, authority: authority.pair.certificate.clone(), superseded: None });
        tracing::info!("serving a new certificate of the adapter's own authority");
        Ok(())
    }

    /// The CA in the Secret, made or renewed if need be. Whoever loses the race to write it reads what the winner wrote.
    async fn authority(&self, now: SystemTime) -> Result<Authority, CertificateError> {
        let mut lost = "other replicas kept changing it";
        for _ in 0..RACES {
            let found = self.secrets.get_opt(&self.settings.secret).await.map_err(|error| self.failure(error))?;
            let known = found.as_ref().map(|secret| self.read(secret)).transpose()?.flatten();
            if let Some(authority) = known.as_ref().filter(|authority| !issue::is_due(&authority.pair.certificate, now))
            {
                return Ok(authority.clone());
            }
            let made = successor(known.as_ref(), now)?;
            let written = match found {
                None => self.secrets.create(&PostParams::default(), &self.fill(Secret::default(), &made)).await,
                // Carries the resource version that was read, so that of two writers one fails.
                Some(secret) => {
                    self.secrets.replace(&self.settings.secret, &PostParams::default(), &self.fill(secret, &made)).await
                }
            };
            match written {
                Ok(_) => return Ok(made),
                Err(kube::Error::Api(status)) if status.code == 409 => lost = "another replica was first each time",
                Err(error) => return Err(self.failure(error)),
            }
        }
        Err(CertificateError::Unavailable { secret: self.secret_name(), message: lost.to_owned() })
    }

    /// The CA that a Secret holds; `None` for a Secret that was made empty for the adapter to fill.
    fn read(&self, secret: &Secret) -> Result<Option<Authority>, CertificateError> {
        let foreign = |problem| CertificateError::Foreign { secret: self.secret_name(), problem };
        let Some(data) = secret.data.as_ref().filter(|data| !data.is_empty()) else { return Ok(None) };
        let text = |key| data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let certificate = text(CERTIFICATE_KEY).ok_or_else(|| foreign("no `tls.crt`"))?;
        let key = text(PRIVATE_KEY).ok_or_else(|| foreign("no `tls.key`"))?;
        let bundle = text(BUNDLE_KEY).ok_or_else(|| foreign("no `ca-bundle.crt`"))?;
        let pair = Pair { certificate, key };
        ServingCertificate::default()
            .replace(pair.certificate.as_bytes(), pair.key.as_bytes())
            .map_err(|_| foreign("`tls.crt` and `tls.key` are no pair"))?;
        if !bundle.contains(pair.certificate.trim()) {
            return Err(foreign("`ca-bundle.crt` lacks `tls.crt`"));
        }
        Ok(Some(Authority { pair, bundle }))
    }

    fn fill(&self, mut secret: Secret, authority: &Authority) -> Secret {
        let Authority { pair, bundle } = authority;
        let texts = [(CERTIFICATE_KEY, &pair.certificate), (PRIVATE_KEY, &pair.key), (BUNDLE_KEY, bundle)];
        secret.data =
            Some(BTreeMap::from(texts.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))));
        if secret.metadata.name.is_none() {
            secret.type_ = Some("Opaque".to_owned());
            secret.metadata = ObjectMeta {
                name: Some(self.settings.secret.clone()),
                namespace: Some(self.settings.namespace.clone()),
                labels: Some([("app.kubernetes.io/managed-by".to_owned(), "wasm-metrics-adapter".to_owned())].into()),
                ..ObjectMeta::default()
            };
        }
        secret
    }

    fn secret_name(&self) -> String {
        format!("{}/{}", self.settings.namespace, self.settings.secret)
    }

    fn failure(&self, error: kube::Error) -> CertificateError {
        let secret = self.secret_name();
        match error {
            kube::Error::Api(status) if status.is_forbidden() => {
                CertificateError::Forbidden { secret, message: status.message }
            }
            error => CertificateError::Unavailable { secret, message: error.to_string() },
        }
    }
}

/// A new CA, with those of the old bundle that have not ended beside it.
fn successor(old: Option<&Authority>, now: SystemTime) -> Result<Authority, CertificateError> {
    let pair = issue::authority(now)?;
    let mut bundle = pair.certificate.clone();
    for block in old.map(|old| blocks(&old.bundle)).unwrap_or_default() {
        if issue::validity(&block).is_some_and(|(_, end)| end > now) {
            bundle.push_str(&block);
        }
    }
    Ok(Authority { pair, bundle })
}

/// The certificates of a bundle, each as a PEM text of its own.
fn blocks(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let is_certificate = |block: &str| CertificateDer::from_pem_slice(block.as_bytes()).is_ok();
    bundle
        .split_inclusive(END)
        .map(|block| format!("{}\n", block.trim()))
        .filter(|block| is_certificate(block))
        .collect()
}

#[cfg(test)]
mod tests;
