//! `component` of plugin.yaml: where the code is, if it is not in the ConfigMap itself. Nothing is fetched or opened here.

use std::{collections::BTreeSet, time::Duration};

use super::{
    ManifestError,
    fields::{Field, Fields, invalid},
    limits, object_name,
};

/// Parts of one component: 64 ConfigMaps of 1 MiB are more than any component may have.
const MAX_PARTS: usize = 64;
/// Bytes of the longest `file`: what a path below a folder needs, far below Linux's PATH_MAX.
const MAX_FILE_BYTES: usize = 512;
/// A tag that is looked up more often costs the registry's rate limit, less often it is no tag any more.
const RESOLVE_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
const RESOLVE_EVERY_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// In several ConfigMaps.
    Parts(Parts),
    /// In a registry.
    Oci(OciArtifact),
    /// In a file below the operator's folder: a relative path without `.` and `..`.
    File(String),
}

/// A component in several ConfigMaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The ConfigMaps, in order; at least one, none twice.
    pub names: Vec<String>,
    /// SHA-256 of the decompressed component, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// A component in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciArtifact {
    /// The reference, whole, as it was written.
    pub reference: String,
    /// Registry and repository, as in `registry.example.com/plugins/queue-depth`: what policies name.
    pub repository: String,
    /// For a tag, how often it is looked up. Default 10 minutes, from 1 minute to 24 hours.
    pub resolve_every: Option<Duration>,
    /// The Secret with the registry's credentials, in the plugin's namespace.
    pub pull_secret: Option<String>,
}

impl Component {
    /// What plugin.yaml calls the place.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Parts(_) => "parts",
            Self::Oci(_) => "oci",
            Self::File(_) => "file",
        }
    }
}

pub(super) fn parse(field: Field) -> Result<Component, ManifestError> {
    let path = field.path.clone();
    let mut fields = Fields::of(field, &["parts", "oci", "file"])?;
    match (fields.take("parts"), fields.take("oci"), fields.take("file")) {
        (Some(field), None, None) => parts(field).map(Component::Parts),
        (None, Some(field), None) => oci(field).map(Component::Oci),
        (None, None, Some(field)) => file(field).map(Component::File),
        (None, None, None) => Err(ManifestError::Missing {
            path: format!("{path}.parts"),
            expected: "`{names: [...], sha256: ...}`, or `component.file` or `component.oci` in its stead".to_owned(),
        }),
        _ => Err(ManifestError::Invalid {
            path,
            found: "several places".to_owned(),
            expected: "one of `parts`, `oci` and `file`".to_owned(),
        }),
    }
}

fn parts(field: Field) -> Result<Parts, ManifestError> {
    let names = "a list of at least one and at most 64 names of ConfigMaps, none twice";
    let mut fields = Fields::of(field, &["names", "sha256"])?;
    let field = fields.require("names", names)?;
    let path = field.path.clone();
    let list: Vec<String> = field.items(names)?.into_iter().map(object_name).collect::<Result<_, _>>()?;
    let distinct: BTreeSet<_> = list.iter().collect();
    if list.is_empty() || list.len() > MAX_PARTS || distinct.len() < list.len() {
        let found = format!("{} names, {} of them different,", list.len(), distinct.len());
        return Err(ManifestError::Invalid { path, found, expected: names.to_owned() });
    }
    let digest = "the SHA-256 of the decompressed component in 64 hexadecimal digits, in quotes";
    let sha256 =
        fields.require("sha256", digest)?.parsed(digest, |text| is_sha256(text).then(|| text.to_ascii_lowercase()))?;
    Ok(Parts { names: list, sha256 })
}

fn oci(field: Field) -> Result<OciArtifact, ManifestError> {
    let mut fields = Fields::of(field, &["ref", "allowTag", "resolveEvery", "pullSecret"])?;
    let expected = "registry, repository and digest, as in `registry.example.com/plugins/queue-depth@sha256:...`";
    let reference = fields.require("ref", expected)?;
    let path = reference.path.clone();
    let (text, parsed) =
        reference.parsed(expected, |text| reference_parts(text).map(|parsed| (text.to_owned(), parsed)))?;
    let allow_tag = fields.take("allowTag").map(Field::boolean).transpose()?.unwrap_or_default();
    if !parsed.has_digest && !allow_tag {
        let found = format!("`{text}`, which names a tag that can be moved,");
        let expected = "a digest (`@sha256:...`), or set `component.oci.allowTag: true`".to_owned();
        return Err(ManifestError::Invalid { path, found, expected });
    }
    let every = fields.take("resolveEvery");
    if let (Some(field), true) = (&every, parsed.has_digest) {
        return Err(invalid(field.path.clone(), &field.value, "it beside a tag alone: a digest never moves"));
    }
    let every = every.map(|field| limits::duration(field, RESOLVE_EVERY)).transpose()?;
    Ok(OciArtifact {
        reference: text,
        repository: parsed.repository,
        resolve_every: (!parsed.has_digest).then(|| every.unwrap_or(RESOLVE_EVERY_DEFAULT)),
        pull_secret: fields.take("pullSecret").map(object_name).transpose()?,
    })
}

