//! The process as a whole, by its own binary: how it ends, and what it does without.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "process/adapter.rs"]
mod adapter;
#[path = "process/backend.rs"]
mod backend;

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustix::process::Signal;
use tokio::net::TcpStream;

use adapter::{Adapter, PATIENCE, get, read};
use backend::Backend;

const DEPTH: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/depth";
/// Another question: those who ask the same at the same time share one call.
const DEPTH_ELSEWHERE: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/elsewhere/depth";

#[tokio::test]
async fn requests_under_way_at_sigterm_are_answered_and_the_process_ends_with_0() {
    let backend = Backend::start().await;
    let mut adapter = Adapter::start(&[], &backend.origin).await;
    let (mut one, mut other) = (adapter.http1().await, adapter.http2().await);
    let one = tokio::spawn(one.send_request(get(DEPTH)));
    let other = tokio::spawn(other.send_request(get(DEPTH_ELSEWHERE)));
    backend.until_asked(2).await;
    adapter.signal(Signal::TERM);
    adapter.until("it is stopping", |log| log.contains("stopping: not ready").then_some(())).await;
    until_refused(&adapter).await;
    backend.answer();
    for request in [one, other] {
        let (status, body) = read(request.await.unwrap().unwrap()).await;
        // A machine that needs five seconds for the lines above has met the plugin's own limit, which is an answer too.
        let in_time = status == StatusCode::OK && body.contains(r#""value":"42""#);
        assert!(in_time || status == StatusCode::GATEWAY_TIMEOUT, "{status}: {body}");
    }
    assert_eq!(adapter.end().await.code(), Some(0), "{}", adapter.log());
    assert!(adapter.log().lines().last().unwrap().contains("stopped"), "{}", adapter.log());
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let backend = Backend::start().await;
    let mut adapter = Adapter::start(&[], &backend.origin).await;
    let mut client = adapter.http2().await;
    let under_way = tokio::spawn(client.send_request(get(DEPTH)));
    backend.until_asked(1).await;
    adapter.signal(Signal::TERM);
    adapter.until("it is stopping", |log| log.contains("stopping: not ready").then_some(())).await;
    adapter.signal(Signal::INT);
    let status = adapter.end().await;
    let log = adapter.log();
    if log.contains("second signal") {
        assert_eq!(status.code(), Some(1), "{log}");
        // Cut, or answered that it was: its call ends with the process, and its connection may be the last to go.
        let answer = under_way.await.unwrap();
        assert!(answer.as_ref().map_or(true, |answer| answer.status().is_server_error()), "{answer:?}");
    } else {
        // The plugin's limit of five seconds came first, so there was nothing left to cut.
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

/// Another user than root, and no folder to write to: what it compiles, it keeps in memory. `deploy/` gives it a cache beside that.
#[tokio::test]
async fn a_user_who_may_write_nowhere_runs_it() {
    let backend = Backend::start().await;
    backend.answer();
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere, whatever a folder says.
    let as_nobody = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs"];
    let launcher: &[&str] = if rustix::process::geteuid().is_root() { &as_nobody } else { &[] };
    let temporary = format!("TMPDIR={}", closed.path().display());
    let launcher: Vec<&str> = launcher.iter().copied().chain(["env", &temporary]).collect();
    let mut adapter = Adapter::start(&launcher, &backend.origin).await;
    let (status, body) = read(adapter.http2().await.send_request(get(DEPTH)).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body}\n{}", adapter.log());
    assert_eq!(closed.path().read_dir().unwrap().count(), 0, "nothing was written");
    adapter.signal(Signal::TERM);
    assert_eq!(adapter.end().await.code(), Some(0), "{}", adapter.log());
}

/// Who floods it with connections takes its last descriptor: who is connected is served, and afterwards everybody is.
#[tokio::test]
async fn connections_beyond_the_descriptors_are_survived() {
    let backend = Backend::start().await;
    backend.answer();
    let mut adapter = Adapter::start(&["prlimit", "--nofile=96:96"], &backend.origin).await;
    let mut connected = adapter.http1().await;
    let began = Instant::now();
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(adapter.address).await.unwrap());
    }
    let refused = |log: &str| log.lines().filter(|line| line.contains("a connection could not be accepted")).count();
    adapter.until("it has none left", |log| (refused(log) >= 5).then_some(())).await;
    let (status, body) = read(connected.send_request(get("/readyz")).await.unwrap()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "ok"));
    // Twenty tries a second, and no more: it does not spin.
    let tries = refused(&adapter.log());
    let most = began.elapsed().as_millis() / 50 + 2;
    assert!(tries as u128 <= most, "{tries} tries in {:?}", began.elapsed());
    drop(flood);
    let served = async {
        loop {
            let mut client = adapter.http2().await;
            let (status, body) = read(client.send_request(get(DEPTH)).await.unwrap()).await;
            if status == StatusCode::OK {
                return;
            }
            // A backend that could not be dialled for want of a descriptor is told as such, and only then.
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("it is not served again");
    adapter.signal(Signal::TERM);
    assert_eq!(adapter.end().await.code(), Some(0), "{}", adapter.log());
}

/// New connections are refused as soon as the drain has begun.
async fn until_refused(adapter: &Adapter) {
    let refused = async {
        while TcpStream::connect(adapter.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it takes new connections");
}
