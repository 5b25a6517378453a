//! Which certificates of backends are trusted. Never less than full verification: there is no switch to turn it off.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The certificate authorities that vouch for backends. Why these: docs/decisions/0003-backend-trust-roots.md.
#[derive(Debug, Clone)]
pub struct TrustRoots(RootCertStore);

/// Why a certificate authority can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("{name} is no PEM file of certificates: {cause}")]
    Pem {
        /// Where it came from.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// PEM without a certificate, such as a key alone.
    #[error("{0} holds no certificate; put the authority's certificate there, in PEM")]
    Empty(String),
    /// A certificate that can't be an authority's.
    #[error("{name} holds a certificate that can't be a trust root: {cause}")]
    Certificate {
        /// Where it came from.
        name: String,
        /// What is wrong with it.
        cause: rustls::Error,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS can't be set up: {0}")]
    Tls(rustls::Error),
}

impl TrustRoots {
    /// No authority: every https backend is refused until one is added.
    pub fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// The authorities of the machine or image: the files that OpenSSL and Go read too, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. What can't be read is logged and left out.
    pub fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "part of the system's certificate authorities can't be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!(
                "no certificate authorities found, so https backends are refused; mount a bundle and set SSL_CERT_FILE"
            );
        }
        tracing::debug!(added, ignored, "loaded the system's certificate authorities");
        Self(roots)
    }

    /// Adds the authorities of a PEM file. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// A file without certificates or with one that can't be used.
    pub fn with_pem(mut self, name: &str, pem: &[u8]) -> Result<Self, TrustError> {
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| TrustError::Pem { name: name.to_owned(), cause: error.to_string() })?;
            self.0.add(certificate).map_err(|cause| TrustError::Certificate { name: name.to_owned(), cause })?;
            any = true;
        }
        if any { Ok(self) } else { Err(TrustError::Empty(name.to_owned())) }
    }

    /// TLS as a client that trusts these.
    pub(super) fn client_config(self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?;
        Ok(versions.with_root_certificates(self.0).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_read_or_refused_by_name() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(TrustRoots::none().with_pem("ca.pem", certificate.pem().as_bytes()).unwrap().0.len(), 1);
        for (pem, expected) in [
            (String::new(), "ca.pem holds no certificate"),
            (key.serialize_pem(), "ca.pem holds no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "ca.pem holds a certificate that can't",
            ),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned(), "ca.pem is no PEM file"),
        ] {
            let message = TrustRoots::none().with_pem("ca.pem", pem.as_bytes()).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
