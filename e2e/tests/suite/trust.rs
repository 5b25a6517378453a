//! How long trust lasts: rights that are taken away, tokens and authorities that go, an API server that can't be asked.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    adapter::{Replica, service_host},
    certificates::Authority,
    eventually::eventually,
    requests::{self, Answer},
};
use futures::future::try_join_all;
use kube::Client;
use serde_json::{Value, json};

use crate::world::{EXTERNAL, PATIENCE, World};

/// How long the adapter goes by what it was told, by default.
const REMEMBERED: Duration = Duration::from_secs(10);
/// What the API server itself may take to hear of a change, on a busy machine.
const SLACK: Duration = Duration::from_secs(5);
const CONFIG_MAP: [&str; 2] = ["extension-apiserver-authentication", "--namespace=kube-system"];
const AUTHENTICATED: [&str; 1] = ["system:authenticated"];
const MASTERS: [&str; 1] = ["system:masters"];

/// A plugin of a namespace of its own, readable by `subject`; the path of its metric.
async fn readable_by(world: &World, name: &str, subject: &str) -> Result<String> {
    world.create_namespace(name).await?;
    world.apply_static(name, &[&format!("{name}_depth 1")], &[]).await?;
    let path = format!("{EXTERNAL}/namespaces/{name}/{name}_depth");
    world.expect_values(&path, &["1"]).await?;
    bind(world, name, subject).await?;
    Ok(path)
}

async fn bind(world: &World, namespace: &str, subject: &str) -> Result<()> {
    let (name, namespace) = (subject.replace([':', '=', '-'], ""), format!("--namespace={namespace}"));
    let role = "--clusterrole=wasm-metrics-adapter-reader";
    world.kubectl.run(&["create", "rolebinding", &name, role, subject, &namespace]).await?;
    Ok(())
}

async fn get_by_token(replica: &Replica, token: &str, path: &str) -> Result<Answer> {
    replica.get_anonymously(path, &[("Authorization", &format!("Bearer {token}"))]).await
}

fn ensure_code(answer: &Answer, code: u16) -> Result<()> {
    ensure!(answer.status == code, "{} in place of {code}: {}", answer.status, answer.text());
    Ok(())
}

/// A RoleBinding that is deleted lets nobody in for longer than an answer is remembered.
pub(crate) async fn rights_that_are_taken_away_end_within_seconds(world: &mut World) -> Result<()> {
    let path = readable_by(world, "revoked", "--user=revoked").await?;
    for replica in world.adapter.replicas() {
        eventually("the user may read", PATIENCE, async || {
            ensure_code(&replica.get_as("revoked", &AUTHENTICATED, &path).await?, 200)
        })
        .await?;
    }
    world.kubectl.run(&["delete", "rolebinding", "userrevoked", "--namespace=revoked"]).await?;
    let began = Instant::now();
    for replica in world.adapter.replicas() {
        eventually("the user may not read any more", REMEMBERED + SLACK, async || {
            ensure_code(&replica.get_as("revoked", &AUTHENTICATED, &path).await?, 403)
        })
        .await?;
    }
    world.figures.push(format!("a right that was taken away ended after {:.1} s", began.elapsed().as_secs_f32()));
    Ok(())
}

/// The API server remembers a good token for ten seconds as well, so it may be twice as long.
pub(crate) async fn the_token_of_a_deleted_service_account_ends_within_seconds(world: &mut World) -> Result<()> {
    world.create_namespace("deleted-account").await?;
    world.kubectl.run(&["create", "serviceaccount", "gone", "--namespace=deleted-account"]).await?;
    let path = readable_by(world, "deleted", "--serviceaccount=deleted-account:gone").await?;
    let token = world.kubectl.run(&["create", "token", "gone", "--namespace=deleted-account"]).await?;
    for replica in world.adapter.replicas() {
        eventually("the token may read", PATIENCE, async || {
            ensure_code(&get_by_token(replica, token.trim(), &path).await?, 200)
        })
        .await?;
    }
    world.kubectl.run(&["delete", "serviceaccount", "gone", "--namespace=deleted-account"]).await?;
    let began = Instant::now();
    for replica in world.adapter.replicas() {
        eventually("the token is nobody's", REMEMBERED * 2 + SLACK, async || {
            ensure_code(&get_by_token(replica, token.trim(), &path).await?, 401)
        })
        .await?;
    }
    world
        .figures
        .push(format!("the token of a deleted service account ended after {:.1} s", began.elapsed().as_secs_f32()));
    Ok(())
}

