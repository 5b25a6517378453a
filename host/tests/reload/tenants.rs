//! What tenants may and may not, each sentence of it a test: refused is what the policy does not grant, told to the owner, and nobody
//! else notices.

use wasm_metrics_adapter::{
    model::{PluginId, Provider as _, Reason},
    source::{Event, RawPlugin, Report},
};

use crate::{
    stage::{Stage, plugin},
    support::guest,
};

/// Tenants' calls get the time of a busy machine; everything else is as it is without a policy.
const TIME: &str = "limits: { timeout: 5s, cpu: 5s }";
const CREDENTIAL: [(&str, &str); 1] = [("wasm-metrics-adapter.io/credential", "true")];
const EXPOSED: [(&str, &str); 1] = [("wasm-metrics-adapter.io/expose-to-guest", "true")];

fn tenant(namespace: &str, name: &str, config: &str, body: &str) -> RawPlugin {
    RawPlugin { id: id(namespace, name), ..plugin(name, config, body) }
}

fn id(namespace: &str, name: &str) -> PluginId {
    PluginId { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn granting(ceilings: &str) -> String {
    format!("contact: the platform team\nnamespaces: {{ '*': {{ {ceilings} }} }}")
}

async fn stage(ceilings: &str) -> Stage {
    let stage = Stage::with_tenants(&["shop", "billing"]).await;
    stage.grant(&granting(ceilings));
    stage
}

/// Puts a plugin of `shop` that is refused; none of its metrics are known then, and a plugin of the platform serves on.
async fn refused(stage: &mut Stage, plugin: RawPlugin, words: &[&str]) -> Report {
    let good = "value: '1', metrics: platform";
    stage.load(crate::stage::plugin("platform", good, "")).await;
    stage.put(plugin).await;
    let report = stage.report().await;
    assert_eq!((report.id.namespace.as_str(), report.good), ("shop", false), "{}", report.message);
    for word in words {
        assert!(report.message.contains(word), "`{word}` is missing in: {}", report.message);
    }
    assert!(!report.message.contains("hunter2"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::MetricNotFound, "{}", report.message);
    assert_eq!(stage.ask("platform").await.unwrap(), "1");
    report
}

async fn rejected(stage: &mut Stage, plugin: RawPlugin, words: &[&str]) {
    assert_eq!(refused(stage, plugin, words).await.reason, "Rejected");
}

#[tokio::test]
async fn a_tenant_serves_its_own_namespace_alone_and_is_not_listed() {
    let mut stage = stage(TIME).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth, resource: pods", "")).await;
    stage.load(tenant("billing", "queue", "value: '8', metrics: depth", "")).await;
    assert_eq!(stage.ask_in("shop", "depth").await.unwrap(), "7");
    assert_eq!(stage.ask_in("billing", "depth").await.unwrap(), "8");
    assert_eq!(stage.ask_in("default", "depth").await.unwrap_err().reason, Reason::MetricNotFound);
    let catalog = stage.reader.catalog();
    assert!(catalog.external.is_empty() && catalog.custom.is_empty(), "{catalog:?}");
    assert!(stage.is_silent(), "neither is in the other's way");
}

#[tokio::test]
async fn a_policy_lists_what_tenants_have() {
    let mut stage = stage(TIME).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", "")).await;
    stage.grant(&granting(&format!("{TIME}, listed: true")));
    stage.until_loaded_in(&id("shop", "queue"), 2).await;
    let names: Vec<_> = stage.reader.catalog().external.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["depth"]);
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_metric_in_another_namespace_is_refused() {
    let mut stage = stage(TIME).await;
    let asking = tenant("shop", "queue", "metrics: depth", "serves: { external: [depth], namespaces: [billing] }");
    rejected(&mut stage, asking, &["serves.namespaces with billing", "shop"]).await;
    assert_eq!(stage.ask_in("billing", "depth").await.unwrap_err().reason, Reason::MetricNotFound);
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_metric_of_the_platform_does_not_get_it() {
    let mut stage = stage(TIME).await;
    stage.load(plugin("platform", "value: '1'", "serves: { external: ['dep*'] }")).await;
    let claims = "serves: { external: [depth], priority: 1000 }";
    stage.load(tenant("shop", "aaa", "value: '666'", claims)).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "1", "not even exactly, by name and by priority");
}

#[tokio::test]
async fn a_tenant_that_claims_what_the_platform_claims_is_told_so() {
    let mut stage = stage(TIME).await;
    stage.load(plugin("platform", "value: '1'", "serves: { external: [depth] }")).await;
    stage.load(tenant("shop", "aaa", "value: '666'", "serves: { external: [depth] }")).await;
    let report = stage.report().await;
    assert_eq!((report.id, report.reason), (id("shop", "aaa"), "Conflict"));
    assert!(report.message.contains("plugins/platform"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap(), "1");
}

#[tokio::test]
async fn a_tenant_that_asks_for_metrics_k8s_io_is_refused() {
    let mut stage = stage(TIME).await;
    let asking = tenant("shop", "queue", "metrics: depth", "serves: { resource: true }");
    rejected(&mut stage, asking, &["serves.resource is for plugins in the adapter's own namespace"]).await;
    assert_eq!(stage.reader.nodes(&[]).await.unwrap_err().reason, Reason::Unavailable);
}

#[tokio::test]
async fn a_tenant_that_asks_for_an_origin_outside_its_namespace_is_refused() {
    for origin in [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "http://2130706433:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://169.254.0.1",
        "http://169.254.169.254",
        "http://metadata.google.internal",
        "https://kubernetes.default.svc",
        "https://10.96.0.1",
        "http://mq.billing.svc",
        "http://mq.billing.svc.cluster.local",
        "http://mq.shop.svc.example.com",
        "http://mq.shop",
        "https://mq.example.com",
    ] {
        let mut stage = stage(TIME).await;
        let asking = tenant("shop", "queue", "metrics: depth", &format!("egress: ['http://mq.shop.svc', '{origin}']"));
        let words = ["egress to http", "`egress`", "*://*.shop.svc:*", "ask the platform team"];
        rejected(&mut stage, asking, &words).await;
    }
}

#[tokio::test]
async fn a_tenant_reaches_the_services_of_its_namespace() {
    let mut stage = stage(TIME).await;
    let body = "egress: ['http://mq.shop.svc:15672', 'https://mq.shop.svc.cluster.local', 'http://a.b.shop.svc.']";
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", body)).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
}

/// `--internal-cidrs` of the test's world lets the operator's plugins reach loopback.
#[tokio::test]
async fn the_operators_exceptions_for_loopback_are_not_for_tenants() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(|| async { "reached" })).await });
    let ceilings = format!("{TIME}, egress: ['{origin}']");
    let mut stage = stage(&ceilings).await;
    let (config, egress) =
        (format!("behaviour: imports, url: '{origin}', metrics: depth"), format!("egress: ['{origin}']"));
    stage.load(tenant("shop", "queue", &config, &egress)).await;
    let reached = |values: String| values.split(',').any(|status| status == "200");
    assert!(!reached(stage.ask("depth").await.unwrap()), "a policy's origin lifts no rule for addresses");
    stage.grant(&granting(&format!("{ceilings}, internalAddresses: true")));
    stage.until_loaded_in(&id("shop", "queue"), 2).await;
    assert!(reached(stage.ask("depth").await.unwrap()), "the policy's word does");
    let config = config.replace("depth", "own");
    stage.load(plugin("own", &config, &egress)).await;
    assert!(reached(stage.ask("own").await.unwrap()), "and the operator's plugins need none");
}

