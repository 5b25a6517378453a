//! Authorization: may this user do this? `system:masters` may, anybody may read health, and for the rest the API server is asked
//! by SubjectAccessReview, in the order of `pkg/authorization/authorizerfactory` of k8s.io/apiserver. Fails closed: what cannot
//! be asked, and is not known for seconds, is refused.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use equivalent::Equivalent;
use moka::{Expiry, future::Cache, policy::EvictionPolicy};

use super::{
    MASTERS,
    reviews::{AccessDecision, Gate, ReviewLimits, Reviews},
};
use crate::model::{Attributes, AuthError, User};

/// Bytes of what the client chooses in a question from which on its answer is not kept, so that nobody fills the memory with
/// long names (`maxControlledAttrCacheSize` in `plugin/pkg/authorizer/webhook` of k8s.io/apiserver).
const MAX_KEPT_BYTES: usize = 10_000;

/// How accesses are reviewed.
#[derive(Debug, Clone)]
pub struct AuthorizationOptions {
    /// Paths that anybody may read; exact.
    pub always_allow_paths: Vec<String>,
    /// For how long a yes holds.
    pub allowed_for: Duration,
    /// For how long a no holds.
    pub denied_for: Duration,
    /// Answers kept at once; the least recently used one goes.
    pub kept_answers: u64,
    /// How much is asked of the API server.
    pub reviews: ReviewLimits,
}

impl Default for AuthorizationOptions {
    fn default() -> Self {
        Self {
            always_allow_paths: ["/healthz", "/livez", "/readyz"].map(str::to_owned).to_vec(),
            allowed_for: Duration::from_secs(10),
            denied_for: Duration::from_secs(10),
            kept_answers: 8192,
            reviews: ReviewLimits::default(),
        }
    }
}

/// Tells whether users may.
pub struct Authorizer(Mode);

enum Mode {
    Delegated(Box<Delegated>),
    LocalOnly,
}

struct Delegated {
    reviews: Arc<dyn Reviews>,
    gate: Gate,
    always_allow_paths: Vec<String>,
    answers: Cache<OwnedQuestion, Answer>,
}

impl Authorizer {
    /// Authorization as the cluster does it.
    pub fn delegated(reviews: Arc<dyn Reviews>, options: AuthorizationOptions) -> Self {
        let AuthorizationOptions { always_allow_paths, allowed_for, denied_for, kept_answers, reviews: limits } =
            options;
        let answers = Cache::builder()
            .max_capacity(kept_answers)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetimes { allowed: allowed_for, denied: denied_for })
            .build();
        Self(Mode::Delegated(Box::new(Delegated { reviews, gate: Gate::new(&limits), always_allow_paths, answers })))
    }

    /// No authorization: everybody may. Beside [`super::Authenticator::local_only`] alone.
    pub fn local_only() -> Self {
        Self(Mode::LocalOnly)
    }

    /// Whether `user` may do what `attributes` say.
    ///
    /// `AuthError::Forbidden` is the authorizer's no; `AuthError::Unavailable` means that the API server could not be asked.
    pub async fn authorize(&self, user: &User, attributes: &Attributes) -> Result<(), AuthError> {
        let Mode::Delegated(delegated) = &self.0 else { return Ok(()) };
        if user.groups.iter().any(|group| group == MASTERS) || delegated.always_allows(attributes) {
            return Ok(());
        }
        match delegated.answer(user, attributes).await? {
            Answer::Allowed => Ok(()),
            Answer::Denied(reason) => Err(AuthError::Forbidden { reason: reason.to_string() }),
        }
    }
}

impl Delegated {
    fn always_allows(&self, attributes: &Attributes) -> bool {
        matches!(attributes, Attributes::NonResource { path, .. } if self.always_allow_paths.contains(path))
    }

    /// The answer that is kept, or the API server's; requests that ask the same at once share one review.
    async fn answer(&self, user: &User, attributes: &Attributes) -> Result<Answer, AuthError> {
        if let Some(answer) = self.answers.get(&Question { user, attributes }).await {
            return Ok(answer);
        }
        let ask = async { self.gate.ask(|| self.reviews.access(user, attributes)).await.map(Answer::from) };
        let outcome = if chosen_bytes(attributes) < MAX_KEPT_BYTES {
            let question = OwnedQuestion { user: user.clone(), attributes: attributes.clone() };
            self.answers.try_get_with(question, ask).await
        } else {
            ask.await.map_err(Arc::new)
        };
        outcome.map_err(|error| {
            AuthError::Unavailable(format!("whether `{}` may do this could not be asked: {error}", user.name))
        })
    }
}

/// Bytes that the client chooses, beside who it is.
fn chosen_bytes(attributes: &Attributes) -> usize {
    match attributes {
        Attributes::NonResource { path, verb } => path.len() + verb.len(),
        Attributes::Resource(resource) => {
            let texts = [
                &resource.verb,
                &resource.group,
                &resource.version,
                &resource.namespace,
                &resource.resource,
                &resource.subresource,
                &resource.name,
            ];
            let requirements = resource.label_selector.iter().flat_map(|selector| selector.requirements());
            let selector: usize = requirements
                .map(|requirement| requirement.key.len() + requirement.values.iter().map(String::len).sum::<usize>())
                .sum();
            texts.into_iter().map(String::len).sum::<usize>() + selector
        }
    }
}

#[derive(Clone)]
enum Answer {
    Allowed,
    Denied(Arc<str>),
}

impl From<AccessDecision> for Answer {
    fn from(decision: AccessDecision) -> Self {
        match decision {
            AccessDecision::Allowed => Self::Allowed,
            AccessDecision::Denied { reason } => Self::Denied(reason.into()),
        }
    }
}

/// A question as it is kept.
#[derive(PartialEq, Eq, Hash)]
struct OwnedQuestion {
    user: User,
    attributes: Attributes,
}

/// A question as it comes. It hashes like [`OwnedQuestion`], so that an answer that is kept costs no copy of the question.
#[derive(Hash)]
struct Question<'a> {
    user: &'a User,
    attributes: &'a Attributes,
}

impl Equivalent<OwnedQuestion> for Question<'_> {
    fn equivalent(&self, kept: &OwnedQuestion) -> bool {
        *self.user == kept.user && *self.attributes == kept.attributes
    }
}

struct Lifetimes {
    allowed: Duration,
    denied: Duration,
}

impl Expiry<OwnedQuestion, Answer> for Lifetimes {
    fn expire_after_create(
        &self,
        _question: &OwnedQuestion,
        answer: &Answer,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(match answer {
            Answer::Allowed => self.allowed,
            Answer::Denied(_) => self.denied,
        })
    }
}
