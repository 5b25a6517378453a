//! Who comes with a user's certificate.

use std::time::{Duration, SystemTime};

use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
use serde_json::json;

use crate::{
    certificates::{Authority, DAY, Issued},
    client::Client,
    rules::Rule::{Chain, Impersonation, Leaf, Order, Proxy, Usage, UserName, Yes},
    table::{
        Expected::{Forbidden, Refused, User},
        check_all,
    },
    world::{ADMIN, World},
};

#[tokio::test]
async fn a_users_certificate_speaks_for_that_user_alone() {
    let world = World::start().await;
    let (now, jane) = (SystemTime::now(), Issued { organizations: &["shop"], ..Issued::to("jane") });
    let clients = &world.clients;
    for (case, identity, expected, rule) in [
        ("good", jane.by(clients), User("jane"), Order),
        ("without usages", Issued { usage: Vec::new(), ..jane.clone() }.by(clients), User("jane"), Usage),
        ("by a front proxy's name", Issued::to("front-proxy-client").by(clients), User("front-proxy-client"), Proxy),
        ("self-signed", jane.by_itself(), Refused, Chain),
        ("of an unknown CA", jane.by(&Authority::new("unknown")), Refused, Chain),
        ("of another CA by the same name", jane.by(&Authority::new("client-ca")), Refused, Chain),
        ("of the front proxies' CA", jane.by(&world.front_proxies), Refused, Chain),
        ("of the CA itself", clients.itself(), Refused, Leaf),
        ("expired", Issued { end: now - Duration::from_secs(60), ..jane.clone() }.by(clients), Refused, Chain),
        ("not valid yet", Issued { begin: now + DAY / 2, ..jane.clone() }.by(clients), Refused, Chain),
        ("for servers alone", Issued { usage: vec![ServerAuth], ..jane.clone() }.by(clients), Refused, Usage),
        ("without a name", Issued { common_name: None, ..jane.clone() }.by(clients), Refused, UserName),
        ("with an empty name", Issued { common_name: Some(""), ..jane.clone() }.by(clients), Refused, UserName),
        (
            "with an alternative name alone",
            Issued { common_name: None, alternative_name: Some("jane"), ..jane.clone() }.by(clients),
            Refused,
            UserName,
        ),
        ("of somebody without rights", Issued::to("powerless").by(clients), Forbidden("powerless"), Yes),
    ] {
        println!("a certificate {case}");
        let expected_impersonating =
            if expected == Refused { Refused } else { Forbidden("impersonation is not possible here") };
        let rows = [
            (b"".as_slice(), expected.clone(), rule),
            (ADMIN, expected.clone(), Proxy),
            (b"Impersonate-User: admin\r\n", expected_impersonating, Impersonation),
        ];
        check_all(&world, Some(&identity), &rows).await;
        if expected != Refused {
            check_all(&world, Some(&identity), &[(b"Authorization: Bearer bad\r\n", expected, Order)]).await;
        }
    }
    let user = world.ask(Some(&jane.by(clients)), b"").await.body;
    assert_eq!(user["groups"], json!(["shop", "system:authenticated"]));
    let fingerprint = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert_eq!(fingerprint.strip_prefix("X509SHA256=").map(str::len), Some(64));
}

#[tokio::test]
async fn a_group_of_a_users_certificate_is_a_group_whatever_its_name() {
    let world = World::start().await;
    let admin = Issued { organizations: &["system:masters"], ..Issued::to("powerless") }.by(&world.clients);
    let answer = world.ask(Some(&admin), b"").await;
    assert_eq!((answer.status, &answer.body["groups"][0]), (200, &json!("system:masters")), "as in Go");
}

#[tokio::test]
async fn an_intermediate_authority_is_followed_and_tls_1_2_proves_as_much() {
    let world = World::start().await;
    let intermediate = world.clients.intermediate("intermediate");
    let jane = Issued::to("jane").by(&intermediate);
    Refused.check("chain missing", &world.ask(Some(&jane), b"").await);
    let jane = jane.with([intermediate.certificate()]);
    User("jane").check("chain whole", &world.ask(Some(&jane), b"").await);
    let mut old = Client::connect(world.address, Some(&jane), &[&rustls::version::TLS12]).await;
    User("jane").check("TLS 1.2", &old.ask(b"").await);
}
