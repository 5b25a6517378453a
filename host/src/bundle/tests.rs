//! The room through its door: `assemble` with a source in memory.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;

use super::*;
use crate::source::{Part, ReadError, Secret};

/// Objects in memory, and what was asked of them.
#[derive(Default)]
struct Objects {
    parts: BTreeMap<String, Part>,
    secrets: BTreeMap<String, Secret>,
    config_maps: BTreeMap<String, Bytes>,
    files: BTreeMap<String, Bytes>,
    down: bool,
    asked: Mutex<Vec<String>>,
}

impl Objects {
    fn find<T: Clone>(&self, objects: &BTreeMap<String, T>, namespace: &str, name: &str) -> Result<T, ReadError> {
        let full = format!("{namespace}/{name}");
        self.asked.lock().unwrap().push(full.clone());
        if self.down {
            return Err(ReadError::Unavailable("the API server did not answer".to_owned()));
        }
        objects.get(&full).cloned().ok_or(ReadError::NotFound(full))
    }
}

#[async_trait]
impl Dependencies for Objects {
    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError> {
        unreachable!("a bundle is made of the plugin {id} that it is given")
    }

    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        self.find(&self.parts, namespace, name)
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        self.find(&self.secrets, namespace, name)
    }

    async fn config_map_key(&self, namespace: &str, name: &str, key: &str) -> Result<Bytes, ReadError> {
        self.find(&self.config_maps, namespace, &format!("{name}/{key}"))
    }

    async fn file(&self, path: &str, _cap: usize) -> Result<Bytes, ReadError> {
        self.find(&self.files, "files", path)
    }
}

fn component() -> Bytes {
    let text = r#"(component
        (instance $empty)
        (export "wasm-metrics-adapter:plugin/external-metrics@0.1.0" (instance $empty)))"#;
    wat::parse_str(text).unwrap().into()
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn raw(body: &str, code: &[(&str, Bytes)]) -> RawPlugin {
    RawPlugin {
        id: PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() },
        uid: "u-1".to_owned(),
        version: "7".to_owned(),
        manifest: Some(format!("apiVersion: wasm-metrics-adapter.io/v1alpha1\nkind: PluginConfiguration\n{body}")),
        code: code.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.clone())).collect(),
        unknown_keys: Vec::new(),
    }
}

async fn bundle(raw: &RawPlugin, objects: &Objects) -> Result<Bundle, BundleError> {
    match assemble(raw, objects, &Grants::default()).await? {
        Assembled::Ready(bundle) => Ok(*bundle),
        Assembled::Suspended => panic!("suspended"),
    }
}

async fn refused(raw: &RawPlugin, objects: &Objects) -> BundleError {
    bundle(raw, objects).await.expect_err("refused")
}

/// Two parts of the compressed component, and the plugin that names them.
fn in_parts(sha256: &str) -> (RawPlugin, Objects) {
    let packed: Bytes = zstd::encode_all(component().as_ref(), 3).unwrap().into();
    let half = packed.len() / 2;
    let part = |bytes| Part { bytes, part_of: Some("queue".to_owned()), immutable: true };
    let parts = [
        ("shop/queue-0".to_owned(), part(packed.slice(..half))),
        ("shop/queue-1".to_owned(), part(packed.slice(half..))),
    ];
    let manifest = format!("component: {{parts: {{names: [queue-0, queue-1], sha256: '{sha256}'}}}}");
    (raw(&manifest, &[]), Objects { parts: parts.into(), ..Objects::default() })
}

#[tokio::test]
async fn a_component_alone_is_a_whole_plugin() {
    let plugin = RawPlugin { manifest: None, ..raw("", &[("plugin.wasm", component())]) };
    let expected = Bundle {
        id: plugin.id.clone(),
        uid: "u-1".to_owned(),
        version: "7".to_owned(),
        configuration: PluginConfiguration::default(),
        code: component(),
        sha256: digest(&component()),
        interfaces: Interfaces { external: true, ..Interfaces::default() },
        credentials: Vec::new(),
        secrets: BTreeMap::new(),
        authorities: None,
    };
    assert_eq!(bundle(&plugin, &Objects::default()).await, Ok(expected));
}

#[tokio::test]
async fn compressed_keys_give_the_same_component() {
    let zstd: Bytes = zstd::encode_all(component().as_ref(), 3).unwrap().into();
    let mut gzip = flate2::bufread::GzEncoder::new(std::io::Cursor::new(component()), flate2::Compression::fast());
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut gzip, &mut packed).unwrap();
    for (key, bytes) in [("plugin.wasm.zst", zstd), ("plugin.wasm.gz", packed.into())] {
        let bundle = bundle(&raw("", &[(key, bytes)]), &Objects::default()).await.unwrap();
        assert_eq!((bundle.code, bundle.sha256), (component(), digest(&component())), "{key}");
    }
}

