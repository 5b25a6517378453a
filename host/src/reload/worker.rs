//! One plugin's life: load the newest version, keep its lists fresh, try again what may yet work, withdraw it in the end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use super::{
    Shared, Standing,
    conflicts::Conflicts,
    inbox::{Inbox, Newest},
    outcome::{LoadFailure, Outcome, Told},
    resource,
    version::Version,
};
use crate::{
    bundle::{self, Assembled, Bundle},
    egress,
    manifest::PluginConfiguration,
    model::{Claims, Generation, Listed, PluginId},
    registry::{Entry, State},
    runtime::{Limits, Plugin, PluginSettings, Validation},
    source::{RawPlugin, Report},
    telemetry::{LoadLabels, PluginLabels},
};

/// The first wait before a version that may yet work is tried again; doubles up to the longest.
const RETRY: Duration = Duration::from_secs(5);
/// The longest wait: what it lacks may come without an event.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// How long a load waits for the API server to tell the kinds that a plugin lists; discovery asks again by itself.
const KINDS_TIMEOUT: Duration = Duration::from_secs(5);

/// Owns what is known of one plugin.
pub(super) struct Worker {
    id: PluginId,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    settled: watch::Sender<bool>,
    /// The newest version.
    version: Option<Version>,
    serving: Option<Serving>,
    generation: Generation,
    told: Told,
    conflicts: Conflicts,
    retry: Option<(Instant, Duration)>,
}

/// The version that serves.
struct Serving {
    plugin: Arc<Plugin>,
    claims: Claims,
    listed: Arc<Listed>,
    list_every: Duration,
    next_list: Instant,
    failed_lists: u32,
}

impl Worker {
    pub(super) fn new(id: PluginId, shared: Arc<Shared>, inbox: Arc<Inbox>, settled: watch::Sender<bool>) -> Self {
        Self {
            id,
            conflicts: Conflicts::new(shared.changes.subscribe()),
            shared,
            inbox,
            settled,
            version: None,
            serving: None,
            generation: Generation(0),
            told: Told::default(),
            retry: None,
        }
    }

    /// Works until the plugin is gone or the process stops.
    pub(super) async fn run(self) {
        let stopping = self.shared.stopping.clone();
        stopping.run_until_cancelled(self.work()).await;
    }

    async fn work(mut self) {
        let inbox = self.inbox.clone();
        loop {
            tokio::select! {
                pending = inbox.take() => {
                    let changed = match pending.newest {
                        Some(Newest::Version(raw)) => self.replace(*raw),
                        Some(Newest::Gone) => {
                            self.forget();
                            if inbox.end() {
                                return;
                            }
                            false
                        }
                        None => false,
                    };
                    let touched = self.version.as_ref().is_some_and(|version| version.names_any_of(&pending.touched));
                    if changed || touched {
                        self.load().await;
                    }
                }
                () = self.conflicts.due() => self.look_for_conflicts().await,
                () = until(self.retry.map(|(at, _)| at)) => self.load().await,
                () = until(self.serving.as_ref().map(|serving| serving.next_list)) => self.relist().await,
            }
        }
    }

    /// Takes a newer version; false if it says what the one at hand says (a restarted watch delivers everything again).
    fn replace(&mut self, raw: RawPlugin) -> bool {
        let version = Version::of(raw);
        if let Some(known) = self.version.as_mut().filter(|known| known.says_what(&version)) {
            known.identify_as(version);
            return false;
        }
        self.version = Some(version);
        self.retry = None;
        true
    }

    async fn load(&mut self) {
        let Some(mut version) = self.version.take() else { return };
        let outcome = match self.try_load(version.raw()).await {
            Ok(outcome) => {
                self.retry = None;
                outcome
            }
            Err(failure) if failure.is_retryable() => {
                let wait = self.retry.map_or(RETRY, |(_, wait)| (wait * 2).min(LONGEST_RETRY));
                self.retry = Some((Instant::now() + wait, wait));
                Outcome::Waiting(failure.to_string())
            }
            Err(failure) => {
                self.retry = None;
                if self.serving.is_none() {
                    // What can't serve owns nothing: whoever else claims its metrics answers.
                    self.leave();
                }
                Outcome::Rejected(failure.to_string())
            }
        };
        self.tell(version.raw(), &outcome).await;
        if self.retry.is_none() {
            version.settle();
        }
        self.version = Some(version);
        self.settled.send_replace(true);
    }

