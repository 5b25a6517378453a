//! What the operator grants: ceilings for the plugins of each namespace, from the file of `--policy`. Pure data and decisions; who
//! asks it, and when the file is read, is not its affair.
//!
//! Two kinds of namespaces there are. The adapter's own is the operator's: there everything is granted that plugin.yaml can say,
//! unless the policy has an entry for that namespace. All others are tenants: what neither their entry nor the entry `*` says is as
//! in [`Ceilings::of_tenants`].

mod ceilings;
mod document;
mod judge;
mod origin_pattern;
mod registry_pattern;

use std::collections::BTreeMap;

use crate::manifest::ManifestError;

pub use ceilings::{Ceilings, SourceKind};
pub use judge::{Asked, Refusal};
pub use origin_pattern::OriginPattern;
pub use registry_pattern::RegistryPattern;

/// Whom messages name where the policy does not say.
const CONTACT: &str = "the operator of the adapter";

/// All ceilings of one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    contact: String,
    /// For tenants without an entry.
    tenants: Ceilings,
    entries: BTreeMap<String, Entry>,
}

/// What a policy says of one namespace: over what tenants have, and over what the operator has. Which of both holds, only the
/// adapter's own namespace decides, and the file doesn't know that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    of_tenant: Ceilings,
    of_operator: Ceilings,
}

/// A policy file that can't be used. The message names the field and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.about("the policy"))]
pub struct PolicyError(#[from] ManifestError);

/// Reads a policy file.
///
/// # Errors
///
/// Anything that is not exactly a policy: an unknown field is an error and never ignored.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    Ok(document::parse(text)?)
}

impl Default for Policy {
    /// Without a file: the operator's plugins may what plugin.yaml can say, tenants what [`Ceilings::of_tenants`] says.
    fn default() -> Self {
        Self { contact: CONTACT.to_owned(), tenants: Ceilings::of_tenants(), entries: BTreeMap::new() }
    }
}

impl Policy {
    /// What plugins of `namespace` may; `is_own` tells that it is the adapter's own.
    pub fn ceilings(&self, namespace: &str, is_own: bool) -> Ceilings {
        match (self.entries.get(namespace), is_own) {
            (Some(entry), true) => entry.of_operator.clone(),
            (Some(entry), false) => entry.of_tenant.clone(),
            (None, true) => Ceilings::of_operator(),
            (None, false) => self.tenants.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
