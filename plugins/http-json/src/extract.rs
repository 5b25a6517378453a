//! From a JSON document to readings: which nodes are values, what they are called, and how several become one. Values
//! stay decimal from the backend's text to the answer, so no digit changes on the way.

use std::cmp::Ordering;

use metrics_plugin::{Label, Quantity, Selector, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unix times from here on are milliseconds: as seconds it would be the year 5138.
const FIRST_MILLISECONDS: f64 = 1e11;

/// What to take out of a document.
#[derive(Debug)]
pub(crate) struct Extraction {
    /// The nodes that the other paths start from; the whole document if absent.
    pub(crate) items: Option<JsonPath>,
    pub(crate) value: JsonPath,
    pub(crate) object: Option<JsonPath>,
    pub(crate) labels: Vec<(String, LabelSource)>,
    pub(crate) timestamp: Option<JsonPath>,
    pub(crate) aggregate: Aggregate,
    /// What every value is multiplied by.
    pub(crate) scale: Option<Quantity>,
}

/// Where a label's value comes from.
#[derive(Debug)]
pub(crate) enum LabelSource {
    Literal(String),
    Path(JsonPath),
}

/// How the values of one series become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aggregate {
    /// They don't.
    #[default]
    None,
    Sum,
    Avg,
    Min,
    Max,
    /// How many nodes the path matches, whatever they are.
    Count,
    /// The last in the document.
    Last,
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) object: Option<String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) value: Quantity,
    pub(crate) timestamp: Option<Timestamp>,
}

/// Why a document has no readings.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ExtractError {
    #[error("its `{field}` is {kind} where {expected} is wanted; check the path")]
    Kind { field: String, kind: &'static str, expected: &'static str },
    #[error("its `{0}` matches several nodes of one item; make the path exact, or set `items`")]
    Several(String),
    #[error("its value is out of range")]
    OutOfRange,
}

impl Extraction {
    /// Every reading of the document, not aggregated yet. Nodes that are null are no values.
    pub(crate) fn readings(&self, document: &Value) -> Result<Vec<Reading>, ExtractError> {
        let items = match &self.items {
            Some(items) => items.query(document).all(),
            None => vec![document],
        };
        let mut readings = Vec::new();
        for item in items {
            let nodes = self.value.query(item).all();
            if nodes.is_empty() {
                continue;
            }
            let object = self.object.as_ref().map(|path| text_at("object", path, item)).transpose()?.flatten();
            let labels = self.labels_of(item)?;
            let timestamp = self.timestamp.as_ref().map(|path| timestamp_at(path, item)).transpose()?.flatten();
            for node in nodes {
                if let Some(value) = self.value_of(node)? {
                    readings.push(Reading { object: object.clone(), labels: labels.clone(), value, timestamp });
                }
            }
        }
        Ok(readings)
    }

    /// What is left of `readings` for `series`, with one reading for each object and label set if they are aggregated.
    pub(crate) fn aggregate(&self, readings: Vec<Reading>, series: &Selector) -> Result<Vec<Reading>, ExtractError> {
        let selected = readings.into_iter().filter(|reading| series.matches(&reading.labels));
        if self.aggregate == Aggregate::None {
            return Ok(selected.collect());
        }
        let mut groups: Vec<Vec<Reading>> = Vec::new();
        for reading in selected {
            let is_same = |group: &&mut Vec<Reading>| {
                group.first().is_some_and(|first| first.object == reading.object && first.labels == reading.labels)
            };
            match groups.iter_mut().find(is_same) {
                Some(group) => group.push(reading),
                None => groups.push(vec![reading]),
            }
        }
        groups.into_iter().filter_map(|group| self.aggregate_group(&group).transpose()).collect()
    }

