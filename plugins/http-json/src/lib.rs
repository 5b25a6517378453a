//! Metrics out of any HTTP API that answers with JSON: a URL template and JSONPaths for each metric, no code.
//!
//! ```yaml
//! config:
//!   metrics:
//!     - name: queue_depth
//!       type: external
//!       url: https://mq.example.com/api/queues/{namespace}
//!       items: $.queues[*]
//!       value: $.messages
//!       labels: { queue: $.name }
//! ```
//!
//! README.md has every key. The plugin keeps nothing between calls; the adapter caches its answers.

mod extract;
mod functions;
mod spec;
mod template;

use extract::{Aggregate, Reading};
use metrics_plugin::http::{Request, Response, send_all};
use metrics_plugin::{
    CustomMetrics, ExternalMetrics, Failure, GroupResource, Label, Number, Quantity, Reason, Selector, Settings,
    custom, external, objects,
};
use serde_json::Value;
use spec::{Metric, Specs};
use template::Scope;

struct HttpJson;

impl ExternalMetrics for HttpJson {
    fn list_metrics() -> Result<Vec<String>, Failure> {
        Ok(Specs::load()?.external_names())
    }

    fn get(namespace: &str, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
        let spec = Specs::load()?.external(metric)?;
        let scope = Scope { metric, namespace: Some(namespace), object: None, series };
        let found = spec.found(&spec.request(scope)?.send().map_err(|failure| spec.named(failure))?, scope)?;
        // No data is not zero: a wrong path must not look like an empty queue.
        if found.is_empty() && spec.extraction.aggregate != Aggregate::Count {
            return Err(
                spec.named(Failure::unavailable("the paths match no value in the answer; check `items` and `value`"))
            );
        }
        let mut readings = spec.aggregated(found, series)?;
        if readings.is_empty() {
            readings.extend(spec.nothing_counted(scope));
        }
        let sample = |r: Reading| external::Sample {
            labels: r.labels,
            value: number(r.value),
            timestamp: r.timestamp,
            window_ms: None,
        };
        Ok(readings.into_iter().map(sample).collect())
    }
}

impl CustomMetrics for HttpJson {
    fn list_metrics() -> Result<Vec<custom::Metric>, Failure> {
        let names = Specs::load()?.custom_names().into_iter();
        Ok(names.map(|(resource, name)| custom::Metric { resource, name }).collect())
    }

    fn get_by_name(
        metric: &custom::Metric,
        namespace: Option<&str>,
        object: &str,
        series: &Selector,
    ) -> Result<custom::Sample, Failure> {
        let spec = Specs::load()?.custom(&metric.resource, &metric.name)?;
        let asked = ObjectQuery { spec: &spec, resource: &metric.resource, namespace, series };
        match asked.samples(&[object.to_owned()])?.pop() {
            Some(sample) => Ok(sample),
            None => Err(Failure::object_not_found(&metric.name, object)),
        }
    }

    fn get_by_selector(
        metric: &custom::Metric,
        namespace: Option<&str>,
        objects: &Selector,
        series: &Selector,
    ) -> Result<Vec<custom::Sample>, Failure> {
        let spec = Specs::load()?.custom(&metric.resource, &metric.name)?;
        let names = objects::names(&metric.resource, objects)?;
        ObjectQuery { spec: &spec, resource: &metric.resource, namespace, series }.samples(&names)
    }
}

impl Settings for HttpJson {
    fn validate() -> Result<(), Failure> {
        Specs::load()?.check()
    }
}

metrics_plugin::export!(HttpJson: custom, external, settings);

/// A custom metric, asked for objects by name.
struct ObjectQuery<'request> {
    spec: &'request Metric,
    resource: &'request GroupResource,
    namespace: Option<&'request str>,
    series: &'request Selector,
}

