//! The groups and versions that are served, in order of preference.

use std::fmt;

/// A version of custom.metrics.k8s.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CustomVersion {
    /// The preferred one.
    V1Beta2,
    /// The older one: the same paths, other field names.
    V1Beta1,
}

/// An API group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// custom.metrics.k8s.io
    Custom,
    /// external.metrics.k8s.io
    External,
    /// metrics.k8s.io
    Resource,
}

/// A group and a version of it; prints as in `custom.metrics.k8s.io/v1beta2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupVersion {
    /// Of custom.metrics.k8s.io.
    Custom(CustomVersion),
    /// external.metrics.k8s.io/v1beta1, the only one.
    External,
    /// metrics.k8s.io/v1beta1, the only one.
    Resource,
}

impl Group {
    /// Every group, in the order in which discovery shows them.
    pub const ALL: [Self; 3] = [Self::Custom, Self::External, Self::Resource];

    /// The group of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom.metrics.k8s.io",
            Self::External => "external.metrics.k8s.io",
            Self::Resource => "metrics.k8s.io",
        }
    }

    /// Its versions, the preferred one first.
    pub fn versions(self) -> &'static [GroupVersion] {
        match self {
            Self::Custom => {
                &[GroupVersion::Custom(CustomVersion::V1Beta2), GroupVersion::Custom(CustomVersion::V1Beta1)]
            }
            Self::External => &[GroupVersion::External],
            Self::Resource => &[GroupVersion::Resource],
        }
    }

    /// Its version of that name.
    pub fn version(self, name: &str) -> Option<GroupVersion> {
        self.versions().iter().copied().find(|version| version.version() == name)
    }
}

impl GroupVersion {
    /// The group.
    pub fn group(self) -> Group {
        match self {
            Self::Custom(_) => Group::Custom,
            Self::External => Group::External,
            Self::Resource => Group::Resource,
        }
    }

    /// The version's name.
    pub fn version(self) -> &'static str {
        match self {
            Self::Custom(CustomVersion::V1Beta2) => "v1beta2",
            Self::Custom(CustomVersion::V1Beta1) | Self::External | Self::Resource => "v1beta1",
        }
    }

    /// The kind of its lists; of metrics.k8s.io, which has two, that of pods.
    pub fn list_kind(self) -> &'static str {
        match self {
            Self::Custom(_) => "MetricValueList",
            Self::External => "ExternalMetricValueList",
            Self::Resource => "PodMetricsList",
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.group().name(), self.version())
    }
}
