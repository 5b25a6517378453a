//! Requests of guests to their backends. Everything is refused that is not named in the plugin's `egress`, and every address is
//! checked after its name has been resolved: what was checked is what is dialled. Knows neither wasm nor Kubernetes, never
//! follows a redirect, and never shows a credential to a guest or a log.
//!
//! In reading order: [`Origin`] is what a plugin may reach, [`AddressPolicy`] which addresses nobody may, `request` makes an
//! HTTP request of a guest's wish, [`Client`] exchanges it, `breaker` and `retry` decide whether it is worth sending (again), `dial`
//! opens the connections, [`Sockets`] lets guests open TCP ones themselves, [`TrustRoots`] verifies them.

mod address;
mod breaker;
mod client;
mod credential;
mod dial;
mod error;
mod origin;
mod request;
mod retry;
mod socket;
mod trust;

pub use address::{AddressPolicy, ForbiddenAddress};
pub use client::{Client, EgressConfig, Shared};
pub use credential::{ClientProof, Credential, InvalidCredential, OAuth2Client, Token, TokenError, TokenSource};
pub use dial::{Resolve, SystemResolver};
pub use error::{EgressError, InvalidRequest};
pub use origin::{InvalidOrigin, Origin, Origins, Scheme};
pub use request::{Request, Response};
pub use socket::{SocketError, Sockets};
pub use trust::{ExtraRoots, TrustError, TrustRoots};
