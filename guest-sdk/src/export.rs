//! The way from a plugin's traits to the component's exports. No decisions are made here.

use crate::bindings::{
    custom::exports::wasm_metrics_adapter::plugin::custom_metrics,
    external::exports::wasm_metrics_adapter::plugin::external_metrics,
    resource::exports::wasm_metrics_adapter::plugin::resource_metrics,
    settings::exports::wasm_metrics_adapter::plugin::settings,
};
use crate::{CustomMetrics, ExternalMetrics, Failure, Requirement, ResourceMetrics, Settings};

/// Makes a type the plugin: `export!(MyPlugin: custom, external, settings);`
///
/// After the colon stand the interfaces to export, any of `custom` ([`CustomMetrics`]), `external`
/// ([`ExternalMetrics`]), `resource` ([`ResourceMetrics`]) and `settings` ([`Settings`]). The adapter looks at what a
/// component exports, so an interface that is left out is one that the plugin does not serve.
#[macro_export]
macro_rules! export {
    ($plugin:ident: $($interface:ident),+ $(,)?) => {
        $($crate::__export_interface!($plugin, $interface);)+
    };
}

/// One interface of [`export!`]. The symbols are for components alone; other targets only check that the trait is there.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_interface {
    ($plugin:ident, custom) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::custom::export_custom!($plugin with_types_in $crate::bindings::custom);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = $crate::__check::custom::<$plugin>;
    };
    ($plugin:ident, external) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::external::export_external!($plugin with_types_in $crate::bindings::external);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = $crate::__check::external::<$plugin>;
    };
    ($plugin:ident, resource) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::resource::export_resource!($plugin with_types_in $crate::bindings::resource);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = $crate::__check::resource::<$plugin>;
    };
    ($plugin:ident, settings) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::settings::export_settings!($plugin with_types_in $crate::bindings::settings);
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = $crate::__check::settings::<$plugin>;
    };
    ($plugin:ident, $other:ident) => {
        compile_error!(concat!("`", stringify!($other), "` is no interface; use custom, external, resource or settings"));
    };
}

/// What [`export!`] asks of a type on targets that have no exports.
#[doc(hidden)]
pub mod check {
    pub fn custom<T: crate::CustomMetrics>() {}
    pub fn external<T: crate::ExternalMetrics>() {}
    pub fn resource<T: crate::ResourceMetrics>() {}
    pub fn settings<T: crate::Settings>() {}
}

impl<T: ExternalMetrics> external_metrics::Guest for T {
    fn list_metrics() -> Result<Vec<String>, Failure> {
        T::list_metrics()
    }

    fn get(
        namespace: String,
        metric: String,
        series: Vec<Requirement>,
    ) -> Result<Vec<external_metrics::Sample>, Failure> {
        T::get(&namespace, &metric, &series.into())
    }
}

impl<T: CustomMetrics> custom_metrics::Guest for T {
    fn list_metrics() -> Result<Vec<custom_metrics::Metric>, Failure> {
        T::list_metrics()
    }

    fn get_by_name(
        metric: custom_metrics::Metric,
        namespace: Option<String>,
        object: String,
        series: Vec<Requirement>,
    ) -> Result<custom_metrics::Sample, Failure> {
        T::get_by_name(&metric, namespace.as_deref(), &object, &series.into())
    }

    fn get_by_selector(
        metric: custom_metrics::Metric,
        namespace: Option<String>,
        objects: Vec<Requirement>,
        series: Vec<Requirement>,
    ) -> Result<Vec<custom_metrics::Sample>, Failure> {
        T::get_by_selector(&metric, namespace.as_deref(), &objects.into(), &series.into())
    }
}

impl<T: ResourceMetrics> resource_metrics::Guest for T {
    fn pods(pods: Vec<resource_metrics::PodRef>) -> Result<Vec<resource_metrics::Pod>, Failure> {
        T::pods(&pods)
    }

    fn nodes(names: Vec<String>) -> Result<Vec<resource_metrics::Node>, Failure> {
        T::nodes(&names)
    }
}

impl<T: Settings> settings::Guest for T {
    fn validate() -> Result<(), Failure> {
        T::validate()
    }
}
