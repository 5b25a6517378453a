//! The commands beside `serve`, for people and scripts: each asks, prints and ends, with an exit code that means something. They
//! never change a cluster.

pub mod preflight;
