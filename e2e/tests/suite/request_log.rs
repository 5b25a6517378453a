//! What the adapter's log says of a request, for whoever has kube-apiserver's audit log beside it.

use anyhow::{Context as _, Result, ensure};
use e2e::{eventually::eventually, requests};

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

/// A request leaves one line with the audit id of kube-apiserver, answered or not.
pub(crate) async fn each_request_has_a_line_with_its_audit_id(world: &mut World) -> Result<()> {
    let (failed, answered) = ("e2e-failed-f089e36c", "e2e-answered-0d21");
    let path = format!("{EXTERNAL}/namespaces/default/nobody_has_this?labelSelector=secret%3Dselector");
    let answer = requests::get_with(&world.admin, &path, &[("Audit-Id", failed)]).await?;
    ensure!(answer.status == 404, "{}", answer.text());
    ensure!(answer.headers.get("audit-id").is_some_and(|id| id == failed), "{:?}", answer.headers);
    let answer = requests::get_with(&world.admin, EXTERNAL, &[("Audit-Id", answered)]).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    let line = line(world, failed).await?;
    ensure_words(
        &line,
        &[
            r#"user="admin""#,
            r#"forwarded_for="127.0.0.1""#,
            r#"path="/apis/external.metrics.k8s.io/v1beta1/namespaces/default/nobody_has_this""#,
            r#"metric="nobody_has_this""#,
            "status=404",
            r#"reason="metric-not-found""#,
        ],
    )?;
    ensure!(!line.contains("selector"), "the query is nobody's business: {line}");
    ensure_words(&self::line(world, answered).await?, &[r#"group="discovery""#, "status=200"])
}

/// The one line of either replica with this audit id.
async fn line(world: &World, audit_id: &str) -> Result<String> {
    eventually("the line is in a replica's log", PATIENCE, async || {
        let logs = logs(world)?;
        let lines: Vec<&str> = logs.lines().filter(|line| line.contains(audit_id)).collect();
        let [line] = lines[..] else { anyhow::bail!("{} lines", lines.len()) };
        Ok(line.to_owned())
    })
    .await
}

/// What all replicas have logged, also those that others have replaced.
pub(crate) fn logs(world: &World) -> Result<String> {
    let mut logs = String::new();
    for entry in std::fs::read_dir(world.control_plane.folder())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("adapter-") && name.ends_with(".log") {
            logs += &std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(logs)
}
