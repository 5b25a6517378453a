//! What kube-proxy is to a cluster: a TCP balancer in front of the adapter's replicas. It never looks into TLS, so each
//! connection is the aggregator's own, certificate and all, with the replica it landed on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A listening balancer; stops accepting when dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    backends: Arc<[Backend]>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    /// In a cluster: is the pod's address among the ready endpoints of the Service.
    in_service: AtomicBool,
    connections: AtomicUsize,
}

impl Balancer {
    /// Listens on a free loopback port. No backend is in service yet.
    ///
    /// # Errors
    /// Fails when no port can be had.
    pub async fn start(backends: &[SocketAddr]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let backends: Arc<[Backend]> = backends
            .iter()
            .map(|&address| Backend { address, in_service: AtomicBool::new(false), connections: AtomicUsize::new(0) })
            .collect();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&backends)));
        Ok(Self { address, backends, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Takes a backend into service or out of it. Open connections stay, as those of a leaving endpoint do.
    pub fn set_in_service(&self, backend: usize, in_service: bool) {
        if let Some(backend) = self.backends.get(backend) {
            backend.in_service.store(in_service, Ordering::SeqCst);
        }
    }

    /// How many connections a backend was given so far.
    #[must_use]
    pub fn connections(&self, backend: usize) -> usize {
        self.backends.get(backend).map_or(0, |backend| backend.connections.load(Ordering::SeqCst))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, backends: Arc<[Backend]>) {
    let mut first = 0_usize;
    while let Ok((client, _)) = listener.accept().await {
        first = first.wrapping_add(1);
        tokio::spawn(forward(client, Arc::clone(&backends), first));
    }
}

/// Gives the connection to the next backend that is in service and takes it; closes it when there is none.
async fn forward(mut client: TcpStream, backends: Arc<[Backend]>, first: usize) {
    let turns = backends.iter().cycle().skip(first % backends.len().max(1)).take(backends.len());
    for backend in turns.filter(|backend| backend.in_service.load(Ordering::SeqCst)) {
        if let Ok(mut server) = TcpStream::connect(backend.address).await {
            backend.connections.fetch_add(1, Ordering::SeqCst);
            // An error here is one side hanging up, which the other side learns by its own closed socket.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that sends its letter to whoever connects.
    async fn letter(letter: u8) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[letter]).await.unwrap();
            }
        });
        address
    }

    async fn ask(balancer: &Balancer) -> String {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", balancer.port())).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn connections_go_in_turn_to_those_in_service() {
        let balancer = Balancer::start(&[letter(b'a').await, letter(b'b').await]).await.unwrap();
        assert_eq!(ask(&balancer).await, "", "nobody is in service");
        balancer.set_in_service(0, true);
        assert_eq!(ask(&balancer).await + &ask(&balancer).await, "aa");
        balancer.set_in_service(1, true);
        let both = ask(&balancer).await + &ask(&balancer).await;
        assert!(both == "ab" || both == "ba", "{both}");
        balancer.set_in_service(0, false);
        assert_eq!(ask(&balancer).await + &ask(&balancer).await, "bb");
        assert_eq!((balancer.connections(0), balancer.connections(1)), (3, 3));
    }

    #[tokio::test]
    async fn a_dead_backend_is_passed_over() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let balancer = Balancer::start(&[dead, letter(b'b').await]).await.unwrap();
        balancer.set_in_service(0, true);
        balancer.set_in_service(1, true);
        assert_eq!(ask(&balancer).await + &ask(&balancer).await, "bb");
    }
}
