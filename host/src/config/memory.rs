//! Sizes of memory, as they are typed and as the process has them.

use std::fs;

/// For guests where nothing bounds the process.
const UNBOUNDED: usize = 1 << 30;

/// Where Linux says how much memory this process's cgroup may have: version 2, version 1.
const CGROUP_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Half of what the process may have: the rest is for compiled plugins, answers, and the compiler.
pub(super) fn default_budget() -> usize {
    let limit = CGROUP_FILES.iter().find_map(|file| cgroup_limit(&fs::read_to_string(file).ok()?));
    limit.map_or(UNBOUNDED, |bytes| bytes / 2)
}

/// What such a file says; none for `max` and for version 1's word for it, a number beyond any machine.
fn cgroup_limit(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

/// Bytes as a number with one of the units Ki, Mi and Gi.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let wrong = || "write a number and a unit, as in 512Mi or 2Gi".to_owned();
    let shift = match text.get(text.len().saturating_sub(2)..) {
        Some("Ki") => 10,
        Some("Mi") => 20,
        Some("Gi") => 30,
        _ => return Err(wrong()),
    };
    let number: usize = text.get(..text.len() - 2).unwrap_or_default().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("512Mi"), Ok(512 << 20));
        assert_eq!(size("2Gi"), Ok(2 << 30));
        for text in ["", "512", "Mi", "1.5Gi", "-1Mi", "0Mi", "512M", "99999999999Gi", "1\u{e9}"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cgroup_without_a_limit_has_none() {
        assert_eq!(cgroup_limit("1073741824\n"), Some(1 << 30));
        assert_eq!(cgroup_limit("max\n"), None);
        assert_eq!(cgroup_limit("9223372036854771712\n"), None, "version 1");
        assert_eq!(cgroup_limit(""), None);
    }
}
