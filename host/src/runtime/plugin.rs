//! One loaded plugin: a component with its settings and limits, as a [`Provider`] of its own metrics.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use zeroize::Zeroizing;

use super::{
    Runtime,
    abi::{Answer, Exports, InstancePre, Question},
    call::Caller,
    compile::Code,
    explain::{Trace, Turns},
    fault::Fault,
    listing,
    log::GuestLog,
    store::Reach,
    usage,
};
use crate::{
    egress,
    model::{
        CacheState, Catalog, CustomAnswer, CustomQuery, CustomSample, Detail, Explanation, ExternalAnswer,
        ExternalQuery, FetchError, Listed, MetricQuery, NodeSample, ObjectSelection, PluginId, PodRef, PodSample,
        Provider, Reason, ResourceAnswer,
    },
    telemetry::{CallLabels, Metrics, ObjectLabels, PluginLabels},
};

/// Calls under way for one list of pods or nodes: enough that 5,000 pods take little longer than 1,000, and few enough that such a
/// list leaves most of the default concurrency to others.
const CALLS_PER_LIST: usize = 4;

/// What one call of a plugin may use. Defaults and ceilings are in the manifest room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory and tables, all of an instance together.
    pub memory_bytes: usize,
    /// Elements of tables, all of an instance together.
    pub table_elements: usize,
    /// Core instances of a component instance.
    pub instances: usize,
    /// Wall-clock time, waits for backends included.
    pub timeout: Duration,
    /// CPU time really run.
    pub cpu: Duration,
    /// Calls under way at once.
    pub concurrency: usize,
    /// Items of one answer.
    pub list_items: usize,
    /// Bytes that the guest hands to the host in one go.
    pub answer_bytes: usize,
    /// Requests to backends in one call.
    pub requests: usize,
    /// Log lines a second in the long run.
    pub log_lines: usize,
    /// Bytes that outlive a call, for each namespace.
    pub state_bytes: usize,
}

/// Everything about a plugin but its code.
pub struct PluginSettings {
    /// Which plugin.
    pub id: PluginId,
    /// The `config` map with the values of `secrets`, sorted by key.
    pub config: Vec<(String, String)>,
    /// Those of its values that are secret: no text about the plugin shows them.
    pub secrets: Vec<Zeroizing<String>>,
    /// How it reaches its backends.
    pub http: egress::Client,
    /// What a call may use.
    pub limits: Limits,
}

/// Why code could not become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It imports what the adapter does not offer.
    #[error(
        "the component can't be linked: {0}; it may import only wasm-metrics-adapter:plugin@0.1, WASI 0.2 and wasi:http/outgoing-handler"
    )]
    Link(String),
    /// It exports no metrics interface.
    #[error(
        "the component exports none of external-metrics, custom-metrics and resource-metrics of wasm-metrics-adapter:plugin@0.1; export at least one"
    )]
    NoMetrics,
}

/// What a plugin says of its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// It can work, or has nothing to say.
    Good,
    /// It can't work with these settings: the load is refused.
    Refused(String),
    /// It can't tell now, as with a backend that is down: the load goes on.
    Undecided(String),
}

/// A loaded plugin.
pub struct Plugin {
    pub(super) caller: Arc<Caller>,
    exports: Exports,
    metrics: Arc<Metrics>,
    pub(super) explaining: Turns,
    /// What was wrong with the last list.
    complaints: Mutex<Vec<String>>,
    /// As long as it lives the compiler gives it to plugins of the same bytes.
    code: Arc<Code>,
}

impl Runtime {
    /// Joins code with settings. No guest code runs yet.
    pub fn load(&self, code: &Arc<Code>, settings: PluginSettings) -> Result<Plugin, LoadError> {
        let PluginSettings { id, config, secrets, http, limits } = settings;
        let instance = self.linkers.link(&code.component).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        let exports = InstancePre::exports(&instance);
        if !exports.external && !exports.custom && !exports.resource {
            return Err(LoadError::NoMetrics);
        }
        let reach = Reach {
            log: GuestLog::new(id.clone(), limits.log_lines, self.metrics.clone()),
            state: self.state.of(&id),
            state_bytes: limits.state_bytes,
            id,
            config,
            secrets,
            http,
            objects: self.objects.clone(),
            kinds: self.kinds.clone(),
        };
        let caller = Caller::new(Arc::new(reach), instance, limits, self);
        Ok(Plugin {
            caller: Arc::new(caller),
            exports,
            metrics: self.metrics.clone(),
            explaining: Turns::default(),
            complaints: Mutex::default(),
            code: code.clone(),
        })
    }
}

impl Plugin {
    /// Which plugin.
    pub fn id(&self) -> &PluginId {
        &self.caller.reach.id
    }

