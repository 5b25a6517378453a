//! What a request's connection proves.

use std::{net::SocketAddr, sync::Mutex};

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
}
