//! Authorization: may this user do this? `system:masters` may, anybody may read health, and for the rest the API server is asked
//! by SubjectAccessReview, in the order of `pkg/authorization/authorizerfactory` of k8s.io/apiserver. Fails closed: what cannot
//! be asked, and is not known for seconds, is refused.

mod path_pattern;

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use equivalent::Equivalent;
use moka::{Expiry, future::Cache, policy::EvictionPolicy};

pub use path_pattern::{InvalidPathPattern, PathPattern};

use super::{
    MASTERS,
    gate::{Gate, ReviewLimits, Unanswered},
    is_stranger,
    reviews::{AccessDecision, ReviewError, Reviews},
};
use crate::model::{Attributes, AuthError, User};

/// Bytes of what the client chooses in a question from which on its answer is not kept, so that nobody fills the memory with
/// long names (`maxControlledAttrCacheSize` in `plugin/pkg/authorizer/webhook` of k8s.io/apiserver).
const MAX_KEPT_BYTES: usize = 10_000;

/// Strangers' part of the answers that are kept: they are refused nearly everywhere, in the same few words.
const STRANGERS_SHARE: u64 = 32;

/// How accesses are reviewed.
#[derive(Debug, Clone)]
pub struct AuthorizationOptions {
    /// Paths that anybody may read.
    pub always_allow_paths: Vec<PathPattern>,
    /// For how long a yes holds.
    pub allowed_for: Duration,
    /// For how long a no holds.
    pub denied_for: Duration,
    /// Answers kept at once, of up to a KiB each; the least recently used one goes.
    pub kept_answers: u64,
    /// How much is asked of the API server.
    pub reviews: ReviewLimits,
}

impl Default for AuthorizationOptions {
    fn default() -> Self {
        Self {
            always_allow_paths: ["/healthz", "/livez", "/readyz"].into_iter().map(PathPattern::exact).collect(),
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
    always_allow_paths: Vec<PathPattern>,
    users: Lane,
    /// Apart from users, so that whoever presents nothing can neither queue before them nor push their answers out.
    strangers: Lane,
}

impl Authorizer {
    /// Authorization as the cluster does it.
    pub fn delegated(reviews: Arc<dyn Reviews>, options: AuthorizationOptions) -> Self {
        let users = Lane::new(&options, options.kept_answers, &options.reviews);
        let strangers = Lane::new(&options, options.kept_answers / STRANGERS_SHARE, &ReviewLimits::STRANGERS);
        let always_allow_paths = options.always_allow_paths;
        Self(Mode::Delegated(Box::new(Delegated { reviews, always_allow_paths, users, strangers })))
    }

    /// No authorization: everybody may. Beside [`super::Authenticator::local_only`] alone.
    pub fn local_only() -> Self {
        Self(Mode::LocalOnly)
    }

    /// Whether `user` may do what `attributes` say.
    ///
    /// `AuthError::Forbidden` is the authorizer's no; `AuthError::Unavailable` means that the API server could not be asked,
    /// `AuthError::Overloaded` that it was not, because too many others wait for it.
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
        let Attributes::NonResource { path, .. } = attributes else { return false };
        self.always_allow_paths.iter().any(|pattern| pattern.matches(path))
    }

    async fn answer(&self, user: &User, attributes: &Attributes) -> Result<Answer, AuthError> {
        let lane = if is_stranger(user) { &self.strangers } else { &self.users };
        let answer = lane.answer(user, attributes, || self.reviews.access(user, attributes)).await;
        answer.map_err(|error| error.refusal(&format!("whether `{}` may do this could not be asked", user.name)))
    }
}

/// Answers that are kept, and the way to new ones.
struct Lane {
    gate: Gate,
    answers: Cache<OwnedQuestion, Answer>,
}

impl Lane {
    fn new(options: &AuthorizationOptions, kept: u64, limits: &ReviewLimits) -> Self {
        let answers = Cache::builder()
            .max_capacity(kept)
            .weigher(|question: &OwnedQuestion, _: &Answer| question.weight())
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetimes { allowed: options.allowed_for, denied: options.denied_for })
            .build();
        Self { gate: Gate::new(limits), answers }
    }

    /// The answer that is kept, or the API server's; requests that ask the same at once share one review.
    async fn answer<Asking>(
        &self,
        user: &User,
        attributes: &Attributes,
        review: impl Fn() -> Asking,
    ) -> Result<Answer, Arc<Unanswered>>
    where
        Asking: Future<Output = Result<AccessDecision, ReviewError>>,
    {
        if let Some(answer) = self.answers.get(&Question { user, attributes }).await {
            return Ok(answer);
        }
        let ask = async { self.gate.ask(review).await.map(Answer::from) };
        if chosen_bytes(attributes) < MAX_KEPT_BYTES {
            let question = OwnedQuestion { user: user.clone(), attributes: attributes.clone() };
            self.answers.try_get_with(question, ask).await
        } else {
            ask.await.map_err(Arc::new)
        }
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

impl OwnedQuestion {
    /// In KiB, rounded up: a long question takes the place of several.
    fn weight(&self) -> u32 {
        let user = self.user.groups.iter().map(String::len).sum::<usize>()
            + self.user.extra.values().flatten().map(String::len).sum::<usize>();
        u32::try_from((chosen_bytes(&self.attributes) + user) / 1024).unwrap_or(u32::MAX).saturating_add(1)
    }
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

#[cfg(test)]
mod tests;
