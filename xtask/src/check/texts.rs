//! Texts that must not be in the project, and links in its documents that must lead somewhere.

use std::path::Path;

use anyhow::{Result, bail};

/// Paths of one machine, in pieces, so that this file does not hold them.
const FORBIDDEN: [[&str; 2]; 3] = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"]];

pub(super) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for path in super::tracked(root, &["**"])? {
        // Files that are no text have no paths to find.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path);
        faults.extend(forbidden(&text).map(|line| format!("{}:{line} names a path of one machine", name.display())));
        if name.extension().is_some_and(|extension| extension == "md") {
            let directory = path.parent().unwrap_or(root);
            let lost = links(&text).filter(|link| !directory.join(link).exists());
            faults.extend(lost.map(|link| format!("{} links to {link}, which does not exist", name.display())));
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Numbers of the lines that hold a forbidden text.
fn forbidden(text: &str) -> impl Iterator<Item = usize> {
    let forbidden = FORBIDDEN.map(|pieces| pieces.concat());
    let has_one = move |line: &str| forbidden.iter().any(|text| holds_absolute(line, text));
    (1..).zip(text.lines()).filter(move |(_, line)| has_one(line)).map(|(number, _)| number)
}

/// Whether `path` begins somewhere in `line`, and is not the middle of a longer path.
fn holds_absolute(line: &str, path: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || "_.-}".contains(character);
    line.match_indices(path).any(|(start, _)| !line.get(..start).is_some_and(|before| before.ends_with(inside)))
}

/// Files that a Markdown text links to, without anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.filter_map(|target| target.split('#').next());
    files.filter(|target| !target.is_empty() && !target.contains(':') && !target.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_is_found_by_its_line() {
        let home = ["/ho", "me/someone"].concat();
        let text = format!("fine\nsee \"{home}\"\n/tmp/x\n{home}\n$cache{home}\n./a{home}");
        assert_eq!(forbidden(&text).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn links_are_files_without_anchors() {
        let text = "[a](docs/a.md#part) [b](https://example.com) [c](#here) [d](../d) f](g h)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md", "../d"]);
    }
}
