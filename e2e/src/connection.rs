//! One TLS connection to a server on loopback, and one exchange on it: for requests of which everything is chosen, down to the
//! protocol, and to which no client adds a header.

use std::sync::Arc;

use anyhow::{Context, Result};
use http::{Request, Uri, header::HOST, uri::PathAndQuery};
use http_body_util::Full;
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    certificates::{Authority, Identity},
    requests::Answer,
};

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, without ALPN, as of clients that know nothing else.
    Http1,
    /// HTTP/2 by ALPN.
    Http2,
}

/// Who is connected to, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The loopback port.
    pub port: u16,
    /// The name that its certificate must be for.
    pub name: &'a str,
    /// Who must have signed that certificate.
    pub authority: &'a Authority,
    /// The client certificate, if one is shown.
    pub identity: Option<&'a Identity>,
}

impl Peer<'_> {
    /// Connects.
    ///
    /// # Errors
    /// Fails when nobody listens, or somebody else does.
    pub async fn dial(&self, protocol: Protocol) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes())?)?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut tls = match self.identity {
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes())?];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?)?
            }
            None => builder.with_no_client_auth(),
        };
        if protocol == Protocol::Http2 {
            tls.alpn_protocols = vec![b"h2".to_vec()];
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(self.name.to_owned())?, stream).await?)
    }

    /// Sends one request on a connection of its own and gives the answer as it came. The request's URI is a path.
    ///
    /// # Errors
    /// Fails when no answer comes.
    pub async fn exchange(&self, protocol: Protocol, mut request: Request<Full<Bytes>>) -> Result<Answer> {
        let path = request.uri().path_and_query().cloned().context("the request has no path")?;
        let stream = TokioIo::new(self.dial(protocol).await?);
        let response = match protocol {
            Protocol::Http1 => {
                request.headers_mut().insert(HOST, self.host().parse()?);
                let (mut sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                sender.send_request(request).await?
            }
            Protocol::Http2 => {
                *request.uri_mut() = self.absolute(path)?;
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                sender.send_request(request).await?
            }
        };
        Answer::read(response).await
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn absolute(&self, path: PathAndQuery) -> Result<Uri> {
        Ok(Uri::builder().scheme("https").authority(self.host()).path_and_query(path).build()?)
    }
}
