//! A JSON API of the demo's own, for the plugin that asks one: orders by city. On loopback, for as long as this process lives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

/// The running server.
pub(super) struct Backend {
    port: u16,
    berlin: Arc<AtomicU32>,
}

impl Backend {
    /// Starts it on a free port, with a number for Berlin.
    pub(super) fn start(berlin: u32) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, berlin) = (listener.local_addr()?.port(), Arc::new(AtomicU32::new(berlin)));
        let number = Arc::clone(&berlin);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = Arc::clone(&number);
                // One that fails hurts only its own client. A thread for each: a client that stays silent holds up nobody.
                std::thread::spawn(move || answer(stream, number.load(Ordering::Relaxed)));
            }
        });
        Ok(Self { port, berlin })
    }

    /// Where it listens, on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From now on Berlin has this number.
    pub(super) fn set(&self, berlin: u32) {
        self.berlin.store(berlin, Ordering::Relaxed);
    }
}

/// One request for each connection (RFC 9112 section 9.6).
fn answer(mut stream: TcpStream, berlin: u32) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = if request.starts_with("GET /orders ") {
        ("200 OK", format!(r#"{{"cities":[{{"name":"berlin","open":{berlin}}},{{"name":"lagos","open":5}}]}}"#))
    } else {
        ("404 Not Found", r#"{"error":"there is only /orders"}"#.to_owned())
    };
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close", body.len());
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn ask(backend: &Backend, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", backend.port())).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_tells_the_number_of_the_moment() {
        let backend = Backend::start(17).unwrap();
        assert!(ask(&backend, "/orders").contains(r#"{"name":"berlin","open":17}"#));
        backend.set(23);
        assert!(ask(&backend, "/orders").contains(r#"{"name":"berlin","open":23}"#));
        assert!(ask(&backend, "/else").starts_with("HTTP/1.1 404 "));
    }
}
