//! The compile cache under bad luck: the real binary on a folder of plugins, with disks that are full, cannot be written, were tampered
//! with or are shared. The plugin is loaded each time, and the log says once what happened.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// The last words of a start, in any order; lines before them tell how it went.
const STARTED: [&str; 2] = ["every plugin that was there at the start has loaded or failed", ": serving address="];

/// A folder with one plugin, and one for the cache.
fn folders() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (plugins, cache) = (folder.path().join("plugins"), folder.path().join("cache"));
    fs::create_dir(&plugins).unwrap();
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/minimal.wasm");
    fs::copy(guest, plugins.join("minimal.wasm")).expect("run `cargo xtask guests` first");
    (folder, plugins, cache)
}

/// The adapter, with whatever the shell does before it becomes the adapter.
fn start(before: &str, plugins: &Path, cache: &Path) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wasm-metrics-adapter")])
        .args(["serve", "--secure-port=0"])
        .arg(format!("--plugin-dir={}", plugins.display()))
        .arg(format!("--compile-cache-dir={}", cache.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the adapter says until its plugins are loaded; then it is ended.
fn log_of(mut adapter: Child) -> Vec<String> {
    let mut log: Vec<String> = Vec::new();
    for line in BufReader::new(adapter.stderr.take().unwrap()).lines() {
        log.push(line.unwrap());
        let is_last = |word: &&str| log.last().is_some_and(|line| line.contains(*word));
        if STARTED.iter().any(is_last) && STARTED.iter().all(|word| log.iter().any(|line| line.contains(word))) {
            adapter.kill().unwrap();
        }
    }
    adapter.wait().unwrap();
    assert!(log.iter().any(|line| line.contains(": loaded plugin=")), "{log:#?}");
    log
}

fn about_the_cache(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.contains("compile cache: ")).collect()
}

/// Each file with its content, but for the key.
fn code_in(cache: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("key")).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_full_disk_costs_time_at_the_next_start_and_nothing_else() {
    let (_folder, plugins, cache) = folders();
    // No file may have more than a few KiB: the key has room, the code has not.
    let log = log_of(start("trap '' XFSZ; ulimit -f 8;", &plugins, &cache));
    let [said] = about_the_cache(&log)[..] else { panic!("{log:#?}") };
    assert!(said.contains("WARN") && said.contains("not written") && said.contains("more room"), "{said}");
    assert_eq!(code_in(&cache), [], "no part of a file is left");
    assert_eq!(about_the_cache(&log_of(start("", &plugins, &cache))), [""; 0], "there is room again");
    assert_eq!(code_in(&cache).len(), 1);
}

#[test]
fn a_root_that_can_only_be_read_is_no_obstacle() {
    let (_folder, plugins, _) = folders();
    // Nobody makes a folder there, whatever their rights.
    let log = log_of(start("", &plugins, Path::new("/proc/compile-cache")));
    let [said] = about_the_cache(&log)[..] else { panic!("{log:#?}") };
    assert!(said.contains("WARN") && said.contains("not used") && said.contains("--compile-cache-dir"), "{said}");
}

#[test]
fn tampered_code_is_compiled_anew_and_replaced() {
    let (_folder, plugins, cache) = folders();
    log_of(start("", &plugins, &cache));
    let before = code_in(&cache);
    let [(path, code)] = &before[..] else { panic!("one plugin, one file") };
    let mut tampered = code.clone();
    tampered[code.len() / 2] ^= 1;
    let truncated = code[..code.len() / 3].to_vec();
    for bad in [tampered, truncated, Vec::new()] {
        fs::write(path, bad).unwrap();
        let log = log_of(start("", &plugins, &cache));
        let said = about_the_cache(&log);
        assert!(said.len() == 1 && said[0].contains("compiled anew"), "{log:#?}");
        assert_eq!(code_in(&cache), before, "as it was");
    }
}

#[test]
fn replicas_share_a_folder() {
    let (_folder, plugins, cache) = folders();
    let replicas = [(); 3].map(|()| start("", &plugins, &cache));
    for log in replicas.map(log_of) {
        assert_eq!(about_the_cache(&log), [""; 0], "{log:#?}");
    }
    assert_eq!(code_in(&cache).len(), 1);
    let log = log_of(start("", &plugins, &cache));
    assert_eq!(about_the_cache(&log), [""; 0], "what they left is good: {log:#?}");
}
