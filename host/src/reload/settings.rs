//! From a bundle to what the runtime is told of a plugin: origins, credentials and limits as plugin.yaml asks for them.

use std::{collections::BTreeMap, sync::Arc};

use super::outcome::LoadFailure;
use crate::{
    bundle::Bundle,
    egress,
    policy::Ceilings,
    runtime::{Limits, PluginSettings},
};

/// The settings of the plugin of `bundle`, whose requests go out through `shared`.
pub(super) fn settings(
    bundle: &Bundle,
    ceilings: &Ceilings,
    shared: &Arc<egress::Shared>,
) -> Result<PluginSettings, LoadFailure> {
    let configuration = &bundle.configuration;
    let limits = &configuration.limits;
    Ok(PluginSettings {
        id: bundle.id.clone(),
        config: config(bundle),
        http: egress::Client::new(bundle.id.clone(), egress(bundle, ceilings)?, shared.clone()),
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

fn egress(bundle: &Bundle, ceilings: &Ceilings) -> Result<egress::EgressConfig, LoadFailure> {
    let configuration = &bundle.configuration;
    let origins = configuration.egress.iter().map(|origin| egress::Origin::parse(origin));
    let origins = origins.collect::<Result<egress::Origins, _>>()?;
    let mut credentials = Vec::new();
    for credential in &bundle.credentials {
        let origin = egress::Origin::parse(&credential.origin)?;
        if !origins.contains(&origin) {
            return Err(LoadFailure::UselessCredential(origin));
        }
        let header = credential.header_name.as_str();
        credentials.push(egress::Credential::header(origin, header, credential.value.reveal())?);
    }
    Ok(egress::EgressConfig {
        origins,
        credentials,
        response_bytes: configuration.limits.response_bytes,
        exchanges: configuration.limits.concurrency as usize,
        strict_addresses: !ceilings.internal_addresses,
    })
}
