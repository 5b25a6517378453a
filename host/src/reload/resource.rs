//! metrics.k8s.io belongs to one plugin for the whole cluster: who may claim it, and with what component.

use crate::{manifest::PluginConfiguration, runtime::Exports};

/// Why `serves.resource` and the plugin do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misfit {
    /// A tenant's plugin would answer for the pods of all namespaces.
    #[error(
        "serves.resource is for plugins in the adapter's own namespace, since metrics.k8s.io shows the pods of every namespace; \
         remove it, or have the operator load the plugin there"
    )]
    Tenant,
    /// There is nothing to claim with.
    #[error(
        "serves.resource is true, and the component does not export resource-metrics of wasm-metrics-adapter:plugin@0.1; \
         export it, or remove serves.resource"
    )]
    NotExported,
    /// Loaded, it would answer nothing at all.
    #[error(
        "the component exports resource-metrics alone, and nothing is asked of it; set `serves.resource: true` in plugin.yaml \
         to serve metrics.k8s.io, in the place of metrics-server"
    )]
    NotClaimed,
}

/// Whether a plugin of that namespace may say what `configuration` says.
pub(super) fn check_place(configuration: &PluginConfiguration, in_own_namespace: bool) -> Result<(), Misfit> {
    if configuration.claims.resource && !in_own_namespace { Err(Misfit::Tenant) } else { Ok(()) }
}

/// Whether the component can do what `configuration` says.
pub(super) fn check_exports(configuration: &PluginConfiguration, exports: Exports) -> Result<(), Misfit> {
    let alone = exports.resource && !exports.custom && !exports.external;
    match (configuration.claims.resource, exports.resource) {
        (true, false) => Err(Misfit::NotExported),
        (false, true) if alone => Err(Misfit::NotClaimed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(resource: bool) -> PluginConfiguration {
        let mut configuration = PluginConfiguration::default();
        configuration.claims.resource = resource;
        configuration
    }

    #[test]
    fn claim_and_component_fit_or_say_what_to_change() {
        let resource = Exports { resource: true, ..Exports::default() };
        let both = Exports { external: true, ..resource };
        let external = Exports { external: true, ..Exports::default() };
        for (claimed, exports, expected) in [
            (true, resource, Ok(())),
            (true, both, Ok(())),
            (false, both, Ok(())),
            (false, external, Ok(())),
            (false, resource, Err(Misfit::NotClaimed)),
            (true, external, Err(Misfit::NotExported)),
        ] {
            assert_eq!(check_exports(&configured(claimed), exports), expected, "{claimed} {exports:?}");
        }
    }

    #[test]
    fn tenants_do_not_answer_for_the_cluster() {
        assert_eq!(check_place(&configured(true), false), Err(Misfit::Tenant));
        assert_eq!(check_place(&configured(true), true), Ok(()));
        assert_eq!(check_place(&configured(false), false), Ok(()));
    }
}
