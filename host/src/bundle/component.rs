//! What a component is, by its imports and exports, and what other bytes look like. Only names are read: whether the
//! component is valid, compiling tells.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

/// The package of the plugin contract.
const PACKAGE: &str = "wasm-metrics-adapter:plugin";
/// The track of the contract that this adapter speaks, as versions of it begin.
const TRACK: &str = "0.1.";
/// Interfaces of the package that a guest may import.
const IMPORTS: [&str; 6] = ["config", "http", "log", "objects", "state", "types"];
/// Names listed in one message.
const MOST_NAMES: usize = 8;

/// What a component exports of the plugin contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// `custom-metrics`.
    pub custom: bool,
    /// `external-metrics`.
    pub external: bool,
    /// `resource-metrics`.
    pub resource: bool,
    /// `settings`.
    pub settings: bool,
}

/// Why bytes are no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Something else altogether.
    #[error("not a WebAssembly component but {0}; give the bytes of a component")]
    NotWasm(String),
    /// A module, not yet a component.
    #[error(
        "a core module, not a component; make a component of it (wasm-tools component new), or build for the target wasm32-wasip2"
    )]
    CoreModule,
    /// A broken component.
    #[error("a damaged WebAssembly component ({0}); build or copy it again")]
    Damaged(String),
    /// Another version of the contract.
    #[error(
        "it was built for `{name}`, and this adapter speaks version 0.1 of {PACKAGE}; build it with the 0.1 release of the guest SDK or WIT, or use another release of the adapter"
    )]
    OtherVersion {
        /// The import or export.
        name: String,
    },
    /// An import that nothing gives.
    #[error(
        "it imports {names}, which the adapter does not have; it gives the interfaces config, http, log, objects and state of {PACKAGE}@0.1.0, and WASI 0.2"
    )]
    UnknownImports {
        /// The imports, quoted.
        names: String,
    },
    /// A component of another world.
    #[error(
        "it exports {names}, and no metrics; export custom-metrics, external-metrics or resource-metrics of {PACKAGE}@0.1.0"
    )]
    NoMetrics {
        /// The exports, quoted.
        names: String,
    },
}

/// Looks at the component `bytes`.
pub(super) fn inspect(bytes: &[u8]) -> Result<Interfaces, ComponentError> {
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Err(ComponentError::CoreModule),
        [0, b'a', b's', b'm', ..] => {}
        _ => return Err(ComponentError::NotWasm(looks_like(bytes))),
    }
    let Names { imports, exports } =
        names(bytes).map_err(|error| ComponentError::Damaged(error.message().to_owned()))?;
    let mut unknown = Vec::new();
    for import in &imports {
        match Interface::of(import) {
            Some(interface) => {
                interface.check_version()?;
                if !IMPORTS.contains(&interface.name) {
                    unknown.push(*import);
                }
            }
            // Which of WASI there is, the linker knows, and says by name.
            None if import.starts_with("wasi:") => {}
            None => unknown.push(*import),
        }
    }
    let mut interfaces = Interfaces::default();
    for interface in exports.iter().filter_map(|export| Interface::of(export)) {
        interface.check_version()?;
        match interface.name {
            "custom-metrics" => interfaces.custom = true,
            "external-metrics" => interfaces.external = true,
            "resource-metrics" => interfaces.resource = true,
            "settings" => interfaces.settings = true,
            _ => {}
        }
    }
    if !(interfaces.custom || interfaces.external || interfaces.resource) {
        return Err(ComponentError::NoMetrics { names: listed(&exports) });
    }
    if !unknown.is_empty() {
        return Err(ComponentError::UnknownImports { names: listed(&unknown) });
    }
    Ok(interfaces)
}

/// What `bytes` look like, for a person who expected a component.
pub(super) fn looks_like(bytes: &[u8]) -> String {
    let start = bytes.get(..bytes.len().min(512)).unwrap_or_default();
    let text = String::from_utf8_lossy(start);
    let lower = text.trim_start().to_lowercase();
    let known = match bytes {
        [] => "no bytes at all",
        [0x1f, 0x8b, ..] => "a gzip stream",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "a zstd stream",
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => "a core WebAssembly module",
        [0, b'a', b's', b'm', ..] => "a WebAssembly component",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x7f, b'E', b'L', b'F', ..] => "a native program (ELF)",
        _ if text.starts_with("AGFzb") => "base64 text of WebAssembly (encoded once too often)",
        _ if lower.starts_with("<!doctype html") || lower.starts_with("<html") => "an HTML page (a failed download?)",
        _ if lower.starts_with("(component") || lower.starts_with("(module") => {
            "WebAssembly text (wasm-tools parse makes bytes of it)"
        }
        _ if lower.starts_with("version https://git-lfs") => "a pointer of Git LFS (the file itself was not fetched)",
        _ => return unknown_bytes(start),
    };
    known.to_owned()
}

fn unknown_bytes(start: &[u8]) -> String {
    let printable = |text: &&str| !text.chars().any(|character| character.is_control() && !character.is_whitespace());
    let head = start.get(..start.len().min(24)).unwrap_or(start);
    match std::str::from_utf8(head).ok().filter(printable) {
        Some(text) => format!("text that starts with `{}`", text.escape_debug()),
        None => {
            let digits: Vec<_> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("unknown bytes that start with {}", digits.join(" "))
        }
    }
}

/// The names of a component's own imports and exports, not those of components within it. Types are left out: they bind
/// nothing.
struct Names<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
}

