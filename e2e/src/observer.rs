//! A TLS-terminating HTTP/2 proxy between the aggregator and one replica, which notes what each request asked for and what it was
//! answered in. It shows the front-proxy's certificate in the aggregator's place and passes on what that says of the user.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use http::{HeaderMap, Request, Response, header};
use http_body_util::{Empty, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2::{SendRequest, handshake},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{
    adapter::{Replica, service_host},
    connection::{Peer, Protocol},
    control_plane::ControlPlane,
    requests::Answer,
};

/// A running observer; ends when dropped.
#[derive(Debug)]
pub struct Observer {
    port: u16,
    seen: Arc<Mutex<Vec<Exchange>>>,
    accepting: JoinHandle<()>,
}

/// What went through.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// On whose behalf the aggregator asked.
    pub user: String,
    /// The path with its query.
    pub path: String,
    /// The request's `Accept`.
    pub accept: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's `Content-Type`.
    pub content_type: String,
}

impl Observer {
    /// Listens on a free loopback port, and forwards to the replica.
    ///
    /// # Errors
    /// Fails when the replica does not run.
    pub async fn start(control_plane: &ControlPlane, replica: &Replica) -> Result<Self> {
        let name = service_host();
        let identity = control_plane.front_proxy().client("front-proxy-client", &[])?;
        let peer =
            Peer { port: replica.port(), name: &name, authority: control_plane.authority(), identity: Some(&identity) };
        let stream = peer.dial(Protocol::Http2).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let serving = control_plane.authority().server(&[&name])?;
        let chain = vec![CertificateDer::from_pem_slice(serving.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes())?;
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::new(tls).into(), sender, Arc::clone(&seen)));
        Ok(Self { port, seen, accepting })
    }

    /// Where the aggregator connects.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that went through so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Seen = Arc<Mutex<Vec<Exchange>>>;

async fn accept(listener: TcpListener, tls: TlsAcceptor, sender: SendRequest<Empty<Bytes>>, seen: Seen) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away is the client's affair.
        tokio::spawn(serve(stream, tls.clone(), sender.clone(), Arc::clone(&seen)));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, sender: SendRequest<Empty<Bytes>>, seen: Seen) -> Result<()> {
    let stream = TokioIo::new(tls.accept(stream).await?);
    let forwarding = service_fn(move |request| forward(request, sender.clone(), Arc::clone(&seen)));
    Ok(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, forwarding).await?)
}

/// The requests of these groups have no body.
async fn forward(
    request: Request<Incoming>,
    mut sender: SendRequest<Empty<Bytes>>,
    seen: Seen,
) -> Result<Response<Full<Bytes>>> {
    let (head, _) = request.into_parts();
    let (path, headers) =
        (head.uri.path_and_query().context("a request has a path")?.to_string(), head.headers.clone());
    let answer = Answer::read(sender.send_request(Request::from_parts(head, Empty::new())).await?).await?;
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(Exchange {
        user: value(&headers, "x-remote-user"),
        path,
        accept: value(&headers, header::ACCEPT.as_str()),
        status: answer.status.as_u16(),
        content_type: value(&answer.headers, header::CONTENT_TYPE.as_str()),
    });
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(answer.bytes())));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

fn value(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}
