//! What a connection's client certificate proves: that its holder is a front proxy, or a user. Concluded once per connection and
//! CA generation and kept with the connection; never beyond the end of a certificate that the conclusion may rest on.

use std::sync::{Arc, PoisonError};

use rustls::{RootCertStore, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::trust::{Authorities, Authority, TrustConfig, validity};
use crate::model::{Connection, User};

/// Seconds for which a refusal is kept: a certificate that is not valid yet, or a CA that is, may become so.
const REFUSAL_SECONDS: i64 = 10;

/// The conclusion about one certificate chain.
#[derive(Debug)]
pub(super) struct Verdict {
    generation: u64,
    /// Unix seconds; the first second in which it must be concluded anew.
    until: i64,
    /// Whether the holder may speak for users; why not, for the log.
    pub(super) front_proxy: Result<(), Arc<str>>,
    /// Which user the holder is; why none, for the log.
    pub(super) client: Result<User, Arc<str>>,
}

/// The verdict on the connection's certificate at `now`; `None` if the client sent none.
pub(super) fn verdict(connection: &Connection, trust: &TrustConfig, now: UnixTime) -> Option<Arc<Verdict>> {
    let (leaf, intermediates) = connection.peer_certificates.split_first()?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let mut kept = connection.verdict.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(verdict) = kept.get::<Arc<Verdict>>()
        && verdict.generation == trust.generation
        && seconds < verdict.until
    {
        return Some(verdict.clone());
    }
    let chain = Chain { leaf, intermediates, now, seconds };
    let verdict = Arc::new(chain.conclude(trust));
    if let Err(reason) = &verdict.client
        && verdict.front_proxy.is_err()
    {
        tracing::debug!(%reason, "a client certificate proves nothing");
    }
    kept.insert(verdict.clone());
    Some(verdict)
}

struct Chain<'a> {
    leaf: &'a [u8],
    intermediates: &'a [Vec<u8>],
    now: UnixTime,
    seconds: i64,
}

impl Chain<'_> {
    fn conclude(&self, trust: &TrustConfig) -> Verdict {
        let front_proxy = self.front_proxy(trust);
        let client = self.client(trust);
        let until = if front_proxy.is_ok() || client.is_ok() {
            self.earliest_end(trust)
        } else {
            self.seconds.saturating_add(REFUSAL_SECONDS)
        };
        Verdict { generation: trust.generation, until, front_proxy, client }
    }

    fn front_proxy(&self, trust: &TrustConfig) -> Result<(), Arc<str>> {
        self.verify(&trust.front_proxies)?;
        let name = common_name(&self.parse()?)?;
        if trust.allowed_names.is_empty() || trust.allowed_names.contains(&name) {
            return Ok(());
        }
        Err(format!("the certificate's common name `{name}` is not among the front proxies' allowed names").into())
    }

    /// The user that the certificate names: common name, organizations as groups, and the certificate's fingerprint, as
    /// `CommonNameUserConversion` in `pkg/authentication/request/x509` of k8s.io/apiserver.
    fn client(&self, trust: &TrustConfig) -> Result<User, Arc<str>> {
        self.verify(&trust.clients)?;
        let certificate = self.parse()?;
        let name = common_name(&certificate)?;
        if name.is_empty() {
            return Err("the certificate has no common name, so it names no user".into());
        }
        let groups = texts(certificate.subject(), X509Name::iter_organization)?;
        let fingerprint = Sha256::digest(self.leaf).iter().fold("X509SHA256=".to_owned(), |mut text, byte| {
            text.push_str(&format!("{byte:02x}"));
            text
        });
        let extra = [("authentication.kubernetes.io/credential-id".to_owned(), vec![fingerprint])].into();
        Ok(User { name, uid: String::new(), groups, extra })
    }

    /// Whether one of the authorities vouches for the leaf as a client's certificate, through the intermediates or directly.
    fn verify(&self, authorities: &Authorities) -> Result<(), Arc<str>> {
        let mut roots = RootCertStore::empty();
        for authority in authorities.valid_at(self.seconds) {
            roots.add(authority.certificate.clone()).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err("no valid CA is configured that could vouch for the certificate".into());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        let intermediates: Vec<_> = self.intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        verifier
            .verify_client_cert(&CertificateDer::from(self.leaf), &intermediates, self.now)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn parse(&self) -> Result<X509Certificate<'_>, Arc<str>> {
        let (_, certificate) = X509Certificate::from_der(self.leaf).map_err(|error| error.to_string())?;
        Ok(certificate)
    }

    /// The earliest end of all certificates, valid now, on which a verdict may rest: sooner than needed is harmless.
    fn earliest_end(&self, trust: &TrustConfig) -> i64 {
        let sent = std::iter::once(self.leaf).chain(self.intermediates.iter().map(Vec::as_slice));
        let sent_ends = sent.filter_map(validity).map(|(_, end)| end).filter(|end| *end >= self.seconds);
        let authorities = trust.clients.valid_at(self.seconds).chain(trust.front_proxies.valid_at(self.seconds));
        let ends = sent_ends.chain(authorities.map(|authority: &Authority| authority.not_after));
        // A certificate is good through its last second.
        ends.min().unwrap_or(self.seconds).saturating_add(1)
    }
}

