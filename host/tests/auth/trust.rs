//! Trust that changes while connections are open, certificates that end, and modes without either.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use wasm_metrics_adapter::{
    auth::{AuthenticationOptions, Authenticator, KubeReviews, Trust, TrustInputs},
    model::{AuthError, Connection},
};

use crate::{
    api_server::ApiServer,
    certificates::{Authority, Issued},
    table::Expected::{Refused, User},
    world::{ADMIN, World, inputs},
};

#[tokio::test]
async fn trust_that_changes_holds_for_the_next_request_of_every_connection() {
    let world = World::start().await;
    let mut proxy = world.connect(Some(&world.front_proxy())).await;
    let mut user = world.connect(Some(&Issued::to("kim").by(&world.clients))).await;
    let jane: &[u8] = b"X-Remote-User: jane\r\n";
    let (proxies, clients, other) = (&world.front_proxies.pem, &world.clients.pem, &Authority::new("other").pem);
    let both = format!("{other}{proxies}");
    let named = || User("jane");
    for (case, trust, by_proxy, by_user) in [
        ("as it was", inputs(proxies, clients, &["front-proxy-client"]), named(), User("kim")),
        ("the front proxies' CA is replaced", inputs(other, clients, &["front-proxy-client"]), Refused, User("kim")),
        ("it is back beside the other", inputs(&both, clients, &["front-proxy-client"]), named(), User("kim")),
        ("the clients' CA is replaced", inputs(proxies, other, &["front-proxy-client"]), named(), Refused),
        ("other names are allowed", inputs(proxies, clients, &["somebody-else"]), Refused, User("kim")),
        ("an empty name is allowed", inputs(proxies, clients, &[""]), Refused, User("kim")),
        ("any name is allowed", inputs(proxies, clients, &[]), named(), User("kim")),
        ("nobody is trusted", TrustInputs::default(), Refused, Refused),
        ("all is well again", inputs(proxies, clients, &["front-proxy-client"]), named(), User("kim")),
    ] {
        world.trust.update(trust).unwrap();
        by_proxy.check(case, &proxy.ask(jane).await);
        by_user.check(case, &user.ask(b"").await);
    }
    assert!(world.trust.update(inputs("garbage", clients, &[])).is_err());
    named().check("garbage changes nothing", &proxy.ask(jane).await);
}

#[tokio::test]
async fn a_certificate_authority_that_has_ended_vouches_for_nobody() {
    let world = World::start().await;
    let ended = Authority::ending("ended", SystemTime::now() - Duration::from_secs(60));
    let identity = Issued::to("front-proxy-client").by(&ended);
    world.trust.update(inputs(&ended.pem, &ended.pem, &[])).unwrap();
    Refused.check("ended", &world.ask(Some(&identity), ADMIN).await);
}

#[tokio::test]
async fn a_certificate_that_ends_while_connected_ends_there() {
    let world = World::start().await;
    // Certificates know whole seconds, and are good through their last.
    let end = SystemTime::now() + Duration::from_secs(2);
    let jane = Issued { end, ..Issued::to("jane") }.by(&world.clients);
    let mut connection = world.connect(Some(&jane)).await;
    User("jane").check("before", &connection.ask(b"").await);
    let refused = async {
        while connection.ask(b"").await.status == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        connection.ask(b"").await
    };
    Refused.check("after", &tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap());
    assert!(SystemTime::now() >= end);
}

#[tokio::test]
async fn anonymous_requests_can_be_turned_off_and_local_ones_need_nothing() {
    let options = AuthenticationOptions { anonymous: false, ..AuthenticationOptions::default() };
    let trust = Arc::new(Trust::new(TrustInputs::default()).unwrap());
    let reviews = KubeReviews::new(Arc::new(ApiServer::default()).client(), Vec::new());
    let strict = Authenticator::delegated(trust, Arc::new(reviews), &options);
    let outcome = strict.authenticate(&Connection::default(), &mut http::HeaderMap::new()).await;
    assert!(matches!(outcome, Err(AuthError::Unauthenticated(_))));
    let mut headers = http::HeaderMap::new();
    headers.insert("x-remote-user", "admin".parse().unwrap());
    let local = Authenticator::local_only().authenticate(&Connection::default(), &mut headers).await.unwrap();
    assert_eq!((local.name.as_str(), headers.len()), ("local", 0));
}
