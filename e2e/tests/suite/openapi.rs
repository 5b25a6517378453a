//! What clients read of the types that the adapter serves, through kube-apiserver's aggregation of everybody's documents.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::eventually;

use crate::world::{PATIENCE, World, ensure_words};

const METRIC: &str = "explained_depth.external.metrics.k8s.io";
const LINE: &str = r#"explained_depth{queue="orders"} 1"#;

/// `kubectl explain` of a listed external metric, and of its fields.
pub(crate) async fn kubectl_explains_a_metric(world: &mut World) -> Result<()> {
    world.apply_static("explained", &[LINE], &[]).await?;
    // The aggregator asks for the lists of the adapter once a minute: of its resources, and of its documents.
    eventually("kubectl explain knows the metric", PATIENCE * 5, async || {
        let text = world.kubectl.run(&["explain", METRIC]).await?;
        ensure_words(
            &text,
            &[
                "KIND:       ExternalMetricValueList",
                "VERSION:    v1beta1",
                "items\t<[]ExternalMetricValue> -required-",
            ],
        )
    })
    .await?;
    let field = world.kubectl.run(&["explain", &format!("{METRIC}.items.metricLabels")]).await?;
    ensure_words(&field, &["FIELD: metricLabels <map[string]string>", "what tells this series of the metric"])?;
    let whole = world.kubectl.run(&["explain", METRIC, "--recursive"]).await?;
    ensure_words(&whole, &["timestamp\t<string> -required-", "value\t<string> -required-", "window\t<integer>"])
}

/// kube-apiserver has taken over the documents of all groups, and had nothing to complain about.
pub(crate) async fn the_aggregator_merges_the_documents(world: &mut World) -> Result<()> {
    let types = [
        "io.k8s.metrics.pkg.apis.custom_metrics.v1beta1.MetricValueList",
        "io.k8s.metrics.pkg.apis.custom_metrics.v1beta2.MetricValueList",
        "io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValueList",
    ];
    eventually("the merged document of OpenAPI v2 has the types", PATIENCE * 5, async || {
        let document = world.get("/openapi/v2").await?.json()?;
        let definitions = document["definitions"].as_object().context("there are no definitions")?;
        for name in types {
            ensure!(definitions.contains_key(name), "{name} is missing");
        }
        // What is called so was renamed because two of one name differed.
        let renamed = definitions.keys().find(|name| name.contains("metrics.pkg") && name.contains("_v2"));
        ensure!(renamed.is_none(), "{renamed:?}");
        Ok(())
    })
    .await?;
    let index = world.get("/openapi/v3").await?.json()?;
    for version in ["custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"]
    {
        let url = index["paths"][format!("apis/{version}")]["serverRelativeURL"].as_str();
        let url = url.with_context(|| format!("{version} is not in {index}"))?;
        for answer in world.get_everywhere(url).await? {
            ensure!(answer.status == 200 && answer.json()?["openapi"] == "3.0.0", "{url}: {}", answer.text());
        }
    }
    let log = std::fs::read_to_string(world.control_plane.folder().join("kube-apiserver.log"))?;
    let complaint = log.lines().find(|line| is_complaint(&line.to_lowercase()));
    ensure!(complaint.is_none(), "kube-apiserver complained: {}", complaint.unwrap_or_default());
    Ok(())
}

/// A line about a document of ours. Whether the documents can be had at all is another matter: other cases restart replicas, and
/// the aggregator may ask at just that moment.
fn is_complaint(line: &str) -> bool {
    const ABSENT: [&str; 6] =
        ["responsecode: 503", "connection refused", "connection reset", "eof", "deadline exceeded", "context canceled"];
    let is_ours = line.contains("openapi") && line.contains(".metrics.k8s.io");
    line.starts_with(['e', 'w']) && is_ours && !ABSENT.iter().any(|absent| line.contains(absent))
}
