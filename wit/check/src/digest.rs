//! Digests of tracks: `TRACK.sha256` beside the track's folder, in the form of sha256sum, below a line that says whether
//! the track is released. Released files never change again; those of an unreleased track are recorded by `--bless`, so
//! that no change of the contract goes unseen in a review.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

const UNRELEASED: &str = "# unreleased: `cargo xtask wit --bless` records a change\n";
const RELEASED: &str = "# released: frozen for good\n";

/// The names of the track folders, sorted.
pub(crate) fn tracks(wit: &Path) -> Result<Vec<String>> {
    let mut tracks = Vec::new();
    for entry in fs::read_dir(wit).with_context(|| format!("cannot read {}", wit.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with('v') && wit.join(&name).is_dir() {
            tracks.push(name);
        }
    }
    tracks.sort();
    Ok(tracks)
}

/// Fails if the files of `track` are not those that were recorded.
pub(crate) fn check(wit: &Path, track: &str) -> Result<()> {
    let (status, recorded) = read(wit, track)?;
    if recorded == digests(wit, track)? {
        return Ok(());
    }
    match status {
        Status::Unreleased => bail!(
            "wit/{track} differs from wit/{track}.sha256; if the change is meant, record it with `cargo xtask wit --bless`"
        ),
        Status::Released => bail!(
            "wit/{track} is released, and its files differ from wit/{track}.sha256; undo the change, and put what you need into a new track (see wit/README.md)"
        ),
    }
}

/// Records the files of `track` as they are; refused for a released track.
pub(crate) fn bless(wit: &Path, track: &str) -> Result<()> {
    if file(wit, track).exists() && read(wit, track)?.0 == Status::Released {
        return check(wit, track);
    }
    fs::write(file(wit, track), format!("{UNRELEASED}{}", digests(wit, track)?)).context("cannot record the digest")
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Unreleased,
    Released,
}

fn read(wit: &Path, track: &str) -> Result<(Status, String)> {
    let path = file(wit, track);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("wit/{track} has no recorded digest; record it with `cargo xtask wit --bless`"))?;
    if let Some(recorded) = text.strip_prefix(UNRELEASED) {
        return Ok((Status::Unreleased, recorded.to_owned()));
    }
    match text.strip_prefix(RELEASED) {
        Some(recorded) => Ok((Status::Released, recorded.to_owned())),
        None => bail!(
            "{} does not begin with one of the lines `{}` and `{}`",
            path.display(),
            UNRELEASED.trim(),
            RELEASED.trim()
        ),
    }
}

fn file(wit: &Path, track: &str) -> PathBuf {
    wit.join(format!("{track}.sha256"))
}

/// One line for each WIT file, sorted by name, as `sha256sum TRACK/*.wit` prints them.
fn digests(wit: &Path, track: &str) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(wit.join(track))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut lines = String::new();
    for name in names {
        let bytes = fs::read(wit.join(track).join(&name))?;
        for byte in Sha256::digest(&bytes) {
            write!(lines, "{byte:02x}")?;
        }
        writeln!(lines, "  {track}/{name}")?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_track(content: &str) -> tempfile::TempDir {
        let wit = tempfile::tempdir().unwrap();
        fs::create_dir(wit.path().join("v0.1")).unwrap();
        fs::write(wit.path().join("v0.1/types.wit"), content).unwrap();
        wit
    }

    #[test]
    fn the_projects_tracks_are_as_recorded() {
        let wit = crate::directory();
        let tracks = tracks(&wit).unwrap();
        assert!(tracks.contains(&"v0.1".to_owned()));
        for track in tracks {
            check(&wit, &track).unwrap();
        }
    }

    #[test]
    fn an_unreleased_track_may_be_blessed() {
        let wit = with_track("a");
        assert!(check(wit.path(), "v0.1").is_err(), "no digest yet");
        bless(wit.path(), "v0.1").unwrap();
        check(wit.path(), "v0.1").unwrap();
        let line = fs::read_to_string(wit.path().join("v0.1.sha256")).unwrap();
        assert!(line.ends_with("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  v0.1/types.wit\n"));
        fs::write(wit.path().join("v0.1/types.wit"), "b").unwrap();
        assert!(check(wit.path(), "v0.1").unwrap_err().to_string().contains("--bless"));
        bless(wit.path(), "v0.1").unwrap();
        check(wit.path(), "v0.1").unwrap();
    }

    #[test]
    fn a_released_track_is_frozen() {
        let wit = with_track("a");
        bless(wit.path(), "v0.1").unwrap();
        let path = wit.path().join("v0.1.sha256");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(UNRELEASED, RELEASED)).unwrap();
        check(wit.path(), "v0.1").unwrap();
        for change in ["v0.1/types.wit", "v0.1/more.wit"] {
            fs::write(wit.path().join(change), "b").unwrap();
            assert!(bless(wit.path(), "v0.1").is_err(), "{change}");
            assert!(check(wit.path(), "v0.1").unwrap_err().to_string().contains("released"), "{change}");
        }
    }

    #[test]
    fn a_digest_of_no_status_is_refused() {
        let wit = with_track("a");
        fs::write(wit.path().join("v0.1.sha256"), digests(wit.path(), "v0.1").unwrap()).unwrap();
        assert!(check(wit.path(), "v0.1").is_err());
    }
}
