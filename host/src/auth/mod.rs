//! Who asks, and may they: authentication and authorization as kube-apiserver delegates them to an extension apiserver. Denies
//! where it cannot know. Never parses URLs, reads bodies or calls a provider.
//!
//! In reading order: [`trust`] is what certificates and headers are checked against, [`cluster_config`] keeps it as the cluster
//! has it, [`authn`] turns a connection and headers into a user, [`authz`] asks whether the user may, [`reviews`] is the API
//! server behind both, and `gate` bounds how much it is asked.

pub mod authn;
pub mod authz;
mod certificate;
pub mod cluster_config;
mod gate;
mod request_header;
pub mod reviews;
mod tokens;
pub mod trust;

pub use authn::{AuthenticationOptions, Authenticator};
pub use authz::{AuthorizationOptions, Authorizer, InvalidPathPattern, PathPattern};
pub use cluster_config::{ClusterConfig, ClusterConfigError, Sources};
pub use gate::ReviewLimits;
pub use reviews::{AccessDecision, KubeReviews, ReviewError, Reviews, TokenVerdict};
pub use trust::{InvalidTrust, Trust, TrustEnds, TrustInputs};

/// The group of every authenticated user.
const AUTHENTICATED: &str = "system:authenticated";
/// The group of clients that presented nothing.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group that may do everything, in k8s.io/apiserver as here.
const MASTERS: &str = "system:masters";
/// Who a client is that presented nothing.
const ANONYMOUS: &str = "system:anonymous";

/// Whether anybody could be this user (`isAnonymousUser` in `pkg/endpoints/filters/authentication.go` of k8s.io/apiserver).
fn is_stranger(user: &crate::model::User) -> bool {
    user.name == ANONYMOUS || user.groups.iter().any(|group| group == UNAUTHENTICATED)
}
