//! Whose a bearer token is: the API server's verdicts, kept for a short time. Never keeps a token, only a keyed hash of it, and
//! never keeps that the API server could not be asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use moka::{Expiry, future::Cache, policy::EvictionPolicy};
use sha2::Sha256;

use super::{
    gate::{Gate, ReviewLimits, Unanswered},
    reviews::{Reviews, TokenVerdict},
};

/// The verdicts and the way to new ones.
pub(super) struct Tokens {
    reviews: Arc<dyn Reviews>,
    gate: Gate,
    verdicts: Cache<[u8; 32], Arc<TokenVerdict>>,
    /// Keyed by this process's own random bytes, so that hashes taken from its memory match no list of tokens.
    hash: Hmac<Sha256>,
}

/// For how long verdicts hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) valid: Duration,
    pub(super) invalid: Duration,
}

/// Tokens remembered at once: as many clients may alternate within a verdict's life before any is asked for twice.
const CAPACITY: u64 = 4096;

impl Tokens {
    pub(super) fn new(reviews: Arc<dyn Reviews>, limits: &ReviewLimits, lifetimes: Lifetimes) -> Self {
        let verdicts = Cache::builder()
            .max_capacity(CAPACITY)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(lifetimes)
            .build();
        let secret: [u8; 32] = rand::random();
        // HMAC takes keys of any length; the fallback exists because the signature says otherwise.
        let hash =
            Hmac::new_from_slice(&secret).unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        Self { reviews, gate: Gate::new(limits), verdicts, hash }
    }

    /// The verdict on `token`; requests that ask for the same at once share one review.
    pub(super) async fn verdict(&self, token: &str) -> Result<Arc<TokenVerdict>, Arc<Unanswered>> {
        let mut hash = self.hash.clone();
        hash.update(token.as_bytes());
        let key: [u8; 32] = hash.finalize().into_bytes().into();
        let ask = async { self.gate.ask(|| self.reviews.token(token)).await.map(Arc::new) };
        self.verdicts.try_get_with(key, ask).await
    }
}

impl Expiry<[u8; 32], Arc<TokenVerdict>> for Lifetimes {
    fn expire_after_create(
        &self,
        _key: &[u8; 32],
        verdict: &Arc<TokenVerdict>,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(match **verdict {
            TokenVerdict::Valid(_) => self.valid,
            TokenVerdict::Invalid(_) => self.invalid,
            // `cacheErrs` is false in `pkg/authentication/token/cache` of k8s.io/apiserver.
            TokenVerdict::Doubtful(_) => Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{
        auth::reviews::{AccessDecision, ReviewError},
        model::{Attributes, User},
    };

    /// Token `TEXT` is user `TEXT`'s, but for `bad`, nobody's, `doubtful`, perhaps nobody's, and `broken`, which cannot be
    /// asked about.
    #[derive(Default)]
    struct FakeReviews(AtomicUsize);

    #[async_trait]
    impl Reviews for FakeReviews {
        async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            match token {
                "bad" => Ok(TokenVerdict::Invalid("unknown".to_owned())),
                "doubtful" => Ok(TokenVerdict::Doubtful("etcd was slow".to_owned())),
                "broken" => Err(ReviewError { message: "no route".to_owned(), retryable: false, retry_after: None }),
                name => Ok(TokenVerdict::Valid(User { name: name.to_owned(), ..User::default() })),
            }
        }

        async fn access(&self, _user: &User, _attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
            unreachable!("nothing is authorized here")
        }
    }

    fn tokens(valid: Duration, invalid: Duration) -> (Arc<FakeReviews>, Tokens) {
        let reviews = Arc::new(FakeReviews::default());
        (reviews.clone(), Tokens::new(reviews, &ReviewLimits::default(), Lifetimes { valid, invalid }))
    }

    #[tokio::test]
    async fn a_verdict_either_way_is_asked_for_once_and_a_failure_each_time() {
        let (reviews, tokens) = tokens(Duration::from_secs(10), Duration::from_secs(10));
        for (token, asked) in [("jane", 1), ("kim", 2), ("bad", 3)] {
            let (one, two) = tokio::join!(tokens.verdict(token), tokens.verdict(token));
            assert_eq!(one.as_deref(), two.as_deref(), "asked at once");
            let later = tokens.verdict(token).await.unwrap();
            match &*later {
                TokenVerdict::Valid(user) => assert_eq!(user.name, token),
                TokenVerdict::Invalid(_) => assert_eq!(token, "bad"),
                TokenVerdict::Doubtful(_) => unreachable!("none of these"),
            }
            assert_eq!(reviews.0.load(Ordering::SeqCst), asked, "{token}");
        }
        for asked in [4, 5] {
            assert!(tokens.verdict("broken").await.is_err());
            assert_eq!(reviews.0.load(Ordering::SeqCst), asked);
        }
        for asked in [6, 7] {
            assert!(matches!(*tokens.verdict("doubtful").await.unwrap(), TokenVerdict::Doubtful(_)));
            assert_eq!(reviews.0.load(Ordering::SeqCst), asked);
        }
    }

    #[tokio::test]
    async fn verdicts_end() {
        let (reviews, tokens) = tokens(Duration::from_millis(20), Duration::from_secs(3600));
        tokens.verdict("bad").await.unwrap();
        let asked_again = async {
            while reviews.0.load(Ordering::SeqCst) < 3 {
                tokens.verdict("jane").await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked_again).await.unwrap();
        tokens.verdict("bad").await.unwrap();
        assert_eq!(reviews.0.load(Ordering::SeqCst), 3);
    }
}
