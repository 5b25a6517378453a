//! What there is to tell of an answer beside what is on the wire.

use axum::response::Response;

use crate::model::{CacheState, PluginId};

/// An extension of responses, for the request log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The plugin that answered, or is at fault.
    pub plugin: Option<PluginId>,
    /// Why there is no answer, in a word: of [`crate::model::Reason`] where a plugin was asked, else the reason of the Status.
    pub reason: Option<&'static str>,
    /// The same in one printable line. It may say more than the client is told.
    pub message: Option<String>,
    /// What the value cache had to do with it.
    pub cache: CacheState,
}

impl Outcome {
    pub(super) fn of_answer(plugin: PluginId, cache: CacheState) -> Self {
        Self { plugin: Some(plugin), cache, ..Self::default() }
    }

    pub(super) fn attach(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}
