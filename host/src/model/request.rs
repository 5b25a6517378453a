//! Who asks, and what authorization is asked about.

use std::collections::BTreeMap;

use super::Selector;

/// An authenticated client, or `system:anonymous`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The unique id, "" where the authenticator gives none.
    pub uid: String,
    /// The groups, `system:authenticated` or `system:unauthenticated` among them.
    pub groups: Vec<String>,
    /// Further attributes, keys in lower case.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a request wants to do, as in `authorizer.Attributes` of k8s.io/apiserver. Made once from the parsed path; the same
/// path is what the handler serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attributes {
    /// An API resource.
    Resource(ResourceAttributes),
    /// Any other path.
    NonResource {
        /// The URL's path.
        path: String,
        /// The HTTP method in lower case.
        verb: String,
    },
}

/// The attributes of an API resource request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ResourceAttributes {
    /// `get` for custom metrics, `list` for external ones.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The namespace, "" for none.
    pub namespace: String,
    /// The resource, as in `pods`.
    pub resource: String,
    /// The subresource, as in `http_requests`; "" for none.
    pub subresource: String,
    /// The object's name; "" for none.
    pub name: String,
    /// The label selector of a list; absent where there is none, or where it is no selector.
    pub label_selector: Option<Selector>,
}
