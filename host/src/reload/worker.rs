//! One plugin's life: load the newest version, keep its lists fresh, try again what may yet work, withdraw it in the end.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use super::{
    Shared, Standing,
    inbox::Inbox,
    outcome::{LoadFailure, Outcome, Told},
};
use crate::{
    bundle::{self, Assembled, Bundle},
    egress,
    manifest::PluginConfiguration,
    model::{Claims, Generation, Listed, PluginId},
    registry::{Entry, State},
    runtime::{Limits, Plugin, PluginSettings, Validation},
    source::{Dependency, RawPlugin, Report},
    telemetry::{LoadLabels, PluginLabels},
};

/// The first wait before a version that may yet work is tried again; doubles up to the longest.
const RETRY: Duration = Duration::from_secs(5);
/// The longest wait: what it lacks may come without an event.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// From a change of the registry to the look at who answers what: at a start, many plugins load at once.
const CONFLICTS_SETTLE: Duration = Duration::from_secs(1);

/// Owns what is known of one plugin.
pub(super) struct Worker {
    id: PluginId,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    settled: watch::Sender<bool>,
    /// The newest version.
    raw: Option<Arc<RawPlugin>>,
    /// What the newest version names.
    dependencies: Vec<Dependency>,
    serving: Option<Serving>,
    generation: Generation,
    told: Told,
    /// What others answer in this plugin's stead, as its owner was told.
    conflicts: Vec<String>,
    conflict_check: Option<Instant>,
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
            shared,
            inbox,
            settled,
            raw: None,
            dependencies: Vec::new(),
            serving: None,
            generation: Generation(0),
            told: Told::default(),
            conflicts: Vec::new(),
            conflict_check: None,
            retry: None,
        }
    }

    /// Works until the plugin is gone or the process stops.
    pub(super) async fn run(mut self) {
        let (shared, inbox) = (self.shared.clone(), self.inbox.clone());
        let mut changes = shared.changes.subscribe();
        loop {
            tokio::select! {
                () = shared.stopping.cancelled() => return,
                pending = inbox.take() => {
                    if pending.closed {
                        self.withdraw();
                        self.shared.board.forget(&self.id);
                        return;
                    }
                    let touched = self.dependencies.iter().any(|dependency| pending.touched.contains(dependency));
                    let changed = pending.raw.is_some_and(|raw| self.replace(raw));
                    if changed || touched {
                        self.load().await;
                    }
                }
                _ = changes.changed() => {
                    self.conflict_check.get_or_insert_with(|| Instant::now() + CONFLICTS_SETTLE);
                }
                () = until(self.conflict_check) => self.look_for_conflicts().await,
                () = until(self.retry.map(|(at, _)| at)) => self.load().await,
                () = until(self.serving.as_ref().map(|serving| serving.next_list)) => self.relist().await,
            }
        }
    }

    /// Takes a newer version; false if it says what the one at hand says (a restarted watch delivers everything again).
    fn replace(&mut self, raw: Arc<RawPlugin>) -> bool {
        let same = self.raw.as_ref().is_some_and(|known| {
            known.manifest == raw.manifest && known.code == raw.code && known.unknown_keys == raw.unknown_keys
        });
        if !same {
            self.dependencies = bundle::dependencies(&raw);
            self.retry = None;
        }
        self.raw = Some(raw);
        !same
    }

    async fn load(&mut self) {
        let Some(raw) = self.raw.clone() else { return };
        let outcome = match self.try_load(&raw).await {
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
                    self.shared.registry().remove(&self.id);
                }
                Outcome::Rejected(failure.to_string())
            }
        };
        self.tell(&raw, &outcome).await;
        self.settled.send_replace(true);
    }

    async fn try_load(&mut self, raw: &RawPlugin) -> Result<Outcome, LoadFailure> {
        let configuration = PluginConfiguration::parse(raw.manifest.as_deref())?;
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
        let own_namespace = self.id.namespace == self.shared.own_namespace;
        self.shared.registry().put(Entry { id: self.id.clone(), own_namespace, claims, state });
        self.shared.changed();
    }

    fn withdraw(&mut self) {
        self.serving = None;
        self.retry = None;
        self.shared.registry().remove(&self.id);
        self.shared.changed();
        self.shared.runtime.forget(&self.id);
        self.shared.metrics.forget(&self.id.to_string());
        info!(plugin = %self.id, "withdrawn");
    }

    /// Tells the owner which of the plugin's metrics another one answers; once for each change.
    async fn look_for_conflicts(&mut self) {
        self.conflict_check = None;
        let snapshot = self.shared.registry().snapshot();
        let conflicts = snapshot.conflicts_of(&self.id);
        let conflicts: Vec<String> = conflicts
            .iter()
            .map(|conflict| format!("{} is answered by {}", conflict.claimed, conflict.winner))
            .collect();
        if conflicts == self.conflicts {
            return;
        }
        self.conflicts.clone_from(&conflicts);
        self.shared.board.note_conflicts(&self.id, conflicts.clone());
        let (Some(raw), false) = (&self.raw, conflicts.is_empty()) else { return };
        let listed = conflicts.join(", ");
        let message = format!("{listed}; claim other names in serves, or settle the order with serves.priority");
        warn!(plugin = %self.id, "conflict: {message}");
        let (id, uid, version) = (self.id.clone(), raw.uid.clone(), raw.version.clone());
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
            version: raw.version.clone(),
            ..Standing::default()
        };
        self.shared.board.note(&self.id, self.generation, standing);
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
                for metric in &listed.custom {
                    // So that discovery knows the kind's scope; what the cluster does not have stays out of it.
                    if let Err(error) = shared.kinds.kind(&metric.resource).await {
                        info!(plugin = %self.plugin.id(), resource = %metric.resource, "kind not known yet: {error}");
                    }
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
}

/// Waits for a time that may not come.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
