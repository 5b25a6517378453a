//! Why one plugin is asked and not another: the claims on a metric as they stand for one namespace.
//!
//! Nothing is told of plugins of other namespaces, not even that there are any: who asks may read metrics of their own alone.

use std::sync::Arc;

use super::{
    Snapshot,
    claim::{Claim, Table},
    name::{Name, ResourceMetrics},
    plugin::Plugin,
    snapshot::namespace_of,
    unknown_custom, unknown_external,
};
use crate::model::{ConsideredClaim, Detail, Excerpt, Explanation, FetchError, MetricQuery, Reason, Standing};

/// Claims that are told of; the winner is the first.
const CLAIMS: usize = 20;
/// Similar names that are told of.
const SIMILAR: usize = 5;
/// Names that a name is compared with: some milliseconds of work.
const COMPARED: usize = 2_000;
/// Bytes of a name that is compared: the work grows with the product of both.
const COMPARED_BYTES: usize = 128;
/// From 0 to 1, how much of two names must be alike. `queue_lenght` and `queue_length` are 0.83.
const ALIKE: f64 = 0.6;

/// Asks whoever owns the metric to explain its answer, and says why it is the owner.
pub(super) async fn explain(
    snapshot: &Snapshot,
    query: &MetricQuery,
    detail: Detail,
) -> Result<Explanation, FetchError> {
    let (claims, owner) = claims(snapshot, query);
    let mut explanation = match owner {
        Some(owner) => explained_by(&owner, query, detail).await.map_err(|error| error.of(owner.id()))?,
        None => Explanation::of(Err(nobody(query))),
    };
    explanation.claims = claims;
    if explanation.answer.as_ref().is_err_and(|error| error.reason == Reason::MetricNotFound) {
        explanation.similar = similar(snapshot, query);
    }
    Ok(explanation)
}

async fn explained_by(owner: &Plugin, query: &MetricQuery, detail: Detail) -> Result<Explanation, FetchError> {
    let provider = match owner.provider() {
        Ok(provider) => provider,
        Err(loading) => return Ok(Explanation::of(Err(loading))),
    };
    let respelled = match query {
        MetricQuery::External(query) => owner.respelled(&query.metric.folded(), query).map(MetricQuery::External),
        _ => None,
    };
    let mut explanation = provider.explain(respelled.as_ref().unwrap_or(query), detail).await?;
    explanation.answer = explanation.answer.map_err(|error| error.of(owner.id()));
    Ok(explanation)
}

/// Every claim on the metric that whoever asks may know of, the owner's first, and the owner.
fn claims(snapshot: &Snapshot, query: &MetricQuery) -> (Excerpt<ConsideredClaim>, Option<Arc<Plugin>>) {
    match query {
        MetricQuery::Custom(query) => considered(&snapshot.custom, &query.metric, namespace_of(query)),
        MetricQuery::External(query) => considered(&snapshot.external, &query.metric.folded(), Some(&query.namespace)),
        MetricQuery::Pods(_) | MetricQuery::Nodes(_) => considered(&snapshot.resource, &ResourceMetrics, None),
    }
}

fn considered<N: Name>(
    table: &Table<N>,
    name: &N,
    namespace: Option<&str>,
) -> (Excerpt<ConsideredClaim>, Option<Arc<Plugin>>) {
    let mut claims: Vec<&Claim> = table.claims(name).collect();
    claims.sort_by(|left, right| left.precedence().cmp(&right.precedence()));
    let winner = claims.iter().copied().find(|claim| claim.plugin.scope().includes(namespace));
    let told = claims.into_iter().filter_map(|claim| {
        let standing = match winner {
            Some(winner) if std::ptr::eq(winner, claim) => match claim.plugin.provider() {
                Ok(_) => Standing::Owns,
                Err(_) => Standing::Loading,
            },
            // Its other claim on the same metric wins.
            Some(winner) if winner.plugin.id() == claim.plugin.id() => return None,
            Some(winner) if claim.plugin.scope().includes(namespace) => Standing::Loses(winner.precedes(claim)),
            _ if claim.plugin.is_tenant() => return None,
            _ => Standing::OtherNamespaces,
        };
        let claimed = claim.pattern.as_ref().map_or(name.text(), |pattern| pattern.as_str());
        Some(ConsideredClaim { plugin: claim.plugin.id().clone(), claim: claimed.to_owned(), standing })
    });
    let mut told: Vec<ConsideredClaim> = told.collect();
    // Claims that do not hold here may come before the one that does.
    told.sort_by_key(|claim| claim.standing == Standing::OtherNamespaces);
    (Excerpt::first(CLAIMS, told), winner.map(|winner| Arc::clone(&winner.plugin)))
}

fn nobody(query: &MetricQuery) -> FetchError {
    match query {
        MetricQuery::Custom(query) => unknown_custom(query),
        MetricQuery::External(query) => unknown_external(query),
        MetricQuery::Pods(_) | MetricQuery::Nodes(_) => FetchError::nobody_measures(),
    }
}

/// Listed metrics that would be answered in the namespace of the question and are named nearly alike, the nearest first.
fn similar(snapshot: &Snapshot, query: &MetricQuery) -> Vec<String> {
    let (asked, namespace) = match query {
        MetricQuery::Custom(query) => (query.metric.to_string(), namespace_of(query)),
        MetricQuery::External(query) => (query.metric.folded(), Some(query.namespace.as_str())),
        MetricQuery::Pods(_) | MetricQuery::Nodes(_) => return Vec::new(),
    };
    let is_custom = matches!(query, MetricQuery::Custom(_));
    let here = snapshot.plugins.values().filter(|plugin| plugin.scope().includes(namespace));
    let names = here.filter_map(|plugin| plugin.listed()).flat_map(|listed| {
        let custom = listed.custom.iter().filter(|_| is_custom).map(ToString::to_string);
        custom.chain(listed.external.iter().filter(|_| !is_custom).map(ToString::to_string))
    });
    nearest(&asked, names.take(COMPARED))
}

fn nearest(asked: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    if asked.len() > COMPARED_BYTES {
        return Vec::new();
    }
    let mut near: Vec<(f64, String)> = names
        .filter(|name| name.len() <= COMPARED_BYTES)
        .map(|name| (strsim::normalized_levenshtein(asked, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    near.sort_by(|(left, name), (right, other)| right.total_cmp(left).then_with(|| name.cmp(other)));
    near.dedup_by(|left, right| left.1 == right.1);
    near.into_iter().take(SIMILAR).map(|(_, name)| name).collect()
}
