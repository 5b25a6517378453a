use std::sync::{
    Barrier,
    atomic::{AtomicBool, Ordering},
};

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::model::{
    CustomMetric, CustomPattern, CustomSample, ExternalSample, GroupResource, MetricName, NodeSample, ObjectSelection,
    Pattern, Quantity, Selector, UnixMillis, Usage,
};

/// Answers with its own name as the object or label, and with its version as the value.
struct Fake {
    name: String,
    version: i64,
}

impl Fake {
    fn id(&self) -> PluginId {
        PluginId { namespace: String::new(), name: self.name.clone() }
    }
}

#[async_trait]
impl Provider for Fake {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, _: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        if self.name == "failing" {
            return Err(FetchError::new(Reason::MetricNotFound, "not here"));
        }
        let value = Quantity::integer(self.version);
        let sample = CustomSample { object: self.name.clone(), value, timestamp: UnixMillis(0), window: None };
        Ok(CustomAnswer { plugin: self.id(), samples: vec![sample] })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let labels = vec![("plugin".to_owned(), self.name.clone())];
        let value = Quantity::integer(self.version);
        let sample = ExternalSample { labels, value, timestamp: UnixMillis(0), window: None };
        Ok(ExternalAnswer { plugin: self.id(), metric: query.metric.clone(), samples: vec![sample] })
    }

    async fn nodes(&self, _: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        let usage = Usage { cpu: Quantity::integer(self.version), memory: Quantity::default() };
        let node = self.name.clone();
        let sample = NodeSample { node, usage, timestamp: UnixMillis(0), window: std::time::Duration::ZERO };
        Ok(ResourceAnswer { plugin: self.id(), samples: vec![sample] })
    }
}

/// A plugin, written as `name claims` in words: `e:PATTERN` and `c:RESOURCE/PATTERN` claim, `le:NAME` and `lc:RESOURCE/NAME` list,
/// `n:NAMESPACE` restricts, `r` claims metrics.k8s.io, `p:NUMBER` is a priority, `loading` is its state. A name `NAMESPACE/NAME` is a tenant's.
fn plugin(text: &str) -> Entry {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap();
    let (namespace, name, own_namespace) =
        name.split_once('/').map_or(("adapter", name, true), |(namespace, name)| (namespace, name, false));
    let mut claims = Claims::default();
    let mut listed = Listed::default();
    let mut loading = false;
    for word in words {
        let (key, value) = word.split_once(':').unwrap_or((word, ""));
        let custom = || {
            value.split_once('/').map(|(resource, name)| (resource.parse::<GroupResource>().unwrap(), name)).unwrap()
        };
        match key {
            "e" => claims.external.get_or_insert_default().push(Pattern::new(value)),
            "c" => {
                let (resource, name) = custom();
                claims.custom.get_or_insert_default().push(CustomPattern { resource, name: Pattern::new(name) });
            }
            "le" => listed.external.push(MetricName::new(value).unwrap()),
            "lc" => {
                let (resource, name) = custom();
                listed.custom.push(CustomMetric { resource, name: MetricName::new(name).unwrap() });
            }
            "n" => claims.namespaces.get_or_insert_default().push(value.to_owned()),
            "r" => claims.resource = true,
            "p" => claims.priority = value.parse().unwrap(),
            "loading" => loading = true,
            other => panic!("{other}"),
        }
    }
    listed.external.sort();
    listed.custom.sort();
    let provider = Arc::new(Fake { name: name.to_owned(), version: 1 });
    let state = if loading { State::Loading } else { State::Ready { provider, listed: Arc::new(listed) } };
    Entry {
        id: PluginId { namespace: namespace.to_owned(), name: name.to_owned() },
        claims,
        own_namespace,
        shown: own_namespace,
        state,
    }
}

fn registry(plugins: &[&str]) -> (Writer, Reader) {
    let (mut writer, reader) = new();
    for text in plugins {
        writer.put(plugin(text));
    }
    (writer, reader)
}

fn external_query(namespace: &str, metric: &str) -> ExternalQuery {
    ExternalQuery {
        namespace: namespace.to_owned(),
        metric: MetricName::new(metric).unwrap(),
        series: Selector::everything(),
    }
}

fn custom_query(namespace: Option<&str>, metric: &str, object: &str) -> CustomQuery {
    let (resource, name) = metric.split_once('/').unwrap();
    CustomQuery {
        metric: CustomMetric { resource: resource.parse().unwrap(), name: MetricName::new(name).unwrap() },
        namespace: namespace.map(str::to_owned),
        objects: ObjectSelection::Named(object.to_owned()),
        series: Selector::everything(),
    }
}