    /// The same plugin, whose calls are written down in `trace`. It has the same places and limits.
    pub(super) fn traced(&self, trace: &Arc<Trace>) -> Self {
        Self {
            caller: Arc::new(self.caller.traced(trace)),
            exports: self.exports,
            metrics: self.metrics.clone(),
            explaining: Turns::default(),
            complaints: Mutex::default(),
            code: self.code.clone(),
        }
    }

    /// Which interfaces its component exports.
    pub fn exports(&self) -> Exports {
        self.exports
    }

    /// Asks the guest whether it can work with its settings, if it exports `settings`. A trap refuses the load too: a plugin that
    /// can't even check its settings will not answer better later.
    pub async fn validate(&self) -> Validation {
        if !self.exports.settings {
            return Validation::Good;
        }
        match self.ask(Question::Validate).await {
            Ok(Answer::Valid(Ok(()))) => Validation::Good,
            Ok(Answer::Valid(Err(failure))) if failure.reason == Reason::BadRequest => {
                Validation::Refused(failure.message)
            }
            Ok(Answer::Valid(Err(failure))) => Validation::Undecided(failure.message),
            Ok(_) => Validation::Refused(mismatch().message),
            Err(error) if error.reason == Reason::Timeout || error.reason == Reason::Overloaded => {
                Validation::Undecided(error.message)
            }
            Err(error) => Validation::Refused(format!("settings.validate failed: {}", error.message)),
        }
    }

    /// Asks the guest for its lists; sorted, without repetition and without names that can't be served, which are logged.
    pub async fn list(&self) -> Result<Listed, FetchError> {
        let (mut listed, mut complaints) = (Listed::default(), Vec::new());
        if self.exports.custom {
            let names = match self.ask(Question::ListCustom).await? {
                Answer::CustomList(list) => self.bounded(list.map_err(|error| error.of(self.id()))?)?,
                _ => return Err(mismatch().of(self.id())),
            };
            listed.custom = listing::custom(names, &mut complaints);
        }
        if self.exports.external {
            let names = match self.ask(Question::ListExternal).await? {
                Answer::ExternalList(list) => self.bounded(list.map_err(|error| error.of(self.id()))?)?,
                _ => return Err(mismatch().of(self.id())),
            };
            listed.external = listing::external(names, &mut complaints);
        }
        self.complain(complaints);
        Ok(listed)
    }

