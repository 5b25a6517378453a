//! Builds the rooms that differ between a cluster and a folder on loopback.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::future::join_all;
use kube::{Client, config::KubeConfigOptions, config::Kubeconfig};
use tokio::sync::{mpsc::Sender, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{backend_trust::BackendTrust, own_addresses, policy_file};
use crate::{
    auth::{
        AuthenticationOptions, Authenticator, AuthorizationOptions, Authorizer, ClusterConfig, KubeReviews, Sources,
        Trust,
    },
    bundle::Grants,
    config::{Certificate, Cluster, Config},
    egress,
    model::{Inventory, Kinds, Objects},
    objects::{DiscoveredKinds, FixedObjects, ObjectPolicy, WatchedObjects},
    policy::Policy,
    registry, reload,
    runtime::{CompilerConfig, Runtime},
    source::{
        Dependencies, Event, Reporter,
        configmap::{self, ClusterDependencies, ConfigMapSource},
        directory::DirectorySource,
        plugin_files::{PluginFiles, WithFiles},
        report::{EventReporter, LogReporter},
    },
    telemetry::Metrics,
    values,
};

/// Who asks, and may they.
pub(super) struct Auth {
    pub(super) authenticator: Authenticator,
    pub(super) authorizer: Authorizer,
    /// Absent without a cluster.
    pub(super) trust: Option<Arc<Trust>>,
}

/// Where plugins come from.
pub(super) enum Source {
    /// One for each namespace, so that each needs a Role there and no ClusterRole.
    ConfigMaps(Vec<ConfigMapSource>),
    Folder(DirectorySource),
}

impl Source {
    pub(super) async fn run(self, events: Sender<Event>) {
        match self {
            Self::ConfigMaps(sources) => {
                join_all(sources.into_iter().map(|source| source.run(events.clone()))).await;
            }
            Self::Folder(source) => source.run(events).await,
        }
    }
}

/// Everything but the server.
pub(super) struct Rooms {
    pub(super) client: Option<Client>,
    pub(super) auth: Auth,
    pub(super) kinds: Arc<dyn Kinds>,
    pub(super) inventory: Arc<dyn Inventory>,
    pub(super) source: Source,
    /// Absent without the operator's folder.
    pub(super) plugin_files: Option<Arc<PluginFiles>>,
    policy: watch::Receiver<Arc<Policy>>,
    runtime: Arc<Runtime>,
    dependencies: Arc<dyn Dependencies>,
    reporter: Arc<dyn Reporter>,
    egress: Arc<egress::Shared>,
}

impl Rooms {
    pub(super) async fn build(
        config: &Config,
        guests: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
        stop: &CancellationToken,
        background: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let client = match &config.cluster {
            Some(cluster) => Some(client(cluster.kubeconfig.as_deref(), Purpose::Watches).await?),
            None => None,
        };
        let auth = match (&config.cluster, &client) {
            (Some(cluster), Some(_)) => delegated(cluster, stop, background).await?,
            _ => Auth { authenticator: Authenticator::local_only(), authorizer: Authorizer::local_only(), trust: None },
        };
        let Cache { kinds, objects, inventory } = match &client {
            Some(client) => watched(config, client, background)?,
            None => fixed(),
        };
        let (source, mut dependencies, reporter) = source(config).await?;
        let plugin_files = config.plugin_files_dir.clone().map(|folder| Arc::new(PluginFiles::new(folder)));
        if let Some(files) = &plugin_files {
            dependencies = Arc::new(WithFiles::new(dependencies, files.clone()));
        }
        let policy = policy_file::start(config.policy.as_deref(), metrics.clone(), stop, background).await?;
        let compiler = CompilerConfig {
            cache_dir: config.compile_cache_dir.clone(),
            // This very program, also when its file is replaced or gone: another release's code would be refused.
            child: Some("/proc/self/exe".into()),
            ..CompilerConfig::default()
        };
        let memory_budget = config.guest_memory_budget;
        let runtime = Runtime::new(compiler, guests, memory_budget, objects, kinds.clone(), metrics.clone())?;
        let egress = egress(config, client.clone(), metrics, stop, background).await?;
        Ok(Self {
            client,
            auth,
            kinds,
            inventory,
            source,
            plugin_files,
            policy,
            runtime,
            dependencies,
            reporter,
            egress,
        })
    }

    /// What reloads need.
    pub(super) fn reload(
        &self,
        config: &Config,
        registry: registry::Writer,
        board: Arc<reload::Board>,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) -> reload::Shared {
        let mut grants = Grants::default();
        if let Certificate::SelfIssued { secret, .. } = &config.certificate {
            grants.own_secrets.insert((config.namespace.clone(), secret.clone()));
        }
        reload::Shared {
            runtime: self.runtime.clone(),
            registry: registry.into(),
            dependencies: self.dependencies.clone(),
            reporter: self.reporter.clone(),
            egress: self.egress.clone(),
            values: Arc::new(values::Store::new(metrics.clone())),
            kinds: self.kinds.clone(),
            grants,
            policy: self.policy.clone(),
            own_namespace: config.namespace.clone(),
            namespaces: namespaces(config).collect(),
            roll: reload::Roll::default(),
            turns: reload::Turns::default(),
            board,
            changes: tokio::sync::watch::Sender::default(),
            metrics,
            stopping,
        }
    }
}

/// A client for watches and lookups, or for reviews.
async fn client(kubeconfig: Option<&Path>, purpose: Purpose) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("read {}; name a kubeconfig with --kubeconfig", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("use {}", path.display()))?
        }
        None => kube::Config::incluster()
            .context("find the pod's service account; outside a cluster use --kubeconfig, or --plugin-dir alone")?,
    };
    config.default_retry = purpose != Purpose::Reviews;
    config.read_timeout = purpose.longest_silence();
    // A connection that was idle before is not silent yet.
    config.reset_reader_on_write = true;
    Client::try_from(config).context("connect to the API server")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Of the plugins' ConfigMaps and what they name.
    Plugins,
    /// Of everything else.
    Watches,
    /// They have retries of their own, within a request's time.
    Reviews,
}

