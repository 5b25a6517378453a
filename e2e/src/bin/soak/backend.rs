//! An HTTP backend on loopback that dies and comes back on the same port.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};

const BODY: &str = r#"{ "queues": [{ "name": "orders", "messages": 42 }] }"#;

/// A place where the backend is, or was.
pub(crate) struct Backend {
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { address: listener.local_addr()?, accepting: Some(tokio::spawn(accept(listener))) })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections are cut, and new ones refused.
    pub(crate) fn die(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }

    pub(crate) fn come_back(&mut self) -> Result<()> {
        self.die();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        self.accepting = Some(tokio::spawn(accept(socket.listen(1024)?)));
        Ok(())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.die();
    }
}

async fn accept(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers every request of a connection; an error is the client's hanging up.
async fn serve(mut stream: TcpStream) -> Result<()> {
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    let mut head = Vec::new();
    loop {
        head.push(stream.read_u8().await?);
        if head.ends_with(b"\r\n\r\n") {
            stream.write_all(answer.as_bytes()).await?;
            head.clear();
        }
    }
}
