//! Patterns of origins: which backends a namespace's plugins may name. Compared with parsed origins alone, so that no spelling of a
//! host or address gets around one.

use std::fmt;

use crate::egress::Origin;

/// What stands for the plugin's namespace in a pattern's host.
const NAMESPACE: &str = "{namespace}";

/// `SCHEME://HOST:PORT`. A `*` stands for any scheme, any port, any host, or at the host's beginning (`*.example.com`) for one label
/// or more; `{namespace}` stands for the plugin's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OriginPattern {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HostPattern {
    Any,
    Exactly(String),
    /// With the dot that it begins with.
    EndsWith(String),
}

impl OriginPattern {
    /// Every origin.
    pub fn any() -> Self {
        Self { scheme: None, host: HostPattern::Any, port: None }
    }

    /// Reads `SCHEME://HOST:PORT`; none if it is not exactly that. The port may be left out where the scheme has one of its own.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = match (port, scheme) {
            (Some("*"), _) => None,
            (Some(port), _) => Some(port.parse().ok()?),
            (None, "http") => Some(80),
            (None, "https") => Some(443),
            (None, _) => return None,
        };
        let scheme = match scheme {
            "*" => None,
            "http" | "https" | "tcp" => Some(scheme.to_owned()),
            _ => return None,
        };
        Some(Self { scheme, host: HostPattern::parse(host)?, port })
    }

    /// Whether a plugin of `namespace` may reach `origin` by this pattern.
    pub fn covers(&self, origin: &Origin, namespace: &str) -> bool {
        let scheme = self.scheme.as_deref().is_none_or(|scheme| scheme == origin.scheme().as_str());
        scheme
            && self.port.is_none_or(|port| port == origin.port())
            && self.host.covers(&origin.host().to_string(), namespace)
    }

    /// The pattern as it holds for `namespace`, for messages.
    pub fn shown_for(&self, namespace: &str) -> String {
        self.to_string().replace(NAMESPACE, namespace)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (name, pattern): (&str, fn(String) -> Self) = match text.strip_prefix('*') {
            Some(suffix) => (suffix.strip_prefix('.')?, |name| Self::EndsWith(format!(".{name}"))),
            None => (text, Self::Exactly),
        };
        if name.contains('*') {
            return None;
        }
        let plain = name.replace(NAMESPACE, "namespace");
        // The normalised form of a host is the one that an origin's host is compared by.
        let normal = url::Host::parse(&plain).ok()?.to_string();
        let trailing_dot = plain.ends_with('.');
        (normal == plain && !trailing_dot).then(|| pattern(name.to_owned()))
    }

    fn covers(&self, host: &str, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => host == name.replace(NAMESPACE, namespace),
            Self::EndsWith(suffix) => {
                let labels = host.strip_suffix(&suffix.replace(NAMESPACE, namespace));
                labels.is_some_and(|labels| !labels.is_empty())
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://", self.scheme.as_deref().unwrap_or("*"))?;
        match &self.host {
            HostPattern::Any => formatter.write_str("*")?,
            HostPattern::Exactly(name) => formatter.write_str(name)?,
            HostPattern::EndsWith(suffix) => write!(formatter, "*{suffix}")?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => formatter.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern).unwrap().covers(&Origin::parse(origin).unwrap(), "shop")
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_beside_it() {
        for (pattern, origin, expected) in [
            ("https://mq.example.com", "https://mq.example.com", true),
            ("https://mq.example.com", "https://MQ.example.com.:443", true),
            ("https://mq.example.com", "https://mq.example.com:8443", false),
            ("https://mq.example.com", "http://mq.example.com:443", false),
            ("https://mq.example.com:*", "https://mq.example.com:8443", true),
            ("*://mq.example.com:443", "http://mq.example.com:443", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://badexample.com", false),
            ("https://*.example.com", "https://x.example.com.evil.net", false),
            ("*://*.{namespace}.svc:*", "http://mq.shop.svc:8080", true),
            ("*://*.{namespace}.svc:*", "http://mq.SHOP.svc.", true),
            ("*://*.{namespace}.svc:*", "http://mq.billing.svc", false),
            ("*://*.{namespace}.svc:*", "http://mq.workshop.svc", false),
            ("*://*.{namespace}.svc:*", "http://shop.svc", false),
            ("*://*.{namespace}.svc:*", "http://mq.shop.svc.example.com", false),
            ("*://*.{namespace}.svc:*", "http://mq.shop", false),
            ("http://10.0.0.7:80", "http://0x0a.7", true),
            ("http://[fd00::1]:80", "http://[FD00:0::1]", true),
            ("*://*:*", "http://127.0.0.1:1", true),
        ] {
            assert_eq!(covers(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn what_would_cover_something_else_than_it_says_is_no_pattern() {
        for text in [
            "",
            "mq.example.com",
            "ftp://mq.example.com:21",
            "tcp://mq.example.com",
            "*://mq.example.com",
            "https://*example.com",
            "https://a.*.com",
            "https://MQ.example.com",
            "https://mq.example.com.",
            "http://0177.0.0.1",
            "https://mq.example.com/path",
            "https://user@mq.example.com",
            "https://mq.example.com:99999",
            "https://",
            "https://*.",
        ] {
            assert_eq!(OriginPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_prints_as_it_is_written() {
        for text in ["https://mq.example.com:443", "*://*.{namespace}.svc:*", "*://*:*", "tcp://redis.shop.svc:6379"] {
            assert_eq!(OriginPattern::parse(text).unwrap().to_string(), text);
        }
        let shown = OriginPattern::parse("*://*.{namespace}.svc:*").unwrap().shown_for("shop");
        assert_eq!(shown, "*://*.shop.svc:*");
    }
}
