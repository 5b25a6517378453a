//! Makes certificates: the adapter's own authority, serving certificates under it, and self-signed ones. ECDSA on P-256, which
//! every client of the last decade verifies. Never keeps what it makes.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of the authority: it is renewed unattended, but an old API server configuration may hold it for years.
pub(super) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Of a serving certificate: short, since each replica makes a new one by itself.
pub(super) const SERVING_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far certificates begin in the past, for clients whose clocks are slow.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate and its private key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A new certificate authority.
pub(super) fn authority(now: SystemTime) -> Result<Pair, rcgen::Error> {
    // A name of its own for each, so that clients with two of them in a bundle never take one for the other.
    let began = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut params = params(&[], &format!("wasm-metrics-adapter-ca@{began}"), now, now + AUTHORITY_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A certificate of the authority for a server with these names.
pub(super) fn serving(authority: &Pair, names: &[String], now: SystemTime) -> Result<Pair, rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let authority_end = validity(&authority.certificate).map_or(now, |(_, end)| end);
    let params = server(names, now, authority_end.min(now + SERVING_LIFE))?;
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

/// A certificate that vouches for itself.
pub(super) fn self_signed(names: &[String], now: SystemTime) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: server(names, now, now + 365 * DAY)?.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

fn server(names: &[String], now: SystemTime, end: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(names, "wasm-metrics-adapter", now, end)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(
    names: &[String],
    common_name: &str,
    now: SystemTime,
    end: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now - BACKDATED).into();
    params.not_after = end.into();
    Ok(params)
}

/// When the first certificate of a PEM text begins and ends; `None` for what is no certificate.
pub(super) fn validity(pem: &str) -> Option<(SystemTime, SystemTime)> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let time = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?));
    Some((time(certificate.validity().not_before.timestamp())?, time(certificate.validity().not_after.timestamp())?))
}

/// Whether two thirds of a certificate's life are over: time to replace it, with a third left for whatever goes wrong.
pub(super) fn is_due(pem: &str, now: SystemTime) -> bool {
    let Some((begin, end)) = validity(pem) else { return true };
    let life = end.duration_since(begin).unwrap_or_default();
    now >= begin + life * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_due_at_two_thirds_of_their_life() {
        let now = SystemTime::now();
        let authority = authority(now).unwrap();
        let serving = serving(&authority, &["adapter.metrics.svc".to_owned()], now).unwrap();
        assert!(!is_due(&serving.certificate, now + SERVING_LIFE * 6 / 10));
        assert!(is_due(&serving.certificate, now + SERVING_LIFE * 7 / 10));
        assert!(!is_due(&authority.certificate, now + AUTHORITY_LIFE * 6 / 10));
        assert!(is_due(&authority.certificate, now + AUTHORITY_LIFE * 7 / 10));
        assert!(is_due("garbage", now));
    }

    #[test]
    fn a_serving_certificate_never_outlives_its_authority() {
        let now = SystemTime::now();
        let authority = authority(now).unwrap();
        let late = now + AUTHORITY_LIFE - DAY;
        let serving = serving(&authority, &["adapter".to_owned()], late).unwrap();
        assert_eq!(validity(&serving.certificate).unwrap().1, validity(&authority.certificate).unwrap().1);
    }
}
