//! What a plugin may reach: scheme, host and port, normalised once so that comparing is exact. An origin never holds a path, a
//! user name or a pattern.

use std::{collections::HashSet, fmt, str::FromStr};

use url::{Host, Url};

/// How a backend is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP without TLS.
    Http,
    /// HTTP over TLS, with a certificate that is verified.
    Https,
    /// TCP alone, for guests that speak wasi:sockets.
    Tcp,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
        }
    }
}

/// Scheme, host and port of a backend (RFC 6454).
///
/// Invariant: the host is as the WHATWG URL standard normalises it: lower case, IDNA in ASCII, IPv4 in dotted decimal whatever
/// form it was written in, and no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: Host<String>,
    port: u16,
}

/// Why a text is no origin that a plugin can reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// No URL at all.
    #[error("`{text}` is no origin ({cause}); write scheme, host and port, as in `https://mq.example.com:443`")]
    Syntax {
        /// As it was written.
        text: String,
        /// What the parser stumbled over.
        cause: url::ParseError,
    },
    /// TCP has no port of its own.
    #[error("`{0}` lacks a port; write it out, as in `tcp://redis.shop.svc:6379`")]
    NoPort(String),
    /// Any other scheme.
    #[error("scheme `{0}` can't be reached; use http or https, or tcp for a plugin that speaks wasi:sockets")]
    Scheme(String),
    /// A user name or password; the text is not repeated, for it may hold a secret.
    #[error("an origin holds no user name or password; leave them out and name a Secret in `credentials`")]
    UserInfo,
    /// A path, query or fragment.
    #[error("`{0}` holds more than an origin; write scheme, host and port alone, as in `https://mq.example.com:443`")]
    NotAlone(String),
    /// A pattern.
    #[error("`{0}` holds a wildcard; name each origin by itself")]
    Wildcard(String),
}

