//! The API server that is asked: TokenReviews and SubjectAccessReviews behind one trait. Never caches, never asks twice.

use std::{error::Error, io, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{
        LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes as ReviewedResource, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::{Api, api::PostParams};

use crate::model::{Attributes, Operator, Requirement, ResourceAttributes, User};

/// What the API server says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenVerdict {
    /// It is this user's.
    Valid(User),
    /// It is nobody's, or not meant for us; why, for the log.
    Invalid(String),
    /// It is nobody's, and the API server met an error when it looked: the next look may end otherwise.
    Doubtful(String),
}

/// What the API server says of an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessDecision {
    /// Yes.
    Allowed,
    /// No, or no opinion.
    Denied {
        /// The authorizer's own words; may be empty.
        reason: String,
    },
}

/// Why the API server could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReviewError {
    /// What failed and what to do.
    pub message: String,
    /// Whether asking again makes sense.
    pub retryable: bool,
    /// How long the API server asks to wait before.
    pub retry_after: Option<Duration>,
}

/// Asks the API server, once per call.
#[async_trait]
pub trait Reviews: Send + Sync + 'static {
    /// Whose token it is.
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError>;

    /// Whether the user may.
    async fn access(&self, user: &User, attributes: &Attributes) -> Result<AccessDecision, ReviewError>;
}

/// [`Reviews`] by the real API server.
#[derive(Clone)]
pub struct KubeReviews {
    client: kube::Client,
    audiences: Vec<String>,
}

impl KubeReviews {
    /// Asks through `client`. With `audiences`, a token must be meant for one of them; without, for the API server itself.
    pub fn new(client: kube::Client, audiences: Vec<String>) -> Self {
        Self { client, audiences }
    }
}

#[async_trait]
impl Reviews for KubeReviews {
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError> {
        let audiences = (!self.audiences.is_empty()).then(|| self.audiences.clone());
        let review =
            TokenReview { spec: TokenReviewSpec { audiences, token: token.to_owned() }, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let status =
            answer.map_err(|error| failure("tokenreviews.authentication.k8s.io", error))?.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Ok(match status.error.filter(|error| !error.is_empty()) {
                Some(error) => TokenVerdict::Doubtful(error),
                None => TokenVerdict::Invalid("the API server does not know the token".to_owned()),
            });
        }
        // An API server that answers without audiences did not look at them (TokenReviewStatus in authentication.k8s.io/v1).
        let meant_for = status.audiences.unwrap_or_default();
        if !self.audiences.is_empty() && !self.audiences.iter().any(|audience| meant_for.contains(audience)) {
            return Ok(TokenVerdict::Invalid(format!(
                "the token is for the audiences {meant_for:?}, not for {:?}",
                self.audiences
            )));
        }
        let user = status.user.unwrap_or_default();
        let name = user.username.unwrap_or_default();
        if name.is_empty() {
            return Ok(TokenVerdict::Invalid("the API server names no user for the token".to_owned()));
        }
        Ok(TokenVerdict::Valid(User {
            name,
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }

    async fn access(&self, user: &User, attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
        let review = access_review(user, attributes);
        let answer = Api::<SubjectAccessReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| failure("subjectaccessreviews.authorization.k8s.io", error))?;
        let status = answer.status.unwrap_or_default();
        match (status.allowed, status.denied.unwrap_or_default()) {
            (true, false) => Ok(AccessDecision::Allowed),
            (false, _) => Ok(AccessDecision::Denied { reason: status.reason.unwrap_or_default() }),
            (true, true) => Err(ReviewError {
                message: "the API server both allowed and denied".to_owned(),
                retryable: false,
                retry_after: None,
            }),
        }
    }
}

/// The review that `plugin/pkg/authorizer/webhook` of k8s.io/apiserver would send for the same request.
fn access_review(user: &User, attributes: &Attributes) -> SubjectAccessReview {
    let mut spec = SubjectAccessReviewSpec {
        user: some(&user.name),
        uid: some(&user.uid),
        groups: (!user.groups.is_empty()).then(|| user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    };
    match attributes {
        Attributes::Resource(resource) => spec.resource_attributes = Some(reviewed_resource(resource)),
        Attributes::NonResource { path, verb } => {
            spec.non_resource_attributes = Some(NonResourceAttributes { path: some(path), verb: some(verb) });
        }
    }
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

fn reviewed_resource(resource: &ResourceAttributes) -> ReviewedResource {
    ReviewedResource {
        field_selector: None,
        group: some(&resource.group),
        label_selector: resource
            .label_selector
            .as_ref()
            .and_then(|selector| reviewed_selector(selector.requirements())),
        name: some(&resource.name),
        namespace: some(&resource.namespace),
        resource: some(&resource.resource),
        subresource: some(&resource.subresource),
        verb: some(&resource.verb),
        version: some(&resource.version),
    }
}

/// A review knows four operators. A requirement of another one is left out, which asks for more than the request wants: never
/// for less.
fn reviewed_selector(requirements: &[Requirement]) -> Option<LabelSelectorAttributes> {
    let operator = |operator| match operator {
        Operator::In => Some("In"),
        Operator::NotIn => Some("NotIn"),
        Operator::Exists => Some("Exists"),
        Operator::DoesNotExist => Some("DoesNotExist"),
        Operator::GreaterThan | Operator::LessThan => None,
    };
    let requirements: Vec<_> = requirements
        .iter()
        .filter_map(|requirement| {
            Some(LabelSelectorRequirement {
                key: requirement.key.clone(),
                operator: operator(requirement.operator)?.to_owned(),
                values: (!requirement.values.is_empty()).then(|| requirement.values.clone()),
            })
        })
        .collect();
    (!requirements.is_empty())
        .then_some(LabelSelectorAttributes { raw_selector: None, requirements: Some(requirements) })
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Sorts failures as `DefaultShouldRetry` in `pkg/util/webhook` of k8s.io/apiserver does.
fn failure(resource: &str, error: kube::Error) -> ReviewError {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => ReviewError {
            message: format!(
                "the adapter may not create {resource}; bind its service account to the ClusterRole `system:auth-delegator`: {}",
                status.message
            ),
            retryable: false,
            retry_after: None,
        },
        kube::Error::Api(status) => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            ReviewError {
                message: format!("the API server refused to create {resource}: {}", status.message),
                retryable: seconds > 0 || matches!(status.code, 429 | 500 | 504),
                retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            }
        }
        error @ (kube::Error::HyperError(_) | kube::Error::Service(_)) => ReviewError {
            retryable: was_lost(&error),
            message: format!("the API server could not be asked to create {resource}: {error}"),
            retry_after: None,
        },
        error => ReviewError {
            message: format!("{resource} could not be created: {error}"),
            retryable: false,
            retry_after: None,
        },
    }
}

/// Whether a connection that was there has broken, so that the next one may well answer. One that could not be made, because
/// nobody listens or the name or certificate is wrong, is told of at once.
fn was_lost(error: &kube::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let lost = |error: &io::Error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
    };
    // Without an I/O error at the bottom it is the protocol that ended: a GOAWAY, or a connection closed before the answer.
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).last().is_none_or(lost)
}

#[cfg(test)]
mod tests;
