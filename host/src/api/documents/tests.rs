use super::*;
use crate::api::{CustomVersion, encoding::tests::Golden};

fn entry(resource: &str, subresource: &str, namespaced: bool) -> Entry {
    let (resource, subresource) = (resource.to_owned(), Some(subresource.to_owned()));
    Entry { resource, subresource, namespaced, kind: "MetricValueList", verbs: GET }
}

#[test]
fn discovery_is_written_as_in_go() {
    let version = GroupVersion::Custom(CustomVersion::V1Beta2);
    let mut golden = Golden::of("resources");
    golden.compare("resources", &resources(version, &[entry("nodes", "load", false), entry("pods", "qps", true)]));
    golden.finish();

    let mut golden = Golden::of("group");
    golden.compare("group", &group(Group::Custom));
    golden.compare("groups", &ApiGroupList { groups: vec![listed_group(Group::Custom)], ..groups() });
    golden.finish();

    let mut golden = Golden::of("aggregated");
    let entries = [entry("pods", "qps", true)];
    let item = GroupDiscovery {
        metadata: ObjectMeta { name: Group::Custom.name(), ..ObjectMeta::default() },
        versions: vec![VersionDiscovery {
            version: version.version(),
            resources: discovered(&entries),
            freshness: "Current",
        }],
    };
    golden.compare("aggregated", &ApiGroupDiscoveryList { items: vec![item], ..aggregated(|_| &entries) });
    golden.finish();
}
