//! What authentication trusts: CA bundles, the front proxy's names and the headers it may set, as one immutable value that is
//! swapped whole. An update with an error changes nothing; a CA that cannot be read, among others that can, is left out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use http::HeaderName;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What trust is made of, as it stands in ConfigMap, files and flags. Empty trusts nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustInputs {
    /// PEM bundle of the CAs whose certificates name users (`client-ca-file`).
    pub client_ca: Option<Vec<u8>>,
    /// PEM bundle of the CAs whose certificates make a front proxy (`requestheader-client-ca-file`).
    pub front_proxy_ca: Option<Vec<u8>>,
    /// Common names of front proxies; none means any (`requestheader-allowed-names`).
    pub allowed_names: Vec<String>,
    /// The first of these headers that is not empty names the user.
    pub username_headers: Vec<String>,
    /// The first of these headers that is not empty is the user's uid.
    pub uid_headers: Vec<String>,
    /// All values of these headers are groups.
    pub group_headers: Vec<String>,
    /// Headers that begin so are extra attributes.
    pub extra_header_prefixes: Vec<String>,
}

/// Why trust cannot be made of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// A bundle that is no PEM, or without a certificate that can be read.
    #[error("{source_name} is no PEM bundle of CA certificates; write one or more `BEGIN CERTIFICATE` blocks")]
    Bundle {
        /// Which bundle.
        source_name: &'static str,
    },
    /// A list that is no JSON list of strings.
    #[error("{key} of the ConfigMap is no JSON list of strings, as in [\"X-Remote-User\"]")]
    List {
        /// The ConfigMap's key.
        key: &'static str,
    },
    /// A header's name that HTTP cannot carry.
    #[error("`{name}` is no name of an HTTP header; correct it where request headers are configured")]
    Header {
        /// As it was written.
        name: String,
    },
}

impl TrustInputs {
    /// Reads `kube-system/extension-apiserver-authentication`, as
    /// `pkg/controlplane/controller/clusterauthenticationtrust` of Kubernetes writes it. Absent and empty keys are empty lists.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, InvalidTrust> {
        let bundle =
            |key: &str| data.get(key).filter(|text| !text.trim().is_empty()).map(|text| text.clone().into_bytes());
        let list = |key: &'static str| match data.get(key).filter(|text| !text.trim().is_empty()) {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str::<Vec<String>>(text).map_err(|_| InvalidTrust::List { key }),
        };
        Ok(Self {
            client_ca: bundle("client-ca-file"),
            front_proxy_ca: bundle("requestheader-client-ca-file"),
            allowed_names: list("requestheader-allowed-names")?,
            username_headers: list("requestheader-username-headers")?,
            uid_headers: list("requestheader-uid-headers")?,
            group_headers: list("requestheader-group-headers")?,
            extra_header_prefixes: list("requestheader-extra-headers-prefix")?,
        })
    }
}

/// The trust in force. Each request is judged by one state of it; [`Trust::update`] swaps it.
#[derive(Debug)]
pub struct Trust {
    current: ArcSwap<TrustConfig>,
    inputs: Mutex<TrustInputs>,
}

impl Trust {
    /// Trust of these inputs, at generation 1.
    pub fn new(inputs: TrustInputs) -> Result<Self, InvalidTrust> {
        let config = TrustConfig::new(&inputs, 1)?;
        Ok(Self { current: ArcSwap::from_pointee(config), inputs: Mutex::new(inputs) })
    }

    /// Puts new inputs in force for the next request of every connection; whether anything changed. An error leaves the last
    /// good ones.
    pub fn update(&self, inputs: TrustInputs) -> Result<bool, InvalidTrust> {
        let mut known = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == inputs {
            return Ok(false);
        }
        let next = TrustConfig::new(&inputs, self.current.load().generation.wrapping_add(1))?;
        self.current.store(Arc::new(next));
        *known = inputs;
        Ok(true)
    }

    /// When nobody is trusted any more, if nothing changes.
    pub fn ends(&self) -> TrustEnds {
        let current = self.load();
        TrustEnds { client_ca: current.clients.end(), front_proxy_ca: current.front_proxies.end() }
    }

