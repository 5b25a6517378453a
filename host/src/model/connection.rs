//! What a request's connection proves.

use std::sync::Mutex;

/// One TLS connection, shared by its requests.
#[derive(Debug, Default)]
pub struct Connection {
    /// The client's certificate chain in DER, its own first; empty if it sent none. The handshake has proved that the client
    /// holds the first certificate's key, and nothing else.
    pub peer_certificates: Vec<Vec<u8>>,
    /// What authentication concluded from the chain, kept with the connection. Only the `auth` room reads or writes it.
    pub verdict: Mutex<http::Extensions>,
}
