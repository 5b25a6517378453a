//! Who is asked about, how often, and who has to wait for whom.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::{auth::reviews::TokenVerdict, model::ResourceAttributes};

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
    let options = AuthorizationOptions { allowed_for: Duration::from_millis(20), ..AuthorizationOptions::default() };
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
    let (reviews, authorizer) = authorizer(AuthorizationOptions { reviews: limits, ..AuthorizationOptions::default() });
    let authorizer = Arc::new(authorizer);
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..50 {
        let authorizer = authorizer.clone();
        asking.spawn(async move { authorizer.authorize(&user("slow"), &list(&format!("queue-{}", number % 5))).await });
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

#[tokio::test]
async fn strangers_neither_queue_before_users_nor_push_their_answers_out() {
    let (reviews, authorizer) =
        authorizer(AuthorizationOptions { kept_answers: 64, ..AuthorizationOptions::default() });
    let authorizer = Arc::new(authorizer);
    let stranger = User { groups: vec!["system:unauthenticated".to_owned()], ..user("slow") };
    authorizer.authorize(&user("jane"), &list("queue")).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (authorizer, stranger) = (authorizer.clone(), stranger.clone());
        asking.spawn(async move { authorizer.authorize(&stranger, &list(&format!("queue-{number}"))).await });
    }
    let in_flight = ReviewLimits::STRANGERS.in_flight;
    for _ in 0..100 - in_flight {
        let refused = asking.join_next().await.unwrap().unwrap();
        assert!(matches!(refused, Err(AuthError::Overloaded(_))), "{refused:?}");
    }
    authorizer.authorize(&user("kim"), &list("queue")).await.unwrap_err();
    assert_eq!(reviews.asked.load(Ordering::SeqCst), 2 + in_flight, "a user is asked about meanwhile");
    reviews.slow.add_permits(1000);
    while let Some(outcome) = asking.join_next().await {
        assert_eq!(outcome.unwrap(), Ok(()));
    }
    for number in 0..100 {
        authorizer.authorize(&stranger, &list(&format!("queue-{number}"))).await.unwrap();
    }
    let asked = reviews.asked.load(Ordering::SeqCst);
    authorizer.authorize(&user("jane"), &list("queue")).await.unwrap();
    assert_eq!(reviews.asked.load(Ordering::SeqCst), asked, "the user's answer is still known");
}

#[tokio::test]
async fn long_questions_take_the_place_of_several() {
    let (_, authorizer) = authorizer(AuthorizationOptions { kept_answers: 64, ..AuthorizationOptions::default() });
    let Mode::Delegated(delegated) = &authorizer.0 else { unreachable!() };
    for number in 0..200 {
        let long = format!("{number}{}", "q".repeat(MAX_KEPT_BYTES - 100));
        authorizer.authorize(&user("jane"), &list(&long)).await.unwrap();
    }
    delegated.users.answers.run_pending_tasks().await;
    assert!(delegated.users.answers.entry_count() <= 64 * 1024 / (MAX_KEPT_BYTES as u64 - 100));
}

#[tokio::test]
async fn a_star_opens_a_subtree_to_anybody() {
    let always_allow_paths = vec!["/readyz/*".parse().unwrap()];
    let (_, authorizer) = authorizer(AuthorizationOptions { always_allow_paths, ..AuthorizationOptions::default() });
    assert_eq!(authorizer.authorize(&user("kim"), &read("/readyz/plugins")).await, Ok(()));
    for path in ["/readyz", "/livez", "/metrics"] {
        assert!(authorizer.authorize(&user("kim"), &read(path)).await.is_err(), "{path}");
    }
    let resource =
        Attributes::Resource(ResourceAttributes { name: "readyz/x".to_owned(), ..ResourceAttributes::default() });
    assert!(authorizer.authorize(&user("kim"), &resource).await.is_err(), "a path, and nothing that looks like one");
}
