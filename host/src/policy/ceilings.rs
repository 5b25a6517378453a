//! The ceilings of one namespace, and what they are where no policy says otherwise.

use std::collections::BTreeSet;

use super::{OriginPattern, RegistryPattern};
use crate::manifest::Limits;

/// Plugins of one tenant: more than a team has backends, few enough that a loop of a script that makes ConfigMaps fills no memory.
const TENANT_PLUGINS: u32 = 10;

/// What a tenant reaches: the Services of its own namespace, by the names that every cluster gives them.
const TENANT_EGRESS: [&str; 2] = ["*://*.{namespace}.svc:*", "*://*.{namespace}.svc.cluster.local:*"];

/// Every type of credential, as plugin.yaml calls them.
pub(super) const CREDENTIALS: [&str; 7] =
    ["bearer", "basic", "header", "query", "clientCertificate", "oauth2ClientCredentials", "serviceAccountToken"];

/// Tenants may use every credential that comes out of a Secret, which consents by itself. A ServiceAccount's token does not: it is
/// made for whoever may ask for one.
const NOT_FOR_TENANTS: &str = "serviceAccountToken";

/// Where a plugin's code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// A key of the ConfigMap itself.
    Inline,
    /// Other ConfigMaps of the same namespace.
    Parts,
    /// A registry.
    Oci,
    /// A file below the operator's folder. Never for tenants, whatever a policy says.
    File,
}

impl SourceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Inline, Self::Parts, Self::Oci, Self::File];

    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Parts => "parts",
            Self::Oci => "oci",
            Self::File => "file",
        }
    }
}

/// What the plugins of one namespace may, each and together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceilings {
    /// Plugins of the namespace that may load; absent means any number.
    pub plugins: Option<u32>,
    /// Origins that they may reach.
    pub egress: Vec<OriginPattern>,
    /// Whether the networks of `--internal-cidrs` hold for them, which loosen the rule that nobody reaches loopback.
    pub internal_addresses: bool,
    /// Where their code may come from.
    pub sources: BTreeSet<SourceKind>,
    /// Registries and repositories that code may come from.
    pub registries: Vec<RegistryPattern>,
    /// Types of credentials, as plugin.yaml calls them; absent means all.
    pub credentials: Option<BTreeSet<String>>,
    /// Whether `secrets` may be asked for, which the guest itself reads.
    pub guest_secrets: bool,
    /// Whether the metrics that they list are in discovery, for everybody to see.
    pub listed: bool,
    /// The most of each limit.
    pub limits: Limits,
}

impl Ceilings {
    /// What plugins of the adapter's own namespace may where the policy has no entry for it: all that plugin.yaml can say.
    pub fn of_operator() -> Self {
        Self {
            plugins: None,
            egress: vec![OriginPattern::any()],
            internal_addresses: true,
            sources: SourceKind::ALL.into(),
            registries: vec![RegistryPattern::any()],
            credentials: None,
            guest_secrets: true,
            listed: true,
            limits: Limits::most(),
        }
    }

    /// What tenants' plugins may where the policy does not say: the defaults of plugin.yaml and the Services of their namespace.
    pub fn of_tenants() -> Self {
        Self {
            plugins: Some(TENANT_PLUGINS),
            egress: TENANT_EGRESS.into_iter().filter_map(OriginPattern::parse).collect(),
            internal_addresses: false,
            sources: [SourceKind::Inline, SourceKind::Parts].into(),
            registries: Vec::new(),
            credentials: Some(
                CREDENTIALS.into_iter().filter(|name| *name != NOT_FOR_TENANTS).map(str::to_owned).collect(),
            ),
            guest_secrets: true,
            listed: false,
            limits: Limits::default(),
        }
    }
}
