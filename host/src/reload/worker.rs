//! One plugin's life: load the newest version, keep its lists fresh, try again what may yet work, withdraw it in the end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use super::{
    Shared, Standing,
    conflicts::Conflicts,
    inbox::{Inbox, Newest},
    outcome::{LoadFailure, Outcome, Told},
    resource, settings,
    turns::Turn,
    version::Version,
};
use crate::{
    bundle::{self, Assembled},
    manifest::PluginConfiguration,
    model::{Claims, Generation, Listed, PluginId},
    policy::{Ceilings, Refusal},
    registry::{Entry, State},
    runtime::{Plugin, Validation},
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
    /// What the policy said of the newest version when it was tried last; none where plugin.yaml can't be read.
    verdict: Option<Verdict>,
    conflicts: Conflicts,
    retry: Option<(Instant, Duration)>,
}

type Verdict = Result<Ceilings, Refusal>;

/// What a version asked for, and what it was granted.
struct Granted {
    configuration: PluginConfiguration,
    inline: bool,
    ceilings: Ceilings,
}

/// The version that serves.
struct Serving {
    plugin: Arc<Plugin>,
    /// As [`Version::code`].
    code: Option<[u8; 32]>,
    granted: Granted,
    listed: Arc<Listed>,
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
            verdict: None,
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
                        Some(Newest::Version(version)) => self.replace(*version),
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
                    if changed || touched || (pending.judge_again && self.is_judged_otherwise()) {
                        self.load().await;
                    }
                }
                () = self.conflicts.due() => self.look_for_conflicts().await,
                () = until(self.retry.map(|(at, _)| at)) => self.load().await,
                () = until(self.serving.as_ref().map(|serving| serving.next_list)) => self.relist().await,
            }
        }
    }

    /// Takes a newer version; false if it is none, or says what the one at hand says (a restarted watch delivers everything again).
    fn replace(&mut self, version: Version) -> bool {
        if self.version.as_ref().is_some_and(|known| version.is_older_than(known)) {
            return false;
        }
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
        self.withdraw_if_forbidden();
        let tried = match self.prepare(&mut version).await {
            Ok((turn, granted)) => self.try_load(&mut version, turn, granted).await,
            Err(failure) => Err(failure),
        };
        version.shed();
        let outcome = match tried {
            Ok(outcome) => {
                self.retry = None;
                outcome
            }
            Err(failure) if failure.is_gone() => {
                self.version = Some(version);
                return;
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
        self.version = Some(version);
        self.settled.send_replace(true);
    }

    /// Whether the policy says something else of the newest version, or of the one that serves, than when they were loaded.
    fn is_judged_otherwise(&self) -> bool {
        let newest = self.version.as_ref().and_then(|version| self.judge(version));
        let is_granted = |Granted { configuration, inline, ceilings }: &Granted| {
            self.shared.judge(&self.id, configuration, *inline).as_ref() == Ok(ceilings)
        };
        newest != self.verdict || self.serving.as_ref().is_some_and(|serving| !is_granted(&serving.granted))
    }

    fn judge(&self, version: &Version) -> Option<Verdict> {
        self.shared.judge_text(&self.id, version.raw().manifest.as_deref(), version.code().is_some())
    }

    /// What is no longer granted ends at once, whatever becomes of the newest version.
    fn withdraw_if_forbidden(&mut self) {
        let Some(Granted { configuration, inline, .. }) = self.serving.as_ref().map(|serving| &serving.granted) else {
            return;
        };
        if self.shared.judge(&self.id, configuration, *inline).is_err() {
            self.withdraw();
            self.told = Told::default();
        }
    }

    /// Claims the plugin's metrics, and waits until its bytes may be held and are there.
    async fn prepare(&mut self, version: &mut Version) -> Result<(Turn, Granted), LoadFailure> {
        let mut granted = self.claim(version)?;
        let code = version.code();
        let code_is_known = code.is_some() && self.serving.as_ref().is_some_and(|serving| serving.code == code);
        let turn = self.shared.turns.take(code_is_known, || version.shed()).await;
        if version.is_shed() {
            // It may be newer than the one that was to be loaded: then this one is skipped, as others before it.
            *version = Version::of(self.shared.dependencies.plugin(&self.id).await?);
            granted = self.claim(version)?;
        }
        Ok((turn, granted))
    }

    /// Claims the plugin's metrics, if it may be what it asks to be.
    fn claim(&mut self, version: &Version) -> Result<Granted, LoadFailure> {
        self.verdict = self.judge(version);
        let configuration = PluginConfiguration::parse(version.raw().manifest.as_deref())?;
        resource::check_place(&configuration, self.is_in_own_namespace())?;
        let inline = version.code().is_some();
        let ceilings = self.shared.judge(&self.id, &configuration, inline)?;
        if self.serving.is_none() && !configuration.suspend {
            // Its claims are known before its code is: until that is compiled they are answered with 503, not 404.
            self.enter(configuration.claims.clone(), ceilings.listed, State::Loading);
        }
        Ok(Granted { configuration, inline, ceilings })
    }

    async fn try_load(
        &mut self,
        version: &mut Version,
        turn: Turn,
        granted: Granted,
    ) -> Result<Outcome, LoadFailure> {
        let raw = version.raw();
        let mut bundle = match bundle::assemble(raw, &*self.shared.dependencies, &self.shared.grants).await? {
            Assembled::Ready(bundle) => bundle,
            Assembled::Suspended => {
                self.withdraw();
                return Ok(Outcome::Suspended);
            }
        };
        let bytes = std::mem::take(&mut bundle.code);
        version.shed();
        let code = self.shared.runtime.compiler().compile(bytes).await?;
        // What follows may wait for a backend.
        drop(turn);
        let settings = settings::settings(&bundle, &granted.ceilings, &self.shared)?;
        let plugin = Arc::new(self.shared.runtime.load(&code, settings)?);
        resource::check_exports(&bundle.configuration, plugin.exports())?;
        match plugin.validate().await {
            Validation::Good => {}
            Validation::Undecided(why) => info!(plugin = %self.id, "settings could not be validated yet: {why}"),
            Validation::Refused(why) => return Err(LoadFailure::Settings(why)),
        }
        self.serve(plugin, version.code(), granted).await;
        Ok(Outcome::Loaded)
    }

    /// Swaps `plugin` in, with its list; a list that fails leaves the last one.
    async fn serve(&mut self, plugin: Arc<Plugin>, code: Option<[u8; 32]>, granted: Granted) {
        let last = self.serving.take().map(|serving| serving.listed).unwrap_or_default();
        let mut serving = Serving { plugin, code, granted, listed: last, next_list: Instant::now(), failed_lists: 0 };
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
        let Granted { configuration, ceilings, .. } = &serving.granted;
        self.enter(configuration.claims.clone(), ceilings.listed, State::Ready { provider, listed });
    }

    fn enter(&self, claims: Claims, shown: bool, state: State) {
        let own_namespace = self.is_in_own_namespace();
        self.shared.registry().put(Entry { id: self.id.clone(), own_namespace, shown, claims, state });
        self.shared.changed();
    }

    fn is_in_own_namespace(&self) -> bool {
        self.shared.is_own(&self.id.namespace)
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
        self.verdict = None;
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
                self.next_list = Instant::now() + self.granted.configuration.list_every;
            }
            Err(error) => {
                self.failed_lists += 1;
                let wait = RETRY
                    .saturating_mul(1 << self.failed_lists.min(6))
                    .min(self.granted.configuration.list_every.max(RETRY));
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
