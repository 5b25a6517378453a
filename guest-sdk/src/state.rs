//! Values that outlive a call: of this plugin and this request's namespace alone, in one replica's memory, within a
//! quota. A reload keeps them, a restart of the adapter does not, and another replica has its own.

use std::time::Duration;

use crate::{Failure, host};

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it was set.
    pub value: Vec<u8>,
    /// Time since it was set, by a clock that never jumps; in steps of a millisecond.
    pub age: Duration,
}

/// The value of `key`, if it is set.
pub fn get(key: &str) -> Option<Entry> {
    host::state::get(key).map(|entry| Entry { value: entry.value, age: Duration::from_millis(entry.age_ms) })
}

/// Sets `key`. Fails as `internal` when the plugin's quota is used up.
pub fn set(key: &str, value: &[u8]) -> Result<(), Failure> {
    host::state::set(key, value).map_err(|error| quota(key, &error))
}

/// Sets `key` if it still holds `expected` (`None`: if it is not set); false if another call was first. Fails as
/// `internal` when the plugin's quota is used up.
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, Failure> {
    host::state::compare_and_set(key, expected, value).map_err(|error| quota(key, &error))
}

/// Forgets `key`.
pub fn delete(key: &str) {
    host::state::delete(key);
}

fn quota(key: &str, error: &str) -> Failure {
    Failure::internal(format!("cannot keep state `{key}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_value_outlives_a_run_and_tells_its_age() {
        let host = Host::new();
        assert_eq!(host.run(|| get("seen")), None);
        host.run(|| set("seen", b"1")).unwrap();
        host.advance(Duration::from_millis(1_500));
        assert_eq!(host.run(|| get("seen")), Some(Entry { value: b"1".to_vec(), age: Duration::from_millis(1_500) }));
        host.run(|| delete("seen"));
        assert_eq!(host.run(|| get("seen")), None);
    }

    #[test]
    fn only_the_first_of_two_compare_and_sets_wins() {
        let host = Host::new();
        assert_eq!(host.run(|| compare_and_set("n", None, b"1")), Ok(true));
        assert_eq!(host.run(|| compare_and_set("n", None, b"2")), Ok(false));
        assert_eq!(host.run(|| compare_and_set("n", Some(b"1"), b"2")), Ok(true));
        assert_eq!(host.run(|| compare_and_set("n", Some(b"1"), b"3")), Ok(false));
        assert_eq!(host.run(|| get("n")).map(|entry| entry.value), Some(b"2".to_vec()));
    }

    #[test]
    fn a_used_up_quota_is_a_failure_that_names_the_key() {
        let host = Host::new().state_quota(5);
        assert!(host.run(|| set("a", b"1234")).is_ok());
        let failure = host.run(|| set("b", b"5")).unwrap_err();
        assert!(failure.message.starts_with("cannot keep state `b`: "), "{}", failure.message);
    }
}
