//! What guards a request whatever it asks for, and the plain texts in which k8s.io/apiserver `pkg/server/filters` refuses: clients
//! and operators know them.
//!
//! Invariant: no answer carries `Retry-After`, on which client-go would sleep inside an HPA worker.

use std::{future::Future, panic::AssertUnwindSafe};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;

use crate::api::Outcome;

/// The output of `answering`, or `None` if it panicked: one failed request, and no more. What a request shares with others is
/// behind locks that survive a panic, so that nothing half-changed is seen.
pub(super) async fn survive<T>(answering: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(answering).catch_unwind().await.ok()
}

/// `wrap.go`: the panic's own message and place are in the log.
pub(super) fn panicked() -> Response {
    let text = "This request caused apiserver to panic. Look in the logs for details.\n";
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text)
}

/// `maxinflight.go`.
pub(super) fn too_many() -> Response {
    refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests, please try again later.\n")
}

/// As `http.Error` of Go writes it.
pub(super) fn plain(code: StatusCode, text: String) -> Response {
    (code, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

fn refusal(code: StatusCode, reason: &'static str, text: &str) -> Response {
    let mut response = plain(code, text.to_owned());
    response.extensions_mut().insert(Outcome { reason: Some(reason), ..Outcome::default() });
    response
}
