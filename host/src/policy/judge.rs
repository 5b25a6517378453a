//! Whether a plugin may be what it asks to be. Asked before its code is compiled and before a Secret is opened for it.

use super::{Ceilings, Policy, SourceKind};
use crate::{
    egress::Origin,
    manifest::{Component, PluginConfiguration},
    model::PluginId,
};

/// What a plugin asks for: its plugin.yaml, and what that does not say.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'plugin> {
    /// Which plugin.
    pub id: &'plugin PluginId,
    /// What plugin.yaml says.
    pub configuration: &'plugin PluginConfiguration,
    /// Whether the ConfigMap itself holds code.
    pub inline: bool,
    /// How many plugins of its namespace come before it by name.
    pub before: usize,
}

/// What is not granted. The message names the ceiling and whom to ask, for the plugin's owner can't change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{asked} is more than the policy grants namespace {namespace}: its ceiling `{ceiling}` is {granted}; stay within it, or ask {contact} for more"
)]
pub struct Refusal {
    /// What the plugin asks for, in the words of plugin.yaml.
    pub asked: String,
    /// The ceiling, in the words of the policy.
    pub ceiling: String,
    /// What it grants.
    pub granted: String,
    /// The plugin's namespace.
    pub namespace: String,
    /// Who can change it.
    pub contact: String,
}

/// A [`Refusal`] before it is known for whom.
struct Excess {
    asked: String,
    ceiling: String,
    granted: String,
}

impl Policy {
    /// The ceilings of the plugin, if all that it asks for is within them.
    ///
    /// # Errors
    ///
    /// The first thing that is not.
    pub fn judge(&self, asked: &Asked<'_>, is_own: bool) -> Result<Ceilings, Refusal> {
        let ceilings = self.ceilings(&asked.id.namespace, is_own);
        match ceilings.excess(asked, is_own) {
            None => Ok(ceilings),
            Some(Excess { asked: what, ceiling, granted }) => Err(Refusal {
                asked: what,
                ceiling,
                granted,
                namespace: asked.id.namespace.clone(),
                contact: self.contact.clone(),
            }),
        }
    }
}

impl Ceilings {
    fn excess(&self, asked: &Asked<'_>, is_own: bool) -> Option<Excess> {
        let configuration = asked.configuration;
        self.plugins(asked.before)
            .or_else(|| if is_own { None } else { strays(asked) })
            .or_else(|| self.source(asked, is_own))
            .or_else(|| self.origin(asked))
            .or_else(|| self.credential(configuration))
            .or_else(|| self.secret(configuration))
            .or_else(|| {
                let excess = configuration.limits.excess(&self.limits)?;
                let asked = format!("limits.{}, which is {},", excess.limit, excess.asked);
                Some(Excess { asked, ceiling: format!("limits.{}", excess.limit), granted: excess.ceiling })
            })
    }

    fn plugins(&self, before: usize) -> Option<Excess> {
        let most = self.plugins.filter(|most| before >= *most as usize)?;
        // The number of those before it is not told: it changes without a change for this one.
        let asked = "one plugin more, after those whose names come before this one's,".to_owned();
        Some(Excess { asked, ceiling: "plugins".to_owned(), granted: most.to_string() })
    }

    fn source(&self, asked: &Asked<'_>, is_own: bool) -> Option<Excess> {
        let component = asked.configuration.component.as_ref();
        let inline = asked.inline.then_some(SourceKind::Inline);
        for kind in inline.into_iter().chain(component.map(kind_of)) {
            let never = kind == SourceKind::File && !is_own;
            if never || !self.sources.contains(&kind) {
                let granted = self.sources.iter().filter(|kind| is_own || **kind != SourceKind::File);
                let granted = listed(granted.map(|kind| kind.name().to_owned()));
                return Some(Excess { asked: in_words(kind), ceiling: "sources".to_owned(), granted });
            }
        }
        let Some(Component::Oci(artifact)) = component else { return None };
        let covered = self.registries.iter().any(|pattern| pattern.covers(&artifact.repository));
        (!covered).then(|| Excess {
            asked: format!("the component of {}", artifact.repository),
            ceiling: "registries".to_owned(),
            granted: listed(self.registries.iter().map(ToString::to_string)),
        })
    }

    /// Origins that can't be parsed are refused where they are.
    fn origin(&self, asked: &Asked<'_>) -> Option<Excess> {
        let namespace = &asked.id.namespace;
        let covered = |origin: &Origin| self.egress.iter().any(|pattern| pattern.covers(origin, namespace));
        let origins = asked.configuration.egress.iter().filter_map(|text| Origin::parse(text).ok());
        let origin = origins.into_iter().find(|origin| !covered(origin))?;
        Some(Excess {
            asked: format!("egress to {origin}"),
            ceiling: "egress".to_owned(),
            granted: listed(self.egress.iter().map(|pattern| pattern.shown_for(namespace))),
        })
    }

    fn credential(&self, configuration: &PluginConfiguration) -> Option<Excess> {
        let granted = self.credentials.as_ref()?;
        let mut names = configuration.credentials.iter().map(|credential| credential.form.name());
        let name = names.find(|name| !granted.contains(*name))?;
        Some(Excess {
            asked: format!("a credential of type {name}"),
            ceiling: "credentials".to_owned(),
            granted: listed(granted.iter().cloned()),
        })
    }

    fn secret(&self, configuration: &PluginConfiguration) -> Option<Excess> {
        let name = configuration.secrets.keys().next().filter(|_| !self.guest_secrets)?;
        let asked = format!("secrets.{name}, which the plugin itself would read,");
        Some(Excess { asked, ceiling: "guestSecrets".to_owned(), granted: "false".to_owned() })
    }
}

/// What no policy lets a tenant claim.
fn strays(asked: &Asked<'_>) -> Option<Excess> {
    let own = &asked.id.namespace;
    let other = asked.configuration.claims.namespaces.iter().flatten().find(|namespace| *namespace != own)?;
    Some(Excess {
        asked: format!("serves.namespaces with {other}"),
        ceiling: "serves.namespaces".to_owned(),
        granted: format!("{own} for every policy"),
    })
}

fn kind_of(component: &Component) -> SourceKind {
    match component {
        Component::Parts(_) => SourceKind::Parts,
        Component::Oci(_) => SourceKind::Oci,
        Component::File(_) => SourceKind::File,
    }
}

fn in_words(kind: SourceKind) -> String {
    match kind {
        SourceKind::Inline => "code in the ConfigMap itself".to_owned(),
        kind => format!("component.{}", kind.name()),
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}