#[tokio::test]
async fn a_tenant_that_asks_for_more_than_its_ceilings_is_refused() {
    let ceilings = "limits: { memory: 32Mi, timeout: 5s, cpu: 5s, concurrency: 8, listItems: 10, responseBytes: 1Mi }";
    for (limits, words) in [
        ("memory: 33Mi, concurrency: 8, listItems: 10, responseBytes: 1Mi", ["limits.memory, which is 33Mi", "32Mi"]),
        ("memory: 1Mi, concurrency: 9, listItems: 10, responseBytes: 1Mi", ["limits.concurrency, which is 9", "8"]),
        ("memory: 1Mi, concurrency: 8, listItems: 11, responseBytes: 1Mi", ["limits.listItems, which is 11", "10"]),
        ("memory: 1Mi, concurrency: 8, listItems: 10", ["limits.responseBytes, which is 4Mi", "1Mi"]),
    ] {
        let mut stage = stage(ceilings).await;
        let mut asking = tenant("shop", "queue", "metrics: depth", "");
        asking.manifest = asking.manifest.map(|text| text.replace("timeout: 5s, cpu: 5s", limits));
        rejected(&mut stage, asking, &words).await;
    }
}

#[tokio::test]
async fn without_a_policy_a_tenant_gets_the_defaults_and_no_more() {
    let mut stage = Stage::with_tenants(&["shop"]).await;
    let asking = tenant("shop", "queue", "metrics: depth", "");
    rejected(&mut stage, asking, &["limits.timeout, which is 5s", "is 2s", "ask the operator of the adapter"]).await;
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_file_is_refused_whatever_the_policy_says() {
    let mut stage = stage(&format!("{TIME}, sources: [inline, parts, file]")).await;
    stage.objects.put_file("queue.wasm", guest("probe"));
    let mut asking = tenant("shop", "queue", "metrics: depth", "component: { file: queue.wasm }");
    asking.code.clear();
    rejected(&mut stage, asking, &["component.file", "its ceiling `sources` is inline, parts;"]).await;
}

#[tokio::test]
async fn a_file_of_the_operators_loads_and_a_changed_file_reloads() {
    let mut stage = stage(TIME).await;
    let mut own = plugin("queue", "value: '7', metrics: depth", "component: { file: team/queue.wasm }");
    own.code.clear();
    stage.put(own).await;
    let report = stage.report().await;
    assert_eq!(report.reason, "Waiting");
    assert!(report.message.contains("the file team/queue.wasm does not exist"), "{}", report.message);
    let file = stage.objects.put_file("team/queue.wasm", guest("probe"));
    stage.send(Event::Touched(file.clone())).await;
    assert_eq!(stage.report().await.reason, "Loaded");
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
    stage.objects.put_file("team/queue.wasm", "garbage".into());
    stage.send(Event::Touched(file)).await;
    let report = stage.report().await;
    assert!(report.message.contains("the file team/queue.wasm: not a WebAssembly component"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_registry_outside_the_policy_is_refused() {
    let oci = |reference: &str| {
        let component = format!("component: {{ oci: {{ ref: '{reference}@sha256:{}' }} }}", "a".repeat(64));
        let mut asking = tenant("shop", "queue", "metrics: depth", &component);
        asking.code.clear();
        asking
    };
    let mut closed = stage(TIME).await;
    rejected(&mut closed, oci("r.example/plugins/queue"), &["component.oci", "`sources` is inline, parts"]).await;
    let mut open = stage(&format!("{TIME}, sources: [oci], registries: [r.example/plugins/*]")).await;
    let outside = ["the component of r.example/other/queue", "`registries` is r.example/plugins/*"];
    rejected(&mut open, oci("r.example/other/queue"), &outside).await;
    rejected(&mut open, oci("r.example/plugins/queue"), &["this version does not pull from registries"]).await;
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_credential_of_a_type_outside_the_policy_is_refused() {
    let mut stage = stage(&format!("{TIME}, credentials: [header]")).await;
    let body = "egress: ['http://mq.shop.svc']\n\
                credentials: [{ origin: 'http://mq.shop.svc', bearer: { secret: mq, key: token } }]";
    rejected(&mut stage, tenant("shop", "queue", "metrics: depth", body), &["type bearer", "`credentials` is header"])
        .await;
}

/// A plugin of `shop` that sends the token of Secret `mq` to its own Service.
fn with_credential() -> RawPlugin {
    let body = "egress: ['http://mq.shop.svc']\n\
                credentials: [{ origin: 'http://mq.shop.svc', bearer: { secret: mq, key: token } }]";
    tenant("shop", "queue", "value: '7', metrics: depth", body)
}

#[tokio::test]
async fn a_tenant_that_asks_for_an_unmarked_secret_is_refused() {
    let mut stage = stage(TIME).await;
    let origin = [("wasm-metrics-adapter.io/allowed-origins", "http://mq.shop.svc")];
    stage.objects.put_secret("shop", "mq", &[], &origin, "hunter2");
    rejected(&mut stage, with_credential(), &["Secret shop/mq is not labelled as a credential"]).await;
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_secret_with_another_origin_is_refused() {
    let mut stage = stage(TIME).await;
    let origin = [("wasm-metrics-adapter.io/allowed-origins", "http://other.shop.svc")];
    stage.objects.put_secret("shop", "mq", &CREDENTIAL, &origin, "hunter2");
    rejected(&mut stage, with_credential(), &["shop/mq does not consent to be sent to http://mq.shop.svc"]).await;
}

#[tokio::test]
async fn a_tenant_that_asks_for_another_tenants_secret_finds_none() {
    let mut stage = stage(TIME).await;
    let origin = [("wasm-metrics-adapter.io/allowed-origins", "http://mq.shop.svc")];
    for namespace in ["billing", crate::stage::NAMESPACE] {
        stage.objects.put_secret(namespace, "mq", &CREDENTIAL, &origin, "hunter2");
    }
    stage.put(with_credential()).await;
    let report = stage.report().await;
    assert_eq!(report.reason, "Waiting");
    assert!(report.message.contains("Secret shop/mq does not exist"), "{}", report.message);
}

/// A plugin of `shop` whose value is the token of Secret `redis`.
fn with_secret() -> RawPlugin {
    tenant("shop", "queue", "metrics: depth", "secrets: { value: { secret: redis, key: token } }")
}

#[tokio::test]
async fn a_secret_that_consents_is_read_by_the_guest_and_its_rotation_reloads() {
    let mut stage = stage(TIME).await;
    let secret = stage.objects.put_secret("shop", "redis", &CREDENTIAL, &EXPOSED, "424242");
    stage.load(with_secret()).await;
    assert_eq!(stage.ask("depth").await.unwrap(), "424242");
    stage.objects.put_secret("shop", "redis", &CREDENTIAL, &EXPOSED, "434343");
    stage.send(Event::Touched(secret)).await;
    stage.until("depth", |answer| answer.as_deref() == Ok("434343")).await;
    let told = stage.board.to_json();
    assert!(!told.contains("424242") && !told.contains("434343"), "{told}");
    assert!(stage.is_silent(), "that it serves has been told");
}

#[tokio::test]
async fn a_secret_that_may_be_sent_is_not_read_by_the_guest_for_that() {
    let mut stage = stage(TIME).await;
    let origin = [("wasm-metrics-adapter.io/allowed-origins", "http://mq.shop.svc")];
    stage.objects.put_secret("shop", "redis", &CREDENTIAL, &origin, "hunter2");
    rejected(&mut stage, with_secret(), &["shop/redis does not consent to be read", "expose-to-guest"]).await;
}

#[tokio::test]
async fn a_secret_is_not_exposed_where_the_policy_forbids_it() {
    let mut stage = stage(&format!("{TIME}, guestSecrets: false")).await;
    stage.objects.put_secret("shop", "redis", &CREDENTIAL, &EXPOSED, "hunter2");
    rejected(&mut stage, with_secret(), &["secrets.value", "`guestSecrets` is false"]).await;
}

#[tokio::test]
async fn one_plugin_more_than_the_quota_waits_outside_until_there_is_room() {
    let mut stage = stage(&format!("{TIME}, plugins: 2")).await;
    for name in ["b", "c"] {
        stage.load(tenant("shop", name, &format!("value: '1', metrics: {name}"), "")).await;
    }
    stage.load(tenant("billing", "z", "value: '1', metrics: z", "")).await;
    stage.put(tenant("shop", "d", "value: '1', metrics: d", "")).await;
    let report = stage.report().await;
    assert_eq!((report.id, report.reason), (id("shop", "d"), "Rejected"));
    assert!(report.message.contains("its ceiling `plugins` is 2"), "{}", report.message);
    // The order is that of the names, on every replica, whoever came first.
    stage.put(tenant("shop", "a", "value: '1', metrics: a", "")).await;
    let mut told = [stage.report().await, stage.report().await].map(|report| (report.id.name, report.reason));
    told.sort_unstable();
    assert_eq!(told, [("a".to_owned(), "Loaded"), ("c".to_owned(), "Rejected")]);
    let known = async |stage: &Stage| {
        let mut known = String::new();
        for name in ["a", "b", "c", "d"] {
            known.push_str(if stage.ask(name).await.is_ok() { name } else { "-" });
        }
        known
    };
    assert_eq!(known(&stage).await, "ab--");
    stage.send(Event::Remove(id("shop", "a"))).await;
    let report = stage.report().await;
    assert_eq!((report.id, report.reason), (id("shop", "c"), "Loaded"), "it comes in without another edit");
    assert_eq!(known(&stage).await, "-bc-");
    assert_eq!(stage.ask_in("billing", "z").await.unwrap(), "1");
}

#[tokio::test]
async fn a_plugin_that_a_tightened_policy_forbids_is_withdrawn_and_comes_back() {
    let mut stage = stage(TIME).await;
    stage.load(plugin("platform", "value: '1', metrics: platform", "")).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", "egress: ['http://mq.shop.svc']")).await;
    stage.grant(&granting(&format!("{TIME}, egress: []")));
    let report = stage.report().await;
    assert_eq!((report.id, report.reason), (id("shop", "queue"), "Rejected"));
    for words in ["its ceiling `egress` is nothing", "its metrics are not served"] {
        assert!(report.message.contains(words), "{}", report.message);
    }
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::MetricNotFound);
    assert_eq!(stage.ask("platform").await.unwrap(), "1");
    stage.grant(&granting(TIME));
    let report = stage.report().await;
    assert_eq!((report.id, report.reason), (id("shop", "queue"), "Loaded"));
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
}

#[tokio::test]
async fn an_update_beyond_the_ceiling_leaves_the_last_good_version_until_that_is_forbidden_too() {
    let mut stage = stage(TIME).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", "")).await;
    stage.put(tenant("shop", "queue", "value: '8', metrics: depth", "egress: ['https://mq.example.com']")).await;
    let report = stage.report().await;
    assert!(report.message.ends_with("; the last good version serves on"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap(), "7");
    stage.grant(&granting("limits: { timeout: 1s }"));
    let report = stage.report().await;
    assert!(report.message.ends_with("; its metrics are not served"), "{}", report.message);
    assert_eq!(stage.ask("depth").await.unwrap_err().reason, Reason::MetricNotFound);
}

#[tokio::test]
async fn a_policy_that_changes_nothing_for_a_plugin_reloads_nothing() {
    let mut stage = stage(TIME).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", "")).await;
    stage.grant(&format!("{}\n", granting(TIME).replace("}", ", }").replace(", , }", ", }")));
    stage.load(tenant("shop", "other", "value: '8', metrics: other", "")).await;
    assert_eq!(stage.loads_of(&id("shop", "queue"), "loaded"), 1);
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_holds_up_nobody() {
    let stage = Stage::with_tenants(&["shop", "billing"]).await;
    stage.synced(&[]).await;
    stage.send(Event::Synced { namespace: Some("shop".to_owned()), present: Vec::new() }).await;
    assert!(!stage.first_loads.is_open(), "nothing is known of the third");
    stage.send(Event::Unreadable("billing".to_owned())).await;
    let opened = tokio::time::timeout(crate::stage::PATIENCE, async {
        while !stage.first_loads.is_open() {
            tokio::task::yield_now().await;
        }
    });
    assert!(opened.await.is_ok());
}

#[tokio::test]
async fn without_its_own_namespace_the_adapter_is_not_ready() {
    let stage = Stage::with_tenants(&["shop"]).await;
    stage.send(Event::Synced { namespace: Some("shop".to_owned()), present: Vec::new() }).await;
    stage.send(Event::Unreadable(crate::stage::NAMESPACE.to_owned())).await;
    assert!(!stage.first_loads.is_open());
}

#[tokio::test]
async fn a_restarted_watch_of_one_namespace_withdraws_nothing_of_another() {
    let mut stage = stage(TIME).await;
    stage.load(tenant("shop", "queue", "value: '7', metrics: depth", "")).await;
    stage.load(tenant("billing", "queue", "value: '8', metrics: depth", "")).await;
    stage.synced(&[]).await;
    stage.send(Event::Synced { namespace: Some("billing".to_owned()), present: Vec::new() }).await;
    stage.until_in("billing", "depth", |answer| answer.is_err()).await;
    assert_eq!(stage.ask_in("shop", "depth").await.unwrap(), "7");
}