    pub(super) fn load(&self) -> Guard<Arc<TrustConfig>> {
        self.current.load()
    }
}

/// The ends of the CAs that live longest, in Unix seconds; absent where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrustEnds {
    /// Of those whose certificates name users.
    pub client_ca: Option<i64>,
    /// Of those whose certificates make a front proxy.
    pub front_proxy_ca: Option<i64>,
}

/// [`TrustInputs`], read.
#[derive(Debug)]
pub(super) struct TrustConfig {
    /// Changes with every change of content, so that verdicts on certificates can be kept by it.
    pub(super) generation: u64,
    pub(super) clients: Authorities,
    pub(super) front_proxies: Authorities,
    /// Empty means any.
    pub(super) allowed_names: Vec<String>,
    pub(super) headers: IdentityHeaders,
}

impl TrustConfig {
    fn new(inputs: &TrustInputs, generation: u64) -> Result<Self, InvalidTrust> {
        Ok(Self {
            generation,
            clients: Authorities::new(inputs.client_ca.as_deref(), "the client CA bundle")?,
            front_proxies: Authorities::new(inputs.front_proxy_ca.as_deref(), "the front proxy's CA bundle")?,
            allowed_names: inputs.allowed_names.clone(),
            headers: IdentityHeaders {
                username: header_names(&inputs.username_headers)?,
                uid: header_names(&inputs.uid_headers)?,
                group: header_names(&inputs.group_headers)?,
                // The beginning of a header's name is one itself: never empty, which every header begins with.
                extra_prefixes: header_names(&inputs.extra_header_prefixes)?
                    .iter()
                    .map(|prefix| prefix.as_str().to_owned())
                    .collect(),
            },
        })
    }
}

/// The headers in which a front proxy says who asks.
#[derive(Debug, Default)]
pub(super) struct IdentityHeaders {
    pub(super) username: Vec<HeaderName>,
    pub(super) uid: Vec<HeaderName>,
    pub(super) group: Vec<HeaderName>,
    /// In lower case, like every [`HeaderName`].
    pub(super) extra_prefixes: Vec<String>,
}

fn header_names(names: &[String]) -> Result<Vec<HeaderName>, InvalidTrust> {
    let parse =
        |name: &String| HeaderName::try_from(name.trim()).map_err(|_| InvalidTrust::Header { name: name.clone() });
    names.iter().map(parse).collect()
}

/// A CA bundle.
#[derive(Debug, Default)]
pub(super) struct Authorities(Vec<Authority>);

/// A CA certificate and the time in which it may vouch, in Unix seconds. webpki does not look at a trust anchor's validity; Go's
/// crypto/x509 does, and so do we.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Authority {
    /// `None` for what no certificate could be verified with later.
    fn new(certificate: CertificateDer<'static>) -> Option<Self> {
        let (not_before, not_after) = validity(&certificate)?;
        RootCertStore::empty().add(certificate.clone()).ok()?;
        Some(Self { certificate, not_before, not_after })
    }
}

impl Authorities {
    fn new(bundle: Option<&[u8]>, source_name: &'static str) -> Result<Self, InvalidTrust> {
        let Some(bundle) = bundle else { return Ok(Self::default()) };
        let mut authorities = Vec::new();
        for (index, certificate) in CertificateDer::pem_slice_iter(bundle).enumerate() {
            let certificate = certificate.map_err(|_| InvalidTrust::Bundle { source_name })?;
            match Authority::new(certificate) {
                Some(authority) => authorities.push(authority),
                // Bundles are the cluster's, and Go reads a few legacy forms that rustls doesn't: one such CA must not end
                // the trust in all others.
                None => tracing::warn!(
                    certificate = index + 1,
                    "{source_name} has a certificate that cannot be read; what it vouches for is refused"
                ),
            }
        }
        if authorities.is_empty() { Err(InvalidTrust::Bundle { source_name }) } else { Ok(Self(authorities)) }
    }

