//! [`Limits`] as ceilings: what a policy writes in the words of plugin.yaml, and what of a plugin's limits exceeds it.

use std::time::Duration;

use super::{
    Limits, ManifestError,
    fields::Field,
    limits::{self, binary},
};

/// A limit above its ceiling, in the words of plugin.yaml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// As in `memory`.
    pub limit: &'static str,
    /// What the plugin has, asked for or by default.
    pub asked: String,
    /// What it may have.
    pub ceiling: String,
}

impl Limits {
    /// The bounds of plugin.yaml itself: the ceilings of whom no policy limits.
    pub fn most() -> Self {
        Self {
            memory_bytes: limits::MEMORY.1,
            timeout: limits::TIMEOUT.1,
            cpu: limits::CPU.1,
            concurrency: most_count(limits::CONCURRENCY),
            response_bytes: limits::RESPONSE.1,
            list_items: most_count(limits::LIST_ITEMS),
        }
    }

    /// A mapping as `limits` of plugin.yaml has it; what it does not say stays as it is here.
    pub(crate) fn overridden(self, field: Field) -> Result<Self, ManifestError> {
        self.parse_over(field)
    }

    /// The first limit that is above `ceiling`.
    pub fn excess(&self, ceiling: &Self) -> Option<Excess> {
        let Self { memory_bytes, timeout, cpu, concurrency, response_bytes, list_items } = self;
        let size = |bytes: u64| binary(bytes);
        let time = |duration: Duration| format!("{duration:?}");
        let count = |count: u32| count.to_string();
        [
            above("memory", *memory_bytes, ceiling.memory_bytes, size),
            above("timeout", *timeout, ceiling.timeout, time),
            above("cpu", *cpu, ceiling.cpu, time),
            above("concurrency", *concurrency, ceiling.concurrency, count),
            above("responseBytes", *response_bytes, ceiling.response_bytes, size),
            above("listItems", *list_items, ceiling.list_items, count),
        ]
        .into_iter()
        .flatten()
        .next()
    }
}

fn above<T: PartialOrd>(limit: &'static str, asked: T, ceiling: T, shown: impl Fn(T) -> String) -> Option<Excess> {
    (asked > ceiling).then(|| Excess { limit, asked: shown(asked), ceiling: shown(ceiling) })
}

fn most_count((_, most): (i64, i64)) -> u32 {
    u32::try_from(most).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_ceiling_of_its_own() {
        let ceiling = Limits::default();
        assert_eq!(ceiling.excess(&ceiling), None);
        assert_eq!(Limits::default().excess(&Limits::most()), None);
        for (text, limit, asked, most) in [
            ("{memory: 65Mi}", "memory", "65Mi", "64Mi"),
            ("{timeout: 2001ms}", "timeout", "2.001s", "2s"),
            ("{cpu: 201ms}", "cpu", "201ms", "200ms"),
            ("{concurrency: 17}", "concurrency", "17", "16"),
            ("{responseBytes: 5Mi}", "responseBytes", "5Mi", "4Mi"),
            ("{listItems: 1001}", "listItems", "1001", "1000"),
        ] {
            let asking = Limits::default().overridden(Field::document(text).unwrap()).unwrap();
            let expected = Excess { limit, asked: asked.to_owned(), ceiling: most.to_owned() };
            assert_eq!(asking.excess(&ceiling), Some(expected), "{text}");
            assert_eq!(asking.excess(&Limits::most()), None, "{text}");
        }
    }
}