impl Purpose {
    /// After this long without a byte a connection to the API server is dead: one that has vanished would be silent for ever. More than
    /// the time for which a watch is kept open, all of which may pass without an event.
    fn longest_silence(self) -> Option<Duration> {
        match self {
            Self::Plugins => Some(Duration::from_secs(configmap::WATCH_SECONDS.into()) + Duration::from_secs(15)),
            // kube keeps them open for 290 s.
            Self::Watches => Some(Duration::from_secs(310)),
            Self::Reviews => None,
        }
    }
}

async fn delegated(cluster: &Cluster, stop: &CancellationToken, background: &TaskTracker) -> anyhow::Result<Auth> {
    let file = |own: &Option<PathBuf>| own.clone().or_else(|| cluster.kubeconfig.clone());
    let authentication = client(file(&cluster.authentication_kubeconfig).as_deref(), Purpose::Reviews).await?;
    let authorization = client(file(&cluster.authorization_kubeconfig).as_deref(), Purpose::Reviews).await?;
    let sources = Sources {
        client: (!cluster.skip_lookup).then(|| authentication.clone()),
        tolerate_lookup_failure: cluster.tolerate_lookup_failure,
        client_ca_file: cluster.client_ca_file.clone(),
        front_proxy: cluster.front_proxy.clone(),
    };
    let (trust, watch) = ClusterConfig::start(sources).await?;
    background.spawn(watch.run(stop.clone()));
    let tokens = Arc::new(KubeReviews::new(authentication, cluster.audiences.clone()));
    let accesses = Arc::new(KubeReviews::new(authorization, Vec::new()));
    let authentication = AuthenticationOptions {
        valid_tokens_for: cluster.token_ttl,
        invalid_tokens_for: cluster.token_ttl,
        ..AuthenticationOptions::default()
    };
    let always_allow_paths = cluster.always_allow_paths.iter().map(|path| path.parse()).collect::<Result<_, _>>();
    let authorization = AuthorizationOptions {
        always_allow_paths: always_allow_paths.context("--authorization-always-allow-paths")?,
        allowed_for: cluster.authorized_ttl,
        denied_for: cluster.unauthorized_ttl,
        ..AuthorizationOptions::default()
    };
    Ok(Auth {
        authenticator: Authenticator::delegated(trust.clone(), tokens, &authentication),
        authorizer: Authorizer::delegated(accesses, authorization),
        trust: Some(trust),
    })
}

