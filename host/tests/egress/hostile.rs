//! Backends that misbehave, byte by byte: each costs the plugin that asked it one failed request in bounded time and memory, and
//! another backend of the same plugin still answers.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use wasm_metrics_adapter::egress::{EgressError, Request, Response, TrustRoots};

use crate::{
    HASTE, PATIENCE, always_here,
    backend::{Answer, Backend, server_config},
    client_trusting, get, loopback_allowed,
};

/// What a hostile backend does with each connection.
type Script = fn(Box<dyn Stream>) -> futures::future::BoxFuture<'static, std::io::Result<()>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Hostile {
    origin: String,
    authority: Option<String>,
    open: watch::Receiver<usize>,
}

impl Hostile {
    async fn plain(script: Script) -> Self {
        Self::start("http", None, script).await
    }

    /// Behind TLS, where HTTP/2 is spoken.
    async fn http2(script: Script) -> Self {
        let (tls, authority) = server_config("mq.test", &[b"h2"]);
        let tls = TlsAcceptor::from(Arc::new(tls));
        Self { authority: Some(authority), ..Self::start("https", Some(tls), script).await }
    }

    async fn start(scheme: &str, tls: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("{scheme}://mq.test:{}", listener.local_addr().unwrap().port());
        let (count, open) = watch::channel(0);
        let count = Arc::new(count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|open| *open += 1);
                let (tls, count) = (tls.clone(), count.clone());
                tokio::spawn(async move {
                    let _ended = match tls {
                        None => script(Box::new(stream)).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => script(Box::new(stream)).await,
                            Err(error) => Err(error),
                        },
                    };
                    count.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { origin, authority: None, open }
    }

    /// Asks it, and a healthy backend by the same client after it.
    async fn ask(&self, timeout: Duration) -> Result<Response, EgressError> {
        self.send(get(format!("{}/metrics", self.origin)), timeout).await
    }

    async fn send(&self, request: Request, timeout: Duration) -> Result<Response, EgressError> {
        let healthy = Backend::plain(|_| Answer::text("well")).await;
        let other = healthy.origin("other.test");
        let roots = self
            .authority
            .iter()
            .fold(TrustRoots::none(), |roots, pem| roots.with_pem("ca.pem", pem.as_bytes()).unwrap());
        let origins = [self.origin.as_str(), other.as_str()];
        let client = client_trusting(roots, &origins, always_here(), loopback_allowed(), |_| {});
        let outcome = client.fetch(request, timeout).await;
        assert_eq!(client.fetch(get(other), PATIENCE).await.unwrap().status, 200, "another backend answers");
        drop(client);
        // Nothing of it is left behind, whatever it still sends.
        let mut open = self.open.clone();
        let closed = tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == 0)).await;
        closed.expect("the connection is closed").unwrap();
        outcome
    }
}

/// Reads a request's head.
async fn head(stream: &mut dyn Stream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await?);
    }
    Ok(())
}

/// Writes `start` after the request, then `again` for as long as anybody reads it.
macro_rules! endless {
    ($start:expr, $again:expr) => {
        |mut stream| {
            Box::pin(async move {
                head(&mut *stream).await?;
                stream.write_all($start).await?;
                loop {
                    stream.write_all($again).await?;
                    tokio::task::yield_now().await;
                }
            })
        }
    };
}

/// Answers with these bytes and closes.
macro_rules! answers {
    ($bytes:expr) => {
        |mut stream| {
            Box::pin(async move {
                head(&mut *stream).await?;
                stream.write_all($bytes).await?;
                stream.shutdown().await
            })
        }
    };
}

