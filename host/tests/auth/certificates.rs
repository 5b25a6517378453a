//! Certificate authorities and what they sign, good and otherwise.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority, or whatever else signs.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate chain and key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

/// How a client's certificate is unlike a good one.
#[derive(Clone)]
pub(crate) struct Issued<'a> {
    pub(crate) common_name: Option<&'a str>,
    pub(crate) organizations: &'a [&'a str],
    pub(crate) alternative_name: Option<&'a str>,
    pub(crate) usage: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) begin: SystemTime,
    pub(crate) end: SystemTime,
}

impl<'a> Issued<'a> {
    pub(crate) fn to(common_name: &'a str) -> Self {
        let now = SystemTime::now();
        Self {
            common_name: Some(common_name),
            organizations: &[],
            alternative_name: None,
            usage: vec![ExtendedKeyUsagePurpose::ClientAuth],
            begin: now - DAY,
            end: now + DAY,
        }
    }

    fn params(&self) -> CertificateParams {
        let names: Vec<String> = self.alternative_name.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = self.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for organization in self.organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        params.extended_key_usages = self.usage.clone();
        (params.not_before, params.not_after) = (self.begin.into(), self.end.into());
        params
    }

    pub(crate) fn by(&self, authority: &Authority) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().signed_by(&key, &authority.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    pub(crate) fn by_itself(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().self_signed(&key).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::ending(name, SystemTime::now() + 30 * DAY)
    }

    pub(crate) fn ending(name: &str, end: SystemTime) -> Self {
        let params = Self::params(name, end, BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn params(name: &str, end: SystemTime, constraints: BasicConstraints) -> CertificateParams {
        let mut params =
            Issued { usage: Vec::new(), begin: SystemTime::now() - 2 * DAY, end, ..Issued::to(name) }.params();
        params.is_ca = IsCa::Ca(constraints);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    /// An authority below this one, which may have none below itself.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = Self::params(name, SystemTime::now() + 30 * DAY, BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        Self { pem: params.signed_by(&key, &self.issuer).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Signs with a client's key, as if its holder were a CA.
    pub(crate) fn of(identity: &Identity, issued: &Issued<'_>) -> Self {
        let key = KeyPair::try_from(identity.key.as_slice()).unwrap();
        Self { pem: String::new(), issuer: Issuer::new(issued.params(), key) }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }

    /// The authority as a client.
    pub(crate) fn itself(&self) -> Identity {
        Identity { chain: vec![self.certificate()], key: self.issuer.key().serialize_der() }
    }
}

impl Identity {
    /// Sends these certificates along.
    pub(crate) fn with(mut self, more: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.chain.extend(more);
        self
    }
}
