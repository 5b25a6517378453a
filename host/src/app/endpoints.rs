//! What the process says of itself: health, version, metrics, the state of its plugins, and which paths there are. From memory;
//! never asks a plugin.

use std::sync::Arc;

use axum::{
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{expiry::Expiry, health};
use crate::{
    api::{Group, Outcome},
    reload::Board,
    telemetry::{Metrics, Readiness},
};

/// Content type of OpenMetrics text, which Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const JSON: &str = "application/json";

/// What there is to tell.
pub(super) struct Endpoints {
    pub(super) readiness: Readiness,
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: Arc<Board>,
    pub(super) expiry: Expiry,
}

impl Endpoints {
    /// Answers the paths that are not of the metrics APIs. Where there is nothing, it tells what there is, as k8s.io/apiserver
    /// `pkg/server/routes/index.go` does.
    pub(super) fn answer(&self, method: &Method, path: &str, query: &str) -> Response {
        let reading = method == Method::GET || method == Method::HEAD;
        let answer = if reading { self.known(path, query) } else { None };
        answer.unwrap_or_else(|| {
            let mut response = self.index(StatusCode::NOT_FOUND);
            response.extensions_mut().insert(Outcome { reason: Some("NotFound"), ..Outcome::default() });
            response
        })
    }

    fn known(&self, path: &str, query: &str) -> Option<Response> {
        match path {
            "/" | "/index.html" => Some(self.index(StatusCode::OK)),
            "/version" => Some(version()),
            "/metrics" => {
                self.expiry.observe(&self.metrics);
                Some(respond(StatusCode::OK, OPENMETRICS, self.metrics.encode()))
            }
            "/debug/plugins" => Some(respond(StatusCode::OK, JSON, self.board.to_json())),
            path => health::answer(path, query, &self.readiness),
        }
    }

    /// `metav1.RootPaths`
    fn index(&self, status: StatusCode) -> Response {
        let own = ["/apis", "/debug/plugins", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"];
        let mut paths: Vec<String> = own.map(str::to_owned).to_vec();
        for group in Group::ALL {
            paths.push(format!("/apis/{}", group.name()));
            paths.extend(group.versions().iter().map(|version| format!("/apis/{version}")));
        }
        for path in health::PATHS {
            paths.push(path.to_owned());
            paths.extend(health::names(path, &self.readiness).iter().map(|check| format!("{path}/{check}")));
        }
        paths.sort_unstable();
        respond(status, JSON, format!("{:#}", json!({ "paths": paths })))
    }
}

/// As `version.Info` of k8s.io/apimachinery.
fn version() -> Response {
    let document = json!({
        "major": env!("CARGO_PKG_VERSION_MAJOR"),
        "minor": env!("CARGO_PKG_VERSION_MINOR"),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        "compiler": "rustc",
    });
    respond(StatusCode::OK, JSON, format!("{document:#}"))
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
