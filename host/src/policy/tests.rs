use super::*;
use crate::{
    manifest::{Limits, PluginConfiguration},
    model::PluginId,
};

const HEAD: &str = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: Policy\n";

fn policy(body: &str) -> Policy {
    parse(&format!("{HEAD}{body}")).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn broken(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn what_is_not_said_is_as_for_every_tenant_or_for_the_operator() {
    let policy = policy("namespaces: {'*': {plugins: 3, limits: {memory: 32Mi}}, shop: {limits: {timeout: 1s}}}");
    let every = Limits { memory_bytes: 32 << 20, ..Limits::default() };
    let tenants = Ceilings { plugins: Some(3), limits: every.clone(), ..Ceilings::of_tenants() };
    assert_eq!(policy.ceilings("billing", false), tenants);
    let second = std::time::Duration::from_secs(1);
    let shop = Ceilings { limits: Limits { timeout: second, ..every }, ..tenants };
    assert_eq!(policy.ceilings("shop", false), shop);
    let own = Ceilings { limits: Limits { timeout: second, ..Limits::most() }, ..Ceilings::of_operator() };
    assert_eq!(policy.ceilings("shop", true), own, "`*` is for tenants alone");
    assert_eq!(policy.ceilings("metrics", true), Ceilings::of_operator());
}

#[test]
fn without_a_file_tenants_get_the_defaults() {
    let without = Policy::default();
    assert_eq!(without, policy(""));
    let tenants = without.ceilings("shop", false);
    assert_eq!(tenants.limits, Limits::default());
    assert_eq!((tenants.listed, tenants.internal_addresses, tenants.egress.len()), (false, false, 2));
    assert!(!tenants.credentials.unwrap().contains("serviceAccountToken"));
}

#[test]
fn every_field_is_taken_in_the_place_of_the_default() {
    let all = "namespaces: {shop: {plugins: 0, egress: ['https://*.example.com'], internalAddresses: true, \
               sources: [oci], registries: [r.example/a], credentials: [], guestSecrets: false, listed: true, \
               limits: {concurrency: 1}}}";
    let expected = Ceilings {
        plugins: Some(0),
        egress: vec![OriginPattern::parse("https://*.example.com:443").unwrap()],
        internal_addresses: true,
        sources: [SourceKind::Oci].into(),
        registries: vec![RegistryPattern::parse("r.example/a").unwrap()],
        credentials: Some([].into()),
        guest_secrets: false,
        listed: true,
        limits: Limits { concurrency: 1, ..Limits::default() },
    };
    assert_eq!(policy(all).ceilings("shop", false), expected);
}

#[test]
fn a_policy_is_read_strictly_and_its_messages_name_the_fix() {
    for (body, expected) in [
        ("namespace: {}", "the policy has the unknown field `namespace`; did you mean `namespaces`?"),
        ("namespaces: {shop: {memory: 64Mi}}", "the policy has the unknown field `namespaces.shop.memory`"),
        ("namespaces: {shop: {limits: {memory: 1Gi}}}", "at `namespaces.shop.limits.memory`; write a size from"),
        ("namespaces: {shop: {limits: {timeout: 6s}}}", "a duration from 10ms to 5s"),
        ("namespaces: {'shop-*': {}}", "a namespace's name, or `*`"),
        ("namespaces: {Shop: {}}", "a namespace's name, or `*`"),
        ("namespaces: [shop]", "a mapping of namespaces"),
        ("namespaces: {shop: {egress: ['*.example.com']}}", "origins as in"),
        ("namespaces: {shop: {sources: [script]}}", "one of kinds of sources: inline, parts, oci, file"),
        ("namespaces: {shop: {credentials: [password]}}", "one of types of credentials: bearer"),
        ("namespaces: {shop: {plugins: -1}}", "a whole number from 0"),
        ("contact: [a]", "the policy has a list at `contact`"),
        ("namespaces: {shop: {}}\nnamespaces: {}", "sets `namespaces` twice"),
    ] {
        let error = broken(&format!("{HEAD}{body}\n"));
        assert!(error.contains(expected), "{body}: {error}");
        assert!(!error.contains("plugin.yaml"), "{body}: {error}");
    }
    assert!(broken("").contains("the policy has nothing at `the top level`; write a mapping"));
    assert!(broken("[").starts_with("the policy is not YAML"));
    let other = "apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n";
    assert!(broken(other).contains("write `Policy`"));
}

#[test]
fn a_refusal_names_the_ceiling_the_namespace_and_whom_to_ask() {
    let policy = policy("contact: the platform team\nnamespaces: {shop: {limits: {memory: 32Mi}}}");
    let id = PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() };
    let configuration = PluginConfiguration::default();
    let asked = Asked { id: &id, configuration: &configuration, inline: true, before: 0 };
    let refusal = policy.judge(&asked, false).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "limits.memory, which is 64Mi, is more than the policy grants namespace shop: its ceiling `limits.memory` is 32Mi; \
         stay within it, or ask the platform team for more"
    );
    let elsewhere = PluginId { namespace: "billing".to_owned(), name: "queue".to_owned() };
    assert!(policy.judge(&Asked { id: &elsewhere, ..asked }, false).is_ok());
}