    fn end(&self) -> Option<i64> {
        self.0.iter().map(|authority| authority.not_after).max()
    }

    /// Those that may vouch at `now`, in Unix seconds.
    pub(super) fn valid_at(&self, now: i64) -> impl Iterator<Item = &Authority> {
        self.0.iter().filter(move |authority| (authority.not_before..=authority.not_after).contains(&now))
    }
}

/// A certificate's `notBefore` and `notAfter` in Unix seconds; `None` for what is no certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate_authority() -> Vec<u8> {
        rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap().cert.pem().into_bytes()
    }

    #[test]
    fn the_config_map_is_read_as_kubernetes_writes_it() {
        let data = [
            ("client-ca-file", "pem 1"),
            ("requestheader-client-ca-file", "pem 2"),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
            ("requestheader-uid-headers", ""),
        ];
        let data = data.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let expected = TrustInputs {
            client_ca: Some(b"pem 1".to_vec()),
            front_proxy_ca: Some(b"pem 2".to_vec()),
            allowed_names: vec!["front-proxy-client".to_owned()],
            username_headers: vec!["X-Remote-User".to_owned()],
            uid_headers: Vec::new(),
            group_headers: vec!["X-Remote-Group".to_owned()],
            extra_header_prefixes: vec!["X-Remote-Extra-".to_owned()],
        };
        assert_eq!(TrustInputs::from_config_map(&data), Ok(expected));
        let bad = [("requestheader-allowed-names".to_owned(), "front-proxy-client".to_owned())].into();
        assert_eq!(TrustInputs::from_config_map(&bad), Err(InvalidTrust::List { key: "requestheader-allowed-names" }));
    }

    /// A PEM block that holds no certificate.
    const UNREADABLE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn trust_ends_with_the_authority_that_lives_longest() {
        let ending = |year| {
            let mut params = rcgen::CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let bundle = [ending(2032), ending(2040), ending(2036)].concat().into_bytes();
        let trust = Trust::new(TrustInputs { front_proxy_ca: Some(bundle), ..TrustInputs::default() }).unwrap();
        let of_2040 = 2_208_988_800;
        assert_eq!(trust.ends(), TrustEnds { client_ca: None, front_proxy_ca: Some(of_2040) });
    }

    #[test]
    fn one_unreadable_authority_does_not_end_the_trust_in_others() {
        let bundle =
            [UNREADABLE.as_bytes(), &certificate_authority(), UNREADABLE.as_bytes(), &certificate_authority()].concat();
        let trust = Trust::new(TrustInputs { client_ca: Some(bundle), ..TrustInputs::default() }).unwrap();
        assert_eq!(trust.load().clients.0.len(), 2);
    }

    #[test]
    fn an_update_with_an_error_changes_nothing() {
        let good = TrustInputs { client_ca: Some(certificate_authority()), ..TrustInputs::default() };
        let trust = Trust::new(good.clone()).unwrap();
        let truncated = String::from_utf8(certificate_authority()).unwrap().replace("-----END", "--END");
        for bad in [
            TrustInputs { client_ca: Some(b"garbage".to_vec()), ..good.clone() },
            TrustInputs { front_proxy_ca: Some(truncated.into_bytes()), ..good.clone() },
            TrustInputs { front_proxy_ca: Some(UNREADABLE.as_bytes().to_vec()), ..good.clone() },
            TrustInputs { username_headers: vec!["no header".to_owned()], ..good.clone() },
            TrustInputs { extra_header_prefixes: vec![" ".to_owned()], ..good.clone() },
        ] {
            assert!(trust.update(bad.clone()).is_err(), "{bad:?}");
            assert_eq!(trust.load().generation, 1);
            assert_eq!(trust.load().clients.0.len(), 1);
        }
        assert_eq!(trust.update(good.clone()), Ok(false), "the same content is no change");
        assert_eq!(trust.update(TrustInputs { client_ca: Some(certificate_authority()), ..good }), Ok(true));
        assert_eq!(trust.load().generation, 2);
    }
}
