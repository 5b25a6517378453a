use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'sink> MakeWriter<'sink> for Sink {
    type Writer = Self;

    fn make_writer(&'sink self) -> Self {
        self.clone()
    }
}

fn line() -> RequestLine {
    RequestLine {
        received: SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_323_045_678_901),
        audit_id: HeaderValue::from_static("8e3f3ff6-2f56-4d41-9c5b-0b6a3a1f3f10"),
        user: Some("system:serviceaccount:kube-system:horizontal-pod-autoscaler".to_owned()),
        user_id: String::new(),
        source: Some("10.0.0.1:40000".parse().unwrap()),
        forwarded_for: None,
        user_agent: Some(HeaderValue::from_static("kube-controller-manager/v1.36.2")),
        method: Method::GET,
        uri: Uri::from_static("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth?labelSelector=a%3Db"),
        group: "external.metrics.k8s.io",
        metric: Some("queue_depth".to_owned()),
        plugin: Some("shop/queue".to_owned()),
        explain: None,
        cache: "none",
        status: 503,
        reason: Some("unavailable"),
        message: Some("plugin shop/queue: the backend is down".to_owned()),
        duration: Duration::from_micros(1234),
        bytes: Some(210),
    }
}

/// The lines as both formats write them.
fn written(lines: &[RequestLine]) -> (String, String) {
    let (text, json) = (Sink::default(), Sink::default());
    let log = || tracing_subscriber::fmt().without_time().with_ansi(false);
    let emit = || lines.iter().for_each(write);
    tracing::subscriber::with_default(log().with_writer(text.clone()).finish(), emit);
    tracing::subscriber::with_default(log().json().flatten_event(true).with_writer(json.clone()).finish(), emit);
    let told = |sink: Sink| String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    (told(text), told(json))
}

#[test]
fn a_line_says_who_asked_what_and_what_became_of_it() {
    let (text, json) = written(&[line()]);
    assert_eq!(
        text,
        " INFO request: received=\"2026-01-02T03:04:05.678901Z\" audit_id=\"8e3f3ff6-2f56-4d41-9c5b-0b6a3a1f3f10\" \
         user=\"system:serviceaccount:kube-system:horizontal-pod-autoscaler\" source=\"10.0.0.1:40000\" \
         user_agent=\"kube-controller-manager/v1.36.2\" method=\"GET\" \
         path=\"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth\" group=\"external.metrics.k8s.io\" \
         metric=\"queue_depth\" plugin=\"shop/queue\" cache=\"none\" status=503 reason=\"unavailable\" \
         cause=\"plugin shop/queue: the backend is down\" duration_us=1234 bytes=210\n"
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (field, expected) in [
        ("target", serde_json::json!("request")),
        ("audit_id", serde_json::json!("8e3f3ff6-2f56-4d41-9c5b-0b6a3a1f3f10")),
        ("plugin", serde_json::json!("shop/queue")),
        ("status", serde_json::json!(503)),
        ("duration_us", serde_json::json!(1234)),
        ("bytes", serde_json::json!(210)),
        ("user_id", serde_json::Value::Null),
    ] {
        assert_eq!(json[field], expected, "{field}");
    }
}

#[test]
fn no_client_begins_a_line_of_its_own_or_writes_without_end() {
    let forged = "x\n INFO request: user=\"admin\"\u{1b}[31m\u{202e}\r";
    let (text, json) = written(&[RequestLine {
        user: Some(forged.to_owned()),
        user_agent: Some(HeaderValue::from_bytes(b"agent\" status=200 \xff\t").unwrap()),
        metric: Some("m".repeat(100_000)),
        audit_id: HeaderValue::from_str(&"a".repeat(500)).unwrap(),
        ..line()
    }]);
    assert_eq!((text.lines().count(), json.lines().count()), (1, 1));
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
    assert!(text.contains(r#"user="x\n INFO request: user=\"admin\"\u{1b}[31m\u{202e}\r""#), "{text}");
    assert!(text.contains(r#"user_agent="agent\" status=200 "#), "{text}");
    assert!(text.contains(&format!("audit_id=\"{}\" ", "a".repeat(64))), "{text}");
    assert!(text.len() < 4096, "{}", text.len());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["user"], forged);
    assert_eq!(json["status"], 503);
}

#[test]
fn the_flag_chooses_by_status() {
    for (logging, wanted) in [
        (RequestLogging::Off, [false, false, false]),
        (RequestLogging::Errors, [false, true, true]),
        (RequestLogging::All, [true, true, true]),
    ] {
        let (log, _queue) = RequestLog::new(logging, Counter::default());
        assert_eq!([200, 404, 503].map(|status| log.wants(status)), wanted, "{logging:?}");
    }
}

/// A log without a thread is one whose thread is stuck.
#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    let dropped = Counter::default();
    let (log, queue) = RequestLog::new(RequestLogging::All, dropped.clone());
    for _ in 0..QUEUE + 3 {
        log.write(line());
    }
    assert_eq!(dropped.get(), 3);
    assert_eq!(queue.try_iter().count(), QUEUE);
}

#[test]
fn the_end_comes_after_the_last_line() {
    let (log, end) = RequestLog::start(RequestLogging::All, Counter::default()).unwrap();
    assert_eq!(end.wait(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    log.write(line());
    drop(log);
    assert_eq!(end.wait(Duration::from_secs(30)), Ok(()));
}
