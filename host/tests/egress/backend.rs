//! A backend on loopback that answers as a test says and remembers what it saw.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, TcpListener as StdListener},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to answer; `None` is silence.
pub(crate) struct Answer(Option<Response<UnsyncBoxBody<Bytes, Infallible>>>);

impl Answer {
    pub(crate) fn text(text: &str) -> Self {
        Self(Some(Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed_unsync())))
    }

    /// A body of unknown length.
    pub(crate) fn chunks(chunks: Vec<String>) -> Self {
        let frames = stream::iter(chunks).map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
        Self(Some(Response::new(StreamBody::new(frames).boxed_unsync())))
    }

    /// The head and one byte, and then nothing more.
    pub(crate) fn drip() -> Self {
        let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]).chain(stream::pending());
        Self(Some(Response::new(StreamBody::new(frames).boxed_unsync())))
    }

    pub(crate) fn silence() -> Self {
        Self(None)
    }

    pub(crate) fn status(mut self, code: u16) -> Self {
        *self.0.as_mut().unwrap().status_mut() = StatusCode::from_u16(code).unwrap();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.0.as_mut().unwrap().headers_mut().insert(name, value.parse().unwrap());
        self
    }
}

type Answering = dyn Fn(&Seen) -> Answer + Send + Sync;

struct State {
    answer: Box<Answering>,
    seen: Mutex<Vec<Seen>>,
    connections: watch::Sender<Connections>,
}

#[derive(Default)]
struct Connections {
    opened: usize,
    open: usize,
}

/// The server; it ends with the test.
pub(crate) struct Backend {
    port: u16,
    scheme: &'static str,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

impl Backend {
    pub(crate) async fn plain(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start("http", None, answer).await
    }

    /// A server with a certificate for `host`, and the authority that signed it in PEM.
    pub(crate) async fn tls(host: &str, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Self, String) {
        let (tls, authority) = server_config(host, &[b"h2", b"http/1.1"]);
        (Self::secured(tls, answer).await, authority)
    }

    /// A server that speaks TLS as a test wants it.
    pub(crate) async fn secured(
        tls: rustls::ServerConfig,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start("https", Some(TlsAcceptor::from(Arc::new(tls))), answer).await
    }

    async fn start(
        scheme: &'static str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state =
            Arc::new(State { answer: Box::new(answer), seen: Mutex::default(), connections: watch::Sender::default() });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, Arc::clone(&state)));
        Self { port, scheme, state, _accepting: accepting }
    }

    /// A port that nobody listens on.
    pub(crate) fn closed_port() -> u16 {
        StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    pub(crate) fn origin(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().iter().map(|seen| seen.target.clone()).collect()
    }

    pub(crate) fn last(&self) -> Seen {
        self.state.seen.lock().unwrap().last().expect("no request arrived").clone()
    }

    /// Connections that were ever opened.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.borrow().opened
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.state.connections.borrow().open
    }

    /// Waits until so many connections are open.
    pub(crate) async fn until_open(&self, count: usize) {
        self.state.connections.subscribe().wait_for(|connections| connections.open == count).await.unwrap();
    }
}

/// A TLS server's side with a certificate for `host`, and the authority that signed it in PEM.
pub(crate) fn server_config(host: &str, protocols: &[&[u8]]) -> (rustls::ServerConfig, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = versions.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (config, authority_pem)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut serving = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.connections.send_modify(|connections| {
            connections.opened += 1;
            connections.open += 1;
        });
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        serving.spawn(async move {
            handshake(stream, tls, &state).await;
            state.connections.send_modify(|connections| connections.open -= 1);
        });
    }
}

async fn handshake(stream: TcpStream, tls: Option<TlsAcceptor>, state: &Arc<State>) {
    match tls {
        None => serve(stream, state).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, state).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: &Arc<State>) {
    let service = service_fn(|request: http::Request<Incoming>| {
        let state = Arc::clone(state);
        async move {
            let (head, body) = request.into_parts();
            let seen = Seen {
                method: head.method.to_string(),
                target: head.uri.path_and_query().unwrap().to_string(),
                version: head.version,
                headers: head.headers,
                body: body.collect().await.unwrap().to_bytes(),
            };
            let answer = (state.answer)(&seen);
            state.seen.lock().unwrap().push(seen);
            match answer.0 {
                Some(response) => Ok::<_, Infallible>(response),
                None => std::future::pending().await,
            }
        }
    });
    let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
