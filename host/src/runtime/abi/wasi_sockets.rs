//! `wasi:sockets` for guests that speak a backend's own protocol: TCP connections to the `tcp://` origins of `egress`, and
//! nothing else of it. wasmtime's own implementation does the work; here it is narrowed to the plugin's addresses, to few
//! sockets and to the bytes that a plugin may have of a backend. The call's deadline ends whatever still waits.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    vec,
};

use bytes::Bytes;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::{
    WasiView,
    p2::{
        DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError, StreamResult,
        TcpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddress, IpAddressFamily, Network},
            tcp::HostTcpSocket,
            tcp_create_socket::Host as _,
        },
        pipe::{ClosedInputStream, ClosedOutputStream},
        subscribe,
    },
    sockets::{SocketAddrUse, WasiSocketsView},
};

use crate::{
    egress::{self, SocketError},
    runtime::{
        log::Level,
        store::{CallState, Reach},
    },
};

/// Sockets that one call may create: a backend, its replicas, and a second try.
const SOCKETS: u64 = 8;
/// Bytes that one call may send by all of its sockets: as much as the body of one HTTP request.
const SENT_BYTES: u64 = 1 << 20;

/// What one call may still do with sockets.
pub(in crate::runtime) struct CallSockets {
    reach: Arc<Reach>,
    allowed: egress::Sockets,
    sockets: Budget,
    received: Budget,
    sent: Budget,
}

impl CallSockets {
    pub(in crate::runtime) fn new(reach: Arc<Reach>) -> Arc<Self> {
        let (allowed, received) = (reach.http.sockets(), Budget::of(reach.http.response_bytes()));
        Arc::new(Self { reach, allowed, sockets: Budget::of(SOCKETS), received, sent: Budget::of(SENT_BYTES) })
    }

    /// Whether the plugin has any `tcp://` origin.
    pub(in crate::runtime) fn are_allowed(&self) -> bool {
        self.allowed.are_allowed()
    }

    /// Whether a guest's socket may do this: connect to an address that a lookup of this call gave, from a port of the system's
    /// choice. No listening, and no UDP.
    pub(in crate::runtime) fn permits(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            SocketAddrUse::TcpConnect => self.allowed.check(address).map_err(|error| self.complain(&error)).is_ok(),
            SocketAddrUse::TcpListen
            | SocketAddrUse::TcpAccept
            | SocketAddrUse::UdpBind
            | SocketAddrUse::UdpSend
            | SocketAddrUse::UdpReceive => false,
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
        self.allowed.resolve(name).await.map_err(|error| {
            self.complain(&error);
            match error {
                SocketError::Unreachable(egress::EgressError::Timeout { .. }) => ErrorCode::TemporaryResolverFailure,
                SocketError::Unreachable(egress::EgressError::Failed { .. }) => ErrorCode::NameUnresolvable,
                _ => ErrorCode::AccessDenied,
            }
        })
    }

    /// WASI's codes carry no text, and the text names the remedy.
    fn complain(&self, error: &dyn std::fmt::Display) {
        self.reach.log.write(Level::Warn, &error.to_string());
    }
}

