//! Metrics whose values stand in the configuration, one sample a line as in Prometheus text:
//!
//! ```yaml
//! config:
//!   external: |
//!     queue_depth{queue="orders"} 42
//!   custom: |
//!     pods/*/http_requests 10
//!     services/front/requests_per_second 2500m
//! ```
//!
//! For trying out, for tests, and for values that people or other programs write into a ConfigMap. The plugin never asks
//! anybody for a value; it only asks the adapter which objects there are.

mod line;
mod table;

use metrics_plugin::{CustomMetrics, ExternalMetrics, Failure, Selector, Settings, config, custom, external, objects};
use table::{CustomTable, ExternalTable};

const EXTERNAL: &str = "external";
const CUSTOM: &str = "custom";

struct Static;

impl ExternalMetrics for Static {
    fn list_metrics() -> Result<Vec<String>, Failure> {
        Ok(external_table()?.names())
    }

    fn get(_namespace: &str, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
        external_table()?.select(metric, series)
    }
}

impl CustomMetrics for Static {
    fn list_metrics() -> Result<Vec<custom::Metric>, Failure> {
        Ok(custom_table()?.metrics())
    }

    fn get_by_name(
        metric: &custom::Metric,
        _namespace: Option<&str>,
        object: &str,
        series: &Selector,
    ) -> Result<custom::Sample, Failure> {
        custom_table()?.metric(metric)?.sample(object, series)
    }

    fn get_by_selector(
        metric: &custom::Metric,
        _namespace: Option<&str>,
        objects: &Selector,
        series: &Selector,
    ) -> Result<Vec<custom::Sample>, Failure> {
        let table = custom_table()?;
        let rows = table.metric(metric)?;
        let names = objects::names(&metric.resource, objects)?;
        names.iter().filter_map(|name| rows.sample_if_any(name, series).transpose()).collect()
    }
}

impl Settings for Static {
    fn validate() -> Result<(), Failure> {
        if let Some((key, _)) = config::all().iter().find(|(key, _)| key != EXTERNAL && key != CUSTOM) {
            return Err(Failure::bad_request(format!(
                "config key `{key}` is unknown; the keys are {EXTERNAL} and {CUSTOM}"
            )));
        }
        if external_table()?.is_empty() && custom_table()?.is_empty() {
            return Err(Failure::bad_request(format!(
                "there are no samples; write some under config key `{EXTERNAL}` or `{CUSTOM}`"
            )));
        }
        Ok(())
    }
}

metrics_plugin::export!(Static: custom, external, settings);

fn external_table() -> Result<ExternalTable, Failure> {
    let text = config::get(EXTERNAL).unwrap_or_default();
    ExternalTable::parse(&text).map_err(|error| Failure::bad_request(format!("config key `{EXTERNAL}`, {error}")))
}

fn custom_table() -> Result<CustomTable, Failure> {
    let text = config::get(CUSTOM).unwrap_or_default();
    CustomTable::parse(&text).map_err(|error| Failure::bad_request(format!("config key `{CUSTOM}`, {error}")))
}

#[cfg(test)]
mod tests;