struct Reference {
    repository: String,
    has_digest: bool,
}

/// `REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]` of the OCI distribution specification ("Pulling manifests"), with a tag or a digest.
fn reference_parts(text: &str) -> Option<Reference> {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let digest_is_good =
        digest.is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(|hex| is_sha256(hex) && is_lower(hex)));
    let (registry, path) = named.split_once('/')?;
    let (path, tag) = match path.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let good = digest_is_good
        && (digest.is_some() || tag.is_some())
        && is_registry(registry)
        && path.split('/').all(is_repository_name)
        && tag.is_none_or(is_tag);
    good.then(|| Reference { repository: format!("{registry}/{path}"), has_digest: digest.is_some() })
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().is_ok()),
        None => (text, true),
    };
    port && super::is_object_name(host)
}

/// A component of `<name>`: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_repository_name(text: &str) -> bool {
    let alphanumeric = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let runs = text.split(alphanumeric).filter(|run| !run.is_empty());
    let separators_are_good =
        runs.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'));
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && separators_are_good
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.starts_with(word)
        && text.len() <= 128
        && text.chars().all(|character| word(character) || ".-".contains(character))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|digit| digit.is_ascii_hexdigit())
}

fn is_lower(text: &str) -> bool {
    !text.contains(|character: char| character.is_ascii_uppercase())
}

fn file(field: Field) -> Result<String, ManifestError> {
    let expected = "a path below the operator's folder, as in `queue.wasm` or `team/queue.wasm`, without `.` and `..`";
    field.parsed(expected, |text| {
        let step = |step: &str| !matches!(step, "" | "." | "..") && !step.contains(['\0', '\\']);
        (text.len() <= MAX_FILE_BYTES && text.split('/').all(step)).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Component, String> {
        Field::document(text).and_then(parse).map_err(|error| error.to_string())
    }

    #[test]
    fn a_component_is_in_one_place() {
        assert_eq!(parsed("{file: team/queue.wasm}"), Ok(Component::File("team/queue.wasm".to_owned())));
        for (text, expected) in [
            ("{}", "parts"),
            ("{file: a.wasm, oci: {ref: a}}", "one of `parts`, `oci` and `file`"),
            ("{url: x}", "unknown field"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_leaves_the_folder_by_its_name_is_refused() {
        for path in ["/etc/passwd", "../x", "a/../x", "./x", "a//b", "a/", "''", "'a\\b'", "\"a\\0b\""] {
            assert!(parsed(&format!("{{file: {path}}}")).is_err(), "{path}");
        }
    }

    #[test]
    fn a_reference_names_registry_and_digest() {
        let digest = "a".repeat(64);
        let reference = format!("registry.example.com:5000/plugins/queue-depth@sha256:{digest}");
        let expected = OciArtifact {
            reference: reference.clone(),
            repository: "registry.example.com:5000/plugins/queue-depth".to_owned(),
            resolve_every: None,
            pull_secret: Some("regcred".to_owned()),
        };
        assert_eq!(
            parsed(&format!("{{oci: {{ref: '{reference}', pullSecret: regcred}}}}")),
            Ok(Component::Oci(expected))
        );
        let tagged = parsed("{oci: {ref: 'r.example/a:v1', allowTag: true}}");
        assert!(matches!(tagged, Ok(Component::Oci(OciArtifact { resolve_every: Some(RESOLVE_EVERY_DEFAULT), .. }))));
    }

    #[test]
    fn an_unpinned_or_malformed_reference_is_refused() {
        let digest = "a".repeat(64);
        for (reference, more, expected) in [
            ("r.example/a:v1".to_owned(), "", "a tag that can be moved"),
            ("r.example/a".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("a:v1".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("r.example/A:v1".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("r.example/a..b:v1".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("https://r.example/a:v1".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("user@r.example/a:v1".to_owned(), ", allowTag: true", "registry, repository and digest"),
            ("r.example/a@sha256:abc".to_owned(), "", "registry, repository and digest"),
            (format!("r.example/a@sha256:{}", "A".repeat(64)), "", "registry, repository and digest"),
            (format!("r.example/a@sha256:{digest}"), ", resolveEvery: 10m", "a digest never moves"),
            ("r.example/a:v1".to_owned(), ", allowTag: true, resolveEvery: 1s", "a duration from"),
        ] {
            let error = parsed(&format!("{{oci: {{ref: '{reference}'{more}}}}}")).unwrap_err();
            assert!(error.contains(expected), "{reference}{more}: {error}");
        }
    }
}
