//! `wasi:sockets` with a real guest whose language speaks TCP by its own library: it reaches the `tcp://` origins of its plugin,
//! within bounds, and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use wasm_metrics_adapter::{model::Reason, runtime::Plugin};

use crate::{Probe, external, label, logs::logs, probe, support};

/// A TCP server that treats each of its connections alike, and counts them.
struct Server {
    address: SocketAddr,
    connections: watch::Receiver<Connections>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct Connections {
    opened: usize,
    open: usize,
}

impl Server {
    async fn start<Serving>(serve: fn(TcpStream) -> Serving) -> Self
    where
        Serving: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, connections) = watch::channel(Connections::default());
        let count = Arc::new(count);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|connections| {
                    connections.opened += 1;
                    connections.open += 1;
                });
                let count = count.clone();
                tokio::spawn(async move {
                    serve(stream).await;
                    count.send_modify(|connections| connections.open -= 1);
                });
            }
        });
        Self { address, connections, accepting: accepting.abort_handle() }
    }

    fn opened(&self) -> usize {
        self.connections.borrow().opened
    }

    /// Waits until so many connections have come, and all of them are gone.
    async fn until_gone(&self, opened: usize) {
        let mut connections = self.connections.clone();
        let gone = connections.wait_for(|connections| connections.opened == opened && connections.open == 0);
        tokio::time::timeout(crate::limits::PATIENCE, gone).await.unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// As much of Redis as a client needs that asks for the length of a list.
async fn redis(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut is_known = false;
    while let Some(command) = words(&mut stream).await {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let answer = match words.as_slice() {
            ["AUTH", "hunter2"] => {
                is_known = true;
                "+OK\r\n"
            }
            ["AUTH", _] => "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            _ if !is_known => "-NOAUTH Authentication required.\r\n",
            ["LLEN", "orders"] => ":42\r\n",
            ["LLEN", _] => ":0\r\n",
            _ => "-ERR unknown command\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One command: an array of bulk strings.
async fn words(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let count = line.strip_prefix('*')?.trim_end().parse().ok()?;
    let mut words = Vec::new();
    for _ in 0_usize..count {
        let (mut size, mut word) = (String::new(), String::new());
        stream.read_line(&mut size).await.ok()?;
        stream.read_line(&mut word).await.ok()?;
        words.push(word.trim_end().to_owned());
    }
    Some(words)
}

/// Sends without end.
async fn flood(mut stream: TcpStream) {
    while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
}

/// Takes whatever comes.
async fn sink(mut stream: TcpStream) {
    while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
}

/// Says nothing, and waits for the other side to go.
async fn silence(stream: TcpStream) {
    sink(stream).await;
}

fn sockets(name: &str, behaviour: &str, address: &str) -> Probe {
    probe(name).config("behaviour", behaviour).config("address", address)
}

async fn load(probe: Probe) -> Plugin {
    probe.load_of(support::guest("sockets")).await
}

async fn answer(plugin: &Plugin) -> (i64, String) {
    let samples = external(plugin, "shop").await.unwrap().samples;
    let [sample] = &*samples else { panic!("{samples:?}") };
    (sample.value.units(), label(sample, "detail").to_owned())
}

#[tokio::test]
async fn a_guest_speaks_redis_to_an_address_and_to_a_name() {
    let server = Server::start(redis).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("{host}:{port}");
        let plugin = sockets(&format!("redis-{host}"), "llen", &address)
            .config("queue", "orders")
            .config("password", "hunter2")
            .origin(&format!("tcp://{address}"));
        assert_eq!(answer(&load(plugin).await).await, (42, String::new()), "{host}");
    }
    let address = server.address.to_string();
    let stranger = sockets("redis-stranger", "llen", &address).origin(&format!("tcp://{address}"));
    assert_eq!(answer(&load(stranger).await).await, (-1, "-NOAUTH Authentication required.".to_owned()));
}

#[tokio::test]
async fn a_socket_to_an_origin_that_is_not_named_is_not_opened() {
    let logs = logs();
    let (server, other) = (Server::start(sink).await, Server::start(sink).await);
    let address = server.address.to_string();
    for (name, origin) in [
        ("other-port", format!("tcp://{}", other.address)),
        ("other-scheme", format!("http://{address}")),
        ("by-name-only", format!("tcp://localhost:{}", server.address.port())),
    ] {
        let plugin = load(sockets(name, "drinks", &address).origin(&origin)).await;
        assert_eq!(answer(&plugin).await.0, -1, "{name}");
        assert_eq!(server.opened(), 0, "{name}");
    }
    let lines = logs.of("plugins/other-port");
    assert!(lines.iter().any(|line| line.contains("is no address that this call has looked up")), "{lines:?}");
}

#[tokio::test]
async fn a_name_that_is_not_named_is_not_looked_up() {
    let logs = logs();
    let plugin = sockets("leaks", "llen", "secret-in-a-name.attacker.test:6379").origin("tcp://127.0.0.1:6379");
    let plugin = load(plugin).await;
    assert_eq!(answer(&plugin).await.0, -1);
    let lines = logs.of("plugins/leaks");
    assert!(lines.iter().any(|line| line.contains("has the host `secret-in-a-name.attacker.test`")), "{lines:?}");
}

#[tokio::test]
async fn a_tcp_origin_that_is_a_forbidden_address_is_not_dialled() {
    let logs = logs();
    for (name, address) in
        [("metadata", "169.254.169.254:80"), ("linklocal", "[fe80::1]:80"), ("loopback6", "[::1]:80")]
    {
        let plugin = load(sockets(name, "drinks", address).origin(&format!("tcp://{address}"))).await;
        assert_eq!(answer(&plugin).await.0, -1, "{address}");
        let lines = logs.of(plugin.id());
        assert!(lines.iter().any(|line| line.contains("which plugins may not reach")), "{address}: {lines:?}");
    }
}

#[tokio::test]
async fn a_guest_neither_listens_nor_binds_nor_sends_datagrams() {
    let server = Server::start(sink).await;
    let address = server.address.to_string();
    for behaviour in ["listens", "binds", "udp"] {
        let plugin = load(sockets(behaviour, behaviour, &address).origin(&format!("tcp://{address}"))).await;
        let (value, detail) = answer(&plugin).await;
        assert_eq!(value, -1, "{behaviour}: {detail}");
    }
}

#[tokio::test]
async fn a_backend_that_floods_a_socket_is_cut_off_at_the_response_limit() {
    let server = Server::start(flood).await;
    let address = server.address.to_string();
    let plugin = load(sockets("drinks", "drinks", &address).origin(&format!("tcp://{address}"))).await;
    let (bytes, detail) = answer(&plugin).await;
    assert!((1..=1 << 20).contains(&bytes), "{bytes} {detail}");
    assert_ne!(detail, "end");
}

#[tokio::test]
async fn a_guest_that_pours_into_a_socket_is_cut_off() {
    let server = Server::start(sink).await;
    let address = server.address.to_string();
    let plugin = load(sockets("pours", "pours", &address).origin(&format!("tcp://{address}"))).await;
    let (bytes, detail) = answer(&plugin).await;
    assert_eq!(bytes, 1 << 20, "{detail}");
}

#[tokio::test]
async fn a_guest_that_hoards_sockets_gets_few_and_its_call_leaves_none() {
    let server = Server::start(silence).await;
    let address = server.address.to_string();
    let plugin = load(sockets("hoards", "hoards", &address).origin(&format!("tcp://{address}"))).await;
    for calls in 1..=2 {
        let (opened, _) = answer(&plugin).await;
        assert_eq!(opened, 8, "each call has its own");
        server.until_gone(8 * calls).await;
    }
}

#[tokio::test]
async fn a_guest_that_waits_at_a_silent_socket_is_ended_with_its_call() {
    let server = Server::start(silence).await;
    let address = server.address.to_string();
    let plugin = sockets("waits", "waits", &address)
        .origin(&format!("tcp://{address}"))
        .limits(|limits| limits.timeout = Duration::from_secs(3));
    let error = external(&load(plugin).await, "shop").await.unwrap_err();
    assert_eq!(error.reason, Reason::Timeout, "{error:?}");
    server.until_gone(1).await;
}
