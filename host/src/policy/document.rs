//! The policy file, read as strictly as plugin.yaml is.

use std::collections::{BTreeMap, BTreeSet};

use super::{CONTACT, Ceilings, Entry, OriginPattern, Policy, RegistryPattern, SourceKind, ceilings::CREDENTIALS};
use crate::manifest::{Field, Fields, ManifestError, is_namespace};

const KIND: &str = "Policy";
/// The entry of tenants that have none of their own, and of what an entry does not say.
const EVERY_TENANT: &str = "*";
/// Plugins of one namespace that a policy can grant: more than etcd holds ConfigMaps of their size.
const MOST_PLUGINS: i64 = 10_000;

pub(super) fn parse(text: &str) -> Result<Policy, ManifestError> {
    let mut fields = Fields::of(Field::document(text)?, &["apiVersion", "kind", "contact", "namespaces"])?;
    fields.expect_kind(KIND)?;
    let contact = "a text, as in `the platform team, #metrics`";
    let contact = fields.take("contact").map(|field| field.text(contact)).transpose()?;
    let expected = "a mapping of namespaces, or `*` for every tenant, to their ceilings";
    let mut namespaces = match fields.take("namespaces") {
        Some(field) => field.entries(expected)?,
        None => Vec::new(),
    };
    let every = namespaces.extract_if(.., |(name, _)| name == EVERY_TENANT).next();
    let tenants = every.map_or(Ok(Ceilings::of_tenants()), |(_, field)| over(Ceilings::of_tenants(), field))?;
    let mut entries = BTreeMap::new();
    for (name, field) in namespaces {
        if !is_namespace(&name) {
            let (path, found) = (field.path, format!("`{}`", name.escape_debug()));
            return Err(ManifestError::Invalid { path, found, expected: "a namespace's name, or `*`".to_owned() });
        }
        let of_operator = over(Ceilings::of_operator(), field.clone())?;
        entries.insert(name, Entry { of_tenant: over(tenants.clone(), field)?, of_operator });
    }
    Ok(Policy { contact: contact.unwrap_or_else(|| CONTACT.to_owned()), tenants, entries })
}

/// `base`, with what `field` says in its place.
fn over(base: Ceilings, field: Field) -> Result<Ceilings, ManifestError> {
    let known = [
        "plugins",
        "egress",
        "internalAddresses",
        "sources",
        "registries",
        "credentials",
        "guestSecrets",
        "listed",
        "limits",
    ];
    let mut fields = Fields::of(field, &known)?;
    let mut ceilings = base;
    if let Some(field) = fields.take("plugins") {
        ceilings.plugins = u32::try_from(field.integer(0, MOST_PLUGINS)?).ok();
    }
    if let Some(field) = fields.take("egress") {
        ceilings.egress = list(
            field,
            "origins as in `https://*.example.com:443` or `*://*.{namespace}.svc:*`",
            OriginPattern::parse,
        )?;
    }
    if let Some(field) = fields.take("internalAddresses") {
        ceilings.internal_addresses = field.boolean()?;
    }
    if let Some(field) = fields.take("sources") {
        let expected = format!("kinds of sources: {}", SourceKind::ALL.map(SourceKind::name).join(", "));
        let kind = |text: &str| SourceKind::ALL.into_iter().find(|kind| kind.name() == text);
        ceilings.sources = list(field, &expected, kind)?.into_iter().collect();
    }
    if let Some(field) = fields.take("registries") {
        ceilings.registries = list(field, "registries as in `registry.example.com/plugins/*`", RegistryPattern::parse)?;
    }
    if let Some(field) = fields.take("credentials") {
        let expected = format!("types of credentials: {}", CREDENTIALS.join(", "));
        let known = |text: &str| CREDENTIALS.contains(&text).then(|| text.to_owned());
        ceilings.credentials = Some(list(field, &expected, known)?.into_iter().collect::<BTreeSet<_>>());
    }
    if let Some(field) = fields.take("guestSecrets") {
        ceilings.guest_secrets = field.boolean()?;
    }
    if let Some(field) = fields.take("listed") {
        ceilings.listed = field.boolean()?;
    }
    if let Some(field) = fields.take("limits") {
        ceilings.limits = ceilings.limits.overridden(field)?;
    }
    Ok(ceilings)
}

fn list<T>(field: Field, of_what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, ManifestError> {
    let items = field.items(&format!("a list of {of_what}"))?;
    items.into_iter().map(|item| item.parsed(&format!("one of {of_what}"), &parse)).collect()
}
