//! The two forms of a question that values are kept for, and their samples. A question is its own key: selectors are canonical from
//! the moment they are parsed, and who asks is not part of it, because authorization comes first.

use std::{fmt, hash::Hash, mem::size_of, sync::Arc};

use crate::model::{
    CustomQuery, CustomSample, ExternalQuery, ExternalSample, FetchError, ObjectSelection, Provider, Quantity,
    Selector, UnixMillis,
};

/// Bytes that a piece of memory costs beside what is in it: the allocator's rounding and the pointer to it.
const PIECE: usize = 24;

/// What a plugin is asked.
pub(super) trait Question: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// A value in its answer.
    type Sample: Sample;

    /// Asks it.
    fn ask(&self, provider: &dyn Provider) -> impl Future<Output = Result<Arc<[Self::Sample]>, FetchError>> + Send;

    /// The metric, and where it is asked about.
    fn place(&self) -> Place;

    /// An answer of the value alone; none for a question about several objects, whose number nobody knows.
    fn stand_in(&self, value: Quantity) -> Option<Self::Sample>;

    /// Bytes of memory that it takes, about.
    fn bytes(&self) -> usize;
}

/// One value with what tells it from others in its answer.
pub(super) trait Sample: fmt::Debug + Send + Sync + 'static {
    /// Tells it from others.
    type Identity: Eq + Hash;

    fn identity(&self) -> &Self::Identity;
    fn value(&self) -> Quantity;
    fn timestamp(&self) -> UnixMillis;
    /// Bytes of memory that it takes, about.
    fn bytes(&self) -> usize;
}

/// A metric in a namespace: what a plugin's `retry-after` is about. Not the metric everywhere: the failure's text may tell of one
/// namespace what another is not to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) metric: String,
    pub(super) namespace: Option<String>,
}

impl Question for CustomQuery {
    type Sample = CustomSample;

    async fn ask(&self, provider: &dyn Provider) -> Result<Arc<[CustomSample]>, FetchError> {
        provider.custom(self).await.map(|answer| answer.samples)
    }

    fn place(&self) -> Place {
        Place { metric: self.metric.to_string(), namespace: self.namespace.clone() }
    }

    fn stand_in(&self, value: Quantity) -> Option<CustomSample> {
        match &self.objects {
            ObjectSelection::Named(object) => {
                Some(CustomSample { object: object.clone(), value, timestamp: UnixMillis::now(), window: None })
            }
            ObjectSelection::Selected(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        let metric =
            text(&self.metric.resource.group) + text(&self.metric.resource.name) + text(self.metric.name.as_str());
        let objects = match &self.objects {
            ObjectSelection::Named(object) => text(object),
            ObjectSelection::Selected(selector) => selected(selector),
        };
        size_of::<Self>() + metric + self.namespace.as_deref().map_or(0, text) + objects + selected(&self.series)
    }
}

impl Question for ExternalQuery {
    type Sample = ExternalSample;

    async fn ask(&self, provider: &dyn Provider) -> Result<Arc<[ExternalSample]>, FetchError> {
        provider.external(self).await.map(|answer| answer.samples)
    }

    fn place(&self) -> Place {
        Place { metric: self.metric.to_string(), namespace: Some(self.namespace.clone()) }
    }

    /// A series without labels: the HPA controller adds series up and looks at nothing else.
    fn stand_in(&self, value: Quantity) -> Option<ExternalSample> {
        Some(ExternalSample { labels: Vec::new(), value, timestamp: UnixMillis::now(), window: None })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + text(&self.namespace) + text(self.metric.as_str()) + selected(&self.series)
    }
}

impl Sample for CustomSample {
    type Identity = String;

    fn identity(&self) -> &String {
        &self.object
    }

    fn value(&self) -> Quantity {
        self.value
    }

    fn timestamp(&self) -> UnixMillis {
        self.timestamp
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + text(&self.object)
    }
}

impl Sample for ExternalSample {
    type Identity = Vec<(String, String)>;

    fn identity(&self) -> &Vec<(String, String)> {
        &self.labels
    }

    fn value(&self) -> Quantity {
        self.value
    }

    fn timestamp(&self) -> UnixMillis {
        self.timestamp
    }

    fn bytes(&self) -> usize {
        let label = |(key, value): &(String, String)| size_of::<(String, String)>() + text(key) + text(value);
        size_of::<Self>() + PIECE + self.labels.iter().map(label).sum::<usize>()
    }
}

fn text(text: &str) -> usize {
    text.len() + PIECE
}

fn selected(selector: &Selector) -> usize {
    let requirements = selector.requirements().iter().map(|requirement| {
        let values = requirement.values.iter().map(|value| size_of::<String>() + text(value)).sum::<usize>();
        size_of_val(requirement) + text(&requirement.key) + PIECE + values
    });
    PIECE + requirements.sum::<usize>()
}
