//! What became of a version of a plugin, and whether its owner is to hear of it: once for each change, not once for each try.

use super::resource::Misfit;
use crate::{
    bundle::BundleError,
    egress::{InvalidCredential, InvalidOrigin, Origin, TrustError},
    manifest::ManifestError,
    policy::Refusal,
    runtime::{CompileError, LoadError},
    source::{ReadError, Report},
};

/// Why a version does not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadFailure {
    #[error("the plugin could not be read again: {0}; it will be tried again")]
    Unreadable(#[from] ReadError),
    #[error(transparent)]
    Policy(#[from] Refusal),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("egress: {0}")]
    Origin(#[from] InvalidOrigin),
    #[error("credentials: {0}")]
    Credential(#[from] InvalidCredential),
    #[error("credentials: {0} is not in egress, so the credential would never be used; add the origin there")]
    UselessCredential(Origin),
    #[error("tls.caFrom: {0}")]
    Authorities(#[from] TrustError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Resource(#[from] Misfit),
    #[error("the plugin refuses its settings: {0}")]
    Settings(String),
}

impl LoadFailure {
    /// Whether the plugin was deleted while it waited; the source is about to say so.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Unreadable(ReadError::NotFound(_)))
    }

    /// Whether trying the same version again may work.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreadable(_) => true,
            Self::Bundle(error) => error.is_retryable(),
            Self::Compile(error) => matches!(error, CompileError::NotStarted(_)),
            _ => false,
        }
    }
}

/// The newest version's fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It serves.
    Loaded,
    /// It is to answer nothing.
    Suspended,
    /// It lacks something that may yet come.
    Waiting(String),
    /// It can't serve.
    Rejected(String),
}

impl Outcome {
    /// The label value of the loads counter.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Suspended => "suspended",
            Self::Waiting(_) => "waiting",
            Self::Rejected(_) => "rejected",
        }
    }

    /// The words for the owner: good news or bad, a reason, a message.
    pub(super) fn words(&self, last_good_serves: bool) -> (bool, &'static str, String) {
        let standing = if last_good_serves { "the last good version serves on" } else { "its metrics are not served" };
        match self {
            Self::Loaded => (true, "Loaded", "the plugin serves its metrics".to_owned()),
            Self::Suspended => (true, "Suspended", "suspend is true: the plugin's metrics are withdrawn".to_owned()),
            Self::Waiting(why) => (false, "Waiting", format!("{why}; {standing}")),
            Self::Rejected(why) => (false, "Rejected", format!("{why}; {standing}")),
        }
    }
}

/// Remembers what the owner was told.
#[derive(Default)]
pub(super) struct Told(Option<Outcome>);

impl Told {
    /// The report to send, if this outcome is another than the last.
    pub(super) fn report(
        &mut self,
        outcome: &Outcome,
        last_good_serves: bool,
        about: &crate::source::RawPlugin,
    ) -> Option<Report> {
        if self.0.as_ref() == Some(outcome) {
            return None;
        }
        self.0 = Some(outcome.clone());
        let (good, reason, message) = outcome.words(last_good_serves);
        let (id, uid, version) = (about.id.clone(), about.uid.clone(), about.version.clone());
        Some(Report { id, uid, version, good, reason, message })
    }
}
