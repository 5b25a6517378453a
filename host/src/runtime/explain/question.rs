//! A question in the words of the WIT package: which export is called, and with what.

use crate::{
    model::{CustomQuery, Excerpt, ExternalQuery, ObjectSelection, Selector},
    runtime::abi::Question,
};

/// Pods or nodes that are named of a long list.
const NAMED: usize = 10;

/// The export, and each of its parameters.
pub(super) fn describe(question: &Question) -> (&'static str, Vec<(&'static str, String)>) {
    match question {
        Question::Validate => ("settings.validate", Vec::new()),
        Question::ListCustom => ("custom-metrics.list-metrics", Vec::new()),
        Question::ListExternal => ("external-metrics.list-metrics", Vec::new()),
        Question::Custom(query) => custom(query),
        Question::External(ExternalQuery { namespace, metric, series }) => (
            "external-metrics.get",
            vec![("namespace", namespace.clone()), ("metric", metric.to_string()), ("series", selector(series))],
        ),
        Question::Pods(pods) => {
            let names = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name));
            ("resource-metrics.pods", vec![("pods", named(names))])
        }
        Question::Nodes(names) => ("resource-metrics.nodes", vec![("nodes", named(names.iter().cloned()))]),
    }
}

fn custom(query: &CustomQuery) -> (&'static str, Vec<(&'static str, String)>) {
    let mut arguments = vec![("metric", query.metric.to_string())];
    arguments.extend(query.namespace.clone().map(|namespace| ("namespace", namespace)));
    let function = match &query.objects {
        ObjectSelection::Named(name) => {
            arguments.push(("object", name.clone()));
            "custom-metrics.get-by-name"
        }
        ObjectSelection::Selected(objects) => {
            arguments.push(("objects", selector(objects)));
            "custom-metrics.get-by-selector"
        }
    };
    arguments.push(("series", selector(&query.series)));
    (function, arguments)
}

fn selector(selector: &Selector) -> String {
    if selector.is_everything() { "everything".to_owned() } else { selector.to_string() }
}

fn named(names: impl Iterator<Item = String>) -> String {
    let Excerpt { items, left_out } = Excerpt::first(NAMED, names);
    let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
    format!("{}{more}", items.join(", "))
}