/// Puts the narrowed functions over wasmtime's, which are linked already.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |mut store, (family,): (IpAddressFamily,)| {
            let state: &mut CallState = store.data_mut();
            let sockets = state.call_sockets();
            if sockets.are_allowed() && !sockets.sockets.take(1) {
                sockets.complain(&format_args!("a call creates at most {SOCKETS} sockets; keep and use them again"));
                return Ok((Err(ErrorCode::NewSocketLimit),));
            }
            Ok((guest_result(state.sockets().create_tcp_socket(family))?,))
        },
    )?;
    linker.instance("wasi:sockets/tcp@0.2.12")?.func_wrap(
        "[method]tcp-socket.finish-connect",
        |mut store, (socket,): (Resource<TcpSocket>,)| {
            let state: &mut CallState = store.data_mut();
            let streams = guest_result(state.sockets().finish_connect(socket))?;
            if let Ok((input, output)) = &streams {
                let budgets = state.call_sockets();
                meter(state.ctx().table, input, output, &budgets)?;
            }
            Ok((streams,))
        },
    )?;
    add_name_lookup(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Name lookup as a whole: wasmtime's own asks the system's resolver for any name, which would tell name servers outside
/// whatever a guest wants them to know.
fn add_name_lookup(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    lookup.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, index| {
        store.data_mut().ctx().table.delete(Resource::<Addresses>::new_own(index))?;
        Ok(())
    })?;
    lookup.func_wrap_async("resolve-addresses", |mut store, (_, name): (Resource<Network>, String)| {
        Box::new(async move {
            let state = store.data_mut();
            let found = tokio::time::timeout(state.remaining(), state.call_sockets().resolve(&name)).await;
            let stream = match found.unwrap_or(Err(ErrorCode::TemporaryResolverFailure)) {
                Ok(addresses) => Ok(state.ctx().table.push(Addresses(addresses.into_iter()))?),
                Err(code) => Err(code),
            };
            Ok((stream,))
        })
    })?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store, (stream,): (Resource<Addresses>,)| {
            let addresses = store.data_mut().ctx().table.get_mut(&stream)?;
            Ok((Ok::<_, ErrorCode>(addresses.0.next().map(IpAddress::from)),))
        },
    )?;
    lookup.func_wrap("[method]resolve-address-stream.subscribe", |mut store, (stream,): (Resource<Addresses>,)| {
        let pollable: Resource<DynPollable> = subscribe(store.data_mut().ctx().table, stream)?;
        Ok((pollable,))
    })
}

/// A guest's own error is an answer; anything else ends the call.
fn guest_result<T>(result: Result<T, wasmtime_wasi::p2::SocketError>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => error.downcast().map(Err),
    }
}

/// Addresses that a guest takes one by one; they are all there.
struct Addresses(vec::IntoIter<IpAddr>);

#[async_trait::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {}
}

/// What is left of a number that a call may use up.
struct Budget(AtomicU64);

impl Budget {
    fn of(limit: u64) -> Self {
        Self(AtomicU64::new(limit))
    }

    /// Takes `amount`, or nothing if less is left.
    fn take(&self, amount: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).is_ok()
    }
}

/// Puts the call's budgets between a guest and its connection.
fn meter(
    table: &mut ResourceTable,
    input: &Resource<DynInputStream>,
    output: &Resource<DynOutputStream>,
    budgets: &Arc<CallSockets>,
) -> wasmtime::Result<()> {
    let slot = table.get_mut(input)?;
    let stream = mem::replace(slot, Box::new(ClosedInputStream));
    *slot = Box::new(Metered { stream, budgets: budgets.clone() });
    let slot = table.get_mut(output)?;
    let stream = mem::replace(slot, Box::new(ClosedOutputStream));
    *slot = Box::new(Metered { stream, budgets: budgets.clone() });
    Ok(())
}

struct Metered<S> {
    stream: S,
    budgets: Arc<CallSockets>,
}

impl<S> Metered<S> {
    fn used_up(&self, what: &str) -> StreamError {
        let message = format!("the sockets of a call {what}");
        self.budgets.complain(&message);
        StreamError::LastOperationFailed(wasmtime::Error::msg(message))
    }
}

#[async_trait::async_trait]
impl Pollable for Metered<DynInputStream> {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait::async_trait]
impl InputStream for Metered<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.stream.read(size)?;
        if self.budgets.received.take(bytes.len() as u64) {
            return Ok(bytes);
        }
        Err(self.used_up("receive at most `limits.responseBytes`; ask for less, or raise it"))
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Metered<DynOutputStream> {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for Metered<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if !self.budgets.sent.take(bytes.len() as u64) {
            return Err(self.used_up(&format!("send at most {SENT_BYTES} bytes; send less")));
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}
