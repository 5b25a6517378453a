//! What the process says of itself: health, version, metrics, the state of its plugins. From memory; never asks a plugin.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
    response::Response,
};
use serde_json::json;

use super::expiry::Expiry;
use crate::{
    reload::Board,
    telemetry::{Metrics, Readiness},
};

/// Content type of OpenMetrics text, which Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is to tell.
pub(super) struct Endpoints {
    pub(super) readiness: Readiness,
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: Arc<Board>,
    pub(super) expiry: Expiry,
}

impl Endpoints {
    /// Answers the paths that are not of the metrics APIs; `None` if there is no such path.
    pub(super) fn answer(&self, method: &Method, path: &str, query: &str) -> Option<Response> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        match path {
            // Alive is who answers: a restart mends neither plugins nor backends.
            "/healthz" | "/livez" => Some(text(StatusCode::OK, "ok".to_owned())),
            "/readyz" => Some(ready(&self.readiness, query.contains("verbose"))),
            "/version" => Some(version()),
            "/metrics" => {
                self.expiry.observe(&self.metrics);
                Some(respond(StatusCode::OK, OPENMETRICS, self.metrics.encode()))
            }
            "/debug/plugins" => Some(respond(StatusCode::OK, "application/json", self.board.to_json())),
            _ => self.check(path.strip_prefix("/readyz/")?),
        }
    }

    fn check(&self, name: &str) -> Option<Response> {
        let (_, holds) = self.readiness.facts().into_iter().find(|(known, _)| *known == name)?;
        Some(if holds {
            text(StatusCode::OK, "ok".to_owned())
        } else {
            not_ready(format!("{name} has not come about yet\n"))
        })
    }
}

fn ready(readiness: &Readiness, verbose: bool) -> Response {
    let ready = readiness.is_ready();
    if ready && !verbose {
        return text(StatusCode::OK, "ok".to_owned());
    }
    // As k8s.io/apiserver `pkg/server/healthz` prints it.
    let mut lines = String::new();
    for (name, holds) in readiness.facts() {
        lines.push_str(&if holds { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: not yet\n") });
    }
    if ready {
        text(StatusCode::OK, format!("{lines}readyz check passed\n"))
    } else {
        not_ready(format!("{lines}readyz check failed\n"))
    }
}

fn not_ready(lines: String) -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, lines)
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
    respond(StatusCode::OK, "application/json", document.to_string())
}

fn text(status: StatusCode, text: String) -> Response {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
