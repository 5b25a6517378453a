use std::{fs, path::Path, time::SystemTime};

use super::*;

/// Writes a file of yesterday: it is at rest at once.
fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    age(&path, 86_400);
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn told(events: Vec<Event>) -> Vec<String> {
    let name = |event| match event {
        Event::Put(raw) => format!("put {}", raw.id),
        Event::Remove(id) => format!("remove {id}"),
        Event::Touched(Dependency::Part { namespace, name }) => format!("part {namespace}/{name}"),
        Event::Touched(Dependency::Secret { namespace, name }) => format!("secret {namespace}/{name}"),
        Event::Touched(Dependency::ConfigMap { namespace, name }) => format!("config map {namespace}/{name}"),
        Event::Touched(Dependency::File { path }) => format!("file {path}"),
        Event::Touched(other) => panic!("{other:?} can't be in a folder"),
        Event::Unreadable(namespace) => format!("unreadable {namespace}"),
        Event::Synced { present, .. } => {
            format!("synced {}", present.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
    };
    events.into_iter().map(name).collect()
}

fn only_put(events: Vec<Event>) -> RawPlugin {
    let mut puts = events.into_iter().filter_map(|event| match event {
        Event::Put(raw) => Some(raw),
        _ => None,
    });
    let put = puts.next().expect("a plugin");
    assert!(puts.next().is_none());
    put
}

#[test]
fn files_of_one_name_are_one_plugin() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "queue.wasm", b"code");
    write(folder.path(), "queue.yaml", "kind: PluginConfiguration");
    write(folder.path(), "README.md", "not a plugin");
    write(folder.path(), ".queue.wasm.swp", "not a plugin");
    let mut source = DirectorySource::new(folder.path(), "local");
    let events = source.look();
    let put = only_put(events.clone());
    assert_eq!(put.manifest.as_deref(), Some("kind: PluginConfiguration"));
    assert_eq!(put.code.get("plugin.wasm").map(AsRef::as_ref), Some(&b"code"[..]));
    assert!(put.uid.is_empty() && put.version.ends_with('Z') && put.unknown_keys.is_empty());
    assert_eq!(told(events), ["put local/queue", "synced local/queue"]);
    assert_eq!(told(source.look()), [""; 0]);

    write(folder.path(), "queue.wasm.gz", b"packed");
    assert_eq!(only_put(source.look()).code.len(), 2, "which of them counts, the bundle decides");
}

#[test]
fn an_empty_folder_is_synced_too() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(told(DirectorySource::new(folder.path(), "local").look()), ["synced "]);
}

#[test]
fn young_files_count_once_they_are_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.wasm");
    let mut source = DirectorySource::new(folder.path(), "local");
    fs::write(&path, b"ha").unwrap();
    assert_eq!(told(source.look()), [""; 0], "half-written perhaps");
    fs::write(&path, b"half").unwrap();
    assert_eq!(told(source.look()), [""; 0], "still in motion");
    assert_eq!(told(source.look()), ["put local/queue", "synced local/queue"]);
}

#[test]
fn an_atomic_rename_is_one_change_and_a_moment_without_the_file_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "queue.wasm", b"one");
    let mut source = DirectorySource::new(folder.path(), "local");
    source.look();
    write(folder.path(), ".new", b"two");
    fs::rename(folder.path().join(".new"), folder.path().join("queue.wasm")).unwrap();
    assert_eq!(only_put(source.look()).code.get("plugin.wasm").map(AsRef::as_ref), Some(&b"two"[..]));

    fs::rename(folder.path().join("queue.wasm"), folder.path().join("queue.wasm~")).unwrap();
    assert_eq!(told(source.look()), [""; 0]);
    write(folder.path(), "queue.wasm", b"three");
    assert_eq!(told(source.look()), ["put local/queue"]);
}

#[test]
fn deleted_files_remove_their_plugin() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "queue.wasm", b"one");
    let mut source = DirectorySource::new(folder.path(), "local");
    source.look();
    fs::remove_file(folder.path().join("queue.wasm")).unwrap();
    let looked: Vec<_> = (0..3).map(|_| told(source.look())).collect();
    assert_eq!(looked, [vec![], vec!["remove local/queue".to_owned()], vec![]]);
}

#[test]
fn links_are_followed_as_a_mounted_configmap_needs() {
    let folder = tempfile::tempdir().unwrap();
    for (version, code) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        write(&folder.path().join(version), "queue.wasm", code);
    }
    let link = |version: &str| {
        let data = folder.path().join("..data");
        let next = folder.path().join("..data_tmp");
        std::os::unix::fs::symlink(version, &next).unwrap();
        fs::rename(next, data).unwrap();
    };
    link("..1");
    std::os::unix::fs::symlink("..data/queue.wasm", folder.path().join("queue.wasm")).unwrap();
    let mut source = DirectorySource::new(folder.path(), "local");
    assert_eq!(only_put(source.look()).code.get("plugin.wasm").map(AsRef::as_ref), Some(&b"one"[..]));
    link("..2");
    assert_eq!(only_put(source.look()).code.get("plugin.wasm").map(AsRef::as_ref), Some(&b"two"[..]));
}

