//! The clients that real consumers are built from: those of k8s.io/metrics in Go, through kube-apiserver, in JSON and in protobuf.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use e2e::{
    consumers::{self, Answer, Item, Question},
    plugins,
};

use crate::world::{CUSTOM, EXTERNAL, World, ensure_words};

/// What the clients are told to prefer, and are answered in.
const FORMS: [&str; 2] = ["application/json", "application/vnd.kubernetes.protobuf"];

/// The HPA controller's own client, which finds the version by discovery, and those of both versions.
const CUSTOM_CLIENTS: [(&str, &str); 3] =
    [("custom", "v1beta2"), ("custom/v1beta1", "v1beta1"), ("custom/v1beta2", "v1beta2")];

/// One object in a namespace, all that a selector selects, one without a namespace, and the namespace itself.
pub(crate) async fn custom_metrics_are_read_in_both_versions(world: &mut World) -> Result<()> {
    stage(world).await?;
    let service =
        Item { selector: "verb=GET".to_owned(), ..item("Service", "clients", "front", "clients_rate", "2500m") };
    for (client, version) in CUSTOM_CLIENTS {
        let question =
            |kind, name, metric| Question { client, namespace: "clients", kind, name, metric, ..Question::default() };
        let questions = [
            Question { metric_selector: "verb=GET", ..question("Service", "front", "clients_rate") },
            Question { selector: "app=web", ..question("Pod", "", "clients_requests") },
            Question { selector: "app in (none)", ..question("Pod", "", "clients_requests") },
            question("Deployment.apps", "web", "clients_rps"),
            Question { namespace: "", ..question("Node", "clients-node", "clients_load") },
            Question { namespace: "", ..question("Namespace", "clients", "clients_orders") },
        ];
        let expected = [
            vec![service.clone()],
            vec![
                item("Pod", "clients", "one", "clients_requests", "10"),
                item("Pod", "clients", "two", "clients_requests", "10"),
            ],
            vec![],
            vec![item("Deployment", "clients", "web", "clients_rps", "1k")],
            vec![item("Node", "", "clients-node", "clients_load", "3")],
            vec![item("Namespace", "", "clients", "clients_orders", "100n")],
        ];
        for answers in in_each_form(world, &questions, 200).await? {
            for (answer, expected) in answers.iter().zip(&expected) {
                ensure!(only(&answer.wire)?.path.contains(&format!("/{version}/")), "{client}: {:?}", answer.wire);
                ensure_items(answer, expected).with_context(|| client.to_owned())?;
            }
        }
    }
    Ok(())
}

/// All series, and those that a selector leaves; the name in whatever case of letters.
pub(crate) async fn external_metrics_are_read(world: &mut World) -> Result<()> {
    let question = |metric, selector| Question {
        client: "external",
        namespace: "clients",
        metric,
        selector,
        ..Question::default()
    };
    let questions = [
        question("clients_depth", ""),
        question("Clients_Depth", "queue in (mail)"),
        question("clients_depth", "!queue"),
    ];
    let series = |queue: &str, value: &str| Item {
        metric: "clients_depth".to_owned(),
        labels: BTreeMap::from([("queue".to_owned(), queue.to_owned())]),
        value: value.to_owned(),
        ..Item::default()
    };
    let expected = [vec![series("orders", "42"), series("mail", "7")], vec![series("mail", "7")], vec![]];
    for answers in in_each_form(world, &questions, 200).await? {
        for (answer, expected) in answers.iter().zip(&expected) {
            ensure_items(answer, expected)?;
        }
    }
    Ok(())
}

/// Failures arrive as the errors by which Go programs decide, with the server's words, in either form.
pub(crate) async fn failures_are_told_apart(world: &mut World) -> Result<()> {
    let custom = Question {
        client: "custom",
        namespace: "clients",
        kind: "Pod",
        metric: "clients_requests",
        ..Question::default()
    };
    let external =
        Question { client: "external", namespace: "clients", metric: "nobody_has_it", ..Question::default() };
    let missing = [
        (Question { name: "nobody", ..custom }, ["clients_requests", "nobody"]),
        (Question { metric: "nobody_has_it", ..custom }, ["nobody_has_it", "pods"]),
        (external, ["nobody_has_it", "external"]),
    ];
    let questions = missing.map(|(question, _)| question);
    for answers in in_each_form(world, &questions, 404).await? {
        for (answer, (_, words)) in answers.iter().zip(&missing) {
            ensure_failure(answer, "NotFound", 404, words)?;
        }
    }
    let powerless = world.control_plane.user("clients-powerless", &[])?;
    let questions = [custom, Question { metric: "clients_depth", ..external }];
    for form in FORMS {
        for answer in consumers::ask(&powerless.kubeconfig, form, &questions).await? {
            ensure_failure(&answer, "Forbidden", 403, &["clients-powerless", "is forbidden"])?;
        }
    }
    clear(world).await
}

