//! What a guest says of pods and nodes, judged: `kubectl top` and autoscalers take each item for the truth about one object.

use std::collections::HashSet;

use super::{fault::Fault, log::one_line};
use crate::model::{NodeSample, PodRef, PodSample};

/// Only pods that were asked for, none twice, and of each pod no container twice.
pub(super) fn check_pods(samples: &[PodSample], asked: &[PodRef]) -> Result<(), Fault> {
    let mut open: HashSet<&PodRef> = asked.iter().collect();
    for PodSample { pod, containers, .. } in samples {
        let name = || one_line(&format!("{}/{}", pod.namespace, pod.name));
        if !open.remove(pod) {
            return Err(Fault::Nonsense(format!("pod {} is in it twice, or was not asked for", name())));
        }
        let mut names = HashSet::new();
        if let Some(container) = containers.iter().find(|container| !names.insert(container.name.as_str())) {
            let container = one_line(&container.name);
            return Err(Fault::Nonsense(format!("pod {} has container {container} twice", name())));
        }
        if names.is_empty() || names.contains("") {
            let wrong = "lacks a container's name; leave a pod out that has no value yet";
            return Err(Fault::Nonsense(format!("pod {} {wrong}", name())));
        }
    }
    Ok(())
}

/// Only nodes that were asked for, none twice.
pub(super) fn check_nodes(samples: &[NodeSample], asked: &[String]) -> Result<(), Fault> {
    let mut open: HashSet<&str> = asked.iter().map(String::as_str).collect();
    match samples.iter().find(|sample| !open.remove(sample.node.as_str())) {
        Some(stranger) => {
            let name = one_line(&stranger.node);
            Err(Fault::Nonsense(format!("node {name} is in it twice, or was not asked for")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ContainerUsage, Quantity, UnixMillis, Usage};

    fn usage() -> Usage {
        Usage { cpu: Quantity::default(), memory: Quantity::default() }
    }

    fn pod(name: &str) -> PodRef {
        PodRef { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn sample(name: &str, containers: &[&str]) -> PodSample {
        let containers =
            containers.iter().map(|name| ContainerUsage { name: (*name).to_owned(), usage: usage() }).collect();
        PodSample { pod: pod(name), timestamp: UnixMillis(0), window: Duration::ZERO, containers }
    }

    fn node(name: &str) -> NodeSample {
        NodeSample { node: name.to_owned(), timestamp: UnixMillis(0), window: Duration::ZERO, usage: usage() }
    }

    #[test]
    fn pods_are_those_asked_for_each_once() {
        let asked = [pod("a"), pod("b")];
        for good in [vec![], vec![sample("b", &["main", "proxy"])], vec![sample("b", &["x"]), sample("a", &["x"])]] {
            assert_eq!(check_pods(&good, &asked), Ok(()));
        }
        for (bad, expected) in [
            (vec![sample("c", &["main"])], "pod shop/c is in it twice, or was not asked for"),
            (vec![sample("a", &["main"]), sample("a", &["main"])], "pod shop/a is in it twice, or was not asked for"),
            (vec![sample("a", &["main", "main"])], "pod shop/a has container main twice"),
            (vec![sample("a", &[])], "pod shop/a lacks a container's name"),
            (vec![sample("a", &[""])], "pod shop/a lacks a container's name"),
        ] {
            let error = check_pods(&bad, &asked).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn nodes_are_those_asked_for_each_once() {
        let asked = ["n1".to_owned(), "n2".to_owned()];
        assert_eq!(check_nodes(&[node("n2"), node("n1")], &asked), Ok(()));
        for bad in [vec![node("n3")], vec![node("n1"), node("n1")]] {
            assert!(check_nodes(&bad, &asked).is_err());
        }
    }
}