#[tokio::test]
async fn parts_are_joined_in_order_and_checked_by_digest() {
    let (plugin, objects) = in_parts(&digest(&component()));
    let bundle = bundle(&plugin, &objects).await.unwrap();
    assert_eq!(bundle.code, component());
    let part = |name: &str| Dependency::Part { namespace: "shop".to_owned(), name: name.to_owned() };
    assert_eq!(dependencies(&plugin), [part("queue-0"), part("queue-1")]);

    let wrong = "0".repeat(64);
    let (plugin, objects) = in_parts(&wrong);
    assert_eq!(refused(&plugin, &objects).await, BundleError::Digest { expected: wrong, found: digest(&component()) });
}

#[tokio::test]
async fn a_missing_part_is_waited_for() {
    let (plugin, mut objects) = in_parts(&digest(&component()));
    objects.parts.remove("shop/queue-1");
    let error = refused(&plugin, &objects).await;
    assert!(error.is_retryable());
    assert_eq!(error.waits_for(), Some(Dependency::Part { namespace: "shop".to_owned(), name: "queue-1".to_owned() }));
    assert_eq!(
        error.to_string(),
        "plugin.yaml needs what could not be read: shop/queue-1 does not exist; apply the parts first, then the plugin"
    );
    objects.down = true;
    assert!(refused(&plugin, &objects).await.is_retryable());
}

#[tokio::test]
async fn parts_of_others_and_parts_that_may_change_are_refused() {
    for (part_of, immutable, expected) in [
        (Some("other"), true, "part-of: queue"),
        (None, true, "part-of: queue"),
        (Some("queue"), false, "immutable: true"),
    ] {
        let (plugin, mut objects) = in_parts(&digest(&component()));
        let part = objects.parts.get_mut("shop/queue-1").unwrap();
        (part.part_of, part.immutable) = (part_of.map(str::to_owned), immutable);
        let error = refused(&plugin, &objects).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.waits_for().is_some() && !error.is_retryable());
    }
}

