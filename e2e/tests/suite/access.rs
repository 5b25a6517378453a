//! Who may read metrics, and how a caller proves who they are: through the aggregator, and directly.

use anyhow::{Result, ensure};
use e2e::{
    eventually::eventually,
    requests::{self, Answer},
};
use serde_json::json;

use crate::world::{CUSTOM, EXTERNAL, PATIENCE, World};

const PODS: &str = "/namespaces/guarded/pods/%2A/guarded_rate";
const QUEUE: &str = "/namespaces/guarded/guarded_depth";
const POWERLESS: &str = "powerless";
const POWERLESS_GROUPS: [&str; 1] = ["system:authenticated"];

/// 403 from kube-apiserver through the aggregator, and the same words from the adapter when it is asked itself.
pub(crate) async fn a_user_without_the_right_is_refused_in_the_words_of_kubernetes(world: &mut World) -> Result<()> {
    world.create_namespace("guarded").await?;
    world.apply_static("guarded", &["guarded_depth 1"], &["pods/*/guarded_rate 10"]).await?;
    world.expect_values(&format!("{EXTERNAL}{QUEUE}"), &["1"]).await?;
    let powerless = world.control_plane.user(POWERLESS, &[])?.client().await?;
    for (path, name, resource, words) in [
        (
            format!("{CUSTOM}{PODS}"),
            Some("*"),
            "pods",
            r#"pods.custom.metrics.k8s.io "*" is forbidden: User "powerless" cannot get resource "pods/guarded_rate" in API group "custom.metrics.k8s.io" in the namespace "guarded""#,
        ),
        (
            format!("{EXTERNAL}{QUEUE}"),
            None,
            "guarded_depth",
            r#"guarded_depth.external.metrics.k8s.io is forbidden: User "powerless" cannot list resource "guarded_depth" in API group "external.metrics.k8s.io" in the namespace "guarded""#,
        ),
    ] {
        let mut answers = vec![requests::get(&powerless, &path).await?];
        for replica in world.adapter.replicas() {
            answers.push(replica.get_as(POWERLESS, &POWERLESS_GROUPS, &path).await?);
        }
        for answer in answers {
            ensure_forbidden(&answer, words)?;
            let details = answer.json()?["details"].clone();
            ensure!(details["name"].as_str() == name && details["kind"] == resource, "{details}");
        }
    }
    Ok(())
}

/// The role of `deploy/` for people, bound in one namespace, opens that one and no other.
pub(crate) async fn the_reader_role_grants_just_what_is_needed(world: &mut World) -> Result<()> {
    let arguments = [
        "create",
        "rolebinding",
        "readers",
        "--clusterrole=wasm-metrics-adapter-reader",
        "--user=reader",
        "--namespace=guarded",
    ];
    world.kubectl.run(&arguments).await?;
    let reader = world.control_plane.user("reader", &[])?;
    let kubectl = world.control_plane.kubectl(&reader)?;
    for path in [format!("{CUSTOM}{PODS}"), format!("{EXTERNAL}{QUEUE}")] {
        // RBAC reaches the API server's authorizer a moment after the binding's 201.
        eventually("the reader may read", PATIENCE, async || kubectl.run(&["get", "--raw", &path]).await).await?;
        let elsewhere = path.replace("guarded/", "default/");
        let refused = kubectl.attempt(&["get", "--raw", &elsewhere]).await?;
        ensure!(
            !refused.success && refused.stderr.contains("Forbidden"),
            "{elsewhere}: {}{}",
            refused.stdout,
            refused.stderr
        );
    }
    Ok(())
}

/// `curl -k` without a token: system:anonymous, by way of kube-apiserver and without it.
pub(crate) async fn an_anonymous_request_is_refused(world: &mut World) -> Result<()> {
    let path = format!("{CUSTOM}{PODS}");
    let words = r#"pods.custom.metrics.k8s.io "*" is forbidden: User "system:anonymous" cannot get resource "pods/guarded_rate" in API group "custom.metrics.k8s.io" in the namespace "guarded""#;
    for replica in world.adapter.replicas() {
        ensure_forbidden(&replica.get_anonymously(&path, &[]).await?, words)?;
    }
    Ok(())
}

