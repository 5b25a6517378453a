//! From a bundle to what the runtime is told of a plugin: origins, credentials and limits as plugin.yaml asks for them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Shared, outcome::LoadFailure};
use crate::{
    bundle::{Bundle, CredentialValue, OAuth2Client, ServiceAccountTokens},
    egress,
    policy::Ceilings,
    runtime::{Limits, PluginSettings},
    source::Dependencies,
};

/// The settings of the plugin of `bundle`.
pub(super) fn settings(bundle: &Bundle, ceilings: &Ceilings, shared: &Shared) -> Result<PluginSettings, LoadFailure> {
    let configuration = &bundle.configuration;
    let limits = &configuration.limits;
    let egress = egress(bundle, ceilings, &shared.dependencies)?;
    Ok(PluginSettings {
        id: bundle.id.clone(),
        config: config(bundle),
        http: egress::Client::new(bundle.id.clone(), egress, shared.egress.clone()),
        limits: Limits {
            memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            timeout: limits.timeout,
            cpu: limits.cpu,
            concurrency: limits.concurrency as usize,
            list_items: limits.list_items as usize,
        },
    })
}

/// What the guest reads: its settings, and Secrets that consent to be read.
fn config(bundle: &Bundle) -> Vec<(String, String)> {
    let secrets = bundle.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    let all: BTreeMap<_, _> = bundle.configuration.config.clone().into_iter().chain(secrets).collect();
    all.into_iter().collect()
}

fn egress(
    bundle: &Bundle,
    ceilings: &Ceilings,
    dependencies: &Arc<dyn Dependencies>,
) -> Result<egress::EgressConfig, LoadFailure> {
    let configuration = &bundle.configuration;
    let origins = configuration.egress.iter().map(|origin| egress::Origin::parse(origin));
    let origins = origins.collect::<Result<egress::Origins, _>>()?;
    let extra_roots = bundle.authorities.as_ref().map(|bundle| egress::ExtraRoots::of_pem(&bundle.name, &bundle.pem));
    Ok(egress::EgressConfig {
        credentials: credentials(bundle, &origins, dependencies)?,
        extra_roots: extra_roots.transpose()?,
        origins,
        response_bytes: configuration.limits.response_bytes,
        exchanges: configuration.limits.concurrency as usize,
        strict_addresses: !ceilings.internal_addresses,
    })
}

/// Credentials of which each can be used, and none stands in another's place.
fn credentials(
    bundle: &Bundle,
    origins: &egress::Origins,
    dependencies: &Arc<dyn Dependencies>,
) -> Result<Vec<egress::Credential>, LoadFailure> {
    let mut credentials: Vec<egress::Credential> = Vec::new();
    for credential in &bundle.credentials {
        let origin = egress::Origin::parse(&credential.origin)?;
        if !origins.contains(&origin) {
            return Err(LoadFailure::UselessCredential(origin));
        }
        let credential = match &credential.value {
            CredentialValue::Header(name, value) => egress::Credential::header(origin, name.as_str(), value.reveal())?,
            CredentialValue::Query(name, value) => egress::Credential::query(origin, name, value.reveal())?,
            CredentialValue::ClientCertificate(chain, key) => {
                egress::Credential::client_certificate(origin, chain.reveal(), key.reveal())?
            }
            CredentialValue::Client(client) => {
                let client = oauth2(&origin, origins, client)?;
                egress::Credential::oauth2(origin, client)
            }
            CredentialValue::ServiceAccount(tokens) => {
                let issuer = Issuer { tokens: tokens.clone(), dependencies: dependencies.clone() };
                egress::Credential::token(origin, Arc::new(issuer))
            }
        };
        if let Some(other) = credentials.iter().find(|other| other.collides_with(&credential)) {
            let (origin, place) = (other.origin().clone(), other.place());
            return Err(egress::InvalidCredential::Twice { origin, place }.into());
        }
        credentials.push(credential);
    }
    Ok(credentials)
}

fn oauth2(
    origin: &egress::Origin,
    origins: &egress::Origins,
    client: &OAuth2Client,
) -> Result<egress::OAuth2Client, egress::InvalidCredential> {
    let proof = if client.in_body { egress::ClientProof::Body } else { egress::ClientProof::Header };
    let identity = (client.id.reveal(), client.secret.reveal(), proof);
    egress::OAuth2Client::new(origin, origins, &client.token_url, identity, &client.scopes, client.audience.as_deref())
}

/// Tokens of a ServiceAccount, from wherever plugins come from.
struct Issuer {
    tokens: ServiceAccountTokens,
    dependencies: Arc<dyn Dependencies>,
}

#[async_trait]
impl egress::TokenSource for Issuer {
    async fn issue(&self) -> Result<egress::Token, egress::TokenError> {
        let issued = self.tokens.issue(&*self.dependencies).await;
        let issued = issued.map_err(|refused| egress::TokenError::Failed(refused.to_string()))?;
        Ok(egress::Token { value: Zeroizing::clone(&issued.value), lifetime: issued.lifetime })
    }
}
