use super::*;
use crate::model::{MetricAnswer, Precedence, Standing};

fn explained(reader: &Reader, query: &MetricQuery) -> Explanation {
    block_on(reader.explain(query, Detail::Summary)).unwrap()
}

fn of_external(reader: &Reader, namespace: &str, metric: &str) -> Explanation {
    explained(reader, &MetricQuery::External(external_query(namespace, metric)))
}

fn claims(explanation: &Explanation) -> Vec<(String, &str, Standing)> {
    let claims = explanation.claims.items.iter();
    claims.map(|claim| (claim.plugin.to_string(), claim.claim.as_str(), claim.standing)).collect()
}

#[test]
fn every_claim_is_told_with_the_rule_by_which_it_loses() {
    let (_writer, reader) = registry(&[
        "owner e:queue_depth e:queue_*",
        "prefix e:queue_d*",
        "short e:q*",
        "first e:queue_* p:5",
        "second e:queue_*",
        "shop/tenant e:queue_depth",
    ]);
    let explanation = of_external(&reader, "shop", "Queue_Depth");
    assert_eq!(
        claims(&explanation),
        [
            ("adapter/owner".to_owned(), "queue_depth", Standing::Owns),
            ("adapter/prefix".to_owned(), "queue_d*", Standing::Loses(Precedence::Exact)),
            ("adapter/first".to_owned(), "queue_*", Standing::Loses(Precedence::Exact)),
            ("adapter/second".to_owned(), "queue_*", Standing::Loses(Precedence::Exact)),
            ("adapter/short".to_owned(), "q*", Standing::Loses(Precedence::Exact)),
            ("shop/tenant".to_owned(), "queue_depth", Standing::Loses(Precedence::OwnNamespace)),
        ]
    );
    assert!(explanation.answer.is_ok());
    for (plugins, rule) in [
        (["a e:queue_d*", "b e:q*"], Precedence::Prefix),
        (["b e:q* p:1", "a e:q*"], Precedence::Priority),
        (["a e:q*", "b e:q*"], Precedence::Name),
    ] {
        let (_writer, reader) = registry(&plugins);
        let standings: Vec<_> =
            claims(&of_external(&reader, "shop", "queue_depth")).into_iter().map(|(.., standing)| standing).collect();
        assert_eq!(standings, [Standing::Owns, Standing::Loses(rule)], "{plugins:?}");
    }
}

#[test]
fn the_owners_answer_is_the_one_that_a_client_gets() {
    let (_writer, reader) = registry(&["queues e:queue_* le:Queue_Depth", "failing c:pods/x"]);
    let Ok(MetricAnswer::External(answer)) = of_external(&reader, "shop", "queue_depth").answer else { panic!() };
    assert_eq!(answer.metric.as_str(), "Queue_Depth", "in the plugin's own spelling");
    let metric = CustomMetric { resource: GroupResource::core("pods"), name: MetricName::new("x").unwrap() };
    let objects = ObjectSelection::Selected(Selector::everything());
    let query = CustomQuery { metric, namespace: Some("shop".to_owned()), objects, series: Selector::everything() };
    let explanation = explained(&reader, &MetricQuery::Custom(query.clone()));
    assert_eq!(explanation.answer, block_on(reader.custom(&query)).map(MetricAnswer::Custom), "and so is a failure");
    let explanation = explained(&reader, &MetricQuery::Nodes(vec!["n1".to_owned()]));
    assert_eq!(explanation.answer, block_on(reader.nodes(&["n1".to_owned()])).map(MetricAnswer::Nodes));
}

#[test]
fn a_plugin_that_is_loading_is_told_as_such() {
    let (_writer, reader) = registry(&["queues e:queue_* loading"]);
    let explanation = of_external(&reader, "shop", "queue_depth");
    assert_eq!(claims(&explanation), [("adapter/queues".to_owned(), "queue_*", Standing::Loading)]);
    assert_eq!(explanation.answer.unwrap_err().reason, Reason::Loading);
}

#[test]
fn an_unknown_metric_is_told_with_the_names_that_are_like_it() {
    let (_writer, reader) = registry(&[
        "queues le:queue_length le:queue_age le:mails",
        "nodes lc:pods/queue_lenght",
        "only n:billing le:queue_lengths",
    ]);
    let explanation = of_external(&reader, "shop", "Queue_Lenght");
    assert_eq!(explanation.answer.unwrap_err().reason, Reason::MetricNotFound);
    assert_eq!(explanation.similar, ["queue_length"], "not what another API or namespace has");
    assert!(of_external(&reader, "shop", "something_else").similar.is_empty());
    assert!(of_external(&reader, "shop", &"q".repeat(10_000)).similar.is_empty());
}

#[test]
fn plugins_of_other_namespaces_are_told_of_to_nobody() {
    let (_writer, reader) =
        registry(&["billing/secret-project e:queue_* le:queue_depth", "platform e:queue_depth n:billing"]);
    let explanation = of_external(&reader, "shop", "queue_depth");
    assert_eq!(
        claims(&explanation),
        [("adapter/platform".to_owned(), "queue_depth", Standing::OtherNamespaces)],
        "the adapter's own plugins are no secret"
    );
    let text = format!("{explanation:?} {:?}", of_external(&reader, "shop", "queue_depht"));
    assert!(!text.contains("secret-project") && explanation.similar.is_empty(), "{text}");
    assert!(
        format!("{:?}", of_external(&reader, "billing", "queue_x")).contains("secret-project"),
        "it is told at home"
    );
}
