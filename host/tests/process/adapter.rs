//! The adapter as a process on loopback, with plugins of a folder.

use std::{
    fs::{self, File, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Fails a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running adapter; killed when dropped.
pub(crate) struct Adapter {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Adapter {
    /// Starts `serve` behind the words of `launcher`, and waits until it is ready. `origin` is what the plugin `slow` asks.
    pub(crate) async fn start(launcher: &[&str], origin: &str) -> Self {
        let folder = folder(origin);
        let program = folder.path().join("adapter");
        let log = File::create(folder.path().join("log")).unwrap();
        let words = launcher.iter().copied().chain([program.to_str().unwrap()]).collect::<Vec<_>>();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--secure-port=0", "--internal-cidrs=127.0.0.0/8"])
            .arg(format!("--plugin-dir={}", folder.path().join("plugins").display()))
            .env("NO_COLOR", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut adapter = Self { child, folder, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let address = adapter.until("it listens", |log| {
            let (_, after) = log.split_once("serving address=")?;
            after.split_whitespace().next()?.parse().ok()
        });
        adapter.address = address.await;
        adapter.until("it is ready", |log| log.contains("has loaded or failed").then_some(())).await;
        adapter
    }

    /// Waits until `found` finds something in the log.
    pub(crate) async fn until<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(found) = found(&log) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}; the log:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.tls(b"http/1.1").await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TokioIo::new(self.tls(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn tls(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(SelfSigned))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).header("host", "localhost").body(Empty::new()).unwrap()
}

pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> (StatusCode, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

/// The program, and one plugin that asks `origin`; to be read by anybody, as an image is.
fn folder(origin: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_wasm-metrics-adapter"), folder.path().join("adapter")).unwrap();
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/http-json.wasm");
    fs::copy(&guest, plugins.join("slow.wasm"))
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests` first", guest.display()));
    let manifest = serde_json::json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["depth"] },
        "egress": [origin],
        "limits": { "timeout": "5s" },
        "config": { "metrics": [{ "name": "depth", "type": "external", "url": format!("{origin}/"), "value": "$.depth" }] },
    });
    fs::write(plugins.join("slow.yaml"), manifest.to_string()).unwrap();
    for path in [folder.path(), &plugins] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Takes the certificate that the adapter makes for loopback at its start.
#[derive(Debug)]
struct SelfSigned;

impl ServerCertVerifier for SelfSigned {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
