//! Authentication and authorization over real TLS connections: who gets in as whom, and above all who does not. Each case names
//! the rule that decides it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy takes only functions marked as tests for tests, not what they share"
)]

mod access;
mod api_server;
mod certificates;
mod client;
mod front_proxy;
mod rules;
mod strangers;
mod table;
mod trust;
mod users;
mod world;