/// Who answers the external metric: a plugin's name, or the failure's reason.
fn external(reader: &Reader, namespace: &str, metric: &str) -> String {
    match block_on(reader.external(&external_query(namespace, metric))) {
        Ok(answer) => answer.samples[0].labels[0].1.clone(),
        Err(error) => format!("{:?}", error.reason),
    }
}

fn custom(reader: &Reader, namespace: Option<&str>, metric: &str) -> String {
    match block_on(reader.custom(&custom_query(namespace, metric, "shop"))) {
        Ok(answer) => answer.samples[0].object.clone(),
        Err(error) => format!("{:?}", error.reason),
    }
}

#[test]
fn the_rule_of_ownership_step_by_step() {
    for (plugins, expected) in [
        // The adapter's namespace before tenants, even a pattern before an exact name.
        (vec!["wide e:* le:queue", "shop/exact e:queue"], "wide"),
        // Exact before pattern, whatever the priority.
        (vec!["exact e:queue", "wide e:queu* p:100"], "exact"),
        (vec!["listing le:queue", "wide e:queu* p:100"], "listing"),
        // The longer literal prefix, whatever the priority.
        (vec!["long e:queu*", "short e:que* p:100"], "long"),
        (vec!["long e:que*e", "short e:qu*ue p:100"], "long"),
        // The higher priority, then the name.
        (vec!["aaa e:queue", "high e:queue p:1"], "high"),
        (vec!["low e:queue p:-1", "zzz e:queue"], "zzz"),
        (vec!["bbb e:queue", "aaa e:queue"], "aaa"),
        (vec!["bbb e:queu*", "aaa e:queu*"], "aaa"),
        (vec!["shop/bbb e:queue", "shop/aaa e:queue"], "aaa"),
        // Only whoever answers in this namespace counts.
        (vec!["elsewhere e:queue n:other", "wide e:*"], "wide"),
        (vec!["here e:queue n:shop n:other", "wide e:*"], "here"),
        (vec!["other/tenant e:queue", "shop/tenant2 e:queu*"], "tenant2"),
        (vec!["other/tenant e:queue"], "MetricNotFound"),
        (vec!["shop/tenant e:queue n:other"], "MetricNotFound"),
        (vec!["shop/tenant e:queue n:other n:shop"], "tenant"),
        // Claims hold whether or not the metric is listed; without claims, lists do.
        (vec!["claims e:other le:queue"], "MetricNotFound"),
        (vec!["none"], "MetricNotFound"),
        // One owner answers, ready or not.
        (vec!["first e:queue loading", "second e:queue"], "Loading"),
        (vec!["first loading", "second e:queue"], "second"),
    ] {
        let (_writer, reader) = registry(&plugins);
        assert_eq!(external(&reader, "shop", "queue"), expected, "{plugins:?}");
        let as_custom: Vec<String> = plugins.iter().map(|text| text.replace("e:", "c:pods/")).collect();
        let (_writer, reader) = registry(&as_custom.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(custom(&reader, Some("shop"), "pods/queue"), expected, "{as_custom:?}");
    }
}

#[test]
fn one_plugin_of_the_adapters_namespace_owns_resource_metrics() {
    for (plugins, expected, lost) in [
        (vec!["none e:*"], "Unavailable", None),
        (vec!["bbb r", "aaa r"], "aaa", Some("adapter/bbb")),
        (vec!["low r", "zzz r p:1"], "zzz", Some("adapter/low")),
        (vec!["shop/tenant r"], "Unavailable", None),
        (vec!["shop/tenant r p:9", "own r"], "own", None),
        (vec!["slow r loading", "zzz r"], "Loading", Some("adapter/zzz")),
    ] {
        let (mut writer, reader) = registry(&plugins);
        let answered = |reader: &Reader| match block_on(reader.nodes(&["n1".to_owned()])) {
            Ok(answer) => answer.samples[0].node.clone(),
            Err(error) => format!("{:?}", error.reason),
        };
        assert_eq!(answered(&reader), expected, "{plugins:?}");
        let conflicts = reader.snapshot().conflicts().to_vec();
        let losers: Vec<_> = conflicts.iter().map(|conflict| conflict.loser.to_string()).collect();
        assert_eq!(losers, lost.into_iter().collect::<Vec<_>>(), "{plugins:?}");
        assert!(conflicts.iter().all(|conflict| conflict.claimed.to_string() == "resource metrics"));
        for text in &plugins {
            writer.remove(&plugin(text).id);
        }
        assert_eq!(answered(&reader), "Unavailable", "nobody is left");
    }
}

#[test]
fn the_owner_is_not_replaced_when_it_fails() {
    let (_writer, reader) = registry(&["failing c:pods/queue", "other c:pods/queu*"]);
    let error = block_on(reader.custom(&custom_query(Some("shop"), "pods/queue", "p1"))).unwrap_err();
    assert_eq!(error.to_string(), "plugin adapter/failing: not here");
}

#[test]
fn a_loading_plugin_is_named() {
    let (_writer, reader) = registry(&["slow e:* loading"]);
    let error = block_on(reader.external(&external_query("shop", "queue"))).unwrap_err();
    assert_eq!(error.reason, Reason::Loading);
    assert!(error.to_string().starts_with("plugin adapter/slow: it has not loaded yet"), "{error}");
}

#[test]
fn kinds_of_objects_are_apart() {
    let (_writer, reader) = registry(&["one c:pods/*", "two c:deployments.apps/*"]);
    assert_eq!(custom(&reader, Some("shop"), "pods/rps"), "one");
    assert_eq!(custom(&reader, Some("shop"), "deployments.apps/rps"), "two");
    assert_eq!(custom(&reader, Some("shop"), "deployments/rps"), "MetricNotFound");
}

#[test]
fn requests_without_a_namespace_are_for_those_who_answer_everywhere() {
    let (_writer, reader) = registry(&["some c:nodes/load n:shop", "shop/tenant c:nodes/load"]);
    assert_eq!(custom(&reader, None, "nodes/load"), "MetricNotFound");
    let (_writer, reader) = registry(&["some c:nodes/load n:shop", "all c:nodes/load p:-1"]);
    assert_eq!(custom(&reader, None, "nodes/load"), "all");
}

#[test]
fn a_metric_of_a_namespace_is_that_namespaces_affair() {
    let (_writer, reader) = registry(&["shop/tenant c:namespaces/rps", "other/tenant2 c:namespaces/rps"]);
    assert_eq!(custom(&reader, None, "namespaces/rps"), "tenant");
}

#[test]
fn external_names_fold_case_and_reach_the_plugin_as_it_lists_them() {
    let (_writer, reader) = registry(&["lists le:Queue_Ready", "claims e:Jobs_* le:Jobs_Done"]);
    for (sent, asked) in [
        ("queue_ready", "Queue_Ready"),
        ("QUEUE_READY", "Queue_Ready"),
        ("Queue_Ready", "Queue_Ready"),
        ("jobs_done", "Jobs_Done"),
        ("jobs_unlisted", "jobs_unlisted"),
    ] {
        let answer = block_on(reader.external(&external_query("shop", sent))).unwrap();
        assert_eq!(answer.metric.as_str(), asked, "{sent}");
    }
    assert_eq!(custom(&registry(&["a c:pods/Queue"]).1, Some("shop"), "pods/queue"), "MetricNotFound");
}

#[test]
fn changes_hold_at_once_and_leave_nothing_behind() {
    let (mut writer, reader) = registry(&["one e:queue e:jobs* c:pods/rps", "two e:queue p:-1"]);
    assert_eq!(external(&reader, "shop", "queue"), "one");
    writer.put(plugin("one e:topics"));
    assert_eq!(external(&reader, "shop", "queue"), "two");
    assert_eq!(external(&reader, "shop", "jobs_1"), "MetricNotFound");
    assert_eq!(custom(&reader, Some("shop"), "pods/rps"), "MetricNotFound");
    assert_eq!(external(&reader, "shop", "topics"), "one");
    writer.remove(&plugin("one").id);
    writer.remove(&plugin("unknown").id);
    assert_eq!(external(&reader, "shop", "topics"), "MetricNotFound");
    assert_eq!(external(&reader, "shop", "queue"), "two");
}

fn shown(reader: &Reader) -> Vec<String> {
    let catalog = reader.catalog();
    catalog.custom.iter().map(ToString::to_string).chain(catalog.external.iter().map(ToString::to_string)).collect()
}

#[test]
fn discovery_shows_what_the_owner_lists() {
    for (plugins, expected) in [
        (vec!["a le:queue lc:pods/rps", "b le:jobs"], vec!["pods/rps", "jobs", "queue"]),
        // Listed, but not claimed.
        (vec!["a e:que* le:queue le:jobs"], vec!["queue"]),
        // Claimed, but not listed.
        (vec!["a e:queue"], vec![]),
        // The owner lists nothing: what another plugin lists is not what would be answered.
        (vec!["a e:queue p:1", "b e:queue le:queue"], vec![]),
        (vec!["a e:queue loading p:1", "b e:queue le:queue"], vec![]),
        // The owner answers in some namespaces only.
        (vec!["a e:queue p:1 n:shop", "b e:queue le:queue"], vec!["queue"]),
        (vec!["a e:queue le:queue n:shop"], vec!["queue"]),
        (vec!["a e:queue p:1", "b e:queue le:queue n:shop"], vec![]),
        // Tenants are not shown; spellings of one name are one.
        (vec!["shop/a le:queue"], vec![]),
        (vec!["a le:Queue le:queue"], vec!["Queue"]),
        (vec!["a le:Queue", "b le:queue"], vec!["Queue"]),
    ] {
        let (_writer, reader) = registry(&plugins);
        assert_eq!(shown(&reader), expected, "{plugins:?}");
    }
}

#[test]
fn the_catalog_is_the_same_until_it_changes() {
    let (mut writer, reader) = registry(&["a le:queue"]);
    let before = reader.catalog();
    writer.put(plugin("a le:queue"));
    assert!(Arc::ptr_eq(&before, &reader.catalog()));
    writer.put(plugin("a le:queue le:jobs"));
    assert!(!Arc::ptr_eq(&before, &reader.catalog()));
    writer.remove(&plugin("a").id);
    assert_eq!(*reader.catalog(), Catalog::default());
}

fn conflicts(plugins: &[&str]) -> Vec<String> {
    let (writer, _reader) = registry(plugins);
    let conflict = |Conflict { loser, claimed, winner }: &Conflict| format!("{loser} loses {claimed} to {winner}");
    writer.snapshot().conflicts().iter().map(conflict).collect()
}

#[test]
fn conflicts_say_who_loses_what_to_whom() {
    for (plugins, expected) in [
        (vec!["a e:queue", "b e:queue"], vec!["adapter/b loses external queue to adapter/a"]),
        (vec!["a le:Queue", "b e:queue p:1"], vec!["adapter/a loses external queue to adapter/b"]),
        (vec!["a lc:pods/rps", "b c:pods/rps"], vec!["adapter/b loses custom pods/rps to adapter/a"]),
        (vec!["a e:qu*", "b e:qu*"], vec!["adapter/b loses external qu* to adapter/a"]),
        (vec!["a c:pods/*", "b c:pods/*"], vec!["adapter/b loses custom pods/* to adapter/a"]),
        (vec!["a e:*", "shop/t e:queue"], vec!["shop/t loses external queue to adapter/a"]),
        // An exact name or longer prefix within a pattern is what patterns are for, unless the name is listed.
        (vec!["a e:queue", "b e:qu*"], vec![]),
        (vec!["a e:que*", "b e:qu*"], vec![]),
        (vec!["a e:queue", "b e:qu* le:queue"], vec!["adapter/b loses external queue to adapter/a"]),
        // Nobody meets.
        (vec!["a e:queue n:shop", "b e:queue n:other"], vec![]),
        (vec!["other/a e:queue", "shop/b e:queue"], vec![]),
        (vec!["a c:pods/rps", "b c:services/rps", "c e:rps"], vec![]),
        // Three on one metric, and one plugin that names it twice.
        (
            vec!["a e:queue e:qu* le:queue", "b e:queue n:shop", "c e:queue"],
            vec!["adapter/b loses external queue to adapter/a", "adapter/c loses external queue to adapter/a"],
        ),
    ] {
        assert_eq!(conflicts(&plugins), expected, "{plugins:?}");
    }
    let (writer, _reader) = registry(&["a e:queue", "b e:queue"]);
    let snapshot = writer.snapshot();
    assert_eq!(snapshot.conflicts_of(&plugin("b").id), snapshot.conflicts());
    assert_eq!(snapshot.conflicts_of(&plugin("a").id), []);
}

fn any_plugin() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[abc]", "(shop|other)/[abc]"];
    let word = prop_oneof![
        prop_oneof!["e:(q|qu|queue|que\\*|q\\*|\\*)", "le:(queue|Queue|jobs)"],
        prop_oneof!["c:pods/(q|queue|q\\*)", "lc:pods/(q|queue)", "n:(shop|other)", "p:[0-2]", "loading"],
    ];
    (name, prop::collection::vec(word, 0..5)).prop_map(|(name, words)| format!("{name} {}", words.join(" ")))
}

