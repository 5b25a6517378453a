//! Keys and certificates of one run: a cluster CA, a front-proxy CA, and whatever they sign. Nothing outlives the run's
//! folder, and no key is ever shared between runs.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority of the cluster under test.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub certificate: String,
}

/// A signed certificate with its private key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, without the authority's.
    pub certificate: String,
    /// The PKCS#8 key.
    pub key: String,
}

impl Authority {
    /// Makes a new self-signed authority.
    ///
    /// # Errors
    /// Fails when a key cannot be generated.
    pub fn new(common_name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Signs a client certificate: the common name is the user, the organizations are its groups.
    ///
    /// # Errors
    /// Fails when a key cannot be generated.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(user, groups);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Signs a serving certificate for host names and IP addresses.
    ///
    /// # Errors
    /// Fails when a key cannot be generated or a name is malformed.
    pub fn server(&self, names: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = subject(names.first().copied().unwrap_or("server"), &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into a folder.
    ///
    /// # Errors
    /// Fails when the folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write(folder, &format!("{name}.crt"), &self.certificate)?;
        write(folder, &format!("{name}.key"), &self.key)
    }
}

/// Writes the key pair that signs and verifies service account tokens: `sa.key` and `sa.pub`.
///
/// # Errors
/// Fails when a key cannot be generated or the folder cannot be written.
pub fn write_service_account_keys(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    write(folder, "sa.key", &key.serialize_pem())?;
    write(folder, "sa.pub", &key.public_key_pem())
}

pub(crate) fn write(folder: &Path, name: &str, content: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("cannot write `{}`", path.display()))
}

/// A distinguished name with up to two organizations: a service account has two groups, and rcgen keeps one value per
/// attribute type, so the second is written under the attribute's number (X.520, 2.5.4.10), which is the same on the wire.
fn subject(common_name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let kinds = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    for (kind, organization) in kinds.into_iter().zip(organizations) {
        name.push(kind, *organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}
