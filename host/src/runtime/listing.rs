//! What a guest lists, judged: sorted and without repetition, with a complaint for each name that can't be served. One bad name
//! never costs the others.

use std::collections::HashSet;

use crate::model::{CustomMetric, InvalidMetricName, MetricName};

/// Names that the generic API server keeps for subresources (`status`) and namespaces (`finalize`): as an external metric's name,
/// the one resource segment of the path, they would be taken for those.
const RESERVED: [&str; 2] = ["status", "finalize"];

/// The external metrics that can be served. Of names that differ in case alone only the first can be asked for, since client-go
/// sends them in lower case; the others stay listed, as their plugin wishes, with a complaint.
pub(super) fn external(
    names: Vec<Result<MetricName, InvalidMetricName>>,
    complaints: &mut Vec<String>,
) -> Vec<MetricName> {
    let mut kept = valid(names, complaints);
    kept.retain(|name| {
        let is_reserved = RESERVED.contains(&name.folded().as_str());
        if is_reserved {
            complaints.push(format!("external metric {name} is left out: `{name}` is a word of the API's; rename it"));
        }
        !is_reserved
    });
    let mut folded = HashSet::new();
    for name in kept.iter().filter(|name| !folded.insert(name.folded())) {
        complaints.push(format!(
            "external metric {name} can't be asked for: a name listed before it differs in case alone, and clients send lower case; rename one"
        ));
    }
    kept
}

/// The custom metrics that can be served.
pub(super) fn custom(
    metrics: Vec<Result<CustomMetric, InvalidMetricName>>,
    complaints: &mut Vec<String>,
) -> Vec<CustomMetric> {
    valid(metrics, complaints)
}

fn valid<T: Ord>(items: Vec<Result<T, InvalidMetricName>>, complaints: &mut Vec<String>) -> Vec<T> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(item) => kept.push(item),
            Err(error) => complaints.push(format!("a listed metric is left out: {error}")),
        }
    }
    kept.sort();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut complaints = Vec::new();
        let kept = external(names.iter().map(|name| MetricName::new(*name)).collect(), &mut complaints);
        (kept.iter().map(ToString::to_string).collect(), complaints)
    }

    #[test]
    fn a_bad_name_costs_itself_alone() {
        let (kept, complaints) = judged(&["queue", "a/b", "Status", "finalize", "queue", "depth"]);
        assert_eq!(kept, ["depth", "queue"]);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].contains("metric name `a/b` holds `/`"), "{complaints:?}");
        assert!(complaints[1].contains("external metric Status is left out"), "{complaints:?}");
    }

    #[test]
    fn names_that_differ_in_case_alone_are_told() {
        let (kept, complaints) = judged(&["queue", "Queue", "depth"]);
        assert_eq!(kept, ["Queue", "depth", "queue"]);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("external metric queue can't be asked for"), "{complaints:?}");
    }
}