/// Everything that a registry says.
fn everything(writer: &Writer, reader: &Reader) -> (Vec<String>, Vec<Conflict>, Catalog) {
    let mut owners = Vec::new();
    for namespace in ["shop", "other", "third"] {
        owners.extend(["q", "qu", "queue", "jobs", "x"].map(|metric| external(reader, namespace, metric)));
        owners.extend(["pods/q", "pods/queue", "pods/x"].map(|metric| custom(reader, Some(namespace), metric)));
    }
    owners.extend(["pods/q", "pods/queue"].map(|metric| custom(reader, None, metric)));
    (owners, writer.snapshot().conflicts().to_vec(), (*reader.catalog()).clone())
}

proptest! {
    #[test]
    fn history_does_not_matter(
        plugins in prop::collection::vec(any_plugin(), 0..8),
        before in prop::collection::vec(any_plugin(), 0..8),
        seed in any::<prop::sample::Index>(),
    ) {
        // Of several versions of one plugin the last holds, so each name comes once.
        let mut plugins = plugins;
        plugins.sort();
        plugins.dedup_by_key(|text| plugin(text).id);
        let (mut writer, reader) = registry(&plugins.iter().map(String::as_str).collect::<Vec<_>>());
        let expected = everything(&writer, &reader);

        // The same plugins in another order, after others came and went and the overviews were worked out.
        let (mut other, other_reader) = registry(&before.iter().map(String::as_str).collect::<Vec<_>>());
        everything(&other, &other_reader);
        if !plugins.is_empty() {
            let middle = seed.index(plugins.len());
            plugins.rotate_left(middle);
            plugins.reverse();
        }
        for text in &plugins {
            other.put(plugin(text));
        }
        for text in before.iter().filter(|text| !plugins.iter().any(|kept| plugin(kept).id == plugin(text).id)) {
            other.remove(&plugin(text).id);
        }
        prop_assert_eq!(everything(&other, &other_reader), expected);

        for text in &plugins {
            writer.remove(&plugin(text).id);
        }
        prop_assert!(everything(&writer, &reader).0.iter().all(|owner| owner == "MetricNotFound"));
        prop_assert_eq!(&*reader.catalog(), &Catalog::default());
    }
}

