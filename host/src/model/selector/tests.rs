use proptest::prelude::*;

use super::*;

/// What `labels.Parse` of k8s.io/apimachinery v0.36.2 says to each text.
const GOLDEN: &str = include_str!("../../../tests/golden/selectors.json");

#[test]
fn texts_mean_what_they_mean_to_go() {
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(GOLDEN).unwrap();
    assert!(rows.len() > 60);
    for row in rows {
        let text = row["text"].as_str().unwrap();
        match (Selector::parse(text), row.get("error"), row.get("printed")) {
            (Err(error), Some(expected), None) => assert_eq!(error.0, expected.as_str().unwrap(), "{text:?}"),
            // Go keeps the spelling, this selector does not: both must mean the same.
            (Ok(selector), None, Some(printed)) => {
                assert_eq!(Ok(selector), Selector::parse(printed.as_str().unwrap()), "{text:?}");
            }
            (outcome, ..) => panic!("{text:?}: {outcome:?}, Go says {row:?}"),
        }
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

#[test]
fn labels_match_as_in_go() {
    let labels = [("app", "web"), ("shards", "12"), ("empty", ""), ("word", "twelve")];
    for (text, expected) in [
        ("", true),
        ("app=web", true),
        ("app=api", false),
        ("absent=x", false),
        ("app in (api,web)", true),
        ("app!=api", true),
        ("app!=web", false),
        ("absent!=x", true),
        ("absent notin (x,y)", true),
        ("app", true),
        ("absent", false),
        ("!app", false),
        ("!absent", true),
        ("empty=", true),
        ("absent=", false),
        ("shards>11", true),
        ("shards>12", false),
        ("shards<13", true),
        ("shards<12", false),
        ("absent>1", false),
        ("absent<1", false),
        ("word>1", false),
        ("app=web,shards>20", false),
    ] {
        let get = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        assert_eq!(Selector::parse(text).unwrap().matches(get), expected, "{text:?}");
    }
}

#[test]
fn requirements_are_validated_however_they_come() {
    let requirement = |key: &str, operator, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    for bad in [
        requirement("a b", Operator::Exists, &[]),
        requirement("a", Operator::Exists, &["x"]),
        requirement("a", Operator::In, &[]),
        requirement("a", Operator::NotIn, &["x,y"]),
        requirement("a", Operator::GreaterThan, &["1", "2"]),
        requirement("a", Operator::LessThan, &["one"]),
        requirement(&"a".repeat(64), Operator::Exists, &[]),
        requirement("a", Operator::In, &[&"a".repeat(64)]),
        requirement(&format!("{}/a", "a".repeat(254)), Operator::Exists, &[]),
    ] {
        assert!(Selector::new(vec![bad.clone()]).is_err(), "{bad:?}");
    }
    let good = vec![requirement("b", Operator::In, &["y", "x", "y"]), requirement("a", Operator::Exists, &[])];
    assert_eq!(Selector::new(good).unwrap().to_string(), "a,b in (x,y)");
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
}
