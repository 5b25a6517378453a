//! Tokens that end: had when they are first needed, shared by all requests, had again before they end. However many requests
//! wait, one at a time is asked for, and a source that fails is left alone for a moment.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::{Origin, hidden};
use crate::egress::{EgressError, Response};

/// Time for one token. Those who wait for it have limits of their own.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a source that failed is left alone, and the least time for which a token is used: a bound on questions.
const PAUSE: Duration = Duration::from_secs(1);
/// A token is had again at most this often because a backend refuses it: a backend that refuses all of them costs nothing more.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Bytes of a token: what servers take in one header.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Issues bearer tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A new token.
    async fn issue(&self) -> Result<Token, TokenError>;
}

/// A token as its source gives it. Wiped when it is dropped.
#[derive(Clone)]
pub struct Token {
    /// The token, without `Bearer`.
    pub value: Zeroizing<String>,
    /// How long it is good from now on.
    pub lifetime: Duration,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Why there is no token. No message holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The source did not answer.
    #[error("no token came within {} seconds", ISSUE_TIMEOUT.as_secs())]
    Slow,
    /// The source answered, or could not be asked, in its own words.
    #[error("{0}")]
    Failed(String),
    /// Not a token that a header can carry.
    #[error("what was issued is no token: it is empty, longer than 16 KiB, or holds other than printable ASCII")]
    NotAToken,
    /// The process ends.
    #[error("the adapter is stopping")]
    Stopping,
}

/// The tokens of one credential.
pub(in crate::egress) struct TokenCache {
    source: Arc<dyn TokenSource>,
    home: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest question, under way or answered.
    newest: Option<Asking>,
    /// The token before it, of use while the newest is not there.
    last: Option<Held>,
    /// When a backend last had a token renewed.
    renewed: Option<Instant>,
}

type Asking = Shared<BoxFuture<'static, Result<Held, Failure>>>;

/// A token in use.
#[derive(Clone)]
struct Held {
    header: Arc<HeaderValue>,
    renew_at: Instant,
    ends_at: Instant,
}

#[derive(Clone)]
struct Failure {
    error: TokenError,
    again_at: Instant,
}

impl Held {
    fn of(token: &Token) -> Result<Self, TokenError> {
        let Token { value, lifetime } = token;
        let text = Zeroizing::new(format!("Bearer {}", value.as_str()));
        let legal = (1..=MAX_TOKEN_BYTES).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
        let header = hidden(&text).filter(|_| legal).ok_or(TokenError::NotAToken)?;
        let (lifetime, now) = ((*lifetime).max(PAUSE), Instant::now());
        // As kubelet renews its tokens: with a fifth of their life left for a source that is away.
        let (renew_at, ends_at) = (now + lifetime.mul_f64(0.8), now + lifetime);
        Ok(Self { header: Arc::new(header), renew_at, ends_at })
    }

    /// The value of the Authorization header.
    fn header(&self) -> HeaderValue {
        HeaderValue::clone(&self.header)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.header, &other.header)
    }
}

impl TokenCache {
    /// A cache without a token. `home` is the runtime on which tokens are asked for: who waits for one may give up.
    pub(in crate::egress) fn new(source: Arc<dyn TokenSource>, home: Handle) -> Self {
        Self { source, home, state: Mutex::default() }
    }

    /// Sends a request with a token; once more with another one if the backend does not know this one any more. Without a token
    /// nothing is sent.
    pub(in crate::egress) async fn exchange<F>(
        &self,
        origin: &Origin,
        mut request: Request<Full<Bytes>>,
        send: impl Fn(Request<Full<Bytes>>) -> F,
    ) -> Result<Response, EgressError>
    where
        F: Future<Output = Result<Response, EgressError>>,
    {
        let no_token = |error| {
            let cause = format!("its token could not be had ({error})");
            EgressError::Failed { origin: origin.clone(), cause }
        };
        let token = self.get().await.map_err(no_token)?;
        request.headers_mut().insert(header::AUTHORIZATION, token.header());
        let response = send(request.clone()).await?;
        if response.status != StatusCode::UNAUTHORIZED || !self.renew(&token) {
            return Ok(response);
        }
        let token = self.get().await.map_err(no_token)?;
        request.headers_mut().insert(header::AUTHORIZATION, token.header());
        send(request).await
    }

    /// A token that is good now. While a new one is on its way the old one is.
    async fn get(&self) -> Result<Held, TokenError> {
        let (newest, last) = {
            let mut state = self.state();
            let newest = self.newest(&mut state);
            (newest, state.last.clone().filter(|last| Instant::now() < last.ends_at))
        };
        match (answer(&newest), last) {
            (None, Some(last)) => Ok(last),
            (_, last) => newest.await.or_else(|failure| last.ok_or(failure.error)),
        }
    }

    /// Drops a token that a backend has refused; false if it had one renewed a moment ago.
    fn renew(&self, refused: &Held) -> bool {
        let mut state = self.state();
        state.last.take_if(|last| last.is(refused));
        let newest = state.newest.as_ref().and_then(|newest| answer(newest)?.ok());
        if !newest.is_some_and(|newest| newest.is(refused)) {
            // Another one is there, or on its way.
            return true;
        }
        if state.renewed.is_some_and(|renewed| renewed.elapsed() < RENEW_EVERY) {
            return false;
        }
        state.renewed = Some(Instant::now());
        state.newest = None;
        true
    }

    /// The question that is to be waited for: the last one, while it is worth anything.
    fn newest(&self, state: &mut State) -> Asking {
        let now = Instant::now();
        if let Some(asking) = &state.newest {
            match answer(asking) {
                Some(Ok(held)) if held.renew_at <= now => state.last = Some(held),
                Some(Err(failure)) if failure.again_at <= now => {}
                _ => return asking.clone(),
            }
        }
        let asking = self.ask();
        state.newest = Some(asking.clone());
        asking
    }

    fn ask(&self) -> Asking {
        let source = Arc::clone(&self.source);
        let issuing = AbortOnDropHandle::new(self.home.spawn(issue(source)));
        let stopping = || Failure { error: TokenError::Stopping, again_at: Instant::now() + PAUSE };
        async move { issuing.await.unwrap_or_else(|_| Err(stopping())) }.boxed().shared()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn issue(source: Arc<dyn TokenSource>) -> Result<Held, Failure> {
    let issued = tokio::time::timeout(ISSUE_TIMEOUT, source.issue()).await.unwrap_or(Err(TokenError::Slow));
    let held = issued.and_then(|token| Held::of(&token));
    held.map_err(|error| Failure { error, again_at: Instant::now() + PAUSE })
}

/// The answer, if there is one yet.
fn answer(asking: &Asking) -> Option<Result<Held, Failure>> {
    asking.clone().now_or_never()
}

#[cfg(test)]
mod tests;