#[tokio::test]
async fn a_backend_that_drips_one_byte_after_the_other_is_a_timeout() {
    let hostile = Hostile::plain(|mut stream| {
        Box::pin(async move {
            head(&mut *stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n").await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    let error = hostile.await.ask(HASTE).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let hostile = Hostile::plain(endless!(b"HTTP/1.1 200 OK\r\n", b"x-more: of the same\r\n")).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_header_line_without_end_is_refused() {
    let hostile = Hostile::plain(endless!(b"HTTP/1.1 200 OK\r\nx-long: ", &[b'v'; 1024])).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let hostile = Hostile::plain(|mut stream| {
        Box::pin(async move {
            head(&mut *stream).await?;
            let lines = "x: y\r\n".repeat(101);
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n").as_bytes()).await
        })
    });
    let error = hostile.await.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn interim_answers_without_end_are_a_timeout() {
    let hostile = Hostile::plain(endless!(b"", b"HTTP/1.1 102 Processing\r\n\r\n")).await;
    let error = hostile.ask(HASTE).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. } | EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn chunks_without_end_stop_at_the_limit() {
    let hostile =
        Hostile::plain(endless!(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nmore\r\n")).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::TooLarge { limit: 65_536, .. }), "{error}");
}

#[tokio::test]
async fn a_body_without_length_and_end_stops_at_the_limit() {
    let hostile = Hostile::plain(endless!(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 1024])).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_a_failure() {
    let hostile = Hostile::plain(answers!(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_body_longer_than_announced_is_cut_and_its_connection_is_not_used_again() {
    let hostile = Hostile::plain(answers!(
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    ));
    let response = hostile.await.ask(PATIENCE).await.unwrap();
    assert_eq!(&response.body[..], b"good");
}

#[tokio::test]
async fn lengths_that_contradict_each_other_or_make_no_sense_are_refused() {
    let scripts: [Script; 3] = [
        answers!(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde"),
        answers!(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        answers!(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n"),
    ];
    for script in scripts {
        let error = Hostile::plain(script).await.ask(PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    }
}

#[tokio::test]
async fn something_else_than_http_is_a_failure() {
    let hostile = Hostile::plain(answers!(b"-ERR unknown command 'GET'\r\n")).await;
    let error = hostile.ask(PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_no_way_out() {
    let hostile = Hostile::plain(answers!(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shell\r\n\r\n$ "
    ));
    // The guest learns the status and gets nothing of what follows; `ask` sees that the connection ends.
    let response = hostile.await.ask(PATIENCE).await.unwrap();
    assert_eq!((response.status, response.body.len()), (101, 0));
}

mod http2 {
    use super::*;

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const WINDOW_OF_NOTHING: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// A HEADERS frame of stream 1 without END_HEADERS, `:status: 200`.
    const HEADERS_TO_BE_CONTINUED: [u8; 10] = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
    /// A CONTINUATION of stream 1 that never ends either: one literal header `x: y`.
    const CONTINUATION: [u8; 14] = [0, 0, 5, 9, 0, 0, 0, 0, 1, 0, 1, b'x', 1, b'y'];

    /// The preface, and whatever comes with it; then frames as `endless`.
    macro_rules! frames {
        ($start:expr, $again:expr) => {
            |stream| {
                Box::pin(async move {
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    let mut preface = [0; 24];
                    reader.read_exact(&mut preface).await?;
                    // The rest of what the client says is thrown away, so that neither side waits for the other's window.
                    let rest = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
                    let written = async {
                        writer.write_all(&SETTINGS).await?;
                        writer.write_all(&$start).await?;
                        while !rest.is_finished() {
                            writer.write_all(&$again).await?;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        std::io::Result::Ok(())
                    };
                    written.await
                })
            }
        };
    }

    #[tokio::test]
    async fn settings_without_end_and_no_answer_are_a_timeout() {
        let error = Hostile::http2(frames!([], SETTINGS)).await.ask(HASTE).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. } | EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn pings_without_end_and_no_answer_are_a_timeout() {
        let error = Hostile::http2(frames!([], PING)).await.ask(HASTE).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. } | EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_window_that_takes_no_body_is_a_timeout() {
        let hostile = Hostile::http2(frames!(WINDOW_OF_NOTHING, [])).await;
        let url = format!("{}/query", hostile.origin);
        let request = Request { method: "POST".to_owned(), body: vec![b'q'; 4096].into(), ..get(url) };
        let error = hostile.send(request, HASTE).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. }), "{error}");
    }

    #[tokio::test]
    async fn resets_of_streams_that_nobody_opened_are_a_timeout() {
        let error = Hostile::http2(frames!([], RESET)).await.ask(HASTE).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { .. } | EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_reset_of_every_stream_is_a_failure() {
        let hostile = Hostile::http2(|mut stream| {
            Box::pin(async move {
                stream.read_exact(&mut [0; 24]).await?;
                stream.write_all(&SETTINGS).await?;
                loop {
                    let mut frame = [0; 9];
                    stream.read_exact(&mut frame).await?;
                    let [a, b, c, kind, _, id @ ..] = frame;
                    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                    stream.read_exact(&mut payload).await?;
                    if kind == 1 {
                        let (head, reason) = ([0, 0, 4, 3, 0], [0, 0, 0, 7]);
                        stream.write_all(&[&head[..], &id, &reason].concat()).await?;
                    }
                }
            })
        });
        let error = hostile.await.ask(PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_farewell_before_every_answer_is_a_failure() {
        let error = Hostile::http2(frames!(GO_AWAY, [])).await.ask(PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn continuations_without_end_are_refused() {
        let error = Hostile::http2(frames!(HEADERS_TO_BE_CONTINUED, CONTINUATION.repeat(100))).await;
        let error = error.ask(PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn frames_that_are_none_are_a_failure() {
        let error = Hostile::http2(frames!([0xff_u8; 64], [])).await.ask(PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    }
}
