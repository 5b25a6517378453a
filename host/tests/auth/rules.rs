//! Why a case is decided as it is, with the file of k8s.io/apiserver v0.36.2 that says so. docs/security.md has the same table.

/// A rule of authentication or authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Order,
    Presented,
    Nothing,
    Bearer,
    First,
    Proxy,
    ProxyName,
    ProxyUser,
    Chain,
    Usage,
    UserName,
    Audience,
    NamedToken,
    Impersonation,
    Yes,
    Malformed,
    Unasked,
    Text,
    Leaf,
    Http,
}

impl Rule {
    pub(crate) const ALL: [Self; 20] = [
        Self::Order,
        Self::Presented,
        Self::Nothing,
        Self::Bearer,
        Self::First,
        Self::Proxy,
        Self::ProxyName,
        Self::ProxyUser,
        Self::Chain,
        Self::Usage,
        Self::UserName,
        Self::Audience,
        Self::NamedToken,
        Self::Impersonation,
        Self::Yes,
        Self::Malformed,
        Self::Unasked,
        Self::Text,
        Self::Leaf,
        Self::Http,
    ];

    /// The rule and where it comes from.
    pub(crate) fn text(self) -> [&'static str; 2] {
        match self {
            Self::Order => [
                "front proxy, client certificate, token: the first that knows the client decides",
                "pkg/authentication/authenticatorfactory/delegating.go",
            ],
            Self::Presented => [
                "a certificate or token that was presented and proves nothing is 401, unless another one proves something",
                "pkg/authentication/request/union/union.go",
            ],
            Self::Nothing => [
                "who presents nothing is `system:anonymous`, and what that one may not is 403",
                "pkg/authentication/request/anonymous/anonymous.go",
            ],
            Self::Bearer => [
                "an Authorization header that is not `Bearer`, one space and a token presents nothing",
                "pkg/authentication/request/bearertoken/bearertoken.go",
            ],
            Self::First => [
                "of several values of a header that has one, the first counts, and not the others",
                "pkg/authentication/request/headerrequest/requestheader.go",
            ],
            Self::Proxy => [
                "identity headers count behind a front proxy's certificate and nowhere else",
                "pkg/authentication/request/x509/x509.go",
            ],
            Self::ProxyName => [
                "a front proxy's common name is in the list, letter for letter; an empty list allows any",
                "pkg/authentication/request/x509/x509.go",
            ],
            Self::ProxyUser => [
                "a front proxy that names no user has said nothing; groups and extras alone name nobody",
                "pkg/authentication/request/headerrequest/requestheader.go",
            ],
            Self::Chain => [
                "a certificate is valid now and signed, through CA certificates that are valid now, by an authority of its kind",
                "crypto/x509 of Go",
            ],
            Self::Usage => [
                "a certificate with extended key usages has client authentication among them",
                "pkg/authentication/request/x509/x509.go",
            ],
            Self::UserName => [
                "a client certificate's common name is its user; without one it is nobody's",
                "pkg/authentication/request/x509/x509.go",
            ],
            Self::Audience => [
                "a token is for one of the audiences that were asked for, and the review says which",
                "plugin/pkg/authenticator/token/webhook/webhook.go",
            ],
            Self::NamedToken => {
                ["a token of a user without a name is nobody's", "stricter than Go, which goes on without a name"]
            }
            Self::Impersonation => [
                "who asks to be taken for somebody else is refused with 403",
                "stricter than Go, which grants it to whoever may `impersonate`",
            ],
            Self::Yes => [
                "only a review's plain yes lets a request in; no and no opinion are 403",
                "pkg/endpoints/filters/authorization.go",
            ],
            Self::Malformed => [
                "an access review that makes no sense, or both allows and denies, is 500",
                "plugin/pkg/authorizer/webhook/webhook.go",
            ],
            Self::Unasked => [
                "what the API server cannot be asked is 500, for tokens too",
                "plugin/pkg/authorizer/webhook/webhook.go; for tokens Go says 401, on which clients drop tokens that are good",
            ],
            Self::Text => {
                ["names, groups, extras and tokens are UTF-8", "stricter than Go, which replaces what is not"]
            }
            Self::Leaf => ["the certificate of an authority is no client's", "stricter than Go"],
            Self::Http => ["a header that HTTP does not allow is 400", "RFC 9112, 5.1 and 5.2"],
        }
    }
}

#[test]
fn every_rule_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let document = std::fs::read_to_string(path).unwrap();
    for rule in Rule::ALL {
        let [text, source] = rule.text();
        let row = format!("| {text} | {source} |");
        assert!(document.contains(&row), "docs/security.md lacks:\n{row}");
    }
}
