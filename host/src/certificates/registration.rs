//! Tells kube-apiserver whom to trust when it calls the adapter: the CA bundle in those APIServices whose Service is the
//! adapter's. Never touches an APIService of another Service, and writes only what differs.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

/// The APIServices that the adapter may be behind.
const NAMES: [&str; 4] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
    "v1beta1.metrics.k8s.io",
];

/// The adapter's APIServices.
pub(super) struct Registration {
    api: Api<APIService>,
    namespace: String,
    service: String,
    /// What was wrong last time, so that the log says it once.
    pub(super) complaint: Option<String>,
}

impl Registration {
    pub(super) fn new(client: kube::Client, namespace: String, service: String) -> Self {
        Self { api: Api::all(client), namespace, service, complaint: None }
    }

    /// Sees to it that each of the adapter's APIServices carries `bundle`; how many there are. Failures are logged, and the next
    /// call tries again.
    pub(super) async fn publish(&mut self, bundle: &str) -> usize {
        let mut ours = 0;
        let mut complaint = None;
        for name in NAMES {
            match self.publish_one(name, bundle).await {
                Ok(true) => ours += 1,
                Ok(false) => {}
                Err(error) => complaint = Some(explain(name, &error)),
            }
        }
        if let Some(text) = complaint.as_ref().filter(|_| complaint != self.complaint) {
            tracing::warn!("{text}");
        }
        self.complaint = complaint;
        ours
    }

    /// Whether there is such an APIService and it is ours.
    async fn publish_one(&self, name: &str, bundle: &str) -> Result<bool, kube::Error> {
        let Some(found) = self.api.get_opt(name).await? else { return Ok(false) };
        let spec = found.spec.unwrap_or_default();
        let service = spec.service.unwrap_or_default();
        if service.name.as_deref() != Some(&self.service) || service.namespace.as_deref() != Some(&self.namespace) {
            return Ok(false);
        }
        let differs = spec.ca_bundle.is_none_or(|found| found.0 != bundle.as_bytes())
            || spec.insecure_skip_tls_verify == Some(true);
        if differs {
            // The resource version makes the write fail if somebody has given the APIService to another Service meanwhile.
            let patch = json!({
                "metadata": { "resourceVersion": found.metadata.resource_version },
                "spec": { "caBundle": STANDARD.encode(bundle), "insecureSkipTLSVerify": null },
            });
            self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            tracing::info!(api_service = name, "the APIService now trusts this adapter's certificate authority");
        }
        Ok(true)
    }
}

fn explain(name: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => format!(
            "the adapter may not keep the CA bundle of APIService {name}; allow its service account to get and patch it, or set \
             spec.caBundle by hand to `ca-bundle.crt` of the adapter's serving Secret: {}",
            status.message
        ),
        error => format!("the CA bundle of APIService {name} could not be kept, trying again: {error}"),
    }
}
