//! Authentication: a connection and a request's headers become a user, in the order of `pkg/authentication/authenticatorfactory`
//! of k8s.io/apiserver: front proxy, client certificate, bearer token, anonymous. Never believes an identity header without a
//! front proxy's verified certificate, and lets none of them, nor a token, through to what is behind.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION};
use rustls_pki_types::UnixTime;

use super::{
    ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED,
    certificate::verdict,
    gate::ReviewLimits,
    is_stranger, request_header,
    reviews::{Reviews, TokenVerdict},
    tokens::{Lifetimes, Tokens},
    trust::{IdentityHeaders, Trust, TrustConfig},
};
use crate::model::{AuthError, Connection, User};

/// Bytes of a token; what is longer is nobody's. Service accounts have 1.5 KiB, identity providers ten times that.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Who everybody is without a cluster.
const LOCAL: &str = "local";

/// How tokens are reviewed and whether strangers are let on to authorization.
#[derive(Debug, Clone)]
pub struct AuthenticationOptions {
    /// For how long the API server's word that a token is valid holds.
    pub valid_tokens_for: Duration,
    /// For how long its word that a token is invalid holds.
    pub invalid_tokens_for: Duration,
    /// Whether who presents nothing is `system:anonymous`, whom authorization usually refuses, or refused here.
    pub anonymous: bool,
    /// How much is asked of the API server.
    pub reviews: ReviewLimits,
}

impl Default for AuthenticationOptions {
    fn default() -> Self {
        Self {
            valid_tokens_for: Duration::from_secs(10),
            invalid_tokens_for: Duration::from_secs(10),
            anonymous: true,
            reviews: ReviewLimits::default(),
        }
    }
}

/// Tells who asks.
pub struct Authenticator(Mode);

enum Mode {
    Delegated(Box<Delegated>),
    LocalOnly,
}

struct Delegated {
    trust: Arc<Trust>,
    tokens: Tokens,
    anonymous: bool,
}

impl Authenticator {
    /// Authentication as the cluster does it.
    pub fn delegated(trust: Arc<Trust>, reviews: Arc<dyn Reviews>, options: &AuthenticationOptions) -> Self {
        let lifetimes = Lifetimes { valid: options.valid_tokens_for, invalid: options.invalid_tokens_for };
        let tokens = Tokens::new(reviews, &options.reviews, lifetimes);
        Self(Mode::Delegated(Box::new(Delegated { trust, tokens, anonymous: options.anonymous })))
    }

    /// No authentication: everybody is `local` of `system:masters`. For a listener on loopback without a cluster alone, which
    /// the caller sees to.
    pub fn local_only() -> Self {
        Self(Mode::LocalOnly)
    }

    /// Who sent a request with these headers over this connection. Whatever the outcome, credentials and identity headers are
    /// gone from `headers` afterwards.
    ///
    /// `AuthError::Unauthenticated` if a credential was presented and none is valid; `AuthError::Unavailable` if a token was
    /// presented and the API server could not be asked, `AuthError::Overloaded` if too many others were; `AuthError::Forbidden`
    /// if the client wants to be taken for another user, which kube-apiserver alone grants.
    pub async fn authenticate(&self, connection: &Connection, headers: &mut HeaderMap) -> Result<User, AuthError> {
        let Mode::Delegated(delegated) = &self.0 else {
            request_header::strip(headers, &IdentityHeaders::default());
            headers.remove(AUTHORIZATION);
            connection.set_known(true);
            return Ok(User {
                name: LOCAL.to_owned(),
                groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()],
                ..User::default()
            });
        };
        let impersonates = request_header::impersonates(headers);
        let outcome = delegated.authenticate(connection, headers).await;
        match &outcome {
            // A stranger whom a front proxy names is that proxy's to bound.
            Ok(user) => connection.set_known(!is_stranger(user) || !connection.peer_certificates.is_empty()),
            Err(AuthError::Unauthenticated(_)) => connection.set_known(false),
            Err(_) => {}
        }
        match outcome {
            Ok(_) if impersonates => Err(AuthError::Forbidden {
                reason: "impersonation is not possible here; ask through kube-apiserver".to_owned(),
            }),
            outcome => outcome,
        }
    }
}

