//! A real Prometheus, and what it scrapes in the place of kubelets: cAdvisor's series, made from figures that the test sets.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

use crate::{control_plane::free_ports, eventually::eventually, process::Process, programs};

/// How long Prometheus may take until it answers queries.
const START: Duration = Duration::from_secs(30);

/// One cgroup as cAdvisor sees it.
#[derive(Debug, Clone)]
pub struct Cgroup {
    /// The labels of its series, as in `id="/",node="n1"`.
    pub labels: String,
    /// What it uses all the time.
    pub cores: f64,
    /// Its working set.
    pub bytes: u64,
    /// Whether it is gone after [`Prometheus::end_brief`].
    pub brief: bool,
}

/// A running Prometheus with its one target; both end when dropped.
#[derive(Debug)]
pub struct Prometheus {
    origin: String,
    process: Process,
    shown: Arc<Shown>,
    target: JoinHandle<()>,
}

/// What the target shows.
#[derive(Debug)]
struct Shown {
    cgroups: Vec<Cgroup>,
    /// When all began.
    first_scrape: OnceLock<Instant>,
    brief_ended: AtomicBool,
}

impl Prometheus {
    /// Starts the target, and a Prometheus that scrapes it each second; waits until that answers. Its log is in the folder.
    ///
    /// # Errors
    /// Fails when Prometheus is not in the cache or does not become ready; the end of its log is in the error.
    pub async fn start(cgroups: Vec<Cgroup>, folder: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let scraped = listener.local_addr()?;
        let shown = Arc::new(Shown { cgroups, first_scrape: OnceLock::new(), brief_ended: AtomicBool::new(false) });
        let target = tokio::spawn(serve(listener, Arc::clone(&shown)));
        let [port] = free_ports()?;
        let data = folder.join("prometheus");
        fs::create_dir_all(&data)?;
        let configuration = data.join("prometheus.yml");
        fs::write(&configuration, configuration_for(scraped))?;
        let flags = [
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", data.join("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let process = Process::start("prometheus", &programs::control_plane("prometheus")?, &flags, folder)?;
        let mut prometheus = Self { origin: format!("http://127.0.0.1:{port}"), process, shown, target };
        prometheus.wait_until_ready(port).await.with_context(|| prometheus.process.log_tail())?;
        Ok(prometheus)
    }

    async fn wait_until_ready(&mut self, port: u16) -> Result<()> {
        eventually("Prometheus listens", START, async || {
            self.process.ensure_running()?;
            let status = get(port, "/-/ready").await?;
            ensure!(status.is_success(), "/-/ready answered {status}");
            Ok(())
        })
        .await
    }

    /// Ends the cgroups that are brief: from the next scrape on they are not shown.
    pub fn end_brief(&self) {
        self.shown.brief_ended.store(true, Ordering::Relaxed);
    }

    /// Where it answers, as in `http://127.0.0.1:9090`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.target.abort();
    }
}

/// prometheus.yml, in JSON, which is YAML as well.
fn configuration_for(target: SocketAddr) -> String {
    let targets = json!([{ "targets": [target.to_string()] }]);
    json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [{ "job_name": "cadvisor", "static_configs": targets }],
    })
    .to_string()
}

async fn get(port: u16, path: &str) -> Result<StatusCode> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, format!("127.0.0.1:{port}"));
    Ok(sender.send_request(request.body(Full::<Bytes>::default())?).await?.status())
}

async fn serve(listener: TcpListener, shown: Arc<Shown>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shown = Arc::clone(&shown);
        let answer = service_fn(move |_: Request<Incoming>| {
            let text = shown.exposition(shown.first_scrape.get_or_init(Instant::now).elapsed());
            let response = Response::builder().header(header::CONTENT_TYPE, "text/plain; version=0.0.4");
            async move { response.body(Full::new(Bytes::from(text))) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

impl Shown {
    /// The series (Prometheus text format 0.0.4) so long after all began.
    fn exposition(&self, age: Duration) -> String {
        let brief_ended = self.brief_ended.load(Ordering::Relaxed);
        let cgroups: Vec<&Cgroup> = self.cgroups.iter().filter(|cgroup| !(cgroup.brief && brief_ended)).collect();
        let family = |name: &str, kind: &str, value: &dyn Fn(&Cgroup) -> f64| {
            let lines = cgroups.iter().map(|cgroup| format!("{name}{{{}}} {}\n", cgroup.labels, value(cgroup)));
            format!("# TYPE {name} {kind}\n{}", lines.collect::<String>())
        };
        let cpu = family("container_cpu_usage_seconds_total", "counter", &|cgroup| cgroup.cores * age.as_secs_f64());
        cpu + &family("container_memory_working_set_bytes", "gauge", &|cgroup| cgroup.bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_grows_and_memory_stays_until_the_end() {
        let lasting = Cgroup { labels: "node=\"n1\"".to_owned(), cores: 0.25, bytes: 1024, brief: false };
        let ended = Cgroup { brief: true, ..lasting.clone() };
        let cgroups = vec![lasting, ended];
        let shown = Shown { cgroups, first_scrape: OnceLock::new(), brief_ended: AtomicBool::new(true) };
        let text = shown.exposition(Duration::from_secs(4));
        assert_eq!(
            text,
            "# TYPE container_cpu_usage_seconds_total counter\n\
             container_cpu_usage_seconds_total{node=\"n1\"} 1\n\
             # TYPE container_memory_working_set_bytes gauge\n\
             container_memory_working_set_bytes{node=\"n1\"} 1024\n"
        );
    }
}