    async fn try_load(&mut self, raw: &RawPlugin) -> Result<Outcome, LoadFailure> {
        let configuration = PluginConfiguration::parse(raw.manifest.as_deref())?;
        resource::check_place(&configuration, self.is_in_own_namespace())?;
        if self.serving.is_none() && !configuration.suspend {
            // Its claims are known before its code is: until that is compiled they are answered with 503, not 404.
            self.enter(configuration.claims.clone(), State::Loading);
        }
        let bundle = match bundle::assemble(raw, &*self.shared.dependencies, &self.shared.grants).await? {
            Assembled::Ready(bundle) => bundle,
            Assembled::Suspended => {
                self.withdraw();
                return Ok(Outcome::Suspended);
            }
        };
        let code = self.shared.runtime.compiler().compile(bundle.code.clone()).await?;
        let plugin = Arc::new(self.shared.runtime.load(&code, self.settings(&bundle)?)?);
        resource::check_exports(&configuration, plugin.exports())?;
        match plugin.validate().await {
            Validation::Good => {}
            Validation::Undecided(why) => info!(plugin = %self.id, "settings could not be validated yet: {why}"),
            Validation::Refused(why) => return Err(LoadFailure::Settings(why)),
        }
        self.serve(plugin, &bundle.configuration).await;
        Ok(Outcome::Loaded)
    }

    fn settings(&self, bundle: &Bundle) -> Result<PluginSettings, LoadFailure> {
        let configuration = &bundle.configuration;
        let origins = configuration.egress.iter().map(|origin| egress::Origin::parse(origin));
        let origins = origins.collect::<Result<egress::Origins, _>>()?;
        let mut credentials = Vec::new();
        for credential in &bundle.credentials {
            let origin = egress::Origin::parse(&credential.origin)?;
            if !origins.contains(&origin) {
                return Err(LoadFailure::UselessCredential(origin));
            }
            let header = credential.header_name.as_str();
            credentials.push(egress::Credential::header(origin, header, credential.value.reveal())?);
        }
        let limits = &configuration.limits;
        let egress = egress::EgressConfig {
            origins,
            credentials,
            exceptions: egress::Exceptions::Operator,
            response_bytes: limits.response_bytes,
            exchanges: limits.concurrency as usize,
        };
        Ok(PluginSettings {
            id: self.id.clone(),
            config: configuration.config.clone().into_iter().collect(),
            http: egress::Client::new(self.id.clone(), egress, self.shared.egress.clone()),
            limits: Limits {
                memory_bytes: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
                timeout: limits.timeout,
                cpu: limits.cpu,
                concurrency: limits.concurrency as usize,
                list_items: limits.list_items as usize,
            },
        })
    }

    /// Swaps `plugin` in, with its list; a list that fails leaves the last one.
    async fn serve(&mut self, plugin: Arc<Plugin>, configuration: &PluginConfiguration) {
        let last = self.serving.take().map(|serving| serving.listed).unwrap_or_default();
        let mut serving = Serving {
            plugin,
            claims: configuration.claims.clone(),
            listed: last,
            list_every: configuration.list_every,
            next_list: Instant::now(),
            failed_lists: 0,
        };
        serving.list(&self.shared).await;
        self.generation.0 += 1;
        self.swap(&serving);
        self.serving = Some(serving);
    }

    async fn relist(&mut self) {
        let Some(mut serving) = self.serving.take() else { return };
        let before = serving.listed.clone();
        serving.list(&self.shared).await;
        if serving.listed != before {
            self.swap(&serving);
        }
        self.serving = Some(serving);
    }

    fn swap(&self, serving: &Serving) {
        let (provider, listed) = (serving.plugin.clone(), serving.listed.clone());
        self.enter(serving.claims.clone(), State::Ready { provider, listed });
    }

    fn enter(&self, claims: Claims, state: State) {
        let own_namespace = self.is_in_own_namespace();
        self.shared.registry().put(Entry { id: self.id.clone(), own_namespace, claims, state });
        self.shared.changed();
    }

    /// Plugins of other namespaces are tenants.
    fn is_in_own_namespace(&self) -> bool {
        self.id.namespace == self.shared.own_namespace
    }

    fn leave(&self) {
        self.shared.registry().remove(&self.id);
        self.shared.changed();
    }

