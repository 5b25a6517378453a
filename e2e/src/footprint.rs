//! What a process holds, read from the kernel.

use anyhow::{Context as _, Result};

use crate::load;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Footprint {
    /// Resident memory, in MiB.
    pub resident_mib: f64,
    /// The part of it that is not of files, in MiB: what the process can't give back by itself.
    pub anonymous_mib: f64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Footprint {
    /// Looks at a process.
    ///
    /// # Errors
    /// Fails when there is no such process.
    pub fn of(process: u32) -> Result<Self> {
        let entries = |folder: &str| -> Result<usize> {
            let path = format!("/proc/{process}/{folder}");
            Ok(std::fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
        };
        let (resident_mib, anonymous_mib) = load::resident_mib(process)?;
        Ok(Self { resident_mib, anonymous_mib, descriptors: entries("fd")?, threads: entries("task")? })
    }

    /// The median of each figure.
    #[must_use]
    pub fn median(of: &[Self]) -> Self {
        let float = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = of.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        let count = |figure: fn(&Self) -> usize| {
            let mut figures: Vec<usize> = of.iter().map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Self {
            resident_mib: float(|it| it.resident_mib),
            anonymous_mib: float(|it| it.anonymous_mib),
            descriptors: count(|it| it.descriptors),
            threads: count(|it| it.threads),
        }
    }
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident_mib, anonymous_mib, descriptors, threads } = self;
        write!(
            formatter,
            "{resident_mib:.1} MiB resident, {anonymous_mib:.1} MiB anonymous, {descriptors} descriptors, {threads} threads"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_something() {
        let footprint = Footprint::of(std::process::id()).unwrap();
        assert!(footprint.resident_mib >= footprint.anonymous_mib && footprint.anonymous_mib > 0.0, "{footprint}");
        assert!(footprint.descriptors > 0 && footprint.threads > 0, "{footprint}");
    }

    #[test]
    fn one_outlier_moves_no_median() {
        let with = |descriptors| Footprint { descriptors, ..Footprint::default() };
        assert_eq!(Footprint::median(&[with(10), with(900), with(11)]).descriptors, 11);
        assert_eq!(Footprint::median(&[]), Footprint::default());
    }
}
