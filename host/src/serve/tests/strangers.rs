//! What somebody can hold or cost whom nobody knows: connections, streams, headers, bodies and time.

use super::*;

/// Frame types and flags of RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `SETTINGS_INITIAL_WINDOW_SIZE`
const INITIAL_WINDOW_SIZE: u8 = 4;
/// The error code of what was not begun.
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

/// A client that sends whatever frames it likes and acknowledges nothing.
struct Frames(TlsStream<TcpStream>);

#[derive(Debug)]
struct Frame {
    kind: u8,
    payload: Vec<u8>,
}

impl Frames {
    async fn open(running: &Running) -> Self {
        let mut frames = Self(running.connect(&Client::default()).await);
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        frames.send(SETTINGS, 0, 0, &[]).await.unwrap();
        frames
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await?;
        self.0.flush().await
    }

    /// Sends until the server hangs up, or `limit` frames were sent; how many.
    async fn flood(&mut self, limit: usize, frame: impl Fn(usize) -> (u8, u8, u32, Vec<u8>)) -> usize {
        for number in 0..limit {
            let (kind, flags, stream, payload) = frame(number);
            if self.send(kind, flags, stream, &payload).await.is_err() {
                return number;
            }
        }
        limit
    }

    /// The next frame; `None` once the server has hung up.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.unwrap().ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind: head[3], payload })
    }

    /// All frames until the server hangs up.
    async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

/// `GET https://localhost/PATH` as HPACK: indexed fields of the static table, and two literals.
fn get_block(path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0x82, 0x87], literal(4, path), literal(1, "localhost")].concat()
}

/// The odd stream ids of clients.
fn stream(number: usize) -> u32 {
    u32::try_from(number).unwrap() * 2 + 1
}

fn briefly() -> Limits {
    let short = Duration::from_millis(50);
    Limits { stranger_idle: short, farewell: short, ..Limits::default() }
}

#[tokio::test]
async fn a_stranger_gets_one_answer_over_http2_and_any_number_over_http1() {
    let running = Running::start(Limits::default()).await;
    let mut sender = running.http2().await;
    assert_eq!(sender.send_request(get("/stranger")).await.unwrap().status(), StatusCode::OK);
    until(|| sender.is_closed()).await;
    let mut sender = running.http1().await;
    for _ in 0..3 {
        let answer = sender.send_request(get("/stranger")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        text(answer).await;
    }
    let mut known = running.http2().await;
    for _ in 0..3 {
        assert_eq!(known.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_stranger_who_stays_after_the_goaway_is_not_served_again_and_then_cut() {
    let running = Running::start(briefly()).await;
    let mut frames = Frames::open(&running).await;
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &get_block("/stranger")).await.unwrap();
    let mut received = Vec::new();
    while received.last().is_none_or(|frame: &Frame| frame.kind != GOAWAY) {
        received.push(frames.next().await.expect("the answer and the GOAWAY come first"));
    }
    for number in 1..100 {
        let _ = frames.send(HEADERS, END_STREAM | END_HEADERS, stream(number), &get_block("/slow")).await;
    }
    received.extend(frames.rest().await);
    let of_kind = |kind| received.iter().filter(move |frame| frame.kind == kind);
    assert_eq!(of_kind(HEADERS).count(), 1, "one answer: {received:?}");
    assert!(of_kind(RST_STREAM).count() > 0 && of_kind(RST_STREAM).all(|frame| frame.payload == REFUSED_STREAM));
    assert_eq!(running.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn requests_that_are_taken_back_end_the_connection_of_a_stranger() {
    let running = Running::start(briefly()).await;
    let mut frames = Frames::open(&running).await;
    let sent = frames
        .flood(20_000, |number| match number % 2 {
            0 => (HEADERS, END_STREAM | END_HEADERS, stream(number / 2), get_block("/stranger/slow")),
            _ => (RST_STREAM, 0, stream(number / 2), 8_u32.to_be_bytes().to_vec()),
        })
        .await;
    assert!(sent < 20_000, "the connection took everything");
    let begun = running.begun.load(Ordering::SeqCst);
    assert!(begun <= 100, "{begun} requests were begun");
}

#[tokio::test]
async fn whatever_a_stranger_sends_in_place_of_a_request_its_time_is_short() {
    let running = Running::start(briefly()).await;
    let mut unfinished = Frames::open(&running).await;
    unfinished.send(HEADERS, END_STREAM, 1, &get_block("/")).await.unwrap();
    unfinished.rest().await;
    let mut pinging = Frames::open(&running).await;
    assert!(pinging.flood(usize::MAX, |_| (PING, 0, 0, vec![0; 8])).await < usize::MAX);
    let mut configuring = Frames::open(&running).await;
    assert!(configuring.flood(usize::MAX, |_| (SETTINGS, 0, 0, vec![])).await < usize::MAX);
    assert_eq!(running.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn headers_without_end_are_cut_off_long_before_they_fill_the_memory() {
    let running = Running::start(Limits::default()).await;
    let mut frames = Frames::open(&running).await;
    frames.send(HEADERS, END_STREAM, 1, &get_block("/")).await.unwrap();
    // A literal of 16,000 bytes without indexing, name and value.
    let field = [vec![0, 1, b'x', 0x7f, 0x81, 0x7c], vec![b'x'; 16_000]].concat();
    let sent = frames.flood(1000, |_| (CONTINUATION, 0, 1, field.clone())).await;
    assert!(sent < 1000, "16 MB of headers were taken");
}

#[tokio::test]
async fn a_body_is_never_read() {
    let running = Running::start(Limits::default()).await;
    let mut by_http1 = running.connect(&Client { http1: true, ..Client::default() }).await;
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
    by_http1.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    timeout(PATIENCE, by_http1.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK", "answered before a byte of the body has come");
    let (mut taken, megabyte) = (0, vec![0; 1 << 20]);
    while taken < 64 && timeout(PATIENCE, by_http1.write_all(&megabyte)).await.unwrap().is_ok() {
        taken += 1;
    }
    assert!(taken < 64, "the server goes on reading");

    let mut by_http2 = Frames::open(&running).await;
    let window = loop {
        let frame = by_http2.next().await.unwrap();
        if frame.kind == SETTINGS {
            let setting = frame.payload.chunks(6).find(|setting| setting[1] == INITIAL_WINDOW_SIZE).unwrap().to_vec();
            break u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        }
    };
    assert_eq!(window, Limits::default().window_bytes);
    by_http2.send(HEADERS, END_HEADERS, 1, &get_block("/slow")).await.unwrap();
    let sent = by_http2.flood(64, |_| (DATA, 0, 1, vec![0; 16 * 1024])).await;
    let ended = by_http2.rest().await;
    let refused = ended.iter().any(|frame| frame.kind == RST_STREAM || frame.kind == GOAWAY);
    assert!(sent < 64 || refused, "a window is a window: {ended:?}");
}

#[tokio::test]
async fn one_address_has_its_part_of_the_connections() {
    let running = Running::start(Limits { connections_per_address: 2, ..Limits::default() }).await;
    let (first, mut second) = (running.http2().await, running.http2().await);
    let mut third = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(hung_up(&mut third).await, b"", "closed before a handshake");
    assert!(second.send_request(get("/")).await.is_ok(), "the others go on");
    drop(first);
    let again = async {
        let trusted = running.certificate.leaf().unwrap();
        while Client::default().connect(running.address, trusted.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("a place that is left is free");
}
