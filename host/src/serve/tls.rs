//! The TLS side of the server: which protocol versions and certificates it offers, and what it asks of clients. Never decides
//! whom to trust: a client certificate is requested, never required, and only the handshake's signature is checked here. Chain,
//! usage and names are the `auth` room's, so that an unknown CA costs a client its certificate's claims and not the connection.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

/// Why a certificate and its key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCertificate {
    /// The chain is no PEM.
    #[error("the certificate chain is not PEM; write one or more `BEGIN CERTIFICATE` blocks, the server's own first")]
    Chain(#[source] rustls::pki_types::pem::Error),
    /// The chain has no certificate.
    #[error(
        "the certificate chain holds no certificate; write one or more `BEGIN CERTIFICATE` blocks, the server's own first"
    )]
    NoCertificate,
    /// The key is no PEM.
    #[error("the private key is not PEM; write one `BEGIN PRIVATE KEY` block")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The key does not fit the certificate, or its algorithm is not supported.
    #[error("the certificate and the private key cannot be used together; check that they were issued as a pair")]
    Pair(#[source] rustls::Error),
}

/// The certificate that new connections get. Replaced whole while the server runs; connections keep what they began with.
#[derive(Debug, Default)]
pub struct ServingCertificate {
    current: ArcSwapOption<CertifiedKey>,
}

impl ServingCertificate {
    /// Serves this chain and key from the next connection on. An error leaves what was served before.
    pub fn replace(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), UnusableCertificate> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain_pem).collect::<Result<_, _>>().map_err(UnusableCertificate::Chain)?;
        if chain.is_empty() {
            return Err(UnusableCertificate::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(UnusableCertificate::Key)?;
        let pair =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(UnusableCertificate::Pair)?;
        self.current.store(Some(Arc::new(pair)));
        Ok(())
    }

    /// The leaf that new connections get, in DER; absent before the first `replace`.
    pub fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.current.load().as_ref().and_then(|pair| pair.cert.first().cloned())
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

/// What of TLS is offered. All that the library has is fit for use; this is for those whose rules ask for less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsPolicy {
    /// TLS 1.3 alone.
    pub tls13_only: bool,
    /// The cipher suites of TLS 1.2, by their IANA names; none means all. Those of TLS 1.3 are not for choosing, as in Go.
    pub cipher_suites: Vec<String>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsPolicyError {
    /// A name that means nothing here.
    #[error("there is no cipher suite {name}; choose among {}", known.join(", "))]
    UnknownSuite {
        /// As it was written.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The library refuses what is left.
    #[error("TLS can't be set up so")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 as far as `policy` has them, HTTP/2 before HTTP/1.1, with whatever `certificate` holds when a connection
/// comes.
pub fn server_config(
    certificate: Arc<ServingCertificate>,
    policy: &TlsPolicy,
) -> Result<Arc<ServerConfig>, TlsPolicyError> {
    let provider = Arc::new(provider(&policy.cipher_suites)?);
    let versions = if policy.tls13_only { TLS13_ONLY } else { rustls::DEFAULT_VERSIONS };
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(SignatureOnly { provider }))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Connections live long here, so resumption saves nothing, and without it each connection proves its own key.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider(chosen: &[String]) -> Result<CryptoProvider, TlsPolicyError> {
    let mut provider = aws_lc_rs::default_provider();
    let known: Vec<&str> = provider.cipher_suites.iter().filter_map(iana_name).collect();
    if let Some(name) = chosen.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(TlsPolicyError::UnknownSuite { name: name.clone(), known });
    }
    if !chosen.is_empty() {
        let stays = |suite: &SupportedCipherSuite| {
            iana_name(suite).is_none_or(|name| chosen.iter().any(|chosen| chosen == name))
        };
        provider.cipher_suites.retain(stays);
    }
    Ok(provider)
}

/// The name of a suite of TLS 1.2.
fn iana_name(suite: &SupportedCipherSuite) -> Option<&'static str> {
    suite.tls13().is_none().then(|| suite.suite().as_str()).flatten()
}

/// Asks for a client certificate and checks nothing but that the client holds its key.
#[derive(Debug)]
struct SignatureOnly {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for SignatureOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a list would tell strangers whom we trust, and would go stale when the CAs are reloaded.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let issued = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (issued.cert.pem(), issued.signing_key.serialize_pem())
    }

    #[test]
    fn a_bad_replacement_leaves_the_certificate_that_was_served() {
        let certificate = ServingCertificate::default();
        let (chain, key) = pair("first.example");
        certificate.replace(chain.as_bytes(), key.as_bytes()).unwrap();
        let served = certificate.leaf();
        let (_, other_key) = pair("second.example");
        for (chain, key) in
            [("", key.as_str()), ("garbage", &key), (&chain, ""), (&chain, "garbage"), (&chain, &other_key)]
        {
            assert!(certificate.replace(chain.as_bytes(), key.as_bytes()).is_err(), "{chain} {key}");
        }
        assert_eq!(certificate.leaf(), served);
    }

    #[test]
    fn a_policy_leaves_what_it_names() {
        let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        let names = |chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|name| (*name).to_owned()).collect();
            provider(&chosen).map(|provider| provider.cipher_suites.iter().filter_map(iana_name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[suite]).unwrap(), [suite]);
        assert!(names(&[]).unwrap().len() > 1);
        assert_eq!(
            provider(&[suite.to_owned()]).unwrap().cipher_suites.len() - 1,
            3,
            "those of TLS 1.3 stay, as in Go"
        );
        for unknown in ["TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA256", ""] {
            let error = names(&[suite, unknown]).unwrap_err().to_string();
            assert!(error.contains(suite), "{error}");
        }
    }
}
