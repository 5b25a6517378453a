//! Ten plugins: five that do what they should, one of them edited all the time and one whose backend dies at times, and five that
//! do their worst.

use anyhow::{Result, ensure};
use e2e::{
    plugins::{Plugin, component},
    traffic::Question,
};
use kube::Client;
use serde_json::{Value, json};

use crate::{backend::Backend, storm::Storm};

pub(crate) const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";

/// What the hostile ones do, in the words of the probe.
const HOSTILE: [&str; 5] = ["traps", "spins", "sleeps", "hogs", "huge"];

const FORTY_TWO: &str = r#""value":"42""#;

/// The plugins' backends.
pub(crate) struct Plugins {
    _steady: Backend,
    pub(crate) dying: Backend,
}

impl Plugins {
    pub(crate) async fn apply(admin: &Client) -> Result<Self> {
        let (steady, dying) = (Backend::start().await?, Backend::start().await?);
        Storm::plugin(0)?.apply(admin).await?;
        Plugin::of_static("soak-external", &["soak_external 42"], &[])?.apply(admin).await?;
        Plugin::of_static("soak-custom", &[], &["services/front/soak_custom 42"])?.apply(admin).await?;
        asking("steady", &steady)?.apply(admin).await?;
        asking("dying", &dying)?.apply(admin).await?;
        for behaviour in HOSTILE {
            hostile(behaviour)?.apply(admin).await?;
        }
        Ok(Self { _steady: steady, dying })
    }

    /// What must be answered well whatever happens.
    pub(crate) fn good_questions(&self) -> Vec<Question> {
        let of_default = |metric: &str| format!("{EXTERNAL}/namespaces/default/{metric}");
        vec![
            Storm::question(),
            Self::steady_question(),
            Question::expecting(&of_default("soak_steady"), FORTY_TWO),
            Question::expecting(&format!("{CUSTOM}/namespaces/default/services/front/soak_custom"), FORTY_TWO),
            Question::expecting(EXTERNAL, "soak_external"),
            Question::expecting(CUSTOM, "services/soak_custom"),
        ]
    }

    /// One of these, for who asks a replica directly.
    pub(crate) fn steady_question() -> Question {
        Question::expecting(&format!("{EXTERNAL}/namespaces/default/soak_external"), FORTY_TWO)
    }

    /// What must be refused in words, and the backend that may be dead.
    pub(crate) fn hostile_questions(&self) -> Vec<Question> {
        let hostile = HOSTILE.map(|behaviour| {
            Question::new(&format!("{EXTERNAL}/namespaces/default/soak_{behaviour}"), |answer| {
                ensure!(answer.status != 200, "a hostile plugin was believed: {}", answer.text());
                ensure!(answer.json()?.pointer("/kind") == Some(&json!("Status")), "{}", answer.text());
                Ok(())
            })
        });
        let dying = Question::new(&format!("{EXTERNAL}/namespaces/default/soak_dying"), |answer| {
            let kind = answer.json()?.pointer("/kind").cloned();
            ensure!(answer.status == 200 || kind == Some(json!("Status")), "{}: {}", answer.status, answer.text());
            ensure!(answer.status != 404, "a claimed metric was not found: {}", answer.text());
            Ok(())
        });
        hostile.into_iter().chain([dying]).collect()
    }

    /// The metric of the backend that dies.
    pub(crate) fn dying_path() -> String {
        format!("{EXTERNAL}/namespaces/default/soak_dying")
    }
}

fn hostile(behaviour: &str) -> Result<Plugin> {
    let metric = format!("soak_{behaviour}");
    let mut configuration = configuration(&metric);
    configuration["limits"] = json!({ "cpu": "50ms", "timeout": "1s", "memory": "32Mi" });
    configuration["config"] = json!({ "behaviour": behaviour, "metrics": metric });
    Ok(Plugin::new(&format!("soak-{behaviour}"), component("probe")?, &configuration))
}

fn asking(name: &str, backend: &Backend) -> Result<Plugin> {
    let (metric, origin) = (format!("soak_{name}"), backend.origin());
    let mut configuration = configuration(&metric);
    configuration["egress"] = json!([origin]);
    configuration["config"] = json!({ "metrics": [{
        "name": metric, "type": "external", "url": format!("{origin}/queues"),
        "items": "$.queues[*]", "value": "$.messages", "labels": { "queue": "$.name" },
    }] });
    Ok(Plugin::new(&format!("soak-{name}"), component("http-json")?, &configuration))
}

fn configuration(metric: &str) -> Value {
    json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": [metric] },
    })
}
