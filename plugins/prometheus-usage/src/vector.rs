//! The answer of an instant query (Prometheus HTTP API v1).

use std::collections::BTreeMap;

use metrics_plugin::Failure;
use serde::Deserialize;

/// A whole answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Vector {
    status: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    #[serde(default)]
    result: Vec<Series>,
}

/// One series with its value: seconds since 1970, and the number as text, which may be NaN or an infinity.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// A value and when it was true, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) value: f64,
    pub(crate) timestamp: u64,
}

impl Vector {
    /// The values by what `key` makes of their series. A value that is no number of this world is none.
    pub(crate) fn points<Key: Ord>(
        self,
        key: impl Fn(&Series) -> Result<Key, Failure>,
    ) -> Result<BTreeMap<Key, Point>, Failure> {
        let data = match self.data {
            Some(data) if self.status == "success" && data.kind == "vector" => data,
            _ => return Err(Failure::unavailable("Prometheus answered with no instant vector; check the queries")),
        };
        let mut points = BTreeMap::new();
        for series in &data.result {
            let Some(point) = series.point() else { continue };
            if points.insert(key(series)?, point).is_some() {
                return Err(Failure::bad_request(
                    "a query answers with several series for one object; sum them by the labels that README.md names",
                ));
            }
        }
        Ok(points)
    }
}

impl Series {
    /// The value of a label that the queries must keep.
    pub(crate) fn label(&self, name: &str) -> Result<&str, Failure> {
        let missing = || Failure::bad_request(format!("a query answers without the label `{name}`; sum by it"));
        self.metric.get(name).map(String::as_str).ok_or_else(missing)
    }

    fn point(&self) -> Option<Point> {
        let (seconds, text) = &self.value;
        let value: f64 = text.parse().ok()?;
        // Neither cores nor bytes are negative; a rate just above 0 may be printed so.
        (value.is_finite() && value >= 0.0).then(|| Point { value, timestamp: (seconds * 1000.0).round() as u64 })
    }
}
