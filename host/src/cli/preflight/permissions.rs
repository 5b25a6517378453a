//! What the adapter may do: each rule of `deploy/base`, asked of the API server in the adapter's name.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use serde::Serialize;

use super::Installation;

/// Questions in flight: enough for a far-away API server, too few to trouble it.
const CONCURRENCY: usize = 8;

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// How many questions were asked.
    pub asked: usize,
    /// Those answered with no, by object, in the order of the manifests.
    pub missing: Vec<Missing>,
}

/// A right that the adapter needs and has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// As in `get`, `list`.
    pub verbs: Vec<String>,
    /// As in `pods` or `configmaps extension-apiserver-authentication in kube-system`.
    pub object: String,
    /// What does not work without it.
    pub without: &'static str,
    /// The manifest that grants it.
    pub granted_by: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Cluster,
    AuthenticationConfig,
    Own,
    /// Each namespace of `--plugin-namespaces`.
    Tenants,
}

/// A rule of `deploy/base`. `names` is empty where the rule holds for all objects.
struct Rule {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    names: &'static [&'static str],
    scope: Scope,
    without: &'static str,
    granted_by: &'static str,
}

const DELEGATED: &str = "deploy/base/rbac-delegated-auth.yaml";
const ADAPTER: &str = "deploy/base/rbac-adapter.yaml";
const TENANT: &str = "deploy/examples/tenant/rbac.yaml";
const READ: &[&str] = &["get", "list", "watch"];

/// A kind of object that metrics describe.
const fn described(group: &'static str, resource: &'static str) -> Rule {
    let without = "selectors of this kind of object cannot be resolved";
    Rule { verbs: READ, group, resource, names: &[], scope: Scope::Cluster, without, granted_by: ADAPTER }
}

const RULES: &[Rule] = &[
    Rule {
        verbs: &["create"],
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        names: &[],
        scope: Scope::Cluster,
        without: "nobody can come in with a bearer token",
        granted_by: DELEGATED,
    },
    Rule {
        verbs: &["create"],
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        names: &[],
        scope: Scope::Cluster,
        without: "every request is refused",
        granted_by: DELEGATED,
    },
    Rule {
        verbs: READ,
        group: "",
        resource: "configmaps",
        names: &["extension-apiserver-authentication"],
        scope: Scope::AuthenticationConfig,
        without: "requests that kube-apiserver passes on are not recognized as its own",
        granted_by: DELEGATED,
    },
    Rule {
        verbs: READ,
        group: "",
        resource: "configmaps",
        names: &[],
        scope: Scope::Own,
        without: "no plugin is found",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: READ,
        group: "",
        resource: "secrets",
        names: &[],
        scope: Scope::Own,
        without: "plugins get no credentials, and the serving certificate is not shared by the replicas",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: &["create"],
        group: "",
        resource: "secrets",
        names: &[],
        scope: Scope::Own,
        without: "the first replica cannot make the serving certificate authority",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: &["update"],
        group: "",
        resource: "secrets",
        names: &["wasm-metrics-adapter-serving"],
        scope: Scope::Own,
        without: "the serving certificate authority cannot be renewed",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: &["create", "patch"],
        group: "events.k8s.io",
        resource: "events",
        names: &[],
        scope: Scope::Own,
        without: "plugin authors are not told why a plugin did not load",
        granted_by: ADAPTER,
    },
    described("", "pods"),
    described("", "services"),
    described("", "nodes"),
    described("", "namespaces"),
    described("apps", "daemonsets"),
    described("apps", "deployments"),
    described("apps", "replicasets"),
    described("apps", "statefulsets"),
    Rule {
        verbs: &["list", "watch"],
        group: "apiextensions.k8s.io",
        resource: "customresourcedefinitions",
        names: &[],
        scope: Scope::Cluster,
        without: "changes of custom resource definitions are seen minutes late",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: &["get"],
        group: "discovery.k8s.io",
        resource: "endpointslices",
        names: &["kubernetes"],
        scope: Scope::Cluster,
        without: "plugins are kept from the API server's Service alone, not from the endpoints behind it",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: &["get", "patch"],
        group: "apiregistration.k8s.io",
        resource: "apiservices",
        names: &[
            "v1beta1.custom.metrics.k8s.io",
            "v1beta2.custom.metrics.k8s.io",
            "v1beta1.external.metrics.k8s.io",
            "v1beta1.metrics.k8s.io",
        ],
        scope: Scope::Cluster,
        without: "the adapter cannot write its certificate authority there, and the API stays unavailable",
        granted_by: ADAPTER,
    },
    Rule {
        verbs: READ,
        group: "",
        resource: "configmaps",
        names: &[],
        scope: Scope::Tenants,
        without: "no plugin of this tenant is found",
        granted_by: TENANT,
    },
    Rule {
        verbs: READ,
        group: "",
        resource: "secrets",
        names: &[],
        scope: Scope::Tenants,
        without: "plugins of this tenant get no credentials",
        granted_by: TENANT,
    },
    Rule {
        verbs: &["create", "patch"],
        group: "events.k8s.io",
        resource: "events",
        names: &[],
        scope: Scope::Tenants,
        without: "this tenant is not told why a plugin did not load",
        granted_by: TENANT,
    },
];

