//! What of two answers must be alike: the status, every header, and the body: as a value where it is JSON, and byte by byte.
//!
//! Left out is only what differs from one second, or one connection, to the next: times within a body, `Date`, the id that
//! `Audit-Id` holds (that there is one is compared), and what frames a body. A compressed body is compared decompressed.

use std::{
    collections::BTreeSet,
    fmt,
    io::Read as _,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use e2e::requests::Answer;
use http::HeaderMap;
use serde_json::Value;

/// Framing, which a server chooses for each connection, and the time of day.
const UNSTEADY: [&str; 4] = ["date", "content-length", "transfer-encoding", "last-modified"];

/// How much of a body is shown.
const SHOWN: usize = 400;

/// How an instant is written in JSON and YAML, with a digit for each 0.
const INSTANT: &[u8] = b"0000-00-00T00:00:00Z";

/// One thing in which two answers differ.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// `status`, a header's name, `body`, `bytes` (of the same JSON value), or `answer` when one did not come.
    pub(super) what: String,
    theirs: String,
    ours: String,
}

/// Two answers, looked at.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) mismatches: Vec<Mismatch>,
    /// The whole of theirs as text: status line, headers, body.
    pub(super) theirs: String,
    /// The whole of ours.
    pub(super) ours: String,
}

/// Looks at everything that must be alike.
pub(super) fn compare(theirs: &Result<Answer>, ours: &Result<Answer>) -> Comparison {
    let mismatches = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => answers(theirs, ours),
        (theirs, ours) => vec![Mismatch { what: "answer".to_owned(), theirs: whole(theirs), ours: whole(ours) }],
    };
    Comparison { mismatches, theirs: whole(theirs), ours: whole(ours) }
}

fn answers(theirs: &Answer, ours: &Answer) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut differ = |what: &str, theirs: String, ours: String| {
        if theirs != ours {
            found.push(Mismatch { what: what.to_owned(), theirs, ours });
        }
    };
    differ("status", theirs.status.to_string(), ours.status.to_string());
    let names: BTreeSet<&str> = theirs.headers.keys().chain(ours.headers.keys()).map(|name| name.as_str()).collect();
    for name in names.into_iter().filter(|name| !UNSTEADY.contains(name)) {
        differ(name, header(&theirs.headers, name), header(&ours.headers, name));
    }
    let bodies = [theirs, ours].map(body);
    let [one, other] = &bodies;
    if one != other {
        let values = bodies.each_ref().map(|body| serde_json::from_slice::<Value>(body).ok());
        let same = values[0].is_some() && values[0] == values[1];
        let [theirs, ours] = bodies.each_ref().map(|body| shown(body));
        found.push(Mismatch { what: if same { "bytes" } else { "body" }.to_owned(), theirs, ours });
    }
    found
}

/// All values of a header, in order; of an id only that it is there.
fn header(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| match name {
        "audit-id" => "an id".to_owned(),
        _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    });
    values.collect::<Vec<_>>().join(" & ")
}

/// The body without compression and without the time of day.
fn body(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    let compressed = header(&answer.headers, "content-encoding") == "gzip";
    if !compressed || flate2::read::GzDecoder::new(answer.bytes()).read_to_end(&mut body).is_err() {
        body = answer.bytes().to_vec();
    }
    if body.starts_with(b"k8s\0") {
        hide_protobuf_times(&mut body);
    } else {
        hide_times(&mut body);
    }
    body
}

/// `2026-01-02T03:04:05Z` becomes `0000-00-00T00:00:00Z`.
fn hide_times(text: &mut [u8]) {
    let mut at = 0;
    while let Some(window) = text.get_mut(at..at + INSTANT.len()) {
        let is_time = window.iter().zip(INSTANT).all(|(found, form)| match form {
            b'0' => found.is_ascii_digit(),
            other => found == other,
        });
        if is_time {
            window.copy_from_slice(INSTANT);
        }
        at += 1;
    }
}

/// `metav1.Time` in protobuf is `{ 1: seconds, 2: nanos }`, and nanos are always 0: `08 SECONDS 10 00`. The seconds of these decades
/// have five bytes. Those within a day of now become 0.
fn hide_protobuf_times(message: &mut [u8]) {
    const TIME: usize = 8;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut at = 0;
    while let Some(window) = message.get_mut(at..at + TIME) {
        if let [0x08, seconds @ .., 0x10, 0x00] = window {
            let value = seconds.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
            if value.abs_diff(now) < 86_400 {
                seconds.fill(0);
            }
        }
        at += 1;
    }
}

fn whole(answer: &Result<Answer>) -> String {
    match answer {
        Ok(answer) => {
            let headers: String = answer.headers.keys().fold(String::new(), |mut text, name| {
                text.push_str(&format!("{name}: {}\n", header(&answer.headers, name.as_str())));
                text
            });
            format!("{}\n{headers}\n{}", answer.status, String::from_utf8_lossy(&body(answer)))
        }
        Err(error) => format!("no answer: {error:#}"),
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { " ..." } else { "" })
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:\n        theirs {}\n        ours   {}", self.what, self.theirs, self.ours)
    }
}
