//! What is claimed: the names of each API, and patterns over them.

use std::hash::Hash;

use crate::model::{CustomMetric, GroupResource, Pattern};

/// What an API names its metrics by.
pub(super) trait Name: Eq + Hash + Clone {
    /// Keeps patterns apart that can't match the same name.
    type Space: Eq + Hash + Clone;

    fn space(&self) -> &Self::Space;

    /// What patterns see of the name.
    fn text(&self) -> &str;
}

/// An external metric, in lower case.
impl Name for String {
    type Space = ();

    fn space(&self) -> &() {
        &()
    }

    fn text(&self) -> &str {
        self
    }
}

impl Name for CustomMetric {
    type Space = GroupResource;

    fn space(&self) -> &GroupResource {
        &self.resource
    }

    fn text(&self) -> &str {
        self.name.as_str()
    }
}

/// All of metrics.k8s.io: it is claimed whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ResourceMetrics;

impl Name for ResourceMetrics {
    type Space = ();

    fn space(&self) -> &() {
        &()
    }

    fn text(&self) -> &'static str {
        ""
    }
}

/// Where in a table a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<N: Name> {
    Exact(N),
    Pattern(N::Space, Pattern),
}
