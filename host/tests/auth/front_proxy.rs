//! Who comes with a front proxy's certificate, or with one that is almost that.

use std::time::{Duration, SystemTime};

use rcgen::ExtendedKeyUsagePurpose::{self, EmailProtection, ServerAuth};
use serde_json::json;

use crate::{
    certificates::{Authority, DAY, Identity, Issued},
    rules::Rule::{
        self, Chain, First, Impersonation, Leaf, Order, Presented, Proxy, ProxyName, ProxyUser, Text, Unasked, Usage,
        Yes,
    },
    table::{
        Expected::{Anonymous, Forbidden, Internal, Refused, User},
        Row, check_all,
    },
    world::{ADMIN, World, inputs},
};

#[tokio::test]
async fn a_front_proxy_names_whom_it_names() {
    let world = World::start().await;
    let rows: &[Row<'_>] = &[
        (b"X-Remote-User: jane\r\n", User("jane"), Proxy),
        (b"x-rEmOtE-uSeR: jane\r\n", User("jane"), Proxy),
        (b"X-Remote-User: jane\r\nAuthorization: Bearer bad\r\n", User("jane"), Order),
        (b"X-Remote-User: jane\r\nX-Remote-User: admin\r\n", User("jane"), First),
        ("X-Remote-User: j\u{e4}ne\r\n".as_bytes(), User("j\u{e4}ne"), Text),
        (b"Authorization: Bearer good\r\n", User("token-jane"), Order),
        (b"", Refused, ProxyUser),
        (b"X-Remote-User:\r\n", Refused, ProxyUser),
        (b"X-Remote-User:\r\nX-Remote-User: admin\r\n", Refused, First),
        (b"X-Remote-User:  \t \r\n", Refused, ProxyUser),
        (b"X_Remote_User: admin\r\n", Refused, ProxyUser),
        (b"X-Remote-Users: admin\r\n", Refused, ProxyUser),
        (b"X-Remote-Group: system:masters\r\n", Refused, ProxyUser),
        (b"X-Remote-Uid: 0\r\n", Refused, ProxyUser),
        (b"X-Remote-Extra-User: admin\r\n", Refused, ProxyUser),
        (b"X-Remote-User: \xff\r\n", Refused, Text),
        (b"X-Remote-User: jane\r\nX-Remote-Group: \xff\r\n", Refused, Text),
        (b"X-Remote-User: jane\r\nX-Remote-Uid: \xff\r\n", Refused, Text),
        (b"X-Remote-User: jane\r\nX-Remote-Extra-%ff: 1\r\n", Refused, Text),
        (b"X-Remote-User: jane\r\nX-Remote-Extra-a: \xff\r\n", Refused, Text),
        (b"Authorization: Bearer bad\r\n", Refused, Presented),
        (b"Authorization: Bearer unreachable\r\n", Internal("could not be reviewed"), Unasked),
        (b"X-Remote-User: powerless\r\nX-Remote-Group: system:authenticated\r\n", Forbidden("powerless"), Yes),
        (b"X-Remote-User: powerless\r\nX-Remote-Group: System:Masters\r\n", Forbidden("powerless"), Yes),
        (b"X-Remote-User: system:anonymous\r\nX-Remote-Group: system:unauthenticated\r\n", Anonymous, Proxy),
        (b"X-Remote-User: jane\r\nImpersonate-User: admin\r\n", Forbidden("impersonation"), Impersonation),
    ];
    check_all(&world, Some(&world.front_proxy()), rows).await;
}

#[tokio::test]
async fn every_word_of_a_front_proxy_arrives() {
    let world = World::start().await;
    let proxy = world.front_proxy();
    let headers = b"X-Remote-User: jane\r\nX-Remote-Uid: 7\r\nX-Remote-Group: a\r\nX-Remote-Group:\r\n\
                    X-Remote-Group: system:authenticated\r\n\
                    X-Remote-Extra-Example.com%2Fscope: x\r\nX-Remote-Extra-example.com%2fscope: y\r\n";
    let expected = json!({ "name": "jane", "uid": "7", "groups": ["a", "system:authenticated"],
                           "extra": { "example.com/scope": ["x", "y"] } });
    assert_eq!(world.ask(Some(&proxy), headers).await.body, expected);
    let master = world.ask(Some(&proxy), ADMIN).await.body;
    assert_eq!(master["groups"], json!(["system:masters", "system:authenticated"]));
}

