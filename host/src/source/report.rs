//! Tells a plugin's owner what became of it: an Event on the ConfigMap, or a log line for a file. Never writes the
//! ConfigMap itself, which would wake every watch of it.

use async_trait::async_trait;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use sha2::{Digest, Sha256};

use super::{Report, Reporter};

/// The name under which Events are written; a qualified name, as the API server asks.
const CONTROLLER: &str = "wasm-metrics-adapter.io/adapter";
/// The longest note, in bytes (`NoteLengthLimit` in `pkg/apis/core/validation/events.go` of Kubernetes).
const MAX_NOTE_BYTES: usize = 1024;
/// The longest reportingInstance, in bytes (there too).
const MAX_INSTANCE_BYTES: usize = 128;
/// Bytes of the ConfigMap's name in an Event's name: with a dot and 16 digits it stays within the 253 of any name.
const MAX_NAME_BYTES: usize = 236;

/// Writes Events (events.k8s.io/v1). Needs create and patch on events in the plugins' namespaces.
///
/// An Event's name follows from what it says of which version of which object, so all replicas that load the same
/// version write one Event together, and so does a replica that starts again. (kube's own `Recorder` would merge every
/// `Rejected` into the first one and keep that one's text.)
pub struct EventReporter {
    client: Client,
    instance: String,
}

impl EventReporter {
    /// `instance` is this replica's name, that of its pod.
    pub fn new(client: Client, instance: &str) -> Self {
        Self { client, instance: cut(instance, MAX_INSTANCE_BYTES).to_owned() }
    }
}

#[async_trait]
impl Reporter for EventReporter {
    async fn report(&self, report: Report) {
        log(&report);
        let event = event(&report, &self.instance);
        let events = Api::<Event>::namespaced(self.client.clone(), &report.id.namespace);
        let written = match events.create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => again(&events, &event).await,
            other => other.map(drop),
        };
        if let Err(error) = written {
            tracing::warn!(plugin = %report.id, %error, "the Event for a plugin could not be written; grant create and patch on events of events.k8s.io in its namespace");
        }
    }
}

/// Marks an Event as seen again, by another replica or after another outcome in between. The count stays 2, the least
/// that a series may have: the real one would take a read and a race.
async fn again(events: &Api<Event>, event: &Event) -> kube::Result<()> {
    let series = serde_json::json!({"series": {"count": 2, "lastObservedTime": MicroTime(Timestamp::now())}});
    let name = event.metadata.name.as_deref().unwrap_or_default();
    events.patch(name, &PatchParams::default(), &Patch::Merge(series)).await.map(drop)
}

fn event(report: &Report, instance: &str) -> Event {
    let Report { id, uid, version, good, reason, message } = report;
    let mut said = Sha256::new();
    for text in [&id.namespace, &id.name, uid, version, *reason, message] {
        said.update(text.len().to_be_bytes());
        said.update(text);
    }
    let digest = format!("{:x}", said.finalize());
    let name = cut(&id.name, MAX_NAME_BYTES).trim_end_matches(['.', '-']);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{}", cut(&digest, 16))),
            namespace: Some(id.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Load".to_owned()),
        reason: Some((*reason).to_owned()),
        note: Some(cut(message, MAX_NOTE_BYTES).to_owned()),
        type_: Some(if *good { "Normal" } else { "Warning" }.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(id.namespace.clone()),
            name: Some(id.name.clone()),
            uid: Some(uid.clone()),
            resource_version: Some(version.clone()),
            field_path: None,
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// Writes log lines, for plugins that are files.
#[derive(Debug, Default)]
pub struct LogReporter;

#[async_trait]
impl Reporter for LogReporter {
    async fn report(&self, report: Report) {
        log(&report);
    }
}

fn log(report: &Report) {
    let Report { id, version, good, reason, message, .. } = report;
    if *good {
        tracing::info!(plugin = %id, version, reason, "{message}");
    } else {
        tracing::warn!(plugin = %id, version, reason, "{message}");
    }
}

/// The first `bytes` bytes of `text`, or fewer to end between characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::PluginId, source::fake_api::FakeApi};

    fn report(message: &str) -> Report {
        Report {
            id: PluginId { namespace: "metrics".to_owned(), name: "queue".to_owned() },
            uid: "u-1".to_owned(),
            version: "7".to_owned(),
            good: false,
            reason: "Rejected",
            message: message.to_owned(),
        }
    }

    #[tokio::test]
    async fn one_report_is_one_event_on_the_configmap() {
        let (client, api) = FakeApi::start();
        let server = tokio::spawn(async move {
            let mut api = api;
            let (request, reply) = api.next().await;
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("POST", "/apis/events.k8s.io/v1/namespaces/metrics/events")
            );
            reply.json(201, &request.body);
            request.body
        });
        EventReporter::new(client, "pod-1").report(report("no `limits.memroy`")).await;
        let body = server.await.unwrap();
        assert_eq!(
            body["regarding"],
            json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "metrics", "name": "queue", "uid": "u-1", "resourceVersion": "7"})
        );
        assert_eq!(
            (&body["type"], &body["reason"], &body["note"]),
            (&json!("Warning"), &json!("Rejected"), &json!("no `limits.memroy`"))
        );
        assert_eq!((&body["reportingController"], &body["reportingInstance"]), (&json!(CONTROLLER), &json!("pod-1")));
        assert!(body["eventTime"].is_string() && body["action"].is_string());
    }

    #[tokio::test]
    async fn replicas_write_one_event_together() {
        let (client, api) = FakeApi::start();
        let server = tokio::spawn(async move {
            let mut api = api;
            let (created, reply) = api.next().await;
            reply.status(409, "AlreadyExists");
            let (patched, reply) = api.next().await;
            let name = created.body["metadata"]["name"].as_str().unwrap();
            assert_eq!(
                (patched.method.as_str(), patched.path),
                ("PATCH", format!("/apis/events.k8s.io/v1/namespaces/metrics/events/{name}"))
            );
            assert_eq!(patched.body["series"]["count"], 2);
            assert!(patched.body["series"]["lastObservedTime"].is_string());
            reply.json(200, &created.body);
        });
        EventReporter::new(client, "pod-2").report(report("same")).await;
        server.await.unwrap();
    }

    #[tokio::test]
    async fn an_event_that_may_not_be_written_is_no_failure() {
        let (client, mut api) = FakeApi::start();
        let server = tokio::spawn(async move { api.next().await.1.status(403, "Forbidden") });
        EventReporter::new(client, "pod-1").report(report("same")).await;
        server.await.unwrap();
    }

    #[test]
    fn names_follow_from_what_is_said_and_fit() {
        let name = |report: &Report, instance| event(report, instance).metadata.name.unwrap();
        assert_eq!(name(&report("a"), "pod-1"), name(&report("a"), "pod-2"));
        assert_ne!(name(&report("a"), "pod-1"), name(&report("b"), "pod-1"));
        assert_ne!(name(&report("a"), "pod-1"), name(&Report { version: "8".to_owned(), ..report("a") }, "pod-1"));
        let mut long = report(&"ü".repeat(2000));
        long.id.name = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        let event = event(&long, "pod-1");
        assert!(event.metadata.name.is_some_and(|name| name.len() <= 253 && !name.contains("..")));
        assert_eq!(event.note.map(|note| note.len()), Some(MAX_NOTE_BYTES));
    }
}
