//! Which plugin answers which metric.