#[tokio::test]
async fn a_certificate_makes_nobody_a_front_proxy_unless_all_of_it_is_right() {
    let world = World::start().await;
    for (case, identity, rule) in impostors(&world) {
        let rows: &[Row<'_>] = &[
            (ADMIN, Refused, rule),
            (b"", Refused, rule),
            (b"X-Remote-User: admin\r\nAuthorization: Bearer good\r\n", User("token-jane"), Presented),
            (b"X-Remote-User: admin\r\nAuthorization: Bearer bad\r\n", Refused, Presented),
            (b"X-Remote-User: admin\r\nAuthorization: Bearer unreachable\r\n", Internal("reviewed"), Unasked),
        ];
        println!("a certificate {case}");
        check_all(&world, Some(&identity), rows).await;
    }
}

/// Certificates that are almost a front proxy's.
fn impostors(world: &World) -> Vec<(&'static str, Identity, Rule)> {
    let (now, proxy, good) = (SystemTime::now(), Issued::to("front-proxy-client"), world.front_proxy());
    let (unknown, real) = (Authority::new("unknown-ca"), &world.front_proxies);
    let intermediate = real.intermediate("intermediate");
    let below = intermediate.intermediate("below");
    let named = |common_name| Issued { common_name, ..proxy.clone() }.by(real);
    let used = |usage: ExtendedKeyUsagePurpose| Issued { usage: vec![usage], ..proxy.clone() }.by(real);
    vec![
        ("self-signed", proxy.by_itself(), Chain),
        ("of an unknown CA", proxy.by(&unknown), Chain),
        ("of another CA by the same name", proxy.by(&Authority::new("front-proxy-ca")), Chain),
        ("of an unknown CA with a good certificate behind it", proxy.by(&unknown).with(good.chain.clone()), Chain),
        ("of an unknown CA with the real CA behind it", proxy.by(&unknown).with([real.certificate()]), Chain),
        ("of a front proxy that plays CA", proxy.by(&Authority::of(&good, &proxy)).with(good.chain.clone()), Chain),
        ("of an intermediate that was not sent", proxy.by(&intermediate), Chain),
        (
            "of a CA below one that may have none",
            proxy.by(&below).with([below.certificate(), intermediate.certificate()]),
            Chain,
        ),
        ("of the CA itself", real.itself(), Leaf),
        ("of an intermediate CA itself", intermediate.itself(), Leaf),
        ("that has expired", Issued { end: now - Duration::from_secs(60), ..proxy.clone() }.by(real), Chain),
        ("that is not valid yet", Issued { begin: now + DAY / 2, ..proxy.clone() }.by(real), Chain),
        ("for servers alone", used(ServerAuth), Usage),
        ("for e-mail alone", used(EmailProtection), Usage),
        ("of a name that is not allowed", named(Some("other")), ProxyName),
        ("of an allowed name in another case", named(Some("Front-Proxy-Client")), ProxyName),
        ("of a name that begins like an allowed one", named(Some("front-proxy-client.evil")), ProxyName),
        ("of a name with a space behind it", named(Some("front-proxy-client ")), ProxyName),
        ("of a name with NUL in it", named(Some("front-proxy-client\0.evil")), ProxyName),
        ("without a name", named(None), ProxyName),
        (
            "of an allowed name as alternative name",
            Issued { alternative_name: Some("front-proxy-client"), common_name: Some("other"), ..proxy.clone() }
                .by(real),
            ProxyName,
        ),
        (
            "of an allowed name as organization",
            Issued { organizations: &["front-proxy-client"], common_name: Some("other"), ..proxy.clone() }.by(real),
            ProxyName,
        ),
    ]
}

#[tokio::test]
async fn an_empty_list_of_names_allows_any_and_only_of_the_front_proxies_authority() {
    let world = World::start().await;
    world.trust.update(inputs(&world.front_proxies.pem, &world.clients.pem, &[])).unwrap();
    let jane: &[u8] = b"X-Remote-User: jane\r\n";
    let nameless = Issued { common_name: None, ..Issued::to("") }.by(&world.front_proxies);
    for identity in [Issued::to("anything").by(&world.front_proxies), nameless] {
        check_all(&world, Some(&identity), &[(jane, User("jane"), ProxyName)]).await;
    }
    let user = Issued::to("kim").by(&world.clients);
    check_all(&world, Some(&user), &[(jane, User("kim"), Proxy), (ADMIN, User("kim"), Proxy)]).await;
}
