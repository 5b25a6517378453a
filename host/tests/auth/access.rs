//! Who may what: the API server's words, and what there is without them.

use std::sync::atomic::Ordering;

use crate::{
    certificates::Issued,
    rules::Rule::{Malformed, Unasked, Yes},
    table::{
        Expected::{Forbidden, Internal, User},
        Row, check_all,
    },
    world::World,
};

#[tokio::test]
async fn only_a_plain_yes_lets_a_request_in() {
    let world = World::start().await;
    let rows: &[Row<'_>] = &[
        (b"X-Remote-User: jane\r\n", User("jane"), Yes),
        (b"X-Remote-User: powerless\r\n", Forbidden("User \"powerless\" cannot get path \"/\": no rule"), Yes),
        (b"X-Remote-User: denied\r\n", Forbidden("cannot get path \"/\": a rule"), Yes),
        (b"X-Remote-User: without-opinion\r\n", Forbidden("User \"without-opinion\" cannot get path \"/\""), Yes),
        (b"X-Remote-User: half-evaluated\r\n", Forbidden("User \"half-evaluated\" cannot get path \"/\""), Yes),
        (b"X-Remote-User: contradiction\r\n", Internal("both allowed and denied"), Malformed),
        (b"X-Remote-User: yes\r\n", Internal("could not be authorized"), Malformed),
        (b"X-Remote-User: garbled\r\n", Internal("could not be authorized"), Malformed),
        (b"X-Remote-User: unreachable\r\n", Internal("could not be authorized"), Unasked),
        (b"X-Remote-User: silent\r\n", Internal("no answer within 1 seconds"), Unasked),
        (b"X-Remote-User: unavailable\r\n", Internal("could not be authorized"), Unasked),
        (b"X-Remote-User: invalid-review\r\n", Internal("could not be authorized"), Unasked),
        (b"X-Remote-User: without-rights\r\n", Internal("system:auth-delegator"), Unasked),
    ];
    check_all(&world, Some(&world.front_proxy()), rows).await;
    let half = world.ask(Some(&world.front_proxy()), b"X-Remote-User: half-evaluated\r\n").await;
    assert!(!half.body["message"].as_str().unwrap().contains("secret-role"), "not for the client: {}", half.body);
}

#[tokio::test]
async fn without_the_api_server_who_is_known_is_served_and_nobody_else_gets_in() {
    let world = World::start().await;
    let proxy = world.front_proxy();
    let token: &[u8] = b"Authorization: Bearer good\r\n";
    let rows: &[Row<'_>] = &[(b"X-Remote-User: jane\r\n", User("jane"), Yes), (token, User("token-jane"), Yes)];
    check_all(&world, Some(&proxy), rows).await;
    world.api_server.away.store(true, Ordering::SeqCst);
    check_all(&world, Some(&proxy), rows).await;
    let rows: &[Row<'_>] = &[
        (b"X-Remote-User: kim\r\n", Internal("whether `kim` may do this could not be asked"), Unasked),
        (b"X-Remote-User: system:kube-aggregator\r\n", Internal("could not be asked"), Unasked),
        (b"Authorization: Bearer other\r\n", Internal("the bearer token could not be reviewed"), Unasked),
    ];
    check_all(&world, Some(&proxy), rows).await;
    let masters: &[u8] = b"X-Remote-User: root\r\nX-Remote-Group: system:masters\r\n";
    assert_eq!(world.ask(Some(&proxy), masters).await.status, 200, "needs no review");
    let admin = Issued { organizations: &["system:masters"], ..Issued::to("admin") }.by(&world.clients);
    assert_eq!(world.ask(Some(&admin), b"").await.status, 200, "needs no review");
    for path in ["/healthz", "/livez", "/readyz"] {
        let anonymous = world.connect(None).await.ask_for(path, b"").await;
        assert_eq!((anonymous.status, anonymous.body["name"].as_str()), (200, Some("system:anonymous")), "{path}");
        let unasked = world.connect(None).await.ask_for(&format!("{path}/ping"), b"").await;
        assert_eq!(unasked.status, 500, "{path}/ping");
    }
}

#[tokio::test]
async fn a_question_too_long_to_keep_is_asked_each_time() {
    let world = World::start().await;
    let mut jane = world.connect(Some(&Issued::to("jane").by(&world.clients))).await;
    for (length, asked) in [(9_000, 1), (11_000, 3)] {
        for _ in 0..2 {
            let answer = jane.ask_for(&format!("/{}", "x".repeat(length)), b"").await;
            assert_eq!(answer.status, 200);
        }
        assert_eq!(world.api_server.access_reviews.load(Ordering::SeqCst), asked, "{length} bytes");
    }
}