/// What is known of the cluster's objects.
struct Cache {
    kinds: Arc<dyn Kinds>,
    objects: Arc<dyn Objects>,
    inventory: Arc<dyn Inventory>,
}

fn watched(config: &Config, client: &Client, background: &TaskTracker) -> anyhow::Result<Cache> {
    let policy =
        ObjectPolicy::parse(config.object_resources.iter().map(String::as_str)).context("--object-resources")?;
    let kinds = Arc::new(DiscoveredKinds::new(client.clone()));
    background.spawn(kinds.clone().keep_fresh());
    let objects = Arc::new(WatchedObjects::new(client.clone(), kinds.clone(), policy));
    background.spawn(objects.clone().end_idle());
    Ok(Cache { kinds, inventory: objects.clone(), objects })
}

fn fixed() -> Cache {
    let fixed = Arc::new(FixedObjects::default());
    Cache { kinds: fixed.clone(), objects: fixed.clone(), inventory: fixed }
}

/// The namespaces that plugins are in: the adapter's own, and those of tenants.
fn namespaces(config: &Config) -> impl Iterator<Item = String> {
    std::iter::once(&config.namespace).chain(&config.plugin_namespaces).cloned()
}

type Plugins = (Source, Arc<dyn Dependencies>, Arc<dyn Reporter>);

async fn source(config: &Config) -> anyhow::Result<Plugins> {
    match (&config.plugin_dir, &config.cluster) {
        (Some(folder), _) => {
            let source = DirectorySource::new(folder, &config.namespace);
            let dependencies = Arc::new(source.dependencies());
            Ok((Source::Folder(source), dependencies, Arc::new(LogReporter)))
        }
        (None, Some(cluster)) => {
            let client = client(cluster.kubeconfig.as_deref(), Purpose::Plugins).await?;
            let sources = namespaces(config).map(|namespace| ConfigMapSource::new(client.clone(), namespace)).collect();
            let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "wasm-metrics-adapter".to_owned());
            let reporter = EventReporter::new(client.clone(), &instance);
            Ok((Source::ConfigMaps(sources), Arc::new(ClusterDependencies::new(client.clone())), Arc::new(reporter)))
        }
        (None, None) => anyhow::bail!("there are no plugins without a cluster; name a folder with --plugin-dir"),
    }
}

async fn egress(
    config: &Config,
    client: Option<Client>,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
    background: &TaskTracker,
) -> anyhow::Result<Arc<egress::Shared>> {
    let (roots, file) = match &config.backend_ca_file {
        Some(path) => BackendTrust::read(path).await.map(|(roots, file)| (roots, Some(file)))?,
        None => (egress::TrustRoots::system(), None),
    };
    let addresses = own_addresses::known(config.internal_cidrs.clone(), config.listen).await;
    let shared = egress::Shared::new(roots, Arc::new(egress::SystemResolver), addresses.clone())?;
    let shared = Arc::new(shared.with_metrics(metrics));
    if let Some(client) = client {
        background.spawn(own_addresses::follow(client, addresses, shared.clone(), stop.clone()));
    }
    if let Some(file) = file {
        background.spawn(file.follow(shared.clone(), stop.clone()));
    }
    Ok(shared)
}
