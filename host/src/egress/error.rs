//! Why a guest got no response. Messages name the origin and the remedy, never a credential, a query or an address.

use std::{error::Error, io};

use super::{ForbiddenAddress, Origin, dial::DialError};
use crate::model::PluginId;

/// Why there is no response. Each variant is one case of `fetch-error` in wit/v0.1/host.wit, the first two are `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The plugin's owner did not name the origin.
    #[error("origin {origin} is not in `egress` of plugin {plugin}; add it there")]
    OriginNotAllowed {
        /// Who asked.
        plugin: PluginId,
        /// For what.
        origin: Origin,
    },
    /// Every address of the origin's host is forbidden.
    #[error("{origin} leads to {class}, which plugins may not reach; use an address that is a backend's own")]
    AddressForbidden {
        /// What was asked for.
        origin: Origin,
        /// What is wrong with its first address.
        class: ForbiddenAddress,
    },
    /// The request makes no sense, whatever the backend.
    #[error(transparent)]
    InvalidRequest(#[from] InvalidRequest),
    /// No complete response in time.
    #[error("no complete response from {origin} in time")]
    Timeout {
        /// Who did not answer.
        origin: Origin,
    },
    /// Name resolution, connection, TLS or the protocol failed.
    #[error("request to {origin} failed: {cause}")]
    Failed {
        /// Whom it was for.
        origin: Origin,
        /// The innermost cause, and what to do about it where that is known.
        cause: String,
    },
    /// The backend has failed several times in a row and is left alone for a moment; nothing was sent.
    ///
    /// Nothing in the text changes with time: it ends up in conditions and Events of autoscalers.
    #[error("circuit open: the last requests to {origin} failed ({cause}); it is probed until it answers")]
    CircuitOpen {
        /// Who failed.
        origin: Origin,
        /// How the last request did.
        cause: String,
    },
    /// The response's body is larger than the plugin's limit.
    #[error(
        "the response of {origin} is larger than {limit} bytes, the plugin's limit; ask for less, or raise `limits.responseBytes`"
    )]
    TooLarge {
        /// Who sent it.
        origin: Origin,
        /// The limit in bytes.
        limit: u64,
    },
}

impl EgressError {
    /// The process ends while an exchange is under way.
    pub(super) fn stopping(origin: Origin) -> Self {
        Self::Failed { origin, cause: "the adapter is stopping".to_owned() }
    }

    /// What an error of the HTTP client means: it wraps what our own connector and the TLS library said.
    pub(super) fn explain(origin: &Origin, error: &(dyn Error + 'static)) -> Self {
        let origin = origin.clone();
        let mut innermost = error;
        for error in std::iter::successors(Some(error), |error| cause(*error)) {
            innermost = error;
            match (error.downcast_ref::<DialError>(), error.downcast_ref::<rustls::Error>()) {
                (Some(DialError::Forbidden(class)), _) => return Self::AddressForbidden { origin, class: *class },
                (Some(DialError::Slow), _) => return Self::Timeout { origin },
                // Resolvers say this in the words of the C library; ours are the same everywhere.
                (Some(resolve @ DialError::Resolve(_)), _) => {
                    return Self::Failed { origin, cause: resolve.to_string() };
                }
                (_, Some(tls)) => return Self::Failed { origin, cause: tls_cause(tls) },
                (Some(DialError::NoAddress | DialError::Connect(_)) | None, None) => {}
            }
        }
        Self::Failed { origin, cause: innermost.to_string() }
    }
}

/// What caused an error. An `io::Error` hides what it wraps from `source`, so it is unwrapped here.
pub(super) fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_cause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(cause) => format!(
            "its certificate is not trusted ({cause}); give the adapter its authority's certificate, or correct its names"
        ),
        other => format!("TLS failed ({other})"),
    }
}

/// What makes no sense in a guest's request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// Not a URL. The text is not repeated: a query may hold a secret.
    #[error("the URL can't be parsed ({0}); send an absolute http or https URL")]
    Url(url::ParseError),
    /// A URL that parses and can't be sent.
    #[error("the URL for {0} holds characters that can't be sent; percent-encode its path and query")]
    Target(Origin),
    /// A URL of more bytes than any backend takes.
    #[error("the URL is longer than {limit} bytes; send long input in the body")]
    UrlTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Another scheme, or a user name or password.
    #[error("{0}")]
    Origin(super::InvalidOrigin),
    /// Not a method.
    #[error("`{0}` is no HTTP method")]
    Method(String),
    /// A method that reaches past the backend or shows what the host has put on the request.
    #[error("method {0} is refused; use GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS")]
    MethodRefused(String),
    /// Not a header. The value is not repeated.
    #[error("header `{0}` has a name or value that HTTP can't carry; send printable ASCII")]
    Header(String),
    /// More header lines than any sensible request has.
    #[error("the request has more than {limit} headers; send fewer")]
    TooManyHeaders {
        /// The limit in header lines.
        limit: usize,
    },
    /// Longer headers than any sensible request has.
    #[error("the request's headers are longer than {limit} bytes; send less")]
    HeadersTooLarge {
        /// The limit in bytes, names and values together.
        limit: usize,
    },
    /// A body that is no query.
    #[error("the request's body is longer than {limit} bytes; send less")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
