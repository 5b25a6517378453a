//! A ConfigMap that comes, changes, turns to garbage and goes, and files beside it.

use std::{collections::BTreeMap, convert::Infallible};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{
    Mutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::*;

const PATH: &str = "/api/v1/namespaces/kube-system/configmaps";

/// What the API server says of the ConfigMap.
#[derive(Clone)]
enum Seen {
    Forbidden,
    Missing,
    There(BTreeMap<&'static str, String>),
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Changes = Arc<Mutex<UnboundedReceiver<Seen>>>;

/// An API server whose ConfigMap is first as given and then whatever is sent, each change one event.
fn api_server(seen: Seen) -> (kube::Client, UnboundedSender<Seen>) {
    let (sender, receiver) = unbounded_channel();
    let changes: Changes = Arc::new(Mutex::new(receiver));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, changes) = (seen.clone(), changes.clone());
        async move { Ok::<_, Infallible>(answer(&request, seen, changes)) }
    });
    (kube::Client::new(service, "default"), sender)
}

fn answer(request: &Request<Body>, seen: Seen, changes: Changes) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    if request.uri().path() == format!("{PATH}/{NAME}") {
        return match seen {
            Seen::Forbidden => failure(StatusCode::FORBIDDEN, "Forbidden"),
            Seen::Missing => failure(StatusCode::NOT_FOUND, "NotFound"),
            Seen::There(data) => Response::new(body(&object(&data))),
        };
    }
    assert_eq!(request.uri().path(), PATH);
    assert!(query.contains("fieldSelector=metadata.name%3Dextension-apiserver-authentication"), "{query}");
    if !query.contains("watch=true") {
        let items = if let Seen::There(data) = seen { vec![object(&data)] } else { Vec::new() };
        return Response::new(body(
            &json!({ "kind": "ConfigMapList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items }),
        ));
    }
    let events = futures::stream::unfold(changes, async |changes| {
        let event = match changes.lock().await.recv().await? {
            Seen::There(data) => json!({ "type": "MODIFIED", "object": object(&data) }),
            _ => json!({ "type": "DELETED", "object": object(&BTreeMap::new()) }),
        };
        Some((Ok(http_body::Frame::data(Bytes::from(format!("{event}\n")))), changes))
    });
    Response::new(StreamBody::new(events).boxed_unsync())
}

fn object(data: &BTreeMap<&str, String>) -> Value {
    json!({ "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "resourceVersion": "2" }, "data": data })
}

fn body(value: &Value) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::from(value.to_string()).boxed_unsync()
}

fn failure(status: StatusCode, reason: &str) -> Answer {
    let status_object = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason,
                                "code": status.as_u16() });
    Response::builder().status(status).body(body(&status_object)).unwrap()
}

fn authority() -> String {
    rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap().cert.pem()
}

fn with(ca: &str, names: &str) -> Seen {
    Seen::There(
        [("requestheader-client-ca-file", ca.to_owned()), ("requestheader-allowed-names", names.to_owned())].into(),
    )
}

fn sources(client: kube::Client) -> Sources {
    Sources { client: Some(client), ..Sources::default() }
}