impl Origin {
    /// Parses an origin that a person wrote. The port may be left out where it is the scheme's own.
    ///
    /// # Errors
    ///
    /// Anything that is not exactly one http, https or tcp origin.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        if text.contains('*') {
            return Err(InvalidOrigin::Wildcard(text.to_owned()));
        }
        let syntax = |cause| InvalidOrigin::Syntax { text: text.to_owned(), cause };
        let url = Url::parse(text).map_err(syntax)?;
        let origin = match url.scheme() {
            "tcp" => Self::tcp(text, &url)?,
            _ => Self::of(&url)?,
        };
        // The URL standard forgives backslashes, tabs and missing slashes; a line of configuration should not need that.
        let alone =
            text.contains("://") && !text.contains(|character: char| character == '\\' || character.is_whitespace());
        if !alone || !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidOrigin::NotAlone(text.to_owned()));
        }
        Ok(origin)
    }

    /// The origin of a URL; none if it has none that a plugin could be granted.
    pub fn of_url(url: &str) -> Option<Self> {
        Self::of(&Url::parse(url).ok()?).ok()
    }

    /// The origin of a URL.
    ///
    /// # Errors
    ///
    /// Another scheme than http and https, and a user name or password.
    pub(super) fn of(url: &Url) -> Result<Self, InvalidOrigin> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(InvalidOrigin::Scheme(other.to_owned())),
        };
        refuse_user_info(url)?;
        let syntax = |cause| InvalidOrigin::Syntax { text: scheme.as_str().to_owned(), cause };
        let host = url.host().map(|host| host.to_owned()).ok_or(url::ParseError::EmptyHost);
        let host = host.and_then(without_trailing_dot).map_err(syntax)?;
        let port =
            url.port_or_known_default().ok_or_else(|| InvalidOrigin::NoPort(url.origin().ascii_serialization()))?;
        Ok(Self { scheme, host, port })
    }

    /// The URL standard knows no tcp: it leaves host and port of such a URL as they are, so the host is normalised here.
    fn tcp(text: &str, url: &Url) -> Result<Self, InvalidOrigin> {
        refuse_user_info(url)?;
        let syntax = |cause| InvalidOrigin::Syntax { text: text.to_owned(), cause };
        let host = Host::parse(url.host_str().unwrap_or_default()).and_then(without_trailing_dot).map_err(syntax)?;
        let port = url.port().filter(|port| *port != 0).ok_or_else(|| InvalidOrigin::NoPort(text.to_owned()))?;
        Ok(Self { scheme: Scheme::Tcp, host, port })
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name without a trailing dot, or an address.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as in a URL and a Host header: without the scheme's own port.
    pub(super) fn authority(&self) -> String {
        if Some(self.port) == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn refuse_user_info(url: &Url) -> Result<(), InvalidOrigin> {
    if url.username().is_empty() && url.password().is_none() { Ok(()) } else { Err(InvalidOrigin::UserInfo) }
}

fn without_trailing_dot(host: Host<String>) -> Result<Host<String>, url::ParseError> {
    let Host::Domain(name) = host else { return Ok(host) };
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() { Err(url::ParseError::EmptyHost) } else { Ok(Host::Domain(name.to_owned())) }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Origin {
    /// With the port, whatever it is.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

/// All that one plugin may reach; empty means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(HashSet<Origin>);

impl Origins {
    /// Whether `origin` is named, exactly.
    pub fn contains(&self, origin: &Origin) -> bool {
        self.0.contains(origin)
    }

    /// Each of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }
}

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        Origin::parse(text).map_or_else(|error| format!("error: {error}"), |origin| origin.to_string())
    }

    #[test]
    fn spellings_of_one_origin_are_one() {
        for (text, expected) in [
            ("https://mq.example.com:443", "https://mq.example.com:443"),
            ("https://mq.example.com", "https://mq.example.com:443"),
            ("https://mq.example.com/", "https://mq.example.com:443"),
            ("HTTPS://MQ.Example.COM", "https://mq.example.com:443"),
            ("http://mq.example.com.", "http://mq.example.com:80"),
            ("http://mq.example.com.:8080", "http://mq.example.com:8080"),
            ("https://bücher.example", "https://xn--bcher-kva.example:443"),
            ("http://[::1]:9090", "http://[::1]:9090"),
            ("http://[0:0::FFFF:7f00:1]", "http://[::ffff:7f00:1]:80"),
            ("http://2130706433", "http://127.0.0.1:80"),
            ("http://0177.0.0.1", "http://127.0.0.1:80"),
            ("http://0x7f.1", "http://127.0.0.1:80"),
            ("http://127.1", "http://127.0.0.1:80"),
            ("http://127.0.0.1.", "http://127.0.0.1:80"),
            ("http://１２７.０.０.１", "http://127.0.0.1:80"),
            ("http://%31%32%37.0.0.1", "http://127.0.0.1:80"),
            ("tcp://Redis.Shop.svc.:6379", "tcp://redis.shop.svc:6379"),
            ("tcp://redis.shop.svc:80/", "tcp://redis.shop.svc:80"),
            ("tcp://bücher.example:6379", "tcp://xn--bcher-kva.example:6379"),
            ("tcp://0x7f.1:6379", "tcp://127.0.0.1:6379"),
            ("tcp://[0:0::1]:6379", "tcp://[::1]:6379"),
        ] {
            assert_eq!(printed(text), expected, "{text}");
        }
    }

    #[test]
    fn anything_but_an_origin_is_refused_with_the_fix() {
        for (text, expected) in [
            ("mq.example.com", "is no origin"),
            ("mq.example.com:443", "scheme `mq.example.com` can't be reached; use http or https"),
            ("", "is no origin"),
            ("https://", "is no origin"),
            ("http://.", "is no origin"),
            ("tcp://redis.shop.svc", "lacks a port"),
            ("tcp://redis.shop.svc:0", "lacks a port"),
            ("tcp://:6379", "is no origin"),
            ("tcp:redis.shop.svc:6379", "is no origin"),
            ("tcp://redis.shop.svc:6379/0", "more than an origin"),
            ("tcp://user:secret@redis.shop.svc:6379", "name a Secret in `credentials`"),
            ("tcp://256.0.0.1:6379", "is no origin"),
            ("file:///etc/passwd", "scheme `file` can't be reached"),
            ("https://*.example.com", "wildcard"),
            ("*", "wildcard"),
            ("https://user:secret@mq.example.com", "name a Secret in `credentials`"),
            ("https://user@mq.example.com", "name a Secret in `credentials`"),
            ("https://mq.example.com/api", "more than an origin"),
            ("https://mq.example.com?x", "more than an origin"),
            ("https://mq.example.com#x", "more than an origin"),
            ("https:mq.example.com", "more than an origin"),
            ("https:\\\\mq.example.com", "more than an origin"),
            (" https://mq.example.com", "more than an origin"),
            ("http://256.0.0.1", "is no origin"),
            ("http://[::1", "is no origin"),
            ("http://[fe80::1%25eth0]", "is no origin"),
            ("tcp://[fe80::1%25eth0]:80", "is no origin"),
        ] {
            let message = printed(text);
            assert!(message.starts_with("error: ") && message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret@"), "{message}");
        }
    }

    #[test]
    fn scheme_host_and_port_all_count() {
        let origins: Origins = [Origin::parse("https://mq.example.com").unwrap()].into_iter().collect();
        for (text, expected) in [
            ("https://mq.example.com.:443", true),
            ("http://mq.example.com:443", false),
            ("https://mq.example.com:8443", false),
            ("https://example.com", false),
            ("https://mq.example.com.evil.test", false),
        ] {
            assert_eq!(origins.contains(&Origin::parse(text).unwrap()), expected, "{text}");
        }
        assert!(!Origins::default().contains(&Origin::parse("https://mq.example.com").unwrap()));
    }

    #[test]
    fn an_authority_leaves_out_the_schemes_own_port() {
        assert_eq!(Origin::parse("https://mq.example.com:443").unwrap().authority(), "mq.example.com");
        assert_eq!(Origin::parse("http://[::1]:443").unwrap().authority(), "[::1]:443");
    }
}
