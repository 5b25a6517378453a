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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        auth::reviews::{ReviewError, TokenVerdict},
        model::ResourceAttributes,
    };

    /// Lets `jane` and `slow` do everything, nobody else anything, and never answers about `broken`.
    struct FakeReviews {
        asked: AtomicUsize,
        /// What a review about `slow` waits for.
        slow: Semaphore,
    }

    #[async_trait]
    impl Reviews for FakeReviews {
        async fn token(&self, _token: &str) -> Result<TokenVerdict, ReviewError> {
            unreachable!("nobody is authenticated here")
        }

        async fn access(&self, user: &User, _attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match user.name.as_str() {
                "jane" => Ok(AccessDecision::Allowed),
                "slow" => {
                    let _permit = self.slow.acquire().await.unwrap();
                    Ok(AccessDecision::Allowed)
                }
                "broken" => Err(ReviewError { message: "no route".to_owned(), retryable: false, retry_after: None }),
                _ => Ok(AccessDecision::Denied { reason: "no rule".to_owned() }),
            }
        }
    }

    fn authorizer(options: AuthorizationOptions) -> (Arc<FakeReviews>, Authorizer) {
        let reviews = Arc::new(FakeReviews { asked: AtomicUsize::new(0), slow: Semaphore::new(0) });
        (reviews.clone(), Authorizer::delegated(reviews, options))
    }

    fn user(name: &str) -> User {
        User { name: name.to_owned(), groups: vec!["system:authenticated".to_owned()], ..User::default() }
    }

    fn list(resource: &str) -> Attributes {
        let resource = resource.to_owned();
        Attributes::Resource(ResourceAttributes { verb: "list".to_owned(), resource, ..ResourceAttributes::default() })
    }

    fn read(path: &str) -> Attributes {
        Attributes::NonResource { path: path.to_owned(), verb: "get".to_owned() }
    }

    #[tokio::test]
    async fn masters_and_health_are_never_asked_about() {
        let (reviews, authorizer) = authorizer(AuthorizationOptions::default());
        let master = User { groups: vec!["system:masters".to_owned()], ..user("broken") };
        assert_eq!(authorizer.authorize(&master, &list("queue")).await, Ok(()));
        for path in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(authorizer.authorize(&user("broken"), &read(path)).await, Ok(()));
        }
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 0);
        for path in ["/healthz/", "/readyz/plugins", "/metrics", "/", "/Healthz"] {
            assert!(authorizer.authorize(&user("kim"), &read(path)).await.is_err(), "{path}");
        }
        let almost =
            User { groups: vec!["system:masters2".to_owned(), "System:Masters".to_owned()], ..user("system:masters") };
        assert!(authorizer.authorize(&almost, &list("queue")).await.is_err());
    }

    #[tokio::test]
    async fn each_question_is_asked_once_while_its_answer_holds() {
        let (reviews, authorizer) = authorizer(AuthorizationOptions::default());
        let denied = Err(AuthError::Forbidden { reason: "no rule".to_owned() });
        for _ in 0..3 {
            assert_eq!(authorizer.authorize(&user("jane"), &list("queue")).await, Ok(()));
            assert_eq!(authorizer.authorize(&user("kim"), &list("queue")).await, denied);
        }
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 2);
        let other_group = User { groups: vec!["other".to_owned()], ..user("jane") };
        let other_uid = User { uid: "7".to_owned(), ..user("jane") };
        let other_extra = User { extra: [("scope".to_owned(), vec!["x".to_owned()])].into(), ..user("jane") };
        for other in [other_group, other_uid, other_extra] {
            authorizer.authorize(&other, &list("queue")).await.unwrap();
        }
        authorizer.authorize(&user("jane"), &list("other")).await.unwrap();
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 6, "another question is another review");
    }

    #[tokio::test]
    async fn answers_end() {
        let options =
            AuthorizationOptions { allowed_for: Duration::from_millis(20), ..AuthorizationOptions::default() };
        let (reviews, authorizer) = authorizer(options);
        authorizer.authorize(&user("kim"), &list("queue")).await.unwrap_err();
        let twice = async {
            while reviews.asked.load(Ordering::SeqCst) < 3 {
                authorizer.authorize(&user("jane"), &list("queue")).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), twice).await.unwrap();
        authorizer.authorize(&user("kim"), &list("queue")).await.unwrap_err();
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 3, "the no holds longer than the yes here");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_refused_and_asked_again() {
        let (reviews, authorizer) = authorizer(AuthorizationOptions::default());
        for _ in 0..2 {
            let outcome = authorizer.authorize(&user("broken"), &list("queue")).await;
            assert!(matches!(outcome, Err(AuthError::Unavailable(_))), "{outcome:?}");
        }
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn long_questions_are_not_kept() {
        let (reviews, authorizer) = authorizer(AuthorizationOptions::default());
        for (length, asked) in [(MAX_KEPT_BYTES - 5, 1), (MAX_KEPT_BYTES - 4, 3)] {
            for _ in 0..2 {
                authorizer.authorize(&user("jane"), &list(&"q".repeat(length))).await.unwrap();
            }
            assert_eq!(reviews.asked.load(Ordering::SeqCst), asked, "{length} bytes and `list`");
        }
    }

    #[tokio::test]
    async fn the_same_question_at_once_is_one_review_and_different_ones_are_capped() {
        let limits = ReviewLimits { in_flight: 2, ..ReviewLimits::default() };
        let (reviews, authorizer) =
            authorizer(AuthorizationOptions { reviews: limits, ..AuthorizationOptions::default() });
        let authorizer = Arc::new(authorizer);
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..50 {
            let authorizer = authorizer.clone();
            asking.spawn(
                async move { authorizer.authorize(&user("slow"), &list(&format!("queue-{}", number % 5))).await },
            );
        }
        // A current-thread runtime runs every task as far as it goes before it comes back here.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 2, "no more than two in flight");
        reviews.slow.add_permits(1000);
        while let Some(outcome) = asking.join_next().await {
            outcome.unwrap().unwrap();
        }
        assert_eq!(reviews.asked.load(Ordering::SeqCst), 5);
    }
}