/// metrics.k8s.io as [`crate::resource`] has it set up: lists by selector, in all namespaces, one object, and one that is missing.
pub(crate) async fn usage_of_pods_and_nodes_is_read(world: &mut World) -> Result<()> {
    let pods = Question { client: "pods", ..Question::default() };
    let nodes = Question { client: "nodes", ..Question::default() };
    let lists = [
        Question { namespace: "measured", selector: "app=web", ..pods },
        Question { selector: "app in (db)", ..pods },
        nodes,
        Question { name: "n1", ..nodes },
    ];
    let pod = |amount: &str| usage("main", amount, "64Mi");
    let node = usage("node", "1500m", "2Gi");
    let expected = [vec![pod("120m"); 2], vec![pod("120m")], vec![node.clone(); 2], vec![node]];
    for answers in in_each_form(world, &lists, 200).await? {
        for (answer, expected) in answers.iter().zip(&expected) {
            let items = answer.items.as_deref().with_context(|| format!("{:?}", answer.error))?;
            let found: Vec<_> = items.iter().map(|item| item.usage.clone()).collect();
            ensure!(found == *expected, "{items:?} do not use {expected:?}");
            ensure!(items.iter().all(|item| item.window_seconds == Some(15.0) && !item.name.is_empty()), "{items:?}");
        }
    }
    let missing = [Question { namespace: "measured", name: "nobody", ..pods }, Question { name: "nobody", ..nodes }];
    for answers in in_each_form(world, &missing, 404).await? {
        for answer in &answers {
            ensure_failure(answer, "NotFound", 404, &["nobody", "not found"])?;
        }
    }
    Ok(())
}

fn usage(of: &str, cpu: &str, memory: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let amounts = [("cpu", cpu), ("memory", memory)].map(|(name, amount)| (name.to_owned(), amount.to_owned()));
    BTreeMap::from([(of.to_owned(), BTreeMap::from(amounts))])
}

async fn stage(world: &World) -> Result<()> {
    world.create_namespace("clients").await?;
    let pod = |name: &str| {
        format!(
            r#"{{ "apiVersion": "v1", "kind": "Pod", "metadata": {{ "name": "{name}", "namespace": "clients", "labels": {{ "app": "web" }} }},
                "spec": {{ "containers": [{{ "name": "web", "image": "web" }}] }} }}"#
        )
    };
    for object in [
        pod("one"),
        pod("two"),
        r#"{ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "clients-node" } }"#.to_owned(),
    ] {
        world.kubectl.apply(&object).await?;
    }
    world.kubectl.run(&["create", "deployment", "web", "--image=web", "--replicas=0", "--namespace=clients"]).await?;
    world.kubectl.run(&["create", "service", "clusterip", "front", "--tcp=80", "--namespace=clients"]).await?;
    let external = [r#"clients_depth{queue="orders"} 42"#, r#"clients_depth{queue="mail"} 7"#];
    let custom = [
        r#"services/front/clients_rate{verb="GET"} 2500m"#,
        r#"services/front/clients_rate{verb="PUT"} 1"#,
        "pods/one/clients_requests 10",
        "pods/two/clients_requests 10",
        "deployments.apps/web/clients_rps 1000",
        "nodes/clients-node/clients_load 3",
        "namespaces/clients/clients_orders 100n",
    ];
    world.apply_static("clients", &external, &custom).await?;
    world.expect_values(&format!("{EXTERNAL}/namespaces/clients/clients_depth"), &["42", "7"]).await?;
    world.expect_values(&format!("{CUSTOM}/namespaces/clients/pods/*/clients_requests"), &["10", "10"]).await
}

async fn clear(world: &World) -> Result<()> {
    plugins::delete(&world.admin, "clients").await?;
    world.kubectl.run(&["delete", "node", "clients-node"]).await?;
    world.kubectl.run(&["delete", "namespace", "clients", "--wait=false"]).await?;
    Ok(())
}

/// Asks as the administrator, once in each form; each answer came by one exchange, with this status, in that form.
async fn in_each_form(world: &World, questions: &[Question<'_>], status: u16) -> Result<Vec<Vec<Answer>>> {
    let kubeconfig = world.control_plane.admin()?.kubeconfig;
    let mut all = Vec::new();
    for form in FORMS {
        let answers = consumers::ask(&kubeconfig, form, questions).await?;
        for answer in &answers {
            let wire = only(&answer.wire)?;
            ensure!(wire.status == status && wire.content_type == form, "{wire:?} is not {status} in {form}");
        }
        all.push(answers);
    }
    Ok(all)
}

fn only<T: std::fmt::Debug>(items: &[T]) -> Result<&T> {
    match items {
        [item] => Ok(item),
        others => anyhow::bail!("not one but {}: {others:?}", others.len()),
    }
}

fn item(kind: &str, namespace: &str, name: &str, metric: &str, value: &str) -> Item {
    Item {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        metric: metric.to_owned(),
        value: value.to_owned(),
        ..Item::default()
    }
}

/// The items are these, whatever API version their objects say and whenever within the last minute they were taken.
fn ensure_items(answer: &Answer, expected: &[Item]) -> Result<()> {
    let found = answer.items.as_deref().with_context(|| format!("there are none: {:?}", answer.error))?;
    ensure!(found.iter().all(|item| (-5.0..60.0).contains(&item.age_seconds)), "{found:?} are not of this minute");
    let found: Vec<Item> =
        found.iter().map(|item| Item { age_seconds: 0.0, api_version: String::new(), ..item.clone() }).collect();
    ensure!(found == expected, "{found:?} are not {expected:?}");
    Ok(())
}

fn ensure_failure(answer: &Answer, reason: &str, code: u16, words: &[&str]) -> Result<()> {
    let failure = answer.error.as_ref().with_context(|| format!("it did not fail: {:?}", answer.items))?;
    ensure!(failure.reason == reason && failure.code == code, "{failure:?} is not {code} {reason}");
    ensure_words(&failure.message, words)
}