    /// Its metrics are served no more; what it had stored stays.
    fn withdraw(&mut self) {
        self.serving = None;
        self.retry = None;
        self.leave();
        info!(plugin = %self.id, "withdrawn");
    }

    /// The plugin is gone, and nothing of it is left.
    fn forget(&mut self) {
        self.withdraw();
        self.version = None;
        self.told = Told::default();
        self.conflicts = Conflicts::new(self.shared.changes.subscribe());
        self.shared.board.forget(&self.id);
        self.shared.runtime.forget(&self.id);
        self.shared.metrics.forget(&self.id.to_string());
    }

    /// Tells the owner which of the plugin's metrics another one answers.
    async fn look_for_conflicts(&mut self) {
        let snapshot = self.shared.registry().snapshot();
        let Some(conflicts) = self.conflicts.changed(&snapshot, &self.id) else { return };
        self.shared.board.note_conflicts(&self.id, conflicts.to_vec());
        let (Some(version), false) = (&self.version, conflicts.is_empty()) else { return };
        let lost = conflicts.join(", ");
        let message = format!("{lost}; claim other names in serves, or settle the order with serves.priority");
        warn!(plugin = %self.id, "conflict: {message}");
        let (id, uid, version) = (self.id.clone(), version.raw().uid.clone(), version.raw().version.clone());
        self.shared.reporter.report(Report { id, uid, version, good: false, reason: "Conflict", message }).await;
    }

    async fn tell(&mut self, raw: &RawPlugin, outcome: &Outcome) {
        let plugin = self.id.to_string();
        let metrics = &self.shared.metrics;
        metrics.loads.get_or_create(&LoadLabels { plugin: plugin.clone(), outcome: outcome.label() }).inc();
        let labels = PluginLabels { plugin };
        let is_current = matches!(outcome, Outcome::Loaded | Outcome::Suspended);
        metrics.rejected.get_or_create(&labels).set(i64::from(!is_current));
        metrics.generation.get_or_create(&labels).set(i64::try_from(self.generation.0).unwrap_or(i64::MAX));
        match outcome {
            Outcome::Loaded => {
                info!(plugin = %self.id, version = %raw.version, generation = %self.generation, "loaded");
            }
            other => {
                warn!(plugin = %self.id, version = %raw.version, outcome = other.label(), "{}", other.words(self.serving.is_some()).2);
            }
        }
        let standing = Standing {
            outcome: outcome.label(),
            message: outcome.words(self.serving.is_some()).2,
            serving: self.serving.is_some(),
            generation: self.generation.0,
            version: raw.version.clone(),
            conflicts: Vec::new(),
        };
        self.shared.board.note(&self.id, standing);
        if let Some(report) = self.told.report(outcome, self.serving.is_some(), raw) {
            self.shared.reporter.report(report).await;
        }
    }
}

impl Serving {
    /// Asks for the lists, and sets when to ask again: later and later while they fail.
    async fn list(&mut self, shared: &Shared) {
        match self.plugin.list().await {
            Ok(listed) => {
                let known = self.learn_kinds(&listed, shared);
                if tokio::time::timeout(KINDS_TIMEOUT, known).await.is_err() {
                    info!(plugin = %self.plugin.id(), "kinds not known yet: the API server has not answered in {KINDS_TIMEOUT:?}");
                }
                self.listed = Arc::new(listed);
                self.failed_lists = 0;
                self.next_list = Instant::now() + self.list_every;
            }
            Err(error) => {
                self.failed_lists += 1;
                let wait = RETRY.saturating_mul(1 << self.failed_lists.min(6)).min(self.list_every.max(RETRY));
                self.next_list = Instant::now() + wait;
                warn!(plugin = %self.plugin.id(), "its metrics could not be listed, so the last list stays: {}", error.message);
            }
        }
    }

    /// So that discovery knows the kinds' scopes; what the cluster does not have stays out of it.
    async fn learn_kinds(&self, listed: &Listed, shared: &Shared) {
        let resources: BTreeSet<_> = listed.custom.iter().map(|metric| &metric.resource).collect();
        for resource in resources {
            if let Err(error) = shared.kinds.kind(resource).await {
                info!(plugin = %self.plugin.id(), %resource, "kind not known yet: {error}");
            }
        }
    }
}

/// Waits for a time that may not come.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
