//! Which keys and values labels can have: k8s.io/apimachinery `pkg/api/validate/content/kube.go`, with its error texts and the
//! paths that `NewRequirement` puts before them.

use super::{InvalidSelector, Operator, Requirement};
use crate::model::Quoted;

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
     (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
     end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Bytes in a key's name and in a value.
const MAX_NAME: usize = 63;
/// Bytes in a key's prefix.
const MAX_SUBDOMAIN: usize = 253;

/// `validateLabelKey`. Its path is Go's nil path, which prints as `<nil>`.
pub(super) fn key(key: &str) -> Result<(), InvalidSelector> {
    let faults = key_faults(key);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(InvalidSelector(format!("<nil>: Invalid value: {}: {}", Quoted(key), faults.join("; "))))
    }
}

/// `NewRequirement`: every fault of the key, of the number of values and of each value.
pub(super) fn requirement(requirement: &Requirement) -> Result<(), InvalidSelector> {
    let Requirement { key, operator, values } = requirement;
    let mut faults = Vec::new();
    let key_faults = key_faults(key);
    if !key_faults.is_empty() {
        faults.push(format!("key: Invalid value: {}: {}", Quoted(key), key_faults.join("; ")));
    }
    let count_rule = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => "for 'in', 'notin' operators, values set can't be empty",
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            "values set must be empty for exists and does not exist"
        }
        Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
            "for 'Gt', 'Lt' operators, exactly one value is required"
        }
        _ => "",
    };
    if !count_rule.is_empty() {
        let values: Vec<String> = values.iter().map(|value| Quoted(value).to_string()).collect();
        faults.push(format!("values: Invalid value: [{}]: {count_rule}", values.join(",")));
    }
    if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
        for (position, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
            faults.push(format!(
                "values[{position}]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                Quoted(value)
            ));
        }
    }
    for (position, value) in values.iter().enumerate() {
        let value_faults = value_faults(value);
        if !value_faults.is_empty() {
            let value = Quoted(value);
            faults.push(format!("values[{position}][{key}]: Invalid value: {value}: {}", value_faults.join("; ")));
        }
    }
    match faults.as_slice() {
        [] => Ok(()),
        [fault] => Err(InvalidSelector(fault.clone())),
        faults => Err(InvalidSelector(format!("[{}]", faults.join(", ")))),
    }
}

fn key_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > MAX_SUBDOMAIN {
                    faults.push(format!("prefix part must be no more than {MAX_SUBDOMAIN} bytes"));
                }
                if !is_subdomain(prefix) {
                    faults.push(format!("prefix part {SUBDOMAIN_RULE}"));
                }
            }
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_NAME {
        faults.push(format!("name part must be no more than {MAX_NAME} bytes"));
    }
    if !is_name(name) {
        faults.push(format!("name part {NAME_RULE}"));
    }
    faults
}

fn value_faults(value: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if value.len() > MAX_NAME {
        faults.push(format!("must be no more than {MAX_NAME} bytes"));
    }
    if !value.is_empty() && !is_name(value) {
        faults.push(VALUE_RULE.to_owned());
    }
    faults
}

fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    starts_and_ends(name, |byte| byte.is_ascii_alphanumeric()) && name.bytes().all(inside)
}

fn is_subdomain(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.split('.').all(|label| starts_and_ends(label, edge) && label.bytes().all(|byte| edge(byte) || byte == b'-'))
}

fn starts_and_ends(text: &str, edge: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(&edge) && text.bytes().next_back().is_some_and(&edge)
}