/// A service account's token: its right decides; a token that nobody signed is 401.
pub(crate) async fn a_bearer_token_is_reviewed(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}{QUEUE}");
    world.kubectl.run(&["create", "serviceaccount", "prometheus", "--namespace=guarded"]).await?;
    let token = world.kubectl.run(&["create", "token", "prometheus", "--namespace=guarded"]).await?;
    let bearer = format!("Bearer {}", token.trim());
    for replica in world.adapter.replicas() {
        let refused = replica.get_anonymously(&path, &[("Authorization", &bearer)]).await?;
        ensure_forbidden(&refused, r#"User "system:serviceaccount:guarded:prometheus" cannot list resource"#)?;
        let unknown = replica.get_anonymously(&path, &[("Authorization", "Bearer not-a-token")]).await?;
        ensure!(unknown.status == 401, "a token of nobody's was answered {}: {}", unknown.status, unknown.text());
    }
    let arguments = [
        "create",
        "rolebinding",
        "scraper",
        "--clusterrole=wasm-metrics-adapter-reader",
        "--serviceaccount=guarded:prometheus",
        "--namespace=guarded",
    ];
    world.kubectl.run(&arguments).await?;
    for replica in world.adapter.replicas() {
        // A refusal may be remembered for ten seconds.
        eventually("the token may read", PATIENCE, async || {
            let answer = replica.get_anonymously(&path, &[("Authorization", &bearer)]).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A certificate that the cluster's own authority signed is a user, with no front proxy between.
pub(crate) async fn a_client_certificate_of_the_cluster_is_a_user(world: &mut World) -> Result<()> {
    let path = format!("{CUSTOM}{PODS}");
    let identity = world.control_plane.authority().client("direct", &["team-a"])?;
    let administrator = world.control_plane.authority().client("root", &["system:masters"])?;
    for replica in world.adapter.replicas() {
        let client =
            world.control_plane.client_of(replica.port(), &e2e::adapter::service_host(), Some(&identity)).await?;
        ensure_forbidden(&requests::get(&client, &path).await?, r#"User "direct" cannot get resource"#)?;
        let client =
            world.control_plane.client_of(replica.port(), &e2e::adapter::service_host(), Some(&administrator)).await?;
        let answer = requests::get(&client, &path).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    }
    Ok(())
}

/// Anybody can write `X-Remote-User: admin`. Only the front proxy's certificate makes it true.
pub(crate) async fn remote_headers_without_the_front_proxy_certificate_are_ignored(world: &mut World) -> Result<()> {
    let path = format!("{CUSTOM}{PODS}");
    let headers = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")];
    let of_the_cluster = world.control_plane.authority().client("front-proxy-client", &[])?;
    let other_name = world.control_plane.front_proxy().client("somebody-else", &[])?;
    let stranger = e2e::certificates::Authority::new("front-proxy-ca")?.client("front-proxy-client", &[])?;
    for replica in world.adapter.replicas() {
        ensure_forbidden(
            &replica.get_anonymously(&path, &headers).await?,
            r#"User "system:anonymous" cannot get resource"#,
        )?;
        let ask = async |identity| -> Result<Answer> {
            let client =
                world.control_plane.client_of(replica.port(), &e2e::adapter::service_host(), Some(identity)).await?;
            requests::get_with(&client, &path, &headers).await
        };
        // Signed by the users' authority: a user of that name, whatever the headers say.
        ensure_forbidden(&ask(&of_the_cluster).await?, r#"User "front-proxy-client" cannot get resource"#)?;
        for identity in [&other_name, &stranger] {
            let answer = ask(identity).await?;
            ensure!(answer.status == 401, "{}: {}", answer.status, answer.text());
        }
    }
    Ok(())
}

fn ensure_forbidden(answer: &Answer, words: &str) -> Result<()> {
    ensure!(answer.status == 403, "{}: {}", answer.status, answer.text());
    let status = answer.json()?;
    ensure!(status["message"].as_str().is_some_and(|message| message.contains(words)), "`{words}` is not in {status}");
    let expected = json!(["Status", "v1", "Failure", "Forbidden", 403]);
    let found = json!([status["kind"], status["apiVersion"], status["status"], status["reason"], status["code"]]);
    ensure!(found == expected, "{status}");
    Ok(())
}
