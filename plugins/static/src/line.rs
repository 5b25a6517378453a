//! One sample a line: `NAME{KEY="VALUE",...} QUANTITY`. Blank lines and lines that begin with `#` say nothing.

use std::fmt;

use metrics_plugin::{Label, Number, ParseNumberError};

/// A sample as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line<'text> {
    /// Counted from 1.
    pub(crate) number: usize,
    /// What stands before labels and value.
    pub(crate) name: &'text str,
    /// Sorted by key, each key once.
    pub(crate) labels: Vec<Label>,
    pub(crate) value: Number,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct LineError {
    pub(crate) line: usize,
    pub(crate) problem: Problem,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("`{0}` has no value; write a quantity behind it, as in `{0} 42`")]
    NoValue(String),
    #[error(transparent)]
    Value(#[from] ParseNumberError),
    #[error("the labels of `{0}` are no list of KEY=\"VALUE\" in braces")]
    Labels(String),
    #[error("label `{0}` stands there twice; keep one")]
    RepeatedLabel(String),
    #[error("`{0}` is no metric name; it must not be empty, `.` or `..`, nor hold `/` or `%`")]
    MetricName(String),
    #[error("`{0}` is not RESOURCE/OBJECT/METRIC, as in pods/*/http_requests or deployments.apps/web/rps")]
    CustomName(String),
    #[error("it repeats the series of line {0}; remove one, or tell them apart by a label")]
    RepeatedSeries(usize),
}

/// Every line that says something.
pub(crate) fn parse(text: &str) -> Result<Vec<Line<'_>>, LineError> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| parse_line(number, line).map_err(|problem| LineError { line: number, problem }))
        .collect()
}

/// Whether `name` can be a segment of a request's path.
pub(crate) fn check_metric_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(Problem::MetricName(name.to_owned()));
    }
    Ok(())
}

/// Labels as they are written: `{verb="GET"}`.
pub(crate) struct Braces<'labels>(pub(crate) &'labels [Label]);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|label| format!("{}={:?}", label.key, label.value)).collect();
        write!(formatter, "{{{}}}", pairs.join(","))
    }
}

fn parse_line(number: usize, line: &str) -> Result<Line<'_>, Problem> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside).ok_or_else(|| Problem::Labels(name.to_owned()))?,
        None => (Vec::new(), rest),
    };
    if let Some(twice) = labels.windows(2).find_map(|pair| match pair {
        [first, second] if first.key == second.key => Some(&first.key),
        _ => None,
    }) {
        return Err(Problem::RepeatedLabel(twice.clone()));
    }
    match rest.trim() {
        "" => Err(Problem::NoValue(name.to_owned())),
        value => Ok(Line { number, name, labels, value: value.parse()? }),
    }
}

/// The labels, sorted by key, and what stands behind the closing brace. A comma may stand behind the last label.
fn parse_labels(inside: &str) -> Option<(Vec<Label>, &str)> {
    let mut labels = Vec::new();
    let mut rest = inside.trim_start();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            labels.sort_by(|a: &Label, b: &Label| a.key.cmp(&b.key));
            return Some((labels, behind));
        }
        let (key, behind) = rest.split_once('=')?;
        let key = key.trim();
        if key.is_empty() || key.contains(['{', '}', ',', '"']) || key.contains(char::is_whitespace) {
            return None;
        }
        let (value, behind) = parse_quoted(behind.trim_start())?;
        labels.push(Label::new(key, value));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if behind.starts_with('}') => behind,
            None => return None,
        };
    }
}

/// A text in double quotes, with the escapes of Prometheus text (`\\`, `\"`, `\n`), and what stands behind it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('"')?.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => value.push(match rest.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_name_labels_and_quantity() {
        let text = "# a comment\n\n  queue{b=\"2\", a=\"x \\\"y\\\" \\\\ \\n}\",} 2500m \nplain\t42\n";
        let labels = vec![Label::new("a", "x \"y\" \\ \n}"), Label::new("b", "2")];
        let expected = vec![
            Line { number: 3, name: "queue", labels, value: "2500m".parse().unwrap() },
            Line { number: 4, name: "plain", labels: vec![], value: Number::Integer(42) },
        ];
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse("empty{} 1").map(|lines| lines[0].labels.clone()), Ok(vec![]));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, expected) in [
            ("a", "line 1: `a` has no value; write a quantity behind it, as in `a 42`"),
            ("a 1\n\nb{c=\"d\"}", "line 3: `b` has no value; write a quantity behind it, as in `b 42`"),
            ("a many", "line 1: `many` is no number; write a Kubernetes quantity such as 42, 2500m, 1.5Gi or 1e3"),
            ("a{b=c} 1", "line 1: the labels of `a` are no list of KEY=\"VALUE\" in braces"),
            ("a{b=\"c\" 1", "line 1: the labels of `a` are no list of KEY=\"VALUE\" in braces"),
            ("a{b=\"c} 1", "line 1: the labels of `a` are no list of KEY=\"VALUE\" in braces"),
            ("a{=\"c\"} 1", "line 1: the labels of `a` are no list of KEY=\"VALUE\" in braces"),
            ("a{b=\"\\x\"} 1", "line 1: the labels of `a` are no list of KEY=\"VALUE\" in braces"),
            ("a{b=\"1\",b=\"2\"} 1", "line 1: label `b` stands there twice; keep one"),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
        }
        assert!(parse("a 1 1700000000").is_err(), "a timestamp is not part of the form");
    }
}