fn names(bytes: &[u8]) -> Result<Names<'_>, wasmparser::BinaryReaderError> {
    let mut names = Names { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                debug_assert!(depth > 0 || encoding == Encoding::Component, "core modules were refused before");
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import?;
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        names.imports.push(import.name.name);
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export?;
                    if export.kind != ComponentExternalKind::Type {
                        names.exports.push(export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// An interface of the plugin contract.
struct Interface<'a> {
    full: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Interface<'a> {
    fn of(full: &'a str) -> Option<Self> {
        let rest = full.strip_prefix(PACKAGE)?.strip_prefix('/')?;
        let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
        Some(Self { full, name, version })
    }

    fn check_version(&self) -> Result<(), ComponentError> {
        match self.version.strip_prefix(TRACK) {
            Some(patch) if !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
            _ => Err(ComponentError::OtherVersion { name: self.full.to_owned() }),
        }
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let mut quoted: Vec<_> = names.iter().take(MOST_NAMES).map(|name| format!("`{}`", name.escape_debug())).collect();
    if names.len() > MOST_NAMES {
        quoted.push(format!("{} more", names.len() - MOST_NAMES));
    }
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "wasm-metrics-adapter:plugin/external-metrics@0.1.0";

    fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let imports: String = imports.iter().map(|name| format!(r#"(import "{name}" (instance))"#)).collect();
        let exports: String = exports.iter().map(|name| format!(r#"(export "{name}" (instance $empty))"#)).collect();
        wat::parse_str(format!("(component {imports} (instance $empty) {exports})")).unwrap()
    }

    fn refused(bytes: &[u8]) -> String {
        inspect(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn exports_of_the_contract_are_found_beside_others() {
        let imports = ["wasm-metrics-adapter:plugin/config@0.1.0", "wasi:cli/environment@0.2.6"];
        let exports = [
            "wasm-metrics-adapter:plugin/external-metrics@0.1.3",
            "wasi:cli/run@0.2.6",
            "wasm-metrics-adapter:plugin/settings@0.1.0",
        ];
        let expected = Interfaces { external: true, settings: true, ..Interfaces::default() };
        assert_eq!(inspect(&component(&imports, &exports)), Ok(expected));
        let custom = component(&[], &["wasm-metrics-adapter:plugin/custom-metrics@0.1.0"]);
        assert_eq!(inspect(&custom), Ok(Interfaces { custom: true, ..Interfaces::default() }));
        let resource = component(&[], &["wasm-metrics-adapter:plugin/resource-metrics@0.1.0"]);
        assert_eq!(inspect(&resource), Ok(Interfaces { resource: true, ..Interfaces::default() }));
    }

    #[test]
    fn a_component_of_another_world_is_told_what_would_do() {
        let error = refused(&component(&[], &["wasi:http/incoming-handler@0.2.0"]));
        assert!(error.contains("exports `wasi:http/incoming-handler@0.2.0`, and no metrics"), "{error}");
        assert!(refused(&component(&[], &[])).contains("exports nothing"));
        assert!(refused(&component(&[], &["wasm-metrics-adapter:plugin/settings@0.1.0"])).contains("no metrics"));
        let within = r#"(component (component (instance $i) (export "wasm-metrics-adapter:plugin/custom-metrics@0.1.0" (instance $i))))"#;
        assert!(refused(&wat::parse_str(within).unwrap()).contains("exports nothing"));
    }

    #[test]
    fn other_versions_name_themselves_and_the_way_out() {
        for version in ["@0.2.0", "@1.0.0", "@0.10.1", "@0.1.0-draft", ""] {
            let name = format!("wasm-metrics-adapter:plugin/external-metrics{version}");
            let error = refused(&component(&[], &[&name]));
            assert!(error.contains(&format!("`{name}`")) && error.contains("0.1 release"), "{version}: {error}");
        }
        let newer = component(&["wasm-metrics-adapter:plugin/http@0.2.0"], &[METRICS]);
        assert!(refused(&newer).contains("plugin/http@0.2.0"));
    }

    #[test]
    fn imports_that_nothing_gives_are_named() {
        for name in ["acme:database/query@1.0.0", "wasm-metrics-adapter:plugin/cache@0.1.0", "run"] {
            let error = refused(&component(&[name], &[METRICS]));
            assert!(error.contains(&format!("imports `{name}`")), "{error}");
        }
    }

    #[test]
    fn other_bytes_are_told_in_words() {
        assert_eq!(inspect(&wat::parse_str("(module)").unwrap()), Err(ComponentError::CoreModule));
        for (bytes, expected) in [
            (&b""[..], "no bytes"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\n <!DOCTYPE html><html>404", "HTML"),
            (b"AGFzbQ0AAQA=", "base64"),
            (b"(component)", "WebAssembly text"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
            (b"hello\nworld", r"text that starts with `hello\nworld`"),
            (b"\xde\xad\xbe\xef\x00\x01\x02\x03\x04", "de ad be ef 00 01 02 03"),
        ] {
            let error = refused(bytes);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn damage_is_an_error_and_not_a_panic() {
        let whole = component(&[], &[METRICS]);
        for length in 0..whole.len() {
            // Cut between two sections it is a component still, and not always another.
            let _ = inspect(&whole[..length]);
        }
        assert!(refused(&whole[..12]).contains("damaged"));
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x55;
            let _ = inspect(&damaged);
        }
        assert!(refused(b"\0asm\x0d\0\x01\0\xff\xff\xff").contains("damaged"));
    }
}
