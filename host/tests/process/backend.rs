//! A backend that takes requests, and answers none before it is let.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::adapter::PATIENCE;

pub(crate) struct Backend {
    pub(crate) origin: String,
    asked: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (asked, open) = (Arc::<AtomicUsize>::default(), watch::Sender::new(false));
        let (count, gate) = (asked.clone(), open.subscribe());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, count.clone(), gate.clone()));
            }
        });
        Self { origin, asked, open }
    }

    /// Waits until so many requests have come.
    pub(crate) async fn until_asked(&self, times: usize) {
        let come = async {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, come).await.expect("nobody asks the backend");
    }

    /// From here on every request is answered, those that wait first.
    pub(crate) fn answer(&self) {
        self.open.send_replace(true);
    }
}

/// An error is the client's hanging up.
async fn answer(
    mut stream: TcpStream,
    asked: Arc<AtomicUsize>,
    mut open: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let _ = open.wait_for(|open| *open).await;
    let body = r#"{"depth":42}"#;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await
}
