//! The forms in which a metric reaches its readers, through the aggregator.

use anyhow::{Result, ensure};
use e2e::{eventually::eventually, requests};
use serde_json::Value;

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words};

const LINES: [&str; 2] = [r#"shown_depth{queue="orders"} 42"#, r#"shown_depth{queue="mail"} 7"#];
const GOT: [&str; 3] = [r#"got_depth{queue="orders"} 42"#, r#"got_depth{queue="mail"} 7"#, "zz_later_than_got_depth 1"];
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The aggregator passes on what it is asked for, and what comes back.
pub(crate) async fn answers_come_in_each_encoding(world: &mut World) -> Result<()> {
    world.apply_static("shown", &LINES, &[]).await?;
    let path = format!("{EXTERNAL}/namespaces/default/shown_depth");
    world.expect_values(&path, &["42", "7"]).await?;
    let missing = format!("{EXTERNAL}/namespaces/default/shown_nowhere");
    for (path, status) in [(&path, 200), (&missing, 404)] {
        let protobuf = requests::get_with(&world.admin, path, &[("Accept", PROTOBUF)]).await?;
        ensure!(protobuf.status == status && protobuf.bytes().starts_with(b"k8s\0"), "{path}: {}", protobuf.text());
        let yaml = requests::get_with(&world.admin, path, &[("Accept", "application/yaml")]).await?;
        ensure!(yaml.status == status && yaml.text().contains("\nkind: "), "{path}: {}", yaml.text());
    }
    let refused = requests::get_with(&world.admin, &path, &[("Accept", "text/html")]).await?;
    let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    ensure!(refused.status == 406 && refused.text().contains(accepted), "{} {}", refused.status, refused.text());
    Ok(())
}

/// `kubectl get METRIC` prints the table of the adapter, of just that metric; the Go adapters' metrics it does not even know.
pub(crate) async fn kubectl_get_prints_an_external_metric(world: &mut World) -> Result<()> {
    world.apply_static("got", &GOT, &[]).await?;
    let arguments = ["get", "got_depth.v1beta1.external.metrics.k8s.io", "--selector=queue=orders"];
    // kubectl knows the metric when the aggregator does, which asks once a minute: see `discovery`.
    let (head, row) = eventually("kubectl prints the metric", PATIENCE * 5, async || {
        let printed = world.kubectl.attempt(&arguments).await?;
        let lines: Vec<&str> = printed.stdout.lines().collect();
        let [head, row] = lines[..] else { anyhow::bail!("a head and one row are expected of {printed:?}") };
        Ok((head.to_owned(), row.to_owned()))
    })
    .await?;
    let head: Vec<&str> = head.split_whitespace().collect();
    ensure!(head == ["METRIC", "LABELS", "VALUE", "WINDOW", "TIMESTAMP"], "{head:?}");
    ensure_words(&row, &["got_depth", "queue=orders", "42", "<none>"])?;
    let wide = world.kubectl.run(&[&arguments[..], &["--output=wide", "--no-headers"]].concat()).await?;
    // The columns have other widths without a head, and the time goes on.
    let words = |row: &str| row.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>();
    ensure!(words(&wide) == words(&row) && wide.lines().count() == 1, "{wide} is not {row}");
    // The list is empty, which kubectl says in its own words.
    let nothing = world.kubectl.attempt(&[&arguments[..2], &["--selector=queue=none"]].concat()).await?;
    ensure!(nothing.success && nothing.stderr.contains("No resources found"), "{nothing:?}");
    let list: Value = serde_json::from_str(&world.kubectl.run(&[&arguments[..], &["-o", "json"]].concat()).await?)?;
    ensure!(list["items"][0]["metricName"] == "got_depth" && list["items"][0]["value"] == "42", "{list}");
    Ok(())
}
