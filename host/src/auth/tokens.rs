//! Whose a bearer token is: the API server's verdicts, kept for a short time. Never keeps a token, only a keyed hash of it, and
//! never keeps that the API server could not be asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use moka::{Expiry, future::Cache, policy::EvictionPolicy};
use sha2::Sha256;

use super::reviews::{Gate, ReviewError, ReviewLimits, Reviews, TokenVerdict};

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
    pub(super) async fn verdict(&self, token: &str) -> Result<Arc<TokenVerdict>, Arc<ReviewError>> {
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
        })
    }
}