#[test]
fn readers_see_every_swap_whole_and_none_goes_back() {
    let (mut writer, reader) = registry(&["steady e:queue"]);
    let done = AtomicBool::new(false);
    let started = Barrier::new(4);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                started.wait();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    // `steady` is always there, and its version only grows; `guest` comes and goes beside it.
                    let answer = block_on(reader.external(&external_query("shop", "queue"))).unwrap();
                    let version = answer.samples[0].value.units();
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    let guest = external(&reader, "shop", "guest");
                    assert!(guest == "guest" || guest == "MetricNotFound", "{guest}");
                }
            });
        }
        started.wait();
        for version in 1..2000 {
            let mut steady = plugin("steady e:queue");
            steady.state = State::Ready {
                provider: Arc::new(Fake { name: "steady".to_owned(), version }),
                listed: Arc::default(),
            };
            writer.put(steady);
            if version % 2 == 0 {
                writer.put(plugin("guest e:guest le:guest"));
            } else {
                writer.remove(&plugin("guest").id);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(block_on(reader.external(&external_query("shop", "queue"))).unwrap().samples[0].value.units(), 1999);
}

#[test]
fn a_thousand_plugins_of_a_hundred_metrics() {
    let (mut writer, reader) = new();
    for number in 0..1000 {
        let names: Vec<String> = (0..100).map(|metric| format!("le:plugin{number}_metric{metric}")).collect();
        let text = if number % 10 == 0 {
            format!("p{number} e:plugin{number}_* {}", names.join(" "))
        } else {
            format!("p{number} {}", names.join(" "))
        };
        writer.put(plugin(&text));
    }
    assert_eq!(reader.catalog().external.len(), 100_000);
    assert_eq!(external(&reader, "shop", "PLUGIN999_metric99"), "p999");
    assert_eq!(external(&reader, "shop", "plugin990_unlisted"), "p990");
    assert_eq!(external(&reader, "shop", "plugin999_unlisted"), "MetricNotFound");
    assert_eq!(writer.snapshot().conflicts_of(&plugin("p990").id), []);
}
