//! When certificates end, as metrics: looked at when somebody reads them, so that no renewal is missed.

use std::sync::Arc;

use crate::{
    auth::Trust,
    certificates,
    serve::ServingCertificate,
    telemetry::{CertificateLabels, Metrics},
};

/// What ends.
#[derive(Default)]
pub(super) struct Expiry {
    pub(super) serving: Arc<ServingCertificate>,
    /// Absent without a cluster.
    pub(super) trust: Option<Arc<Trust>>,
}

impl Expiry {
    pub(super) fn observe(&self, metrics: &Metrics) {
        let serving = self.serving.leaf().and_then(|leaf| certificates::end(&leaf));
        let trust = self.trust.as_ref().map(|trust| trust.ends()).unwrap_or_default();
        for (certificate, end) in
            [("serving", serving), ("client-ca", trust.client_ca), ("front-proxy-ca", trust.front_proxy_ca)]
        {
            let labels = CertificateLabels { certificate };
            if let Some(seconds) = end {
                metrics.certificate_ends.get_or_create(&labels).set(seconds);
            } else {
                metrics.certificate_ends.remove(&labels);
            }
        }
    }
}
