//! The samples of one config key, as they are asked for. A table is read whole or refused: no sample is served beside a
//! line that is wrong.

use metrics_plugin::{Failure, GroupResource, Label, Number, Selector, custom, external};

use crate::line::{self, Braces, Line, LineError, Problem};

/// The object name that stands for every object.
const EVERY: &str = "*";

/// The samples of external metrics.
#[derive(Debug)]
pub(crate) struct ExternalTable {
    rows: Vec<ExternalRow>,
}

#[derive(Debug)]
struct ExternalRow {
    metric: String,
    labels: Vec<Label>,
    value: Number,
}

/// The samples of custom metrics.
#[derive(Debug)]
pub(crate) struct CustomTable {
    rows: Vec<CustomRow>,
}

#[derive(Debug)]
struct CustomRow {
    metric: custom::Metric,
    object: String,
    labels: Vec<Label>,
    value: Number,
}

/// The rows of one custom metric; at least one.
#[derive(Debug)]
pub(crate) struct MetricRows<'table> {
    metric: custom::Metric,
    rows: Vec<&'table CustomRow>,
}

impl ExternalTable {
    pub(crate) fn parse(text: &str) -> Result<Self, LineError> {
        let lines = line::parse(text)?;
        refuse_repeated(&lines)?;
        let rows = lines.into_iter().map(|line| {
            at_line(line.number, line::check_metric_name(line.name))?;
            Ok(ExternalRow { metric: line.name.to_owned(), labels: line.labels, value: line.value })
        });
        Ok(Self { rows: rows.collect::<Result<_, LineError>>()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each name once, in the order of the lines.
    pub(crate) fn names(&self) -> Vec<String> {
        once(self.rows.iter().map(|row| row.metric.clone()))
    }

    /// The series of `metric` that `series` selects.
    pub(crate) fn select(&self, metric: &str, series: &Selector) -> Result<Vec<external::Sample>, Failure> {
        let mut rows = self.rows.iter().filter(|row| row.metric == metric).peekable();
        if rows.peek().is_none() {
            return Err(Failure::metric_not_found(metric));
        }
        let selected = rows.filter(|row| series.matches(&row.labels));
        Ok(selected
            .map(|row| external::Sample { labels: row.labels.clone(), ..external::Sample::new(row.value) })
            .collect())
    }
}

impl CustomTable {
    pub(crate) fn parse(text: &str) -> Result<Self, LineError> {
        let lines = line::parse(text)?;
        refuse_repeated(&lines)?;
        let rows = lines.into_iter().map(|line| {
            let (metric, object) = at_line(line.number, parse_custom_name(line.name))?;
            Ok(CustomRow { metric, object: object.to_owned(), labels: line.labels, value: line.value })
        });
        Ok(Self { rows: rows.collect::<Result<_, LineError>>()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each metric once, in the order of the lines.
    pub(crate) fn metrics(&self) -> Vec<custom::Metric> {
        once(self.rows.iter().map(|row| row.metric.clone()))
    }

    /// The rows of `metric`, or that there are none.
    pub(crate) fn metric(&self, metric: &custom::Metric) -> Result<MetricRows<'_>, Failure> {
        let rows: Vec<_> = self.rows.iter().filter(|row| row.metric == *metric).collect();
        if rows.is_empty() {
            return Err(Failure::metric_not_found(&format!("{}/{}", metric.resource, metric.name)));
        }
        Ok(MetricRows { metric: metric.clone(), rows })
    }
}

impl MetricRows<'_> {
    /// The one value of `object` that `series` leaves.
    pub(crate) fn sample(&self, object: &str, series: &Selector) -> Result<custom::Sample, Failure> {
        let found = self.sample_if_any(object, series)?;
        found.ok_or_else(|| Failure::object_not_found(&self.metric.name, object))
    }

    /// As [`sample`](Self::sample), or nothing where `object` has no value. A row of the object itself stands before the
    /// row of the same series for every object. Several series that are left are refused: a sum would be wrong for a
    /// gauge, and a choice would be arbitrary.
    pub(crate) fn sample_if_any(&self, object: &str, series: &Selector) -> Result<Option<custom::Sample>, Failure> {
        let mut left = self.of(object, series);
        for shared in self.of(EVERY, series) {
            if left.iter().all(|own| own.labels != shared.labels) {
                left.push(shared);
            }
        }
        match (left.pop(), left.as_slice()) {
            (None, _) => Ok(None),
            (Some(row), []) => Ok(Some(custom::Sample::new(object, row.value))),
            (Some(last), others) => {
                let all: Vec<_> = others.iter().chain([&last]).map(|row| Braces(&row.labels).to_string()).collect();
                Err(Failure::bad_request(format!(
                    "{} `{object}` has several series of `{}`: {}; choose one by the metric's selector",
                    self.metric.resource,
                    self.metric.name,
                    all.join(", ")
                )))
            }
        }
    }

    fn of(&self, object: &str, series: &Selector) -> Vec<&CustomRow> {
        let rows = self.rows.iter().filter(|row| row.object == object && series.matches(&row.labels));
        rows.copied().collect()
    }
}

/// RESOURCE/OBJECT/METRIC.
fn parse_custom_name(name: &str) -> Result<(custom::Metric, &str), Problem> {
    let mut segments = name.splitn(3, '/');
    let (Some(resource), Some(object), Some(metric)) = (segments.next(), segments.next(), segments.next()) else {
        return Err(Problem::CustomName(name.to_owned()));
    };
    let GroupResource { name: plural, .. } = resource.into();
    if plural.is_empty() || object.is_empty() {
        return Err(Problem::CustomName(name.to_owned()));
    }
    line::check_metric_name(metric)?;
    Ok((custom::Metric::new(resource, metric), object))
}

fn refuse_repeated(lines: &[Line<'_>]) -> Result<(), LineError> {
    for (index, line) in lines.iter().enumerate() {
        let before = lines.iter().take(index).find(|before| before.name == line.name && before.labels == line.labels);
        if let Some(before) = before {
            return Err(LineError { line: line.number, problem: Problem::RepeatedSeries(before.number) });
        }
    }
    Ok(())
}

fn at_line<T>(line: usize, result: Result<T, Problem>) -> Result<T, LineError> {
    result.map_err(|problem| LineError { line, problem })
}

fn once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