/// The last common name of the subject, as Go's `pkix.Name` keeps it; "" for none.
fn common_name(certificate: &X509Certificate<'_>) -> Result<String, Arc<str>> {
    Ok(texts(certificate.subject(), X509Name::iter_common_name)?.pop().unwrap_or_default())
}

fn texts<'a, Attributes>(
    name: &'a X509Name<'a>,
    select: impl Fn(&'a X509Name<'a>) -> Attributes,
) -> Result<Vec<String>, Arc<str>>
where
    Attributes: Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
{
    let unreadable = |_| Arc::from("the certificate's subject has a text of unknown encoding");
    select(name).map(|attribute| attribute.as_str().map(str::to_owned).map_err(unreadable)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::auth::trust::{Trust, TrustInputs};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A CA that ends in `authority_life` and a client certificate of it that ends in `life`.
    fn issue(authority_life: Duration, life: Duration) -> (String, Vec<u8>) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.not_before = (SystemTime::now() - DAY).into();
        authority.not_after = (SystemTime::now() + authority_life).into();
        let authority_key = KeyPair::generate().unwrap();
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "jane");
        client.distinguished_name.push(DnType::OrganizationName, "shop");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        client.not_before = (SystemTime::now() - DAY).into();
        client.not_after = (SystemTime::now() + life).into();
        let certificate =
            client.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(authority, authority_key)).unwrap();
        (pem, certificate.der().to_vec())
    }

    fn at(offset: Duration) -> UnixTime {
        UnixTime::since_unix_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + offset)
    }

    #[test]
    fn a_verdict_is_kept_until_the_first_certificate_under_it_ends() {
        for (authority_life, life) in [(30 * DAY, DAY), (DAY, 30 * DAY)] {
            let (pem, leaf) = issue(authority_life, life);
            let connection = Connection::of(None, vec![leaf]);
            let trust =
                Trust::new(TrustInputs { client_ca: Some(pem.into_bytes()), ..TrustInputs::default() }).unwrap();
            let first = verdict(&connection, &trust.load(), at(Duration::ZERO)).unwrap();
            assert_eq!(first.client.as_ref().unwrap().name, "jane");
            assert_eq!(first.client.as_ref().unwrap().groups, ["shop"]);
            assert!(first.front_proxy.is_err());
            let later = verdict(&connection, &trust.load(), at(DAY - Duration::from_secs(60))).unwrap();
            assert!(Arc::ptr_eq(&first, &later), "concluded once");
            let ended = verdict(&connection, &trust.load(), at(DAY + Duration::from_secs(60))).unwrap();
            assert!(ended.client.is_err(), "CA {authority_life:?}, certificate {life:?}");
        }
    }

    #[test]
    fn a_verdict_ends_with_its_generation_of_authorities() {
        let (pem, leaf) = issue(DAY, DAY);
        let (other, _) = issue(DAY, DAY);
        let connection = Connection::of(None, vec![leaf]);
        let trust = Trust::new(TrustInputs { client_ca: Some(pem.into_bytes()), ..TrustInputs::default() }).unwrap();
        assert!(verdict(&connection, &trust.load(), at(Duration::ZERO)).unwrap().client.is_ok());
        trust.update(TrustInputs { client_ca: Some(other.into_bytes()), ..TrustInputs::default() }).unwrap();
        assert!(verdict(&connection, &trust.load(), at(Duration::ZERO)).unwrap().client.is_err());
    }
}
