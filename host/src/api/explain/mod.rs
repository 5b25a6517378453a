//! `?explain=true`: not the metric but why it is answered as it is. The very code that answers the metric is asked, with a witness in
//! the provider's place, so that the explanation holds what a client gets to the letter, failures included.

mod call;
mod document;
#[cfg(test)]
mod tests;
mod witness;

use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, request::Parts};
use serde_json::Value;

use super::{
    Api, content,
    encoding::{Encoding, Text},
    negotiate::{Answer, choose, unwritable},
    outcome::Outcome,
    path::Target,
    status::Status,
};
use crate::model::Detail;
use document::{Answered, Document};
use witness::Witness;

/// Items of a list that an explanation repeats.
const ITEMS: usize = 20;

/// Explains the metric of `target`: 200 whether the metric is answered or fails. Another status means that there is no explanation.
pub(super) async fn respond(api: &Api, detail: Detail, target: &Target, head: &Parts) -> Result<Response, Status> {
    let (answer, text) = negotiate(head)?;
    let witness = Witness::new(api.provider.clone(), detail);
    let plain = as_json(head);
    let metric = api.metric(&witness, target, &plain).await.unwrap_or_else(|status| status.respond(&plain));
    let outcome = metric.extensions().get::<Outcome>().cloned().unwrap_or_default();
    let answered = repeat(metric).await;
    let explanation = witness.conclude()?;
    let document = Document::new(target, answered, outcome.plugin.as_ref(), explanation, detail);
    let response = match text.write(&document, true) {
        Ok(body) => {
            let media_type = HeaderValue::from_static(text.media_type());
            content::response(StatusCode::OK, media_type, body, answer.gzip)
        }
        Err(error) => unwritable(&error),
    };
    Ok(outcome.attach(response))
}

/// JSON or YAML: this kind is for people, and has neither protobuf nor a table.
fn negotiate(head: &Parts) -> Result<(Answer, Text), Status> {
    let chosen = choose(head, |encoding, parameters| match encoding {
        Encoding::Text(text) if parameters.target.is_none() => Some(text),
        _ => None,
    });
    chosen.ok_or_else(|| {
        Status::not_acceptable("an explanation is written as application/json or application/yaml; accept one of them")
    })
}

/// The request in the form in which an explanation repeats its answer.
fn as_json(head: &Parts) -> Parts {
    let mut plain = Request::new(()).into_parts().0;
    plain.method.clone_from(&head.method);
    plain.uri.clone_from(&head.uri);
    plain
}

/// What the client would have got, at most [`ITEMS`] items of it.
async fn repeat(response: Response) -> Answered {
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut items_left_out = 0;
    if let Some(items) = body.get_mut("items").and_then(Value::as_array_mut) {
        items_left_out = items.len().saturating_sub(ITEMS);
        items.truncate(ITEMS);
    }
    Answered { code, body, items_left_out }
}
