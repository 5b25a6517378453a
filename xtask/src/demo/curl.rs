//! Asking the adapter by curl, so that the commands that are shown are those that ran. Installs curl where it is missing and
//! Debian's apt can.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell;

/// Where curl is.
pub(super) struct Curl(PathBuf);

/// What came back.
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) body: String,
}

impl Curl {
    /// The machine's curl; Debian's is installed if there is none.
    pub(super) fn find() -> Result<Self> {
        if let Some(curl) = on_path() {
            return Ok(Self(curl));
        }
        println!("this machine has no curl: installing Debian's");
        install().context("cannot install curl by apt-get; install curl and start again")?;
        Ok(Self(on_path().context("curl is installed and yet not on the PATH; add its folder")?))
    }

    /// GETs a URL of loopback; the certificate was made a moment ago by the server itself, so nobody vouches for it.
    pub(super) fn get(&self, url: &str) -> Result<Answer> {
        let mut command = Command::new(&self.0);
        command.args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "10"]);
        let output = command.args(["--write-out", "\n%{http_code}", url]).output().context("cannot start curl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "no answer from {url}: {}", said.trim());
        let text = String::from_utf8(output.stdout).with_context(|| format!("{url} answered with other than text"))?;
        let (body, status) = text.rsplit_once('\n').context("curl gave no status")?;
        Ok(Answer { status: status.to_owned(), body: body.trim_end().to_owned() })
    }
}

impl Answer {
    /// The body, which must be a success and JSON.
    pub(super) fn json(&self) -> Result<Value> {
        ensure!(self.status == "200", "wrong answer: HTTP {}: {}", self.status, self.body);
        serde_json::from_str(&self.body).with_context(|| format!("wrong answer, no JSON: {}", self.body))
    }

    /// The samples as they were sent, on one line; the whole body if there are none.
    pub(super) fn items(&self) -> String {
        let line = self.body.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        line.find("\"items\"")
            .and_then(|start| line.get(start..))
            .map_or(line.clone(), |items| format!("{{ ... {items}"))
    }

    /// The value of its only sample.
    pub(super) fn value(&self) -> Result<String> {
        let json = self.json()?;
        let items = json.get("items").and_then(Value::as_array).map(Vec::as_slice);
        let value = match items {
            Some([sample]) => sample.get("value").and_then(Value::as_str),
            _ => None,
        };
        Ok(value.with_context(|| format!("wrong answer, not one sample: {}", self.body))?.to_owned())
    }
}

/// The command that a person can repeat.
pub(super) fn command(url: &str) -> String {
    format!("curl -sk '{url}'")
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("curl")).find(|path| path.is_file())
}

fn install() -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root {
            command.arg("apt-get");
        }
        shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = ["install", "--yes", "--quiet", "--no-install-recommends", "curl"];
    // A machine that never asked for its package lists does not know the package yet.
    apt(&install).or_else(|_| apt(&["update", "--quiet"]).and_then(|()| apt(&install)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, body: &str) -> Answer {
        Answer { status: status.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn a_value_is_that_of_the_only_sample_of_a_success() {
        let one = r#"{"items":[{"metricName":"a","value":"42"}]}"#;
        assert_eq!(answer("200", one).value().unwrap(), "42");
        for wrong in [
            answer("503", one),
            answer("200", "ok"),
            answer("200", r#"{"items":[]}"#),
            answer("200", r#"{"items":[{"value":"1"},{"value":"2"}]}"#),
            answer("200", r#"{"items":[{"value":42}]}"#),
        ] {
            assert!(wrong.value().unwrap_err().to_string().contains("wrong answer"), "{}", wrong.body);
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Curl::find().unwrap().get(&format!("https://{closed}/")).err().unwrap().to_string();
        assert!(error.contains("no answer from"), "{error}");
    }
}