impl Delegated {
    async fn authenticate(&self, connection: &Connection, headers: &mut HeaderMap) -> Result<User, AuthError> {
        let by_certificate = {
            let trust = self.trust.load();
            let by_certificate = certified_user(connection, headers, &trust);
            request_header::strip(headers, &trust.headers);
            by_certificate
        };
        let token = bearer_token(headers);
        headers.remove(AUTHORIZATION);
        let refused = match by_certificate {
            Ok(Some(user)) => return Ok(with_authenticated_group(user)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match (token?, refused) {
            (Some(token), _) => self.by_token(&token).await,
            (None, Some(error)) => Err(error),
            (None, None) if self.anonymous => Ok(anonymous_user()),
            (None, None) => Err(AuthError::Unauthenticated(
                "no credential was presented, and anonymous requests are off".to_owned(),
            )),
        }
    }

    async fn by_token(&self, token: &str) -> Result<User, AuthError> {
        match self.tokens.verdict(token).await.as_deref() {
            Ok(TokenVerdict::Valid(user)) => Ok(with_authenticated_group(user.clone())),
            Ok(TokenVerdict::Invalid(reason) | TokenVerdict::Doubtful(reason)) => {
                Err(AuthError::Unauthenticated(format!("the bearer token is not valid: {reason}")))
            }
            Err(error) => Err(error.refusal("the bearer token could not be reviewed")),
        }
    }
}

/// The user by the connection's certificate: the one that a front proxy names, or the certificate's own; `None` without one.
fn certified_user(
    connection: &Connection,
    headers: &HeaderMap,
    trust: &TrustConfig,
) -> Result<Option<User>, AuthError> {
    let Some(verdict) = verdict(connection, trust, UnixTime::now()) else { return Ok(None) };
    if verdict.front_proxy.is_ok()
        && let Some(user) = request_header::identity(headers, &trust.headers)?
    {
        return Ok(Some(user));
    }
    match (&verdict.client, &verdict.front_proxy) {
        (Ok(user), _) => Ok(Some(user.clone())),
        (Err(_), Ok(())) => Err(AuthError::Unauthenticated(
            "the front proxy named no user, and its certificate is no user's; send the username header".to_owned(),
        )),
        (Err(client), Err(front_proxy)) => Err(AuthError::Unauthenticated(format!(
            "the client certificate is neither a user's ({client}) nor a front proxy's ({front_proxy})"
        ))),
    }
}

/// The token of `Authorization: Bearer TOKEN`, read as `pkg/authentication/request/bearertoken` of k8s.io/apiserver does: another
/// scheme presents nothing.
fn bearer_token(headers: &HeaderMap) -> Result<Option<String>, AuthError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let value =
        value.to_str().map_err(|_| AuthError::Unauthenticated("the Authorization header is not ASCII".to_owned()))?;
    let mut parts = value.trim().splitn(3, ' ');
    let is_bearer = parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    match parts.next().filter(|token| is_bearer && !token.is_empty()) {
        Some(token) if token.len() > MAX_TOKEN_BYTES => {
            Err(AuthError::Unauthenticated(format!("a bearer token of {} bytes is nobody's", token.len())))
        }
        token => Ok(token.map(str::to_owned)),
    }
}

/// `AuthenticatedGroupAdder` in `pkg/authentication/group` of k8s.io/apiserver.
fn with_authenticated_group(mut user: User) -> User {
    let settled = user.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
    if user.name != ANONYMOUS && !settled {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

fn anonymous_user() -> User {
    User { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..User::default() }
}
