//! The whole adapter as a process: with all calls of two plugins spinning and hanging, another plugin, discovery and health go on;
//! with its file gone, it compiles on. Figures are printed; with `CROWD_BOUNDS=1`, on a machine that does nothing else, they are held to their bounds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_util::sync::CancellationToken;

/// For what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PROGRAM: &str = env!("CARGO_BIN_EXE_wasm-metrics-adapter");
const METRICS: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop";
/// Calls that one plugin may have under way.
const CALLS: usize = 16;
const SAMPLES: usize = 300;

/// The adapter on loopback, over one HTTP/2 connection as kube-apiserver has it.
#[derive(Clone)]
struct Adapter {
    base: String,
    client: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    _process: Arc<Process>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Adapter {
    async fn start(program: &Path, folder: &Path) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        fs::write(&certificate, issued.cert.pem()).unwrap();
        fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().build();

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["serve", "--request-log=off", "--guest-threads=2"])
            .arg(format!("--secure-port={port}"))
            .arg(format!("--plugin-dir={}", folder.join("plugins").display()))
            .arg(format!("--tls-cert-file={}", certificate.display()))
            .arg(format!("--tls-private-key-file={}", key.display()))
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join("adapter.log")).unwrap())
            .spawn()
            .unwrap();
        let adapter = Self {
            base: format!("https://localhost:{port}"),
            client: legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(https),
            _process: Arc::new(Process(process)),
        };
        adapter.until("/readyz", is_good).await;
        adapter
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.base).parse().unwrap()).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Asks until the answer will do.
    async fn until(&self, path: &str, will_do: impl Fn(Option<&(u16, String)>) -> bool) {
        let asked = async {
            while !will_do(self.get(path).await.as_ref()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{path}"));
    }

    /// The 99th percentile of the time to an answer, each of which must be good.
    async fn p99(&self, path: &str) -> Duration {
        let mut times = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let began = Instant::now();
            let (status, body) = tokio::time::timeout(PATIENCE, self.get(path)).await.unwrap().unwrap();
            assert_eq!(status, 200, "{path}: {body}");
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times[SAMPLES * 99 / 100]
    }

    async fn figures(&self) -> [Duration; 3] {
        [
            self.p99(&format!("{METRICS}/healthy")).await,
            self.p99("/apis/external.metrics.k8s.io/v1beta1").await,
            self.p99("/readyz").await,
        ]
    }

    /// Keeps `CALLS` calls of a metric under way; gives the statuses of those that ended.
    fn crowd(&self, metric: &'static str, stop: &CancellationToken) -> Vec<tokio::task::JoinHandle<Vec<u16>>> {
        (0..CALLS).map(|caller| tokio::spawn(self.clone().keep_asking(metric, caller, stop.clone()))).collect()
    }

    /// Asks each time what nobody has asked: the same question would be answered by one call, or by its last failure.
    async fn keep_asking(self, metric: &'static str, caller: usize, stop: CancellationToken) -> Vec<u16> {
        let mut statuses = Vec::new();
        loop {
            let path = format!("{METRICS}/{metric}?labelSelector=asked%3D{caller}-{}", statuses.len());
            let Some(answer) = stop.run_until_cancelled(self.get(&path)).await else { return statuses };
            statuses.push(answer.map_or(0, |(status, _)| status));
        }
    }
}

fn is_good(answer: Option<&(u16, String)>) -> bool {
    answer.is_some_and(|(status, _)| *status == 200)
}

fn plugin(folder: &Path, name: &str, behaviour: &str) {
    let component = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests/probe.wasm");
    fs::copy(&component, folder.join(format!("{name}.wasm")))
        .unwrap_or_else(|_| panic!("run `cargo xtask guests` first"));
    let manifest = format!(
        "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\nserves: {{ external: [{name}] }}\n\
         config: {{ behaviour: {behaviour}, metrics: {name} }}\nlimits: {{ cpu: 5s, timeout: 5s, concurrency: {CALLS} }}\n\
         cache: {{ ttl: 0s }}\n"
    );
    fs::write(folder.join(format!("{name}.yaml")), manifest).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning_and_hanging_guests_in_every_slot_of_two_plugins_delay_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for (name, behaviour) in [("spinning", "spins"), ("hanging", "sleeps"), ("healthy", "good")] {
        plugin(&plugins, name, behaviour);
    }
    let adapter = Adapter::start(Path::new(PROGRAM), folder.path()).await;
    adapter.until(&format!("{METRICS}/healthy"), is_good).await;
    let quiet = adapter.figures().await;

    let stop = CancellationToken::new();
    let crowds = [adapter.crowd("spinning", &stop), adapter.crowd("hanging", &stop)];
    let under_way = |answer: Option<&(u16, String)>| {
        let inflight = |line: &str| line.strip_prefix("wasm_metrics_adapter_requests_inflight ")?.parse::<usize>().ok();
        answer.is_some_and(|(_, text)| text.lines().find_map(inflight).is_some_and(|count| count > 2 * CALLS))
    };
    adapter.until("/metrics", under_way).await;
    let crowded = adapter.figures().await;
    stop.cancel();
    let mut ended = Vec::new();
    for crowd in crowds.into_iter().flatten() {
        ended.extend(crowd.await.unwrap());
    }
    assert!(ended.iter().all(|status| [429, 500, 504].contains(status)), "{ended:?}");

    println!("p99 of {SAMPLES}, quiet -> with {CALLS} spinning and {CALLS} hanging calls:");
    for (what, at) in [("another plugin", 0), ("discovery", 1), ("readiness", 2)] {
        println!("  {what}: {:?} -> {:?}", quiet[at], crowded[at]);
    }
    println!("  0 of {} other requests failed; {} calls of the two plugins were ended", 6 * SAMPLES, ended.len());
    if std::env::var_os("CROWD_BOUNDS").is_some() {
        assert!(crowded[0] <= 2 * quiet[0] + Duration::from_millis(20), "another plugin: {:?}", crowded[0]);
        assert!(crowded[1] < Duration::from_millis(100) && crowded[2] < Duration::from_millis(100), "{crowded:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_whose_file_was_replaced_compiles_on() {
    let folder = tempfile::tempdir().unwrap();
    let (plugins, program) = (folder.path().join("plugins"), folder.path().join("adapter"));
    fs::create_dir(&plugins).unwrap();
    // Copied by another process: a descriptor of ours, inherited by a child of another test, would make it "text file busy".
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    let adapter = Adapter::start(&program, folder.path()).await;
    fs::remove_file(&program).unwrap();
    fs::write(&program, "another release").unwrap();
    plugin(&plugins, "late", "good");
    adapter.until(&format!("{METRICS}/late"), is_good).await;
}