    /// One reading for a group, dated by its oldest value; none for no values.
    fn aggregate_group(&self, group: &[Reading]) -> Result<Option<Reading>, ExtractError> {
        let [first, ..] = group else { return Ok(None) };
        let mut values = group.iter().map(|reading| reading.value);
        let value = match self.aggregate {
            Aggregate::None | Aggregate::Last => values.next_back(),
            Aggregate::Min => values.min_by(compare),
            Aggregate::Max => values.max_by(compare),
            Aggregate::Sum | Aggregate::Count => {
                sum(values).and_then(|(digits, exponent)| Quantity::fit(digits, exponent))
            }
            Aggregate::Avg => sum(values).and_then(|sum| divide(sum, group.len())),
        };
        let timestamp = match self.aggregate {
            Aggregate::Last => group.last().and_then(|reading| reading.timestamp),
            _ => group.iter().filter_map(|reading| reading.timestamp).min(),
        };
        Ok(Some(Reading { value: value.ok_or(ExtractError::OutOfRange)?, timestamp, ..first.clone() }))
    }

    fn value_of(&self, node: &Value) -> Result<Option<Quantity>, ExtractError> {
        if self.aggregate == Aggregate::Count {
            return Ok(Some(Quantity { digits: 1, exponent: 0 }));
        }
        let wrong = || ExtractError::Kind { field: "value".to_owned(), kind: kind(node), expected: "a number" };
        let text = match node {
            Value::Null => return Ok(None),
            Value::Number(number) => number.as_str(),
            Value::String(text) => text.trim(),
            _ => return Err(wrong()),
        };
        let value: Quantity = text.parse().map_err(|_| wrong())?;
        let scaled = self.scale.map_or(Some(value), |scale| multiply(value, scale));
        scaled.map(Some).ok_or(ExtractError::OutOfRange)
    }

    /// A label whose path matches nothing, or null, is left out.
    fn labels_of(&self, item: &Value) -> Result<Vec<Label>, ExtractError> {
        let mut labels = Vec::new();
        for (key, source) in &self.labels {
            let value = match source {
                LabelSource::Literal(text) => Some(text.clone()),
                LabelSource::Path(path) => text_at(&format!("labels.{key}"), path, item)?,
            };
            labels.extend(value.map(|value| Label::new(key, value)));
        }
        Ok(labels)
    }
}

/// The only node that `path` matches.
fn node_at<'item>(field: &str, path: &JsonPath, item: &'item Value) -> Result<Option<&'item Value>, ExtractError> {
    match path.query(item).all().as_slice() {
        [] | [Value::Null] => Ok(None),
        [node] => Ok(Some(node)),
        _ => Err(ExtractError::Several(field.to_owned())),
    }
}

fn text_at(field: &str, path: &JsonPath, item: &Value) -> Result<Option<String>, ExtractError> {
    match node_at(field, path, item)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(node @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(node.to_string())),
        Some(node) => Err(ExtractError::Kind { field: field.to_owned(), kind: kind(node), expected: "a text" }),
    }
}

/// RFC 3339 text, or Unix time as a number: seconds, or milliseconds where that is the only sensible reading.
fn timestamp_at(path: &JsonPath, item: &Value) -> Result<Option<Timestamp>, ExtractError> {
    let Some(node) = node_at("timestamp", path, item)? else { return Ok(None) };
    let milliseconds = match node {
        Value::Number(number) => number.as_f64().map(|time| if time < FIRST_MILLISECONDS { time * 1e3 } else { time }),
        Value::String(text) => {
            OffsetDateTime::parse(text, &Rfc3339).ok().map(|time| (time.unix_timestamp_nanos() / 1_000_000) as f64)
        }
        _ => None,
    };
    match milliseconds {
        Some(milliseconds) if milliseconds >= 0.0 => Ok(Some(milliseconds as Timestamp)),
        _ => {
            let expected = "a Unix time or an RFC 3339 text";
            Err(ExtractError::Kind { field: "timestamp".to_owned(), kind: kind(node), expected })
        }
    }
}

