//! One question to both adapters, each on a connection of its own.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, anyhow};
use e2e::{
    adapter::service_host,
    certificates::{Authority, Identity},
    connection::{Peer, Protocol},
    peer::TestAdapter,
    requests::Answer,
};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use super::stage::NAMESPACE;
use crate::world::World;

/// How often a server is asked that gives no answer at all.
const ATTEMPTS: usize = 5;

/// Something to ask.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) who: Who,
    pub(super) protocol: Protocol,
}

/// What the client shows of itself. What else it says, as `X-Remote-User`, is among the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// The front proxy, speaking for a member of `system:masters`.
    Admin,
    /// The front proxy, saying what the headers say.
    FrontProxy,
    /// No certificate.
    Anonymous,
    /// A certificate of the cluster's authority, for a user without rights.
    Direct,
    /// A certificate of the cluster's authority, for a member of `system:masters`.
    Root,
    /// A certificate of the front proxy's authority under a name that it may not have.
    OtherName,
    /// A certificate that nobody knows.
    Stranger,
    /// The token of a service account that may read, and no certificate.
    Reader,
    /// The token of a service account without rights, and no certificate.
    Powerless,
}

/// The two adapters and all identities.
pub(super) struct Both<'a> {
    authority: &'a Authority,
    theirs: u16,
    ours: u16,
    name: String,
    identities: BTreeMap<Who, Identity>,
    tokens: BTreeMap<Who, String>,
}

impl<'a> Both<'a> {
    /// Makes the identities; the service accounts are made in the cluster.
    pub(super) async fn new(world: &'a World, peer: &TestAdapter) -> Result<Self> {
        let (cluster, proxy) = (world.control_plane.authority(), world.control_plane.front_proxy());
        let identities = BTreeMap::from([
            (Who::Admin, proxy.client("front-proxy-client", &[])?),
            (Who::FrontProxy, proxy.client("front-proxy-client", &[])?),
            (Who::Direct, cluster.client("direct", &["team-a"])?),
            (Who::Root, cluster.client("root", &["system:masters"])?),
            (Who::OtherName, proxy.client("somebody-else", &[])?),
            (Who::Stranger, Authority::new("kubernetes")?.client("root", &["system:masters"])?),
        ]);
        let tokens = BTreeMap::from([
            (Who::Reader, service_account(world, "reader").await?),
            (Who::Powerless, service_account(world, "powerless").await?),
        ]);
        let role = "--clusterrole=wasm-metrics-adapter-reader";
        let (account, namespace) = (format!("--serviceaccount={NAMESPACE}:reader"), format!("--namespace={NAMESPACE}"));
        world.kubectl.run(&["create", "rolebinding", "reader", role, &account, &namespace]).await?;
        let ours = world.adapter.replicas().first().ok_or_else(|| anyhow!("there are two replicas"))?.port();
        Ok(Self { authority: cluster, theirs: peer.port(), ours, name: service_host(), identities, tokens })
    }

    /// Theirs, and ours.
    pub(super) async fn ask(&self, question: &Question) -> (Result<Answer>, Result<Answer>) {
        (self.answer(self.theirs, question).await, self.answer(self.ours, question).await)
    }

    /// A server that closes the connection of whoever it did not know, as Go's does over HTTP/2, may have closed it before the
    /// refusal is through: then it is asked again.
    async fn answer(&self, port: u16, question: &Question) -> Result<Answer> {
        for _ in 1..ATTEMPTS {
            if let Ok(answer) = self.exchange(port, question).await {
                return Ok(answer);
            }
        }
        self.exchange(port, question).await
    }

    async fn exchange(&self, port: u16, question: &Question) -> Result<Answer> {
        let identity = self.identities.get(&question.who);
        let peer = Peer { port, name: &self.name, authority: self.authority, identity };
        let mut request = Request::new(Full::default());
        *request.method_mut() = question.method.clone();
        *request.uri_mut() = http::Uri::builder().path_and_query(question.path.as_str()).build()?;
        let mut header = |name: &str, value: &str| -> Result<()> {
            request.headers_mut().append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
            Ok(())
        };
        if question.who == Who::Admin {
            header("x-remote-user", "admin")?;
            header("x-remote-group", "system:masters")?;
        }
        if let Some(token) = self.tokens.get(&question.who) {
            header("authorization", &format!("Bearer {token}"))?;
        }
        for (name, value) in &question.headers {
            header(name, value)?;
        }
        peer.exchange(question.protocol, request).await
    }
}

/// Makes a service account and gives its token.
async fn service_account(world: &World, name: &str) -> Result<String> {
    let namespace = format!("--namespace={NAMESPACE}");
    world.kubectl.run(&["create", "serviceaccount", name, &namespace]).await?;
    Ok(world.kubectl.run(&["create", "token", name, &namespace]).await?.trim().to_owned())
}

impl Question {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), who: Who::Admin, protocol: Protocol::Http2 }
    }

    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn who(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    pub(super) fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }
}

/// The text by which [`super::differences`] names questions.
impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)?;
        for (name, value) in &self.headers {
            write!(formatter, " [{name}: {value}]")?;
        }
        if self.who != Who::Admin {
            write!(formatter, " as {:?}", self.who)?;
        }
        if self.protocol != Protocol::Http2 {
            write!(formatter, " over {:?}", self.protocol)?;
        }
        Ok(())
    }
}
