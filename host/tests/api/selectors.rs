//! Selectors in queries, against the table that e2e/go/golden/selectors prints: what is no selector is 400 in Go's words, and a
//! metric value names its series in a `metav1.LabelSelector` that means what the query says.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{CUSTOM, EXTERNAL, catalog, fixture};

/// Bytes of a message.
const MESSAGE_BYTES: usize = 512;

#[derive(Deserialize)]
struct Golden {
    parsed: Vec<Parsed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parsed {
    text: String,
    error: Option<String>,
    #[serde(default)]
    requirements: Vec<Requirement>,
    label_selector_error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

/// The rows whose text a query can carry to both: Go ends words at a zero byte, which is refused here.
fn golden() -> Vec<Parsed> {
    let golden: Golden = serde_json::from_str(include_str!("../golden/selectors.json")).unwrap();
    golden.parsed.into_iter().filter(|row| !row.text.contains('\0')).collect()
}

fn with(url: &str, parameter: &str, text: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(parameter, text).finish();
    format!("{url}?{query}")
}

#[tokio::test]
async fn what_is_no_selector_is_refused_in_the_words_of_go() {
    let fixture = fixture(catalog());
    let (custom, external) =
        (format!("{CUSTOM}/namespaces/ns/pods/p/qps"), format!("{EXTERNAL}/namespaces/ns/my-external-metric"));
    for Parsed { text, error, .. } in golden() {
        let Some(error) = error else { continue };
        for url in [
            with(&custom, "labelSelector", &text),
            with(&custom, "metricLabelSelector", &text),
            with(&external, "labelSelector", &text),
        ] {
            let (code, body) = fixture.get(&url).await;
            let status: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((code.as_u16(), &status["reason"]), (400, &Value::from("BadRequest")), "{url}");
            let message = status["message"].as_str().unwrap();
            // Messages are of one line here, and short enough for `kubectl describe hpa`.
            match message.strip_suffix("...") {
                Some(begin) if error.len() > MESSAGE_BYTES => assert!(error.starts_with(begin), "{url}: {message}"),
                _ => assert_eq!(message, error.replace(char::is_control, " "), "{url}"),
            }
        }
    }
}

#[tokio::test]
async fn values_name_the_series_that_were_asked_for() {
    let fixture = fixture(catalog());
    for Parsed { text, error, requirements, label_selector_error } in golden() {
        if error.is_some() {
            continue;
        }
        let (code, body) =
            fixture.get(&with(&format!("{CUSTOM}/namespaces/ns/pods/p/qps"), "metricLabelSelector", &text)).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        match label_selector_error {
            // Go has no word for `!=` there, though NotIn is one.
            Some(refused) if !refused.starts_with("\"!=\"") => {
                assert_eq!((code.as_u16(), answer["message"].as_str()), (400, Some(refused.as_str())), "{text:?}");
            }
            // A later comparison of integers that Go did not come to after a `!=`.
            Some(_) if requirements.iter().any(|one| matches!(one.operator.as_str(), "gt" | "lt")) => {
                assert_eq!(code.as_u16(), 400, "{text:?}");
            }
            // Where one key must have two values, Go names the last alone; then nothing can be selected anyway.
            _ => {
                let expected: BTreeSet<Requirement> = requirements.into_iter().map(Requirement::normal).collect();
                assert_eq!(named(&answer["items"][0]["metric"]["selector"]), expected, "{text:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_must_be_an_integer_is_one() {
    let fixture = fixture(catalog());
    for (query, expected) in [
        ("limit=", r#"strconv.ParseInt: parsing "": invalid syntax"#),
        ("limit=ten", r#"strconv.ParseInt: parsing "ten": invalid syntax"#),
        ("limit=%C2%A0", r#"strconv.ParseInt: parsing "\u00a0": invalid syntax"#),
        ("limit=1&limit=ten", ""),
        ("limit=-1&timeoutSeconds=0", ""),
        (
            "timeoutSeconds=9223372036854775808",
            r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#,
        ),
        // In this order.
        ("labelSelector=%21&limit=a&timeoutSeconds=b", r#"strconv.ParseInt: parsing "b": invalid syntax"#),
    ] {
        for url in
            [format!("{CUSTOM}/namespaces/ns/pods/p/qps"), format!("{EXTERNAL}/namespaces/ns/my-external-metric")]
        {
            let (code, body) = fixture.get(&format!("{url}?{query}")).await;
            let status: Value = serde_json::from_str(&body).unwrap();
            if expected.is_empty() {
                assert_eq!(code.as_u16(), 200, "{url}?{query}");
            } else {
                assert_eq!((code.as_u16(), status["message"].as_str()), (400, Some(expected)), "{url}?{query}");
            }
        }
    }
}

impl Requirement {
    /// In the words of `metav1.LabelSelectorRequirement`.
    fn normal(self) -> Self {
        let operator = match self.operator.as_str() {
            "in" | "=" | "==" => "In",
            "notin" | "!=" => "NotIn",
            "exists" => "Exists",
            "!" => "DoesNotExist",
            other => other,
        };
        Self { operator: operator.to_owned(), ..self }
    }
}

fn named(selector: &Value) -> BTreeSet<Requirement> {
    let labels = selector["matchLabels"].as_object().into_iter().flatten().map(|(key, value)| Requirement {
        key: key.clone(),
        operator: "In".to_owned(),
        values: vec![value.as_str().unwrap().to_owned()],
    });
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    labels.chain(expressions.map(|expression| Requirement::deserialize(expression).unwrap())).collect()
}
