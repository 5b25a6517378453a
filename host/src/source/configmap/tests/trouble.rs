//! A scripted API server that misbehaves, or is in trouble itself.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

const TOO_OLD: &str = "Expired";

fn changed(kind: &str, name: &str, version: u32) -> Value {
    json!({"type": kind, "object": config_map(name, &version.to_string())})
}

/// All events until this one.
async fn until(events: &mut Receiver<Event>, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|seen: &String| seen != last) {
        seen.push(next(events).await);
    }
    seen
}

#[tokio::test]
async fn events_that_come_late_or_twice_change_nothing() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3")], "5").await;
    let watch = plugins.watch("5").await;
    for event in [
        changed("MODIFIED", "a", 10),
        changed("MODIFIED", "a", 9),
        changed("MODIFIED", "a", 10),
        changed("ADDED", "b", 11),
        changed("DELETED", "b", 13),
        changed("MODIFIED", "b", 12),
        changed("DELETED", "a", 8),
        changed("ADDED", "b", 14),
    ] {
        watch.send(event).unwrap();
    }
    assert_eq!(
        until(&mut events, "put metrics/b 14").await,
        [
            "put metrics/a 3",
            "synced metrics/a",
            "put metrics/a 10",
            "put metrics/a 10",
            "put metrics/b 11",
            "remove metrics/b",
            "put metrics/b 14"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lags_behind_puts_nothing_back() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3")], "5").await;
    let watch = plugins.watch("5").await;
    watch.send(changed("MODIFIED", "a", 9)).unwrap();
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": TOO_OLD, "message": "too old"});
    watch.send(json!({"type": "ERROR", "object": gone})).unwrap();
    let (asked, reply) = plugins.next().await;
    assert!(!asked.query.contains("resourceVersion"), "a quorum read, so that it lags in no healthy cluster: {}", asked.query);
    reply.json(200, &list(&[config_map("a", "3")], "5", ""));
    let watch = plugins.watch("5").await;
    watch.send(changed("MODIFIED", "a", 12)).unwrap();
    assert_eq!(
        until(&mut events, "put metrics/a 12").await,
        ["put metrics/a 3", "synced metrics/a", "put metrics/a 9", "synced metrics/a", "put metrics/a 12"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_that_expires_starts_the_list_anew() {
    let (mut plugins, mut events) = start();
    plugins.next().await.1.json(200, &list(&[config_map("a", "3")], "5", "more"));
    let (asked, reply) = plugins.next().await;
    assert!(asked.query.contains("continue=more"), "{}", asked.query);
    reply.status(410, TOO_OLD);
    plugins.list(&[config_map("a", "3"), config_map("b", "4")], "9").await;
    assert_eq!(
        until(&mut events, "synced metrics/a metrics/b").await,
        ["put metrics/a 3", "put metrics/a 3", "put metrics/b 4", "synced metrics/a metrics/b"]
    );
}

#[tokio::test(start_paused = true)]
async fn connections_that_drop_lose_and_repeat_nothing() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3")], "5").await;
    until(&mut events, "synced metrics/a").await;
    let mut from = 5;
    for version in 10..20 {
        let watch = plugins.watch(&from.to_string()).await;
        watch.send(changed("MODIFIED", "a", version)).unwrap();
        assert_eq!(next(&mut events).await, format!("put metrics/a {version}"));
        // A bookmark moves the place to go on from, though nothing has changed.
        from = version * 100;
        let bookmark = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": from.to_string()}});
        watch.send(json!({"type": "BOOKMARK", "object": bookmark})).unwrap();
    }
    plugins.watch(&from.to_string()).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_in_silence_is_noticed_within_a_minute() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3")], "5").await;
    let silent = plugins.watch("5").await;
    let began = Instant::now();
    let watch = plugins.watch("5").await;
    assert!(began.elapsed() < Duration::from_secs(70), "{:?}", began.elapsed());
    watch.send(changed("MODIFIED", "a", 9)).unwrap();
    assert_eq!(until(&mut events, "put metrics/a 9").await.len(), 3);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_restarts_is_asked_ever_more_rarely_and_then_goes_on() {
    let (mut plugins, mut events) = start();
    plugins.list(&[config_map("a", "3")], "5").await;
    drop(plugins.watch("5").await);
    let began = Instant::now();
    for refused in 0..6 {
        let (_, reply) = plugins.next().await;
        if refused % 2 == 0 { reply.cut() } else { reply.status(503, "ServiceUnavailable") }
    }
    assert!(began.elapsed() > Duration::from_secs(5), "six tries in {:?}", began.elapsed());
    plugins.watch("5").await.send(changed("MODIFIED", "a", 9)).unwrap();
    assert_eq!(
        until(&mut events, "put metrics/a 9").await,
        ["put metrics/a 3", "synced metrics/a", "put metrics/a 9"],
        "nothing was withdrawn meanwhile"
    );
}

#[tokio::test]
async fn a_plugin_is_read_again_while_it_is_one() {
    let path = format!("{CONFIGMAPS}/a");
    let id = PluginId { namespace: "metrics".to_owned(), name: "a".to_owned() };
    let mut labelled = config_map("a", "9");
    labelled["metadata"]["labels"] = json!({"wasm-metrics-adapter.io/plugin": "true"});
    let plugin = got(&path, (200, labelled), async |read| read.plugin(&id).await).await.unwrap();
    assert_eq!((plugin.version.as_str(), plugin.code.len()), ("9", 1));
    let unlabelled = got(&path, (200, config_map("a", "9")), async |read| read.plugin(&id).await).await;
    assert!(matches!(unlabelled, Err(ReadError::NotFound(_))), "{unlabelled:?}");
}
