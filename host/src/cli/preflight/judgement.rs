//! What the answers mean: findings, each with its remedy, and the way back. Pure: it asks nobody.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    ApiService, Dependents, Installation, Owner, Permissions,
    ownership::{CUSTOM, EXTERNAL, RESOURCE},
};

/// Groups that an install takes, each with the manifests that claim it. metrics.k8s.io is not among them: that metrics-server has it
/// is as it should be, until somebody decides otherwise.
const TAKEN: [(&str, &str); 2] = [(CUSTOM, "deploy/components/custom"), (EXTERNAL, "deploy/components/external")];
/// Names of autoscalers that a finding spells out; the JSON output has all.
const NAMED: usize = 5;

/// Something that is broken, or that an install would break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Commands for the way back. Each is whole, and they are to be run in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollBack {
    /// Before the install: keeps the APIServices that others have now.
    pub save: Vec<String>,
    /// Afterwards: gives every API group back.
    pub restore: Vec<String>,
    /// Then: removes the adapter.
    pub uninstall: Vec<String>,
}

/// Everything that is worth a finding.
pub(super) fn judge(
    installation: &Installation,
    api_services: &[ApiService],
    dependents: &[Dependents],
    permissions: Option<&Permissions>,
) -> Vec<Finding> {
    let takeovers = TAKEN.iter().filter_map(|(group, component)| takeover(group, component, api_services, dependents));
    let unavailable = api_services.iter().filter_map(unavailable);
    let split = TAKEN.iter().filter_map(|(group, component)| split(group, component, api_services));
    let missing = permissions.into_iter().flat_map(|permissions| &permissions.missing).map(|missing| Finding {
        problem: format!(
            "{} may not {} {}: {}",
            installation.user(),
            missing.verbs.join(", "),
            missing.object,
            missing.without
        ),
        remedy: format!("apply {}, or grant it as that file does", missing.granted_by),
    });
    takeovers.chain(unavailable).chain(split).chain(missing).collect()
}

/// Another adapter serves the group, and something depends on it.
fn takeover(group: &str, component: &str, api_services: &[ApiService], dependents: &[Dependents]) -> Option<Finding> {
    let owners: BTreeSet<_> = of_group(group, api_services).filter_map(|api| other(&api.owner)).collect();
    let autoscalers = &dependents.iter().find(|dependents| dependents.group == group)?.autoscalers;
    if owners.is_empty() || autoscalers.is_empty() {
        return None;
    }
    let mut names: Vec<_> = autoscalers.iter().take(NAMED).map(String::as_str).collect();
    if autoscalers.len() > NAMED {
        names.push("...");
    }
    let owners: Vec<_> = owners.into_iter().collect();
    Some(Finding {
        problem: format!(
            "{group} is served by {}, and HorizontalPodAutoscalers depend on it ({}): applying {component} takes it away",
            owners.join(" and "),
            names.join(", ")
        ),
        remedy: format!(
            "first load plugins that answer their metrics, and keep the APIService as shown below; \
             or leave {component} out of your overlay"
        ),
    })
}

/// This adapter serves the API, and the API server can't reach it.
fn unavailable(api: &ApiService) -> Option<Finding> {
    let state = api.state.as_ref().filter(|state| api.owner == Owner::ThisAdapter && !state.available)?;
    Some(Finding {
        problem: format!("{} is this adapter's and is not available: {}", api.name, state.reason),
        remedy: "see the table of docs/operations.md, and the log of the adapter's pods".to_owned(),
    })
}

/// Two versions of one group with different owners: clients choose the version of the higher priority.
fn split(group: &str, component: &str, api_services: &[ApiService]) -> Option<Finding> {
    let ours = of_group(group, api_services).any(|api| api.owner == Owner::ThisAdapter);
    let theirs: Vec<_> = of_group(group, api_services).filter(|api| other(&api.owner).is_some()).collect();
    let names: Vec<_> = theirs.iter().map(|api| api.name.as_str()).collect();
    (ours && !theirs.is_empty()).then(|| Finding {
        problem: format!("{group} is split: {} still belongs to another adapter", names.join(", ")),
        remedy: format!("apply all of {component}, or none of it: clients choose a version by its priority alone"),
    })
}

/// The way back from an install, or to an uninstall, as things are now. Another's metrics.k8s.io is kept for who wants to take it,
/// and not put back: an install leaves it alone.
pub(super) fn roll_back(api_services: &[ApiService]) -> RollBack {
    let mut roll_back = RollBack::default();
    for ApiService { name, group, owner, .. } in api_services {
        let is_taken = *group != RESOURCE || *owner == Owner::ThisAdapter;
        if other(owner).is_some() {
            roll_back.save.push(format!("kubectl get apiservice {name} -o yaml > {name}.yaml"));
        }
        match other(owner) {
            Some(_) if is_taken => roll_back.restore.push(format!("kubectl replace --force -f {name}.yaml")),
            None if is_taken => {
                roll_back.restore.push(format!("kubectl delete apiservice {name} --ignore-not-found"));
            }
            _ => {}
        }
    }
    roll_back.uninstall.push("kubectl delete -k deploy/base".to_owned());
    roll_back
}

fn of_group<'a>(group: &str, api_services: &'a [ApiService]) -> impl Iterator<Item = &'a ApiService> {
    api_services.iter().filter(move |api| api.group == group)
}

/// The name of an owner other than this adapter.
fn other(owner: &Owner) -> Option<String> {
    match owner {
        Owner::Nobody | Owner::ThisAdapter => None,
        Owner::Other { namespace, name } => Some(format!("{namespace}/{name}")),
        Owner::ApiServer => Some("the API server itself".to_owned()),
    }
}