fn kind(node: &Value) -> &'static str {
    match node {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number out of range",
        Value::String(_) => "a text that is none",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Digits of both at the smaller exponent; none if they are too far apart for that.
fn align(a: (i128, i32), b: (i128, i32)) -> Option<(i128, i128, i32)> {
    let exponent = a.1.min(b.1);
    let widen = |(digits, from): (i128, i32)| {
        if digits == 0 {
            return Some(0);
        }
        digits.checked_mul(10_i128.checked_pow(u32::try_from(from - exponent).ok()?)?)
    };
    Some((widen(a)?, widen(b)?, exponent))
}

fn wide(quantity: Quantity) -> (i128, i32) {
    (quantity.digits.into(), quantity.exponent.into())
}

fn sum(mut values: impl Iterator<Item = Quantity>) -> Option<(i128, i32)> {
    values.try_fold((0, 0), |total, value| {
        let (a, b, exponent) = align(total, wide(value))?;
        Some((a.checked_add(b)?, exponent))
    })
}

fn multiply(a: Quantity, b: Quantity) -> Option<Quantity> {
    Quantity::fit(i128::from(a.digits) * i128::from(b.digits), i32::from(a.exponent) + i32::from(b.exponent))
}

/// To the nano, rounded away from zero as Kubernetes rounds; exact where it comes out even.
fn divide((digits, exponent): (i128, i32), count: usize) -> Option<Quantity> {
    const DECIMALS: i32 = 9;
    let count = i128::try_from(count).ok()?;
    let widened = digits.checked_mul(10_i128.pow(9))?;
    let rounded = widened / count + (widened % count).signum();
    Quantity::fit(rounded, exponent - DECIMALS)
}

fn compare(a: &Quantity, b: &Quantity) -> Ordering {
    match align(wide(*a), wide(*b)) {
        Some((a, b, _)) => a.cmp(&b),
        // Too far apart to write side by side: the exponents decide between numbers of one sign.
        None => {
            let magnitude = |q: &Quantity| (q.digits.signum(), i64::from(q.exponent) * q.digits.signum());
            magnitude(a).cmp(&magnitude(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    fn extraction(items: Option<&str>, value: &str, aggregate: Aggregate) -> Extraction {
        let (items, value) = (items.map(path), path(value));
        Extraction { items, value, object: None, labels: Vec::new(), timestamp: None, aggregate, scale: None }
    }

    fn read(extraction: &Extraction, document: &str) -> Result<Vec<Reading>, ExtractError> {
        let document = serde_json::from_str(document).unwrap();
        extraction.aggregate(extraction.readings(&document)?, &Selector::all())
    }

    fn values(extraction: &Extraction, document: &str) -> Vec<Quantity> {
        read(extraction, document).unwrap().into_iter().map(|reading| reading.value).collect()
    }

    fn quantities(texts: &[&str]) -> Vec<Quantity> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn numbers_keep_their_digits_and_texts_are_read_as_quantities() {
        let all = extraction(None, "$[*]", Aggregate::None);
        let document = r#"[0.1, 9007199254740993, 1e3, -2.50, "42", " 2500m ", null]"#;
        assert_eq!(values(&all, document), quantities(&["0.1", "9007199254740993", "1e3", "-2.5", "42", "2500m"]));
    }

    #[test]
    fn what_is_no_number_is_told_by_its_kind() {
        let value = extraction(None, "$.v", Aggregate::None);
        for (document, expected) in [
            (r#"{"v": "many"}"#, "its `value` is a text that is none where a number is wanted; check the path"),
            (r#"{"v": [1]}"#, "its `value` is a list where a number is wanted; check the path"),
            (r#"{"v": true}"#, "its `value` is true or false where a number is wanted; check the path"),
            (r#"{"v": 1e999}"#, "its `value` is a number out of range where a number is wanted; check the path"),
        ] {
            assert_eq!(read(&value, document).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn each_aggregate_reckons_exactly() {
        for (aggregate, expected) in [
            (Aggregate::Sum, "0.6"),
            (Aggregate::Avg, "0.2"),
            (Aggregate::Min, "0.1"),
            (Aggregate::Max, "0.3"),
            (Aggregate::Count, "3"),
            (Aggregate::Last, "0.2"),
        ] {
            let [value] = values(&extraction(None, "$[*]", aggregate), "[0.1, 0.3, 0.2]").try_into().unwrap();
            let expected: Quantity = expected.parse().unwrap();
            assert_eq!(compare(&value, &expected), Ordering::Equal, "{aggregate:?} is {value:?}");
        }
        let [third] = values(&extraction(None, "$[*]", Aggregate::Avg), "[1, 0, 0]").try_into().unwrap();
        assert_eq!(third, Quantity { digits: 333_333_334, exponent: -9 });
        assert_eq!(values(&extraction(None, "$[*]", Aggregate::Sum), "[]"), []);
    }

    #[test]
    fn numbers_far_apart_still_compare() {
        let sorted = quantities(&["-1e100", "-1", "-1e-100", "0", "1e-100", "1", "1e100"]);
        for pair in sorted.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn a_scale_multiplies_exactly() {
        let scaled = Extraction { scale: "0.001".parse().ok(), ..extraction(None, "$", Aggregate::None) };
        assert_eq!(values(&scaled, "1234567"), [Quantity { digits: 1_234_567, exponent: -3 }]);
    }

    #[test]
    fn items_carry_their_labels_object_and_time() {
        let labels = vec![
            ("queue".to_owned(), LabelSource::Path(path("$.name"))),
            ("shard".to_owned(), LabelSource::Path(path("$.shard"))),
            ("source".to_owned(), LabelSource::Literal("mq".to_owned())),
        ];
        let object = Some(path("$.pod"));
        let timestamp = Some(path("$.at"));
        let extraction =
            Extraction { labels, object, timestamp, ..extraction(Some("$.queues[?@.n > 0]"), "$.n", Aggregate::None) };
        let document = r#"{"queues": [
            {"name": "orders", "pod": "a", "n": 7, "at": "2023-11-14T23:13:20+01:00", "shard": 3},
            {"name": "mail", "pod": "b", "n": 1, "at": 1700000000.5},
            {"name": "idle", "pod": "c", "n": 0, "at": 1700000000000}
        ]}"#;
        let readings = read(&extraction, document).unwrap();
        let reading = |object: &str, labels: Vec<Label>, value: i64, timestamp| Reading {
            object: Some(object.to_owned()),
            labels,
            value: Quantity { digits: value, exponent: 0 },
            timestamp: Some(timestamp),
        };
        let orders = vec![Label::new("queue", "orders"), Label::new("shard", "3"), Label::new("source", "mq")];
        let mail = vec![Label::new("queue", "mail"), Label::new("source", "mq")];
        assert_eq!(readings, [reading("a", orders, 7, 1_700_000_000_000), reading("b", mail, 1, 1_700_000_000_500)]);
    }

    #[test]
    fn aggregates_are_for_each_label_set_dated_by_the_oldest() {
        let labels = vec![("zone".to_owned(), LabelSource::Path(path("$.zone")))];
        let timestamp = Some(path("$.at"));
        let extraction = Extraction { labels, timestamp, ..extraction(Some("$[*]"), "$.n", Aggregate::Sum) };
        let document = r#"[{"zone":"a","n":1,"at":20},{"zone":"b","n":2},{"zone":"a","n":4,"at":10}]"#;
        let summary: Vec<_> = read(&extraction, document)
            .unwrap()
            .into_iter()
            .map(|reading| (reading.labels[0].value.clone(), reading.value.digits, reading.timestamp))
            .collect();
        assert_eq!(summary, [("a".to_owned(), 5, Some(10_000)), ("b".to_owned(), 2, None)]);
    }

    #[test]
    fn an_ambiguous_label_is_refused() {
        let labels = vec![("queue".to_owned(), LabelSource::Path(path("$..name")))];
        let extraction = Extraction { labels, ..extraction(None, "$.n", Aggregate::None) };
        let error = read(&extraction, r#"{"n":1,"a":{"name":"x"},"b":{"name":"y"}}"#).unwrap_err();
        assert_eq!(error, ExtractError::Several("labels.queue".to_owned()));
    }
}
