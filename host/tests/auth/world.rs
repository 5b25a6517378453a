//! A server that answers whom it takes the client for, once the client may: authentication, the path, authorization, as the
//! adapter joins them.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wasm_metrics_adapter::{
    api::{Status, path},
    auth::{
        AuthenticationOptions, Authenticator, AuthorizationOptions, Authorizer, KubeReviews, ReviewLimits, Trust,
        TrustInputs,
    },
    certificates,
    model::{Attributes, Connection},
    serve::{Limits, Server, ServingCertificate, TlsPolicy, server_config},
};

use crate::{
    api_server::ApiServer,
    certificates::{Authority, Identity, Issued},
    client::{Answer, Client},
};

/// Headers that would make anybody an administrator, if they were believed.
pub(crate) const ADMIN: &[u8] = b"X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) trust: Arc<Trust>,
    pub(crate) api_server: Arc<ApiServer>,
    pub(crate) front_proxies: Authority,
    pub(crate) clients: Authority,
    shutdown: CancellationToken,
}

/// What `kube-system/extension-apiserver-authentication` would say.
pub(crate) fn inputs(front_proxies: &str, clients: &str, allowed_names: &[&str]) -> TrustInputs {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    TrustInputs {
        client_ca: Some(clients.as_bytes().to_vec()),
        front_proxy_ca: Some(front_proxies.as_bytes().to_vec()),
        allowed_names: list(allowed_names),
        username_headers: list(&["X-Remote-User"]),
        uid_headers: list(&["X-Remote-Uid"]),
        group_headers: list(&["X-Remote-Group"]),
        extra_header_prefixes: list(&["X-Remote-Extra-"]),
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_audiences(&[]).await
    }

    /// Whose tokens must be for one of these.
    pub(crate) async fn with_audiences(audiences: &[&str]) -> Self {
        let (front_proxies, clients) = (Authority::new("front-proxy-ca"), Authority::new("client-ca"));
        let trust = Arc::new(Trust::new(inputs(&front_proxies.pem, &clients.pem, &["front-proxy-client"])).unwrap());
        let api_server = Arc::new(ApiServer::default());
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let reviews = Arc::new(KubeReviews::new(api_server.client(), audiences));
        // Nobody here needs ten seconds but who never answers.
        let limits = ReviewLimits { timeout: Duration::from_secs(1), ..ReviewLimits::default() };
        let authentication = AuthenticationOptions { reviews: limits.clone(), ..AuthenticationOptions::default() };
        let authorization = AuthorizationOptions { reviews: limits, ..AuthorizationOptions::default() };
        let gate = Arc::new((
            Authenticator::delegated(trust.clone(), reviews.clone(), &authentication),
            Authorizer::delegated(reviews, authorization),
        ));
        let certificate = Arc::new(ServingCertificate::default());
        certificates::ephemeral(&["localhost".to_owned()], &certificate).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(move |request| {
            let gate = gate.clone();
            async move { Ok::<_, Infallible>(answer(&gate.0, &gate.1, request).await) }
        });
        let tls = server_config(certificate, &TlsPolicy::default()).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(Server { listener, tls, service, limits: Limits::default() }.run(shutdown.clone()));
        Self { address, trust, api_server, front_proxies, clients, shutdown }
    }

    pub(crate) fn front_proxy(&self) -> Identity {
        Issued::to("front-proxy-client").by(&self.front_proxies)
    }

    pub(crate) async fn connect(&self, identity: Option<&Identity>) -> Client {
        Client::connect(self.address, identity, rustls::DEFAULT_VERSIONS).await
    }

    /// The answer to `GET /` with these header lines on a connection of its own.
    pub(crate) async fn ask(&self, identity: Option<&Identity>, headers: &[u8]) -> Answer {
        self.connect(identity).await.ask(headers).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn answer(authenticator: &Authenticator, authorizer: &Authorizer, request: Request<Incoming>) -> Response {
    let (mut head, _body) = request.into_parts();
    let connection = head.extensions.get::<Arc<Connection>>().unwrap().clone();
    let outcome = authenticator.authenticate(&connection, &mut head.headers).await;
    let credential = |name: &str| {
        name.starts_with("x-remote-") || name.starts_with("impersonate-") || name == http::header::AUTHORIZATION
    };
    let leaked: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).filter(|name| credential(name)).collect();
    assert_eq!(leaked, [""; 0], "credentials went through");
    let user = match outcome {
        Ok(user) => user,
        Err(error) => return Status::of_authentication(&error).respond(&head),
    };
    let attributes = path::parse(&head.method, &head.uri).map_or_else(
        |_| Attributes::NonResource { path: head.uri.path().to_owned(), verb: "get".to_owned() },
        |target| target.attributes(),
    );
    match authorizer.authorize(&user, &attributes).await {
        Ok(()) => axum::Json(json!({ "name": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra }))
            .into_response(),
        Err(error) => Status::of_authorization(&error, &user, &attributes).respond(&head),
    }
}
