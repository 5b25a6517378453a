//! JSONPath's `match` and `search` (RFC 9535, sections 2.4.6 and 2.4.7) with a small regular expression engine. It takes
//! I-Regexp (RFC 9485) but for the Unicode categories, `\\p{..}`; an expression that it cannot read matches nothing, as
//! the RFC asks.

use regex_lite::Regex;
use serde_json::Value;
use serde_json_path::functions::{LogicalType, ValueType};

/// Whether the whole text fits the expression.
#[serde_json_path::function(name = "match")]
fn match_function(text: ValueType, expression: ValueType) -> LogicalType {
    fits(&text, &expression, |expression| format!("(?R)^(?:{expression})$"))
}

/// Whether a part of the text fits the expression.
#[serde_json_path::function(name = "search")]
fn search_function(text: ValueType, expression: ValueType) -> LogicalType {
    fits(&text, &expression, |expression| format!("(?R)(?:{expression})"))
}

fn fits(text: &ValueType<'_>, expression: &ValueType<'_>, whole: impl Fn(&str) -> String) -> LogicalType {
    match (text.as_value(), expression.as_value()) {
        (Some(Value::String(text)), Some(Value::String(expression))) => {
            Regex::new(&whole(expression)).is_ok_and(|regex| regex.is_match(text)).into()
        }
        _ => LogicalType::False,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json_path::JsonPath;

    #[test]
    fn match_is_for_the_whole_text_and_search_for_a_part() {
        let document = json!(["order", "orders", "reorder", 1, null]);
        for (path, expected) in [
            ("$[?match(@, 'orders?')]", vec![json!("order"), json!("orders")]),
            ("$[?search(@, 'order')]", vec![json!("order"), json!("orders"), json!("reorder")]),
            ("$[?match(@, 'a|order')]", vec![json!("order")]),
            ("$[?search(@, '[')]", vec![]),
            ("$[?length(@) == 5]", vec![json!("order")]),
        ] {
            let found: Vec<_> = JsonPath::parse(path).unwrap().query(&document).all().into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
