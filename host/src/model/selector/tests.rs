use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// What k8s.io/apimachinery makes of selectors; e2e/go/golden/selectors prints it.
#[derive(Deserialize)]
struct Golden {
    parsed: Vec<Parsed>,
    validated: Vec<Validated>,
    matched: Vec<Matched>,
}

#[derive(Deserialize)]
struct Parsed {
    text: String,
    error: Option<String>,
    #[serde(default)]
    printed: String,
    #[serde(default)]
    requirements: Vec<GoRequirement>,
}

#[derive(Deserialize)]
struct GoRequirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
struct Validated {
    #[serde(flatten)]
    requirement: GoRequirement,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Matched {
    text: String,
    labels: BTreeMap<String, String>,
    matches: bool,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/selectors.json")).unwrap()
}

impl From<GoRequirement> for Requirement {
    fn from(GoRequirement { key, operator, values }: GoRequirement) -> Self {
        let operator = match operator.as_str() {
            "in" | "=" | "==" => Operator::In,
            "notin" | "!=" => Operator::NotIn,
            "exists" => Operator::Exists,
            "!" => Operator::DoesNotExist,
            "gt" => Operator::GreaterThan,
            "lt" => Operator::LessThan,
            other => panic!("{other}"),
        };
        Self { key, operator, values }
    }
}

#[test]
fn texts_mean_what_they_mean_to_go() {
    let rows = golden().parsed;
    assert!(rows.len() > 800);
    for row in rows {
        let text = row.text.as_str();
        match (Selector::parse(text), row.error) {
            // Go ends words at a zero byte, and at some places the text: nobody means that, so it is refused here.
            (Err(_), None) if text.contains('\0') => {}
            (Err(error), Some(expected)) => assert_eq!(error.0, expected, "{text:?}"),
            (Ok(selector), None) => {
                // In one order and without repetition, where Go keeps both.
                let expected = Selector::new(row.requirements.into_iter().map(Requirement::from).collect());
                assert_eq!(Ok(&selector), expected.as_ref(), "{text:?}");
                // Go keeps the spelling, this selector does not: both must mean the same.
                assert_eq!(Ok(selector), Selector::parse(&row.printed), "{text:?}");
            }
            (outcome, expected) => panic!("{text:?}: {outcome:?}, Go says {expected:?}"),
        }
    }
}

#[test]
fn requirements_are_valid_where_they_are_to_go() {
    for Validated { requirement, error } in golden().validated {
        let requirement = Requirement::from(requirement);
        let outcome = Selector::new(vec![requirement.clone()]);
        assert_eq!(outcome.err().map(|error| error.0), error, "{requirement:?}");
    }
}

#[test]
fn labels_match_as_in_go() {
    let rows = golden().matched;
    assert!(rows.len() > 700);
    for Matched { text, labels, matches } in rows.into_iter().filter(|row| !row.text.contains('\0')) {
        let selector = Selector::parse(&text).unwrap();
        assert_eq!(selector.matches(|key| labels.get(key).map(String::as_str)), matches, "{text:?} of {labels:?}");
    }
}

#[test]
fn selectors_print_in_one_form() {
    for (text, printed) in [
        ("", ""),
        ("z,a", "a,z"),
        ("x==a", "x=a"),
        ("x in (a)", "x=a"),
        ("x notin (a)", "x!=a"),
        ("x in (b,a,b)", "x in (a,b)"),
        ("x notin ( z , y )", "x notin (y,z)"),
        ("! x", "!x"),
        ("x in (a,,b)", "x in (,a,b)"),
        ("x=,y", "x=,y"),
        ("x=a,x=a", "x=a"),
        ("b>1,a<2", "a<2,b>1"),
        ("a=b,foo=bar,q in (x,y-1),r notin (z),s,!u", "a=b,foo=bar,q in (x,y-1),r!=z,s,!u"),
    ] {
        assert_eq!(Selector::parse(text).unwrap().to_string(), printed, "{text:?}");
    }
}

fn any_requirement() -> impl Strategy<Value = Requirement> {
    let key = "([a-z]{1,3}\\.[a-z0-9]{1,3}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,4}[A-Za-z0-9])?";
    let value = "([A-Za-z0-9]([-A-Za-z0-9_.]{0,4}[A-Za-z0-9])?)?";
    let shape = prop_oneof![
        (prop_oneof![Just(Operator::In), Just(Operator::NotIn)], prop::collection::vec(value, 1..4)),
        (prop_oneof![Just(Operator::Exists), Just(Operator::DoesNotExist)], Just(Vec::new())),
        (
            prop_oneof![Just(Operator::GreaterThan), Just(Operator::LessThan)],
            any::<u32>().prop_map(|bound| vec![bound.to_string()])
        ),
    ];
    (key, shape).prop_map(|(key, (operator, values))| Requirement { key, operator, values })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(requirements in prop::collection::vec(any_requirement(), 0..5)) {
        let selector = Selector::new(requirements).unwrap();
        prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn order_does_not_matter(mut requirements in prop::collection::vec(any_requirement(), 0..5)) {
        let selector = Selector::new(requirements.clone());
        requirements.reverse();
        prop_assert_eq!(Selector::new(requirements), selector);
    }

    #[test]
    fn no_text_is_too_odd(text in "[a-c=!<>(), \\x00/é]{0,24}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }
    }

    #[test]
    fn all_requirements_must_hold(
        requirements in prop::collection::vec(any_requirement(), 0..4),
        labels in prop::collection::btree_map("[a-c]", "[a-c0-9]{0,2}", 0..3),
    ) {
        let get = |key: &str| labels.get(key).map(String::as_str);
        let alone = |requirement: &Requirement| Selector::new(vec![requirement.clone()]).unwrap().matches(get);
        let each = requirements.iter().all(alone);
        prop_assert_eq!(Selector::new(requirements).unwrap().matches(get), each);
    }

    #[test]
    fn opposites_never_agree(
        key in "[a-c]",
        values in prop::collection::vec("[a-c]", 1..3),
        labels in prop::collection::btree_map("[a-c]", "[a-c]", 0..3),
    ) {
        let get = |key: &str| labels.get(key).map(String::as_str);
        let matches = |operator, values: &[String]| {
            let requirement = Requirement { key: key.clone(), operator, values: values.to_vec() };
            Selector::new(vec![requirement]).unwrap().matches(get)
        };
        prop_assert_ne!(matches(Operator::In, &values), matches(Operator::NotIn, &values));
        prop_assert_ne!(matches(Operator::Exists, &[]), matches(Operator::DoesNotExist, &[]));
    }
}
