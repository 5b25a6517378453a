//! Where the serving certificate comes from: files, a certificate authority of the adapter's own in a Secret, or nothing but this
//! process. Each source fills a [`ServingCertificate`] before it returns from `start` and
//! renews it while it runs; what was served last stays through any failure. Never accepts connections itself.

mod files;
mod issue;
mod registration;
mod self_issued;

use std::path::PathBuf;

pub use files::Files;
pub use self_issued::{SelfIssued, SelfIssuedSettings};

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::serve::{ServingCertificate, UnusableCertificate};

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("the file {path} cannot be read; check the flag that names it")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What was read cannot be served.
    #[error(transparent)]
    Unusable(#[from] UnusableCertificate),
    /// A certificate could not be made.
    #[error("a certificate could not be issued")]
    Issue(#[from] rcgen::Error),
    /// RBAC forbids what self-issuing needs.
    #[error(
        "the adapter may not use Secret {secret}, which holds its certificate authority; allow its service account to get, create \
         and update it, or give a certificate with --tls-cert-file and --tls-private-key-file: {message}"
    )]
    Forbidden {
        /// Namespace and name.
        secret: String,
        /// The API server's words.
        message: String,
    },
    /// The Secret is not one that the adapter made.
    #[error("Secret {secret} holds no certificate authority ({problem}); delete it, and the adapter makes a new one")]
    Foreign {
        /// Namespace and name.
        secret: String,
        /// What is missing or malformed.
        problem: &'static str,
    },
    /// The API server could not be asked; worth a retry.
    #[error("Secret {secret} could not be read or written: {message}")]
    Unavailable {
        /// Namespace and name.
        secret: String,
        /// Why.
        message: String,
    },
}

/// Serves a certificate for these names that lives as long as this process and that nobody has a reason to trust: for local use.
pub fn ephemeral(names: &[String], certificate: &ServingCertificate) -> Result<(), CertificateError> {
    let pair = issue::self_signed(names, std::time::SystemTime::now())?;
    Ok(certificate.replace(pair.certificate.as_bytes(), pair.key.as_bytes())?)
}

/// When a certificate in DER ends, in Unix seconds; `None` for what is no certificate.
pub fn end(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