/// Asks each rule, verb by verb and name by name. Where `asker` is the adapter itself it asks for itself, which needs no right;
/// anybody else needs the right to create SubjectAccessReviews.
pub(super) async fn ask(
    client: &Client,
    installation: &Installation,
    asker: Option<&str>,
) -> kube::Result<Permissions> {
    let for_itself = asker == Some(installation.user().as_str());
    let questions: Vec<_> = RULES.iter().flat_map(|rule| questions(rule, installation)).collect();
    let asked = questions.len();
    let answers: Vec<Option<Missing>> = stream::iter(questions)
        .map(|(Rule { without, granted_by, .. }, attributes)| async move {
            let (verbs, object) = (attributes.verb.iter().cloned().collect(), describe(&attributes));
            let allowed = is_allowed(client, installation, for_itself, attributes).await?;
            Ok::<_, kube::Error>((!allowed).then_some(Missing { verbs, object, without, granted_by }))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut missing: Vec<Missing> = Vec::new();
    for answer in answers.into_iter().flatten() {
        match missing.last_mut() {
            Some(last) if (&last.object, last.without) == (&answer.object, answer.without) => {
                last.verbs.extend(answer.verbs);
            }
            _ => missing.push(answer),
        }
    }
    Ok(Permissions { asked, missing })
}

fn questions<'a>(rule: &'a Rule, installation: &Installation) -> Vec<(&'a Rule, ResourceAttributes)> {
    let namespaces = match rule.scope {
        Scope::Cluster => vec![None],
        Scope::AuthenticationConfig => vec![Some("kube-system".to_owned())],
        Scope::Own => vec![Some(installation.namespace.clone())],
        Scope::Tenants => installation.plugin_namespaces.iter().cloned().map(Some).collect(),
    };
    let names: Vec<_> = if rule.names.is_empty() { vec![None] } else { rule.names.iter().copied().map(Some).collect() };
    let pairs = names.iter().flat_map(|name| rule.verbs.iter().map(move |verb| (*name, *verb)));
    let pairs: Vec<_> = pairs.collect();
    let triples =
        namespaces.iter().flat_map(|namespace| pairs.iter().map(move |(name, verb)| (namespace, *name, *verb)));
    triples
        .map(|(namespace, name, verb)| {
            let attributes = ResourceAttributes {
                group: Some(rule.group.to_owned()),
                resource: Some(rule.resource.to_owned()),
                verb: Some(verb.to_owned()),
                name: name.map(str::to_owned),
                namespace: namespace.clone(),
                ..ResourceAttributes::default()
            };
            (rule, attributes)
        })
        .collect()
}

async fn is_allowed(
    client: &Client,
    installation: &Installation,
    for_itself: bool,
    attributes: ResourceAttributes,
) -> kube::Result<bool> {
    let parameters = PostParams::default();
    let status = if for_itself {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        Api::<SelfSubjectAccessReview>::all(client.clone()).create(&parameters, &review).await?.status
    } else {
        let spec = SubjectAccessReviewSpec {
            user: Some(installation.user()),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", installation.namespace),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(attributes),
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..Default::default() };
        Api::<SubjectAccessReview>::all(client.clone()).create(&parameters, &review).await?.status
    };
    Ok(status.is_some_and(|status| status.allowed))
}

/// As in `apiservices.apiregistration.k8s.io v1beta1.custom.metrics.k8s.io`.
fn describe(attributes: &ResourceAttributes) -> String {
    let mut words = attributes.resource.clone().unwrap_or_default();
    for (separator, value) in [(".", &attributes.group), (" ", &attributes.name), (" in ", &attributes.namespace)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            words.push_str(separator);
            words.push_str(value);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Granted {
        api_groups: Vec<String>,
        resources: Vec<String>,
        #[serde(default)]
        resource_names: Vec<String>,
        verbs: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Manifest {
        kind: String,
        #[serde(default)]
        rules: Vec<Granted>,
    }

    fn manifests(path: &str) -> Vec<Manifest> {
        let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Every right as (kind of role, group, resource, name, verb).
    fn granted(path: &str) -> BTreeSet<(String, String, String, String, String)> {
        let mut rights = BTreeSet::new();
        for manifest in manifests(path) {
            for rule in &manifest.rules {
                let names =
                    if rule.resource_names.is_empty() { vec![String::new()] } else { rule.resource_names.clone() };
                for group in &rule.api_groups {
                    for resource in &rule.resources {
                        for name in &names {
                            for verb in &rule.verbs {
                                rights.insert((
                                    manifest.kind.clone(),
                                    group.clone(),
                                    resource.clone(),
                                    name.clone(),
                                    verb.clone(),
                                ));
                            }
                        }
                    }
                }
            }
        }
        rights
    }

    #[test]
    fn what_is_asked_for_is_what_the_manifest_grants() {
        let installation = Installation {
            namespace: "here".to_owned(),
            service: "s".to_owned(),
            service_account: "a".to_owned(),
            plugin_namespaces: vec!["shop".to_owned(), "billing".to_owned()],
        };
        for manifest in [ADAPTER, TENANT] {
            assert_eq!(asked(manifest, &installation), granted(manifest), "{manifest}");
        }
        let tenants = RULES.iter().filter(|rule| rule.granted_by == TENANT);
        let namespaces = tenants.flat_map(|rule| questions(rule, &installation)).map(|(_, asked)| asked.namespace);
        let namespaces: BTreeSet<_> = namespaces.flatten().collect();
        assert_eq!(namespaces, ["billing", "shop"].map(str::to_owned).into());
    }

    fn asked(manifest: &str, installation: &Installation) -> BTreeSet<(String, String, String, String, String)> {
        let rules = RULES.iter().filter(|rule| rule.granted_by == manifest);
        rules
            .flat_map(|rule| questions(rule, installation))
            .map(|(rule, attributes)| {
                let kind = if matches!(rule.scope, Scope::Own | Scope::Tenants) { "Role" } else { "ClusterRole" };
                let part = Option::unwrap_or_default;
                (
                    kind.to_owned(),
                    part(attributes.group),
                    part(attributes.resource),
                    part(attributes.name),
                    part(attributes.verb),
                )
            })
            .collect()
    }
}