async fn until(trust: &Trust, names: &[&str]) {
    let seen = async {
        while trust.load().allowed_names != names {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
}

#[tokio::test]
async fn the_config_map_is_followed_and_garbage_and_absence_leave_what_it_last_said() {
    let ca = authority();
    let (client, cluster) = api_server(Seen::Missing);
    let (trust, config) = ClusterConfig::start(sources(client)).await.unwrap();
    assert!(trust.load().allowed_names.is_empty(), "missing is tolerated, and trusts nobody");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(config.run(shutdown.clone()));
    cluster.send(with(&ca, r#"["one"]"#)).unwrap();
    until(&trust, &["one"]).await;
    let generation = trust.load().generation;
    for (bad, next) in [(with("garbage", r#"["bad"]"#), "two"), (with(&ca, "bad"), "three"), (Seen::Missing, "four")] {
        cluster.send(bad).unwrap();
        cluster.send(with(&ca, &format!("[{next:?}]"))).unwrap();
        until(&trust, &[next]).await;
    }
    assert!(trust.load().generation >= generation + 3);
    cluster.send(Seen::Missing).unwrap();
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(trust.load().allowed_names, ["four"]);
}

#[tokio::test]
async fn forbidden_is_an_error_that_names_the_role_unless_it_is_tolerated() {
    let (client, _cluster) = api_server(Seen::Forbidden);
    let error = ClusterConfig::start(sources(client.clone())).await.err().unwrap();
    assert!(error.to_string().contains("extension-apiserver-authentication-reader"), "{error}");
    let tolerant = Sources { tolerate_lookup_failure: true, ..sources(client) };
    assert!(ClusterConfig::start(tolerant).await.is_ok());
}

#[tokio::test]
async fn files_and_flags_win_and_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (client_ca_file, ca_file) = (folder.path().join("client.crt"), folder.path().join("proxy.crt"));
    std::fs::write(&client_ca_file, authority()).unwrap();
    std::fs::write(&ca_file, authority()).unwrap();
    let (client, _cluster) = api_server(with(&authority(), r#"["from the cluster"]"#));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let front_proxy = FrontProxy {
        ca_file: ca_file.clone(),
        allowed_names: names(&["from a flag"]),
        username_headers: names(&["x-remote-user"]),
        uid_headers: Vec::new(),
        group_headers: names(&["x-remote-group"]),
        extra_header_prefixes: names(&["x-remote-extra-"]),
    };
    let sources =
        Sources { client_ca_file: Some(client_ca_file.clone()), front_proxy: Some(front_proxy), ..sources(client) };
    let (trust, mut config) = ClusterConfig::start(sources).await.unwrap();
    assert_eq!(trust.load().allowed_names, ["from a flag"]);
    config.refresh().await;
    assert_eq!(trust.load().generation, 1, "nothing has changed");
    std::fs::write(&ca_file, authority()).unwrap();
    config.refresh().await;
    assert_eq!(trust.load().generation, 2);
    for bad in ["garbage", ""] {
        std::fs::write(&client_ca_file, bad).unwrap();
        config.refresh().await;
    }
    std::fs::remove_file(&client_ca_file).unwrap();
    config.refresh().await;
    assert_eq!(trust.load().generation, 2, "garbage and missing files leave what was trusted");
    let missing = Sources { client_ca_file: Some(client_ca_file), ..Sources::default() };
    assert!(matches!(ClusterConfig::start(missing).await.err(), Some(ClusterConfigError::File { .. })));
}

/// A volume as kubelet makes it: the file is a link into `..data`, which is a link to the version's folder and swapped by rename.
fn swap_volume(volume: &std::path::Path, version: &str, content: &str) {
    use std::os::unix::fs::symlink;
    let folder = volume.join(format!("..{version}"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), content).unwrap();
    symlink(format!("..{version}"), volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    let _ = symlink("..data/ca.crt", volume.join("ca.crt"));
}

#[tokio::test(start_paused = true)]
async fn a_file_beside_the_config_map_replaces_its_part_and_is_followed_through_symlinks() {
    let volume = tempfile::tempdir().unwrap();
    let (first, second, of_the_cluster) = (authority(), authority(), authority());
    swap_volume(volume.path(), "1", &first);
    let (client, _cluster) = api_server(with(&of_the_cluster, r#"["from the cluster"]"#));
    let sources = Sources { client_ca_file: Some(volume.path().join("ca.crt")), ..sources(client) };
    let (trust, config) = ClusterConfig::start(sources).await.unwrap();
    assert_eq!(trust.load().allowed_names, ["from the cluster"], "the other part stays the cluster's");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(config.run(shutdown.clone()));
    tokio::time::sleep(FILES_EVERY).await;
    assert_eq!(trust.load().generation, 1);
    swap_volume(volume.path(), "2", &second);
    let noticed = async {
        while trust.load().generation == 1 {
            tokio::time::sleep(FILES_EVERY).await;
        }
    };
    tokio::time::timeout(FILES_EVERY * 1000, noticed).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
}