impl ObjectQuery<'_> {
    /// The samples of those of `names` that have a value, in the order of the names.
    fn samples(&self, names: &[String]) -> Result<Vec<custom::Sample>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let readings =
            if self.spec.url.names_the_object() { self.one_request_each(names)? } else { self.one_for_all()? };
        names.iter().filter_map(|name| self.sample(name, &readings).transpose()).collect()
    }

    /// The backend is asked about all objects at once; one that it does not know is left out.
    fn one_request_each(&self, names: &[String]) -> Result<Vec<Reading>, Failure> {
        let requests = names.iter().map(|name| self.spec.request(self.scope(Some(name)))).collect::<Result<_, _>>()?;
        let mut readings = Vec::new();
        for (name, answer) in names.iter().zip(send_all(requests)) {
            match answer {
                Ok(response) => {
                    let found = self.spec.found(&response, self.scope(Some(name)))?;
                    let named = found.into_iter().map(|reading| Reading { object: Some(name.clone()), ..reading });
                    readings.extend(self.spec.aggregated(named.collect(), self.series)?);
                }
                Err(failure) if failure.reason == Reason::MetricNotFound => {}
                Err(failure) => return Err(self.spec.named(failure)),
            }
        }
        Ok(readings)
    }

    /// One answer tells the values of all objects.
    fn one_for_all(&self) -> Result<Vec<Reading>, Failure> {
        let scope = self.scope(None);
        let response = self.spec.request(scope)?.send().map_err(|failure| self.spec.named(failure))?;
        self.spec.aggregated(self.spec.found(&response, scope)?, self.series)
    }

    fn sample(&self, name: &str, readings: &[Reading]) -> Result<Option<custom::Sample>, Failure> {
        let mut of_object = readings.iter().filter(|reading| reading.object.as_deref() == Some(name));
        match (of_object.next(), of_object.next()) {
            (None, _) => Ok(None),
            (Some(reading), None) => {
                let sample = custom::Sample::new(name, number(reading.value));
                Ok(Some(custom::Sample { timestamp: reading.timestamp, ..sample }))
            }
            (Some(_), Some(_)) => Err(self.spec.named(Failure::bad_request(format!(
                "{} `{name}` has several values; set `aggregate`, or choose one by the metric's selector",
                self.resource
            )))),
        }
    }

    fn scope<'scope>(&'scope self, object: Option<&'scope String>) -> Scope<'scope> {
        let object = object.map(String::as_str);
        Scope { metric: &self.spec.name, namespace: self.namespace, object, series: self.series }
    }
}

impl Metric {
    fn request(&self, scope: Scope<'_>) -> Result<Request, Failure> {
        let request = Request::new(&self.method, self.url.fill(scope)?).body(self.body.clone());
        Ok(self.headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    }

    /// Every reading of the response, each with the labels that chose its URL: the backend filtered by them.
    fn found(&self, response: &Response, scope: Scope<'_>) -> Result<Vec<Reading>, Failure> {
        let document: Value = response.json().map_err(|failure| self.named(failure))?;
        let mut readings = self.extraction.readings(&document).map_err(|error| self.unreadable(&error))?;
        for reading in &mut readings {
            let missing = self
                .labels_of_url(scope)
                .into_iter()
                .filter(|label| reading.labels.iter().all(|own| own.key != label.key));
            let missing: Vec<Label> = missing.collect();
            reading.labels.extend(missing);
        }
        Ok(readings)
    }

    fn aggregated(&self, readings: Vec<Reading>, series: &Selector) -> Result<Vec<Reading>, Failure> {
        self.extraction.aggregate(readings, series).map_err(|error| self.unreadable(&error))
    }

    /// The reading of a count that found nothing; none where only the items could tell which series there are.
    fn nothing_counted(&self, scope: Scope<'_>) -> Option<Reading> {
        let is_one_series = self.extraction.aggregate == Aggregate::Count && self.extraction.labels.is_empty();
        let zero = Quantity { digits: 0, exponent: 0 };
        let reading = Reading { object: None, labels: self.labels_of_url(scope), value: zero, timestamp: None };
        (is_one_series && scope.series.matches(&reading.labels)).then_some(reading)
    }

    fn labels_of_url(&self, scope: Scope<'_>) -> Vec<Label> {
        self.url.labels().filter_map(|key| Some(Label::new(key, scope.series.value_of(key)?))).collect()
    }

    fn unreadable(&self, error: &extract::ExtractError) -> Failure {
        self.named(Failure::unavailable(error.to_string()))
    }

    /// The same failure, with the metric that it is about.
    fn named(&self, mut failure: Failure) -> Failure {
        failure.message = format!("metric `{}`: {}", self.name, failure.message);
        failure
    }
}

/// In the simplest of its forms.
fn number(quantity: Quantity) -> Number {
    match quantity {
        Quantity { digits, exponent: 0 } => Number::Integer(digits),
        exact => Number::Exact(exact),
    }
}

#[cfg(test)]
mod tests;