/// An authority that is added to the ConfigMap vouches at once, for users and for front proxies; one that is removed stops in the
/// midst of a connection.
pub(crate) async fn authorities_come_and_go_with_the_config_map(world: &mut World) -> Result<()> {
    let path = readable_by(world, "rotated", "--user=rotated").await?;
    let (clients, proxies) = (Authority::new("new-clients")?, Authority::new("new-front-proxies")?);
    let (user, proxy) = (clients.client("rotated", &[])?, proxies.client("front-proxy-client", &[])?);
    let mut connections: Vec<(Client, &[(&str, &str)])> = Vec::new();
    for replica in world.adapter.replicas() {
        let connect =
            async |identity| world.control_plane.client_of(replica.port(), &service_host(), Some(identity)).await;
        connections.push((connect(&user).await?, &[]));
        connections.push((connect(&proxy).await?, &[("X-Remote-User", "rotated")]));
    }
    let all_answer = async |code| {
        for (client, headers) in &connections {
            ensure_code(&requests::get_with(client, &path, headers).await?, code)?;
        }
        Ok(())
    };
    all_answer(401).await.context("before the authorities are known")?;
    let before = config_map(world).await?;
    let mut both = before.clone();
    for (key, authority) in [("client-ca-file", &clients), ("requestheader-client-ca-file", &proxies)] {
        let bundle = before[key].as_str().with_context(|| format!("{key} is missing"))?;
        both[key] = json!(format!("{}\n{}", bundle.trim(), authority.certificate));
    }
    set_config_map(world, &both).await?;
    eventually("the new authorities are trusted", PATIENCE, async || all_answer(200).await).await?;
    set_config_map(world, &before).await?;
    eventually("they are not trusted any more", PATIENCE, async || all_answer(401).await).await?;
    let old = world.adapter.replicas().first().context("there is a replica")?;
    ensure_code(&old.get(&path).await?, 200).context("the front proxy of before")
}

async fn config_map(world: &World) -> Result<Value> {
    let text = world.kubectl.run(&["get", "configmap", CONFIG_MAP[0], CONFIG_MAP[1], "--output=json"]).await?;
    Ok(serde_json::from_str::<Value>(&text)?["data"].take())
}

async fn set_config_map(world: &World, data: &Value) -> Result<()> {
    let patch = json!({ "data": data }).to_string();
    world.kubectl.run(&["patch", "configmap", CONFIG_MAP[0], CONFIG_MAP[1], "--type=merge", "--patch", &patch]).await?;
    Ok(())
}

/// kube-apiserver hangs for thirty seconds: `system:masters` and health are served throughout, who was asked about is served as
/// long as that is remembered, and everybody else gets 500 in time.
pub(crate) async fn while_the_api_server_is_away_who_is_known_is_served_and_nobody_else(
    world: &mut World,
) -> Result<()> {
    let path = readable_by(world, "outage", "--user=known").await?;
    bind(world, "outage", "--user=newcomer").await?;
    let replicas = world.adapter.replicas();
    for replica in replicas {
        eventually("the user may read", PATIENCE, async || {
            ensure_code(&replica.get_as("known", &AUTHENTICATED, &path).await?, 200)
        })
        .await?;
    }
    let known_since = Instant::now();
    let frozen = world.control_plane.freeze_api_server()?;
    try_join_all(replicas.iter().map(|replica| outage(replica, &path, known_since))).await?;
    drop(frozen);
    for replica in replicas {
        for user in ["known", "newcomer"] {
            eventually("everybody is served again", PATIENCE, async || {
                ensure_code(&replica.get_as(user, &AUTHENTICATED, &path).await?, 200)
            })
            .await?;
        }
    }
    Ok(())
}

async fn outage(replica: &Replica, path: &str, known_since: Instant) -> Result<()> {
    let began = Instant::now();
    ensure_code(&replica.get_as("known", &AUTHENTICATED, path).await?, 200).context("who is remembered")?;
    let throughout = async {
        while began.elapsed() < Duration::from_secs(30) {
            ensure_code(&replica.get_as("root", &MASTERS, path).await?, 200).context("system:masters")?;
            ensure_code(&replica.get_anonymously("/readyz", &[]).await?, 200).context("health")?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    let newcomer = async {
        let answer = replica.get_as("newcomer", &AUTHENTICATED, path).await?;
        ensure_code(&answer, 500)?;
        ensure!(answer.text().contains("whether `newcomer` may do this could not be asked"), "{}", answer.text());
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(10) + SLACK, "the refusal took {took:?}");
        Ok(())
    };
    let token = async {
        let answer = get_by_token(replica, "whoever", path).await?;
        ensure_code(&answer, 500)?;
        ensure!(answer.text().contains("the bearer token could not be reviewed"), "{}", answer.text());
        Ok(())
    };
    let forgotten = async {
        tokio::time::sleep_until((known_since + REMEMBERED + Duration::from_secs(1)).into()).await;
        ensure_code(&replica.get_as("known", &AUTHENTICATED, path).await?, 500)
            .context("who is not remembered any more")
    };
    tokio::try_join!(throughout, newcomer, token, forgotten)?;
    Ok(())
}