    /// Logs what is wrong with a list, once and not each time that the guest is asked for it.
    fn complain(&self, complaints: Vec<String>) {
        let mut told = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != complaints {
            complaints.iter().for_each(|complaint| self.caller.reach.log.note(complaint));
            *told = complaints;
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, FetchError> {
        let started = Instant::now();
        let outcome = self.caller.ask(question).await.map_err(|fault| FetchError::from(fault).of(self.id()));
        let plugin = self.id().to_string();
        let label = match &outcome {
            Ok(answer) => answer.failure().map_or("ok", |failure| failure.reason.as_str()),
            Err(error) => error.reason.as_str(),
        };
        self.metrics.calls.get_or_create(&CallLabels { plugin: plugin.clone(), outcome: label }).inc();
        let seconds = self.metrics.call_seconds.get_or_create(&PluginLabels { plugin });
        seconds.observe(started.elapsed().as_secs_f64());
        drop(seconds);
        outcome
    }

    /// Asks about `objects`, at most as many a call as an answer may have items. One call that fails fails the whole: a list that
    /// lacks some objects would look as if they used nothing.
    async fn ask_in_parts<Object: Clone, Sample>(
        &self,
        objects: &[Object],
        question: impl Fn(Vec<Object>) -> Question,
        judge: impl Fn(Answer, &[Object]) -> Result<Vec<Sample>, FetchError>,
    ) -> Result<Vec<Sample>, FetchError> {
        let mut calls = Vec::new();
        for part in objects.chunks(self.caller.limits.list_items.max(1)) {
            let (asked, judge) = (self.ask(question(part.to_vec())), &judge);
            calls.push(async move { judge(asked.await?, part) });
        }
        let samples: Vec<Vec<Sample>> = stream::iter(calls).buffered(CALLS_PER_LIST).try_collect().await?;
        Ok(samples.into_iter().flatten().collect())
    }

    /// Counts the objects that were asked for in vain.
    fn count_unmeasured(&self, object: &'static str, asked: usize, measured: usize) {
        let labels = ObjectLabels { plugin: self.id().to_string(), object };
        self.metrics.unmeasured.get_or_create(&labels).inc_by(asked.saturating_sub(measured) as u64);
    }

    fn fault(&self, fault: Fault) -> FetchError {
        FetchError::from(fault).of(self.id())
    }

    fn bounded<T>(&self, items: Vec<T>) -> Result<Vec<T>, FetchError> {
        let limit = self.caller.limits.list_items;
        if items.len() > limit {
            return Err(FetchError::from(Fault::TooManyItems { limit }).of(self.id()));
        }
        Ok(items)
    }
}

/// An answer to another question than the one asked: impossible while `abi` pairs them, and not worth a panic.
fn mismatch() -> FetchError {
    FetchError::from(Fault::Nonsense("it belongs to another question".to_owned()))
}

#[async_trait]
impl Provider for Plugin {
    /// A plugin's list is asked for by [`Plugin::list`] and kept by the registry.
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        if !self.exports.custom {
            return Err(FetchError::new(Reason::MetricNotFound, "the plugin has no custom metrics").of(self.id()));
        }
        let samples = match self.ask(Question::Custom(query.clone())).await? {
            Answer::Custom(outcome) => self.bounded(outcome.map_err(|error| error.of(self.id()))?)?,
            _ => return Err(mismatch().of(self.id())),
        };
        check_objects(&samples, &query.objects).map_err(|fault| FetchError::from(fault).of(self.id()))?;
        Ok(CustomAnswer { plugin: self.id().clone(), samples: samples.into(), cache: CacheState::None })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        if !self.exports.external {
            return Err(FetchError::new(Reason::MetricNotFound, "the plugin has no external metrics").of(self.id()));
        }
        match self.ask(Question::External(query.clone())).await? {
            Answer::External(outcome) => {
                let samples = self.bounded(outcome.map_err(|error| error.of(self.id()))?)?;
                Ok(ExternalAnswer {
                    plugin: self.id().clone(),
                    metric: query.metric.clone(),
                    samples: samples.into(),
                    cache: CacheState::None,
                })
            }
            _ => Err(mismatch().of(self.id())),
        }
    }

    async fn pods(&self, pods: &[PodRef]) -> Result<ResourceAnswer<PodSample>, FetchError> {
        if !self.exports.resource {
            return Err(no_resource_metrics().of(self.id()));
        }
        let judge = |answer, asked: &[PodRef]| match answer {
            Answer::Pods(outcome) => {
                let samples = outcome.map_err(|error| error.of(self.id()))?;
                usage::check_pods(&samples, asked).map_err(|fault| self.fault(fault))?;
                Ok(samples)
            }
            _ => Err(mismatch().of(self.id())),
        };
        let samples = self.ask_in_parts(pods, Question::Pods, judge).await?;
        self.count_unmeasured("pod", pods.len(), samples.len());
        Ok(ResourceAnswer { plugin: self.id().clone(), samples })
    }

    async fn nodes(&self, names: &[String]) -> Result<ResourceAnswer<NodeSample>, FetchError> {
        if !self.exports.resource {
            return Err(no_resource_metrics().of(self.id()));
        }
        let judge = |answer, asked: &[String]| match answer {
            Answer::Nodes(outcome) => {
                let samples = outcome.map_err(|error| error.of(self.id()))?;
                usage::check_nodes(&samples, asked).map_err(|fault| self.fault(fault))?;
                Ok(samples)
            }
            _ => Err(mismatch().of(self.id())),
        };
        let samples = self.ask_in_parts(names, Question::Nodes, judge).await?;
        self.count_unmeasured("node", names.len(), samples.len());
        Ok(ResourceAnswer { plugin: self.id().clone(), samples })
    }

    async fn explain(&self, query: &MetricQuery, detail: Detail) -> Result<Explanation, FetchError> {
        self.explained(query, detail).await.map_err(|error| error.of(self.id()))
    }
}

fn no_resource_metrics() -> FetchError {
    FetchError::new(Reason::Unavailable, "the plugin has no resource metrics")
}

/// The HPA controller counts each sample as one object's: another object, or one twice, would scale on a lie.
fn check_objects(samples: &[CustomSample], asked: &ObjectSelection) -> Result<(), Fault> {
    match (asked, samples) {
        (ObjectSelection::Named(name), [sample]) if sample.object == *name => Ok(()),
        (ObjectSelection::Named(_), _) => {
            Err(Fault::Nonsense("it is about another object than the one asked for".to_owned()))
        }
        (ObjectSelection::Selected(_), samples) => {
            let mut objects: Vec<&str> = samples.iter().map(|sample| sample.object.as_str()).collect();
            objects.sort_unstable();
            let twice = objects.windows(2).any(|pair| matches!(pair, [first, second] if first == second));
            let nameless = objects.first().is_some_and(|first| first.is_empty());
            match (twice, nameless) {
                (true, _) => Err(Fault::Nonsense("it has two values for one object".to_owned())),
                (_, true) => Err(Fault::Nonsense("it has a value for an object without a name".to_owned())),
                _ => Ok(()),
            }
        }
    }
}
