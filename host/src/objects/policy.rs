//! Which kinds of objects plugins may see: the operator's list, and never Secrets.

use std::str::FromStr;

use crate::model::{FetchError, GroupResource, Reason};

/// The operator's list of kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPolicy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// One kind, as in `pods` or `deployments.apps`.
    Kind(GroupResource),
    /// All kinds of a group, as in `*.apps`.
    Group(String),
}

/// Why an entry is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectPolicy {
    /// Secrets are for `credentials` and `secrets` of plugin.yaml, with the Secret's consent.
    #[error("`{0}` can't be opened to plugins; use `credentials` or `secrets` of plugin.yaml")]
    Secrets(String),
    /// Neither form.
    #[error("`{0}` names no kind of objects; write `pods`, `deployments.apps` or, for a whole named group, `*.apps`")]
    Syntax(String),
}

impl ObjectPolicy {
    /// Parses a list of kinds: `pods`, `deployments.apps`, or `*.apps` for a whole named group.
    ///
    /// # Errors
    ///
    /// The first entry that is neither, or that opens Secrets.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidObjectPolicy> {
        entries.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses a kind that is not on the list.
    ///
    /// # Errors
    ///
    /// `Reason::BadRequest`, naming the kind.
    pub fn check(&self, resource: &GroupResource) -> Result<(), FetchError> {
        let listed = self.0.iter().any(|entry| match entry {
            Entry::Kind(kind) => kind == resource,
            Entry::Group(group) => *group == resource.group,
        });
        if listed && !is_secrets(resource) {
            return Ok(());
        }
        let message = format!(
            "objects of kind `{resource}` are not open to plugins; the adapter's operator lists the kinds that are"
        );
        Err(FetchError::new(Reason::BadRequest, message))
    }
}

impl Default for ObjectPolicy {
    /// What metrics describe most: pods, services, nodes, namespaces and the workloads of `apps`.
    fn default() -> Self {
        let mut entries: Vec<_> =
            ["pods", "services", "nodes", "namespaces"].map(|name| Entry::Kind(GroupResource::core(name))).into();
        entries.push(Entry::Group("apps".to_owned()));
        Self(entries)
    }
}

impl FromStr for Entry {
    type Err = InvalidObjectPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || InvalidObjectPolicy::Syntax(text.to_owned());
        let dns = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        };
        if let Some(group) = text.strip_prefix("*.") {
            return if dns(group) { Ok(Self::Group(group.to_owned())) } else { Err(syntax()) };
        }
        let Ok(resource) = text.parse::<GroupResource>();
        match () {
            () if is_secrets(&resource) => Err(InvalidObjectPolicy::Secrets(text.to_owned())),
            () if dns(&resource.name) && (resource.group.is_empty() || dns(&resource.group)) => {
                Ok(Self::Kind(resource))
            }
            () => Err(syntax()),
        }
    }
}

fn is_secrets(resource: &GroupResource) -> bool {
    resource.group.is_empty() && resource.name == "secrets"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(policy: &ObjectPolicy, kind: &str) -> bool {
        policy.check(&kind.parse().unwrap()).is_ok()
    }

    #[test]
    fn by_default_workloads_are_open_and_nothing_else() {
        let policy = ObjectPolicy::default();
        for kind in ["pods", "services", "nodes", "namespaces", "deployments.apps", "statefulsets.apps"] {
            assert!(allowed(&policy, kind), "{kind}");
        }
        for kind in ["secrets", "configmaps", "pods.apps.example.com", "deployments", "jobs.batch", "serviceaccounts"] {
            let error = policy.check(&kind.parse().unwrap()).unwrap_err();
            assert_eq!(error.reason, Reason::BadRequest, "{kind}");
            assert!(error.message.contains(kind), "{error}");
        }
    }

    #[test]
    fn a_list_replaces_the_default() {
        let policy = ObjectPolicy::parse(["jobs.batch", "*.argoproj.io"]).unwrap();
        assert!(allowed(&policy, "jobs.batch") && allowed(&policy, "rollouts.argoproj.io"));
        assert!(!allowed(&policy, "pods") && !allowed(&policy, "cronjobs.batch"));
    }

    #[test]
    fn secrets_and_everything_at_once_can_not_be_listed() {
        assert_eq!(ObjectPolicy::parse(["pods", "secrets"]), Err(InvalidObjectPolicy::Secrets("secrets".to_owned())));
        for entry in ["*", "*.", "", ".", "Pods", "po*", "pods/log", "*.*"] {
            assert_eq!(ObjectPolicy::parse([entry]), Err(InvalidObjectPolicy::Syntax(entry.to_owned())));
        }
    }
}
