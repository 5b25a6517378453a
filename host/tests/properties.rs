//! Properties of what strangers write: paths and identity headers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes only functions marked as tests for tests, not what they share"
)]

#[path = "properties/identity.rs"]
mod identity;
#[path = "properties/paths.rs"]
mod paths;