const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: queue, namespace: metrics, labels: { wasm-metrics-adapter.io/plugin: "true" }, uid: u, resourceVersion: "7" }
data: { plugin.yaml: "suspend: true", other: text }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: queue-0, namespace: metrics, labels: { wasm-metrics-adapter.io/part-of: queue } }
immutable: true
binaryData: { part: AAE= }
---
apiVersion: v1
kind: Secret
metadata: { name: mq, labels: { wasm-metrics-adapter.io/credential: "true" } }
stringData: { token: abc }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: unrelated }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: front }
"#;

#[tokio::test]
async fn kubernetes_objects_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "all.yaml", OBJECTS);
    let mut source = DirectorySource::new(folder.path(), "local");
    let dependencies = source.dependencies();
    let missing = dependencies.secret("local", "mq").await;
    assert!(matches!(missing, Err(ReadError::NotFound(name)) if name.contains("local/mq")));

    let events = source.look();
    assert_eq!(
        told(events.clone()),
        [
            "part metrics/queue-0",
            "secret local/mq",
            "config map local/unrelated",
            "put metrics/queue",
            "synced metrics/queue"
        ]
    );
    let put = only_put(events);
    assert_eq!((put.uid.as_str(), put.manifest.as_deref()), ("", Some("suspend: true")));
    assert_eq!(put.unknown_keys, ["other"]);
    let part = dependencies.part("metrics", "queue-0").await.unwrap();
    assert_eq!((part.bytes.as_ref(), part.part_of.as_deref(), part.immutable), (&[0, 1][..], Some("queue"), true));
    let secret = dependencies.secret("local", "mq").await.unwrap();
    assert_eq!(secret.data.get("token").map(AsRef::as_ref), Some(&b"abc"[..]));

    write(folder.path(), "all.yaml", OBJECTS.replace("token: abc", "token: xyz"));
    assert_eq!(told(source.look()), ["secret local/mq", "put metrics/queue"]);
}

#[test]
fn a_manifest_alone_is_a_plugin_whose_code_is_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "queue.yaml", "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n");
    let put = only_put(DirectorySource::new(folder.path(), "local").look());
    assert_eq!((put.id.to_string().as_str(), put.code.len()), ("local/queue", 0));
    assert!(put.manifest.is_some());
}

#[test]
fn files_that_make_no_sense_keep_their_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "all.yaml", OBJECTS);
    let mut source = DirectorySource::new(folder.path(), "local");
    source.look();
    for broken in ["a: [", "kind: ConfigMap\ndata: 5", "kind: Secret\nmetadata: {}", "a: &x [1]\nb: *x\n"] {
        write(folder.path(), "all.yaml", broken);
        assert_eq!(told(source.look()), [""; 0], "{broken}");
    }
    write(folder.path(), "all.yaml", [0xff, 0xfe]);
    assert_eq!(told(source.look()), [""; 0]);
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(told(source.look()), [""; 0], "a folder that can't be read takes nothing away");
}

#[test]
fn lists_are_their_items_and_the_first_of_two_plugins_of_one_name_counts() {
    let folder = tempfile::tempdir().unwrap();
    let item = |text: &str| {
        serde_json::json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "queue", "labels": {"wasm-metrics-adapter.io/plugin": "true"}}, "data": {"plugin.yaml": text}})
    };
    write(folder.path(), "b.yaml", item("of b").to_string());
    write(
        folder.path(),
        "a.yml",
        serde_json::json!({"kind": "List", "apiVersion": "v1", "items": [item("of a")]}).to_string(),
    );
    let mut source = DirectorySource::new(folder.path(), "local");
    assert_eq!(only_put(source.look()).manifest.as_deref(), Some("of a"));
    fs::remove_file(folder.path().join("a.yml")).unwrap();
    source.look();
    assert_eq!(only_put(source.look()).manifest.as_deref(), Some("of b"));
}

#[tokio::test]
async fn run_sends_what_happens_until_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "queue.wasm", b"one");
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let running = tokio::spawn(DirectorySource::new(folder.path(), "local").run(sender));
    let first = receiver.recv().await.into_iter().collect();
    assert_eq!(told(first), ["put local/queue"]);
    let second = receiver.recv().await.into_iter().collect();
    assert_eq!(told(second), ["synced local/queue"]);
    fs::write(folder.path().join("queue.wasm"), b"two").unwrap();
    let third = receiver.recv().await.into_iter().collect();
    assert_eq!(told(third), ["put local/queue"]);
    drop(receiver);
    running.await.unwrap();
}
