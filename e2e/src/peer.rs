//! The Go adapter that ours is compared with: the sample adapter of sigs.k8s.io/custom-metrics-apiserver, as a process beside ours
//! on the same control plane, holding values that the tests write into it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Request, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    control_plane::{ControlPlane, free_ports},
    eventually::eventually,
    process::Process,
    programs,
    requests::{self, Answer},
};

/// How long it may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// How often it may ask the API server: each question about `pods/*` makes it list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRate {
    /// As it comes: 5 requests a second.
    Default,
    /// As often as it likes.
    Unlimited,
}

/// The running Go adapter; ends when dropped.
#[derive(Debug)]
pub struct TestAdapter {
    port: u16,
    write_port: u16,
    process: Process,
}

impl TestAdapter {
    /// Starts it and waits until it is ready. It shows the serving certificate of our replicas, so that both are asked alike.
    ///
    /// # Errors
    /// Fails when it was not built, ends, or is not ready in time; the end of its log is in the error.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        Self::start_with(control_plane, ClientRate::Unlimited).await
    }

    /// Starts it with a rate of its own, as [`TestAdapter::start`].
    ///
    /// # Errors
    /// As [`TestAdapter::start`].
    pub async fn start_with(control_plane: &ControlPlane, rate: ClientRate) -> Result<Self> {
        let [port, write_port] = free_ports()?;
        // It reads the objects that it describes and reviews who asks; the sample's own role is not what is compared.
        let kubeconfig = control_plane.admin()?.kubeconfig;
        let file = |name: &str| control_plane.folder().join(name).display().to_string();
        let mut flags = vec![
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--write-port={write_port}"),
            format!("--tls-cert-file={}", file("adapter.crt")),
            format!("--tls-private-key-file={}", file("adapter.key")),
        ];
        if rate == ClientRate::Unlimited {
            flags.extend(["--client-qps=1000000", "--client-burst=1000000"].map(str::to_owned));
        }
        for use_of_it in ["lister", "authentication", "authorization"] {
            flags.push(format!("--{use_of_it}-kubeconfig={}", kubeconfig.display()));
        }
        let mut process =
            Process::start("test-adapter", &programs::go("test-adapter")?, &flags, control_plane.folder())?;
        let anonymous = control_plane.client_of(port, "localhost", None).await?;
        eventually("the Go adapter is ready", READY, async || {
            process.ensure_running()?;
            let ready = requests::get(&anonymous, "/readyz").await?;
            ensure!(ready.status.is_success(), "/readyz answered {}: {}", ready.status, ready.text());
            Ok(())
        })
        .await
        .with_context(|| process.log_tail())?;
        Ok(Self { port, write_port, process })
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its secure port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes a custom metric's value: `namespaces/shop/pods/a/rate` as it is read, labels as `KEY=VALUE,...`.
    ///
    /// # Errors
    /// Fails when it does not take the value.
    pub async fn write(&self, path: &str, labels: &str, quantity: &str) -> Result<()> {
        let body = Full::new(Bytes::from(format!("{quantity:?}")));
        let request = Request::post(format!("/write-metrics/{path}?labels={}", labels.replace('=', "%3D")))
            .header("host", "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(body)?;
        let stream = TcpStream::connect(("127.0.0.1", self.write_port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(request).await?).await?;
        ensure!(answer.status.is_success(), "{path} = {quantity}: {}: {}", answer.status, answer.text());
        Ok(())
    }
}
