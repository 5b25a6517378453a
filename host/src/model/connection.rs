//! What a request's connection proves.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// One TLS connection, shared by its requests.
#[derive(Debug, Default)]
pub struct Connection {
    /// The other end, for logs: a proxy's, where one stands in between.
    pub peer: Option<SocketAddr>,
    /// The client's certificate chain in DER, its own first; empty if it sent none. The handshake has proved that the client
    /// holds the first certificate's key, and nothing else.
    pub peer_certificates: Vec<Vec<u8>>,
    /// What authentication concluded from the chain, kept with the connection. Only the `auth` room reads or writes it.
    pub verdict: Mutex<http::Extensions>,
    known: AtomicBool,
}

impl Connection {
    /// A connection from `peer`, whose client sent this chain.
    pub fn of(peer: Option<SocketAddr>, peer_certificates: Vec<Vec<u8>>) -> Self {
        Self { peer, peer_certificates, ..Self::default() }
    }

    /// Whether whoever asked last on it was authenticated. Nobody has at its beginning.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Says so. The `auth` room's to say; `serve` holds a stranger's connection to tighter bounds.
    pub fn set_known(&self, known: bool) {
        self.known.store(known, Ordering::Release);
    }
}