#[tokio::test]
async fn code_comes_from_exactly_one_place() {
    let digest = digest(&component());
    let parts = format!("component: {{parts: {{names: [queue-0], sha256: '{digest}'}}}}");
    for (plugin, expected) in [
        (raw("", &[]), "the code is in no place"),
        (
            raw("", &[("plugin.wasm", component()), ("plugin.wasm.gz", component())]),
            "in `plugin.wasm` and `plugin.wasm.gz`; give it in exactly one of",
        ),
        (raw(&parts, &[("plugin.wasm", component())]), "in `plugin.wasm` and `component.parts`"),
    ] {
        let error = refused(&plugin, &Objects::default()).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn unknown_keys_name_the_nearest_known_one() {
    let mut plugin = raw("", &[("plugin.wasm", component())]);
    plugin.unknown_keys = vec!["plugin.yml".to_owned()];
    let error = refused(&plugin, &Objects::default()).await.to_string();
    assert!(error.contains("`plugin.yml`") && error.contains("did you mean `plugin.yaml`?"), "{error}");
}

#[tokio::test]
async fn bytes_under_the_wrong_key_are_told_the_right_one() {
    let zstd: Bytes = zstd::encode_all(component().as_ref(), 3).unwrap().into();
    let module: Bytes = wat::parse_str("(module)").unwrap().into();
    for (key, bytes, expected) in [
        ("plugin.wasm", zstd.clone(), "holds a zstd stream; use the key `plugin.wasm.zst`"),
        ("plugin.wasm.gz", zstd, "use the key `plugin.wasm.zst`"),
        ("plugin.wasm.gz", component(), "holds a WebAssembly component; compress it, or use the key `plugin.wasm`"),
        ("plugin.wasm", module, "`plugin.wasm`: a core module"),
        ("plugin.wasm", Bytes::from_static(b"<html>"), "HTML"),
    ] {
        let error = refused(&raw("", &[(key, bytes)]), &Objects::default()).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_retryable() && error.waits_for().is_none());
    }
}

#[tokio::test]
async fn the_cap_is_the_operators() {
    let grants = Grants { component_bytes: 10, ..Grants::default() };
    let plugin = raw("", &[("plugin.wasm", component())]);
    let error = assemble(&plugin, &Objects::default(), &grants).await.expect_err("too large").to_string();
    assert!(error.contains("more than 10 bytes"), "{error}");
}

#[tokio::test]
async fn a_suspended_plugin_needs_no_code() {
    let assembled = assemble(&raw("suspend: true", &[]), &Objects::default(), &Grants::default()).await;
    assert_eq!(assembled, Ok(Assembled::Suspended));
}

const CREDENTIALS: &str = "credentials: [{origin: 'https://mq.example.com', bearer: {secret: mq, key: token}}]\negress: ['https://mq.example.com']";

fn consenting(label: &str) -> Objects {
    let secret = Secret {
        kind: "Opaque".to_owned(),
        labels: [("wasm-metrics-adapter.io/credential".to_owned(), label.to_owned())].into(),
        annotations: [("wasm-metrics-adapter.io/allowed-origins".to_owned(), "https://mq.example.com:443".to_owned())]
            .into(),
        data: [("token".to_owned(), Bytes::from_static(b"abc\n"))].into(),
    };
    Objects { secrets: [("shop/mq".to_owned(), secret)].into(), ..Objects::default() }
}

#[tokio::test]
async fn consenting_secrets_become_credentials() {
    let plugin = raw(CREDENTIALS, &[("plugin.wasm", component())]);
    let bundle = bundle(&plugin, &consenting("true")).await.unwrap();
    let [credential] = bundle.credentials.as_slice() else { panic!("{bundle:?}") };
    assert!(matches!(&credential.value, CredentialValue::Header(_, value) if value.reveal() == "Bearer abc"));
    assert_eq!(dependencies(&plugin), [Dependency::Secret { namespace: "shop".to_owned(), name: "mq".to_owned() }]);
}

#[tokio::test]
async fn an_unmarked_secret_refuses_the_plugin_until_it_changes() {
    let plugin = raw(CREDENTIALS, &[("plugin.wasm", component())]);
    let error = refused(&plugin, &consenting("false")).await;
    assert!(error.to_string().contains("add the label"), "{error}");
    assert_eq!(error.waits_for(), Some(Dependency::Secret { namespace: "shop".to_owned(), name: "mq".to_owned() }));
    assert!(refused(&plugin, &Objects::default()).await.is_retryable());
}

#[tokio::test]
async fn the_adapters_own_secrets_are_not_even_read() {
    let plugin = raw(CREDENTIALS, &[("plugin.wasm", component())]);
    let own_secrets = [("shop".to_owned(), "mq".to_owned())].into();
    let objects = consenting("true");
    let refused = assemble(&plugin, &objects, &Grants { own_secrets, ..Grants::default() }).await;
    assert!(
        matches!(refused, Err(BundleError::Secret { ref cause, .. }) if matches!(**cause, SecretRefused::Own { .. })),
        "{refused:?}"
    );
    assert_eq!(*objects.asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn more_authorities_are_read_and_waited_for() {
    let plugin = raw("tls: {caFrom: {configMap: mq-ca, key: ca.crt}}", &[("plugin.wasm", component())]);
    let config_map = Dependency::ConfigMap { namespace: "shop".to_owned(), name: "mq-ca".to_owned() };
    assert_eq!(dependencies(&plugin), std::slice::from_ref(&config_map));
    let missing = refused(&plugin, &Objects::default()).await;
    assert_eq!((missing.is_retryable(), missing.waits_for()), (true, Some(config_map)));
    assert!(missing.to_string().ends_with("create it, or correct `tls.caFrom`"), "{missing}");
    let with =
        |pem: Bytes| Objects { config_maps: [("shop/mq-ca/ca.crt".to_owned(), pem)].into(), ..Objects::default() };
    let authorities = bundle(&plugin, &with(Bytes::from_static(b"PEM"))).await.unwrap().authorities.unwrap();
    assert_eq!(
        (authorities.name.as_str(), &authorities.pem[..]),
        ("key `ca.crt` of ConfigMap shop/mq-ca", &b"PEM"[..])
    );
    let error = refused(&plugin, &with(vec![b'x'; 600 * 1024].into())).await.to_string();
    assert!(error.contains("is longer than 524288 bytes"), "{error}");
}

#[tokio::test]
async fn a_service_account_is_named_and_has_no_tokens_without_a_cluster() {
    let body = "credentials: [{origin: 'https://a', serviceAccountToken: {serviceAccount: reader, audience: mq}}]";
    let plugin = raw(body, &[("plugin.wasm", component())]);
    let account = Dependency::ServiceAccount { namespace: "shop".to_owned(), name: "reader".to_owned() };
    assert_eq!(dependencies(&plugin), [account]);
    let error = refused(&plugin, &Objects::default()).await;
    assert!(error.to_string().contains("ServiceAccount shop/reader can't be had without a cluster"), "{error}");
    assert!(!error.is_retryable());
}
