//! Load on one HTTP/2 connection, as kube-aggregator makes it: TLS 1.3, the front-proxy's client certificate, many streams. Counts
//! answers and wrong answers; the server's CPU time is read from the kernel, because client and server share the processors.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::{Request, header::HeaderName};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::{
    certificates::{Authority, Identity},
    connection::{Peer, Protocol},
};

/// One connection.
#[derive(Clone)]
pub struct Connection {
    sender: http2::SendRequest<Empty<Bytes>>,
    authority: String,
}

/// What to ask, again and again.
#[derive(Debug, Clone)]
pub struct Question {
    /// The path with its query.
    pub path: String,
    /// Header lines.
    pub headers: Vec<(HeaderName, String)>,
    /// What the answer's body must hold; an answer without it is wrong.
    pub expected: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Answers within the time.
    pub answers: u64,
    /// Answers with another status than 200, or without what was expected.
    pub wrong: u64,
    /// The time.
    pub seconds: f64,
    /// Half of the answers took less, in microseconds.
    pub p50_micros: f64,
    /// 99 of 100 answers took less, in microseconds.
    pub p99_micros: f64,
}

impl Connection {
    /// Connects to a server on loopback that `authority` vouches for as `name`.
    ///
    /// # Errors
    /// Fails when there is no such server.
    pub async fn open(port: u16, name: &str, authority: &Authority, identity: &Identity) -> Result<Self> {
        let peer = Peer { port, name, authority, identity: Some(identity) };
        let stream = peer.dial(Protocol::Http2).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, authority: format!("localhost:{port}") })
    }

    /// Asks `question` on `streams` streams at once for `period`.
    ///
    /// # Errors
    /// Fails when the connection ends.
    pub async fn load(&self, question: &Question, streams: usize, period: Duration) -> Result<Measured> {
        let (began, until) = (Instant::now(), Instant::now() + period);
        let asking = (0..streams).map(|_| self.clone().ask_until(question.clone(), until));
        let all = futures::future::try_join_all(asking.map(tokio::spawn)).await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut micros = Vec::new();
        let mut wrong = 0;
        for outcome in all {
            let (times, bad) = outcome?;
            micros.extend(times);
            wrong += bad;
        }
        micros.sort_by(f64::total_cmp);
        let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        ensure!(!micros.is_empty(), "no answer in {period:?}");
        let answers = micros.len() as u64;
        Ok(Measured { answers, wrong, seconds, p50_micros: at(0.5), p99_micros: at(0.99) })
    }

    async fn ask_until(mut self, question: Question, until: Instant) -> Result<(Vec<f64>, u64)> {
        let (mut times, mut wrong) = (Vec::new(), 0);
        while Instant::now() < until {
            let began = Instant::now();
            let mut request = Request::get(format!("https://{}{}", self.authority, question.path));
            for (name, value) in &question.headers {
                request = request.header(name, value);
            }
            self.sender.ready().await?;
            let answer = self.sender.send_request(request.body(Empty::new())?).await?;
            let good = answer.status() == http::StatusCode::OK;
            let body = answer.into_body().collect().await?.to_bytes();
            times.push(began.elapsed().as_secs_f64() * 1e6);
            if !good || !String::from_utf8_lossy(&body).contains(&question.expected) {
                wrong += 1;
            }
        }
        Ok((times, wrong))
    }
}

/// CPU time that a process has used so far, user and system together, in seconds.
///
/// # Errors
/// Fails when there is no such process.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    // Fields 14 and 15 of proc_pid_stat(5), counted after the name, which may hold spaces. Ticks are 10 ms on Linux.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("an unexpected /proc/PID/stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a short /proc/PID/stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Memory that a process holds, in MiB: resident, and the part of it that is not of files.
///
/// # Errors
/// Fails when there is no such process.
pub fn resident_mib(process: u32) -> Result<(f64, f64)> {
    Ok((status_mib(process, "VmRSS:")?, status_mib(process, "RssAnon:")?))
}

/// The most that has ever been resident of a process, in MiB.
///
/// # Errors
/// Fails when there is no such process.
pub fn peak_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmHWM:")
}

/// A field of proc_pid_status(5).
fn status_mib(process: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field}"))?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}
