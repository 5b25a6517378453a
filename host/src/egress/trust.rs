//! Which certificates of backends are trusted. Never less than full verification: there is no switch to turn it off.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

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

    fn verifier(self) -> Result<Option<Arc<WebPkiServerVerifier>>, TrustError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.0), provider).build();
        Ok(Some(verifier.map_err(|error| TrustError::Tls(rustls::Error::General(error.to_string())))?))
    }
}

/// Authorities that vouch for one plugin's backends, besides those of all plugins.
#[derive(Debug, Clone)]
pub struct ExtraRoots(Arc<WebPkiServerVerifier>);

impl ExtraRoots {
    /// The authorities of a PEM text. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// A text without certificates or with one that can't be used.
    pub fn of_pem(name: &str, pem: &[u8]) -> Result<Self, TrustError> {
        let verifier = TrustRoots::none().with_pem(name, pem)?.verifier()?;
        verifier.map(Self).ok_or_else(|| TrustError::Empty(name.to_owned()))
    }
}

/// Verification by the authorities in force, which are replaced whole while connections are made. It adds nothing to rustls' own
/// verifier and leaves nothing out.
#[derive(Debug)]
pub(super) struct ReplaceableTrust {
    /// Absent where nobody is trusted.
    current: ArcSwapOption<WebPkiServerVerifier>,
    provider: CryptoProvider,
}

impl ReplaceableTrust {
    pub(super) fn new(roots: TrustRoots) -> Result<Arc<Self>, TrustError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(Arc::new(Self { current: ArcSwapOption::new(roots.verifier()?), provider }))
    }

    /// Trusts these from the next handshake on.
    pub(super) fn replace(&self, roots: TrustRoots) -> Result<(), TrustError> {
        self.current.store(roots.verifier()?);
        Ok(())
    }

    /// TLS 1.2 or 1.3 as a client that trusts these.
    pub(super) fn client_config(self: &Arc<Self>) -> Result<ClientConfig, TrustError> {
        let versions = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?;
        Ok(versions.dangerous().with_custom_certificate_verifier(self.clone()).with_no_client_auth())
    }
}

impl ServerCertVerifier for ReplaceableTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &*self.current.load() {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verification by the authorities in force for everybody or else by a plugin's own: a certificate has to be good by one of
/// them, whole.
#[derive(Debug)]
pub(super) struct WidenedTrust {
    pub(super) everybodys: Arc<ReplaceableTrust>,
    pub(super) own: ExtraRoots,
}

impl ServerCertVerifier for WidenedTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let own = self.own.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        own.or_else(|ours| {
            let verified =
                self.everybodys.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
            // Of two refusals the one that knows the issuer says more.
            verified.map_err(|theirs| if is_unknown_issuer(&theirs) { ours } else { theirs })
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.everybodys.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.everybodys.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.everybodys.supported_verify_schemes()
    }
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
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
