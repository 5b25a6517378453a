//! What a plugin implements: one trait for each interface that it exports. Calls come in fresh instances, so there is no
//! `self`; what must outlive a call goes into [`state`](crate::state).

use crate::{Failure, Reason, Selector, custom, external, objects, resource};

/// external.metrics.k8s.io: metrics of things that are not Kubernetes objects.
pub trait ExternalMetrics {
    /// The names that discovery shows; none by default. A metric need not be listed to be served. A failure keeps the
    /// last list.
    fn list_metrics() -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// Every series of `metric` that `series` selects. The HPA controller adds them up, and takes none for a failure.
    fn get(namespace: &str, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure>;
}

/// custom.metrics.k8s.io: metrics that describe Kubernetes objects.
pub trait CustomMetrics {
    /// What discovery shows; nothing by default. A metric need not be listed to be served. A failure keeps the last
    /// list.
    fn list_metrics() -> Result<Vec<custom::Metric>, Failure> {
        Ok(Vec::new())
    }

    /// One metric of one object. `namespace` is absent for cluster-scoped objects; `series` is the metric's own selector
    /// (`metricLabelSelector`).
    fn get_by_name(
        metric: &custom::Metric,
        namespace: Option<&str>,
        object: &str,
        series: &Selector,
    ) -> Result<custom::Sample, Failure>;

    /// One metric of every object that `objects` selects.
    ///
    /// By default [`get_by_name`](Self::get_by_name) for each selected object, as the providers of
    /// kubernetes-sigs/custom-metrics-apiserver do: an object without a value is left out, any other failure is the
    /// answer. A plugin whose backend answers for many objects at once should do so here.
    fn get_by_selector(
        metric: &custom::Metric,
        namespace: Option<&str>,
        objects: &Selector,
        series: &Selector,
    ) -> Result<Vec<custom::Sample>, Failure> {
        let names = objects::names(&metric.resource, objects)?;
        let answers = names.iter().map(|name| Self::get_by_name(metric, namespace, name, series));
        answers.filter(|answer| !matches!(answer, Err(Failure { reason: Reason::ObjectNotFound, .. }))).collect()
    }
}

/// metrics.k8s.io: CPU and memory of pods and nodes, as `kubectl top` and resource metrics read them.
pub trait ResourceMetrics {
    /// The named pods; those without a value are left out.
    fn pods(pods: &[resource::PodRef]) -> Result<Vec<resource::Pod>, Failure>;

    /// The named nodes; those without a value are left out.
    fn nodes(names: &[String]) -> Result<Vec<resource::Node>, Failure>;
}

/// The check of a plugin's settings when it is loaded.
pub trait Settings {
    /// [`Failure::bad_request`] refuses the load: its message goes into an Event on the ConfigMap, and the last good
    /// version keeps serving. Any other failure is logged, and the plugin is loaded.
    fn validate() -> Result<(), Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    /// Answers the length of the object's name, and plays one failure per name.
    struct Lengths;

    impl CustomMetrics for Lengths {
        fn get_by_name(
            metric: &custom::Metric,
            _namespace: Option<&str>,
            object: &str,
            _series: &Selector,
        ) -> Result<custom::Sample, Failure> {
            match object {
                "absent" => Err(Failure::object_not_found(&metric.name, object)),
                "broken" => Err(Failure::unavailable("the backend is down")),
                _ => Ok(custom::Sample::new(object, object.len() as i64)),
            }
        }
    }

    fn by_selector(host: &Host, objects: &Selector) -> Result<Vec<custom::Sample>, Failure> {
        host.run(|| {
            Lengths::get_by_selector(&custom::Metric::new("pods", "length"), Some("shop"), objects, &Selector::all())
        })
    }

    #[test]
    fn by_selector_asks_each_selected_object_and_leaves_out_those_without_a_value() {
        let host = Host::new()
            .object("pods", "abc", &[("app", "shop")])
            .object("pods", "absent", &[("app", "shop")])
            .object("pods", "abcde", &[("app", "shop")])
            .object("pods", "other", &[("app", "mail")])
            .object("services", "ab", &[("app", "shop")]);
        let samples = by_selector(&host, &Selector::all().equals("app", "shop"));
        assert_eq!(samples, Ok(vec![custom::Sample::new("abc", 3), custom::Sample::new("abcde", 5)]));
    }

    #[test]
    fn by_selector_fails_when_one_object_fails() {
        let host = Host::new().object("pods", "abc", &[]).object("pods", "broken", &[]);
        assert_eq!(by_selector(&host, &Selector::all()), Err(Failure::unavailable("the backend is down")));
    }

    #[test]
    fn nothing_is_listed_by_default() {
        assert_eq!(Lengths::list_metrics(), Ok(vec![]));
    }
}
