//! Names and addresses: what was checked is what is dialled, for HTTP and for the sockets of guests.

use std::net::SocketAddr;

use wasm_metrics_adapter::egress::SocketError;

use super::*;

#[tokio::test]
async fn forbidden_addresses_are_not_dialled_by_name_or_number() {
    let backend = Backend::plain(|_| Answer::text("never")).await;
    let port = backend.port();
    for host in ["mq.test", "127.0.0.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"] {
        let origin = format!("http://{host}:{port}");
        let client = client_with(&[&origin], always_here(), AddressPolicy::default(), |_| {});
        let error = client.fetch(get(&origin), PATIENCE).await.unwrap_err();
        assert!(
            matches!(error, EgressError::AddressForbidden { class: ForbiddenAddress::Loopback, .. }),
            "{host}: {error}"
        );
    }
    for (host, class) in [
        ("169.254.169.254", ForbiddenAddress::LinkLocal),
        ("[fd00:ec2::254]", ForbiddenAddress::Metadata),
        ("0.0.0.0", ForbiddenAddress::Unspecified),
    ] {
        let origin = format!("http://{host}:{port}");
        let error = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap_err();
        assert!(
            matches!(&error, EgressError::AddressForbidden { class: found, .. } if *found == class),
            "{host}: {error}"
        );
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn the_api_server_is_not_dialled() {
    let backend = Backend::plain(|_| Answer::text("never")).await;
    let addresses = AddressPolicy { api_server: vec![([127, 0, 0, 1], backend.port()).into()], ..loopback_allowed() };
    let origin = backend.origin("kubernetes.test");
    let client = client_with(&[&origin], always_here(), addresses, |_| {});
    let error = client.fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { class: ForbiddenAddress::ApiServer, .. }), "{error}");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let backend = Backend::plain(|_| Answer::text("never").header("connection", "close")).await;
    let allowed = AddressPolicy { loopback: vec!["127.0.0.1/32".parse().unwrap()], ..AddressPolicy::default() };
    let origin = backend.origin("rebind.test");
    let client = client_with(&[&origin], Script::of(&[&["127.0.0.1"], &["127.0.0.2"]]), allowed, |_| {});
    client.fetch(get(&origin), PATIENCE).await.unwrap();
    let error = client.fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { class: ForbiddenAddress::Loopback, .. }), "{error}");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn of_several_addresses_the_allowed_one_is_dialled() {
    let backend = Backend::plain(|_| Answer::text("here")).await;
    let origin = backend.origin("mixed.test");
    let resolver = Script::of(&[&["169.254.169.254", "::1", "127.0.0.1"]]);
    let client = client_with(&[&origin], resolver, loopback_allowed(), |_| {});
    assert_eq!(body_of(&client.fetch(get(&origin), PATIENCE).await.unwrap()), "here");
}

#[tokio::test]
async fn names_that_have_ipv6_addresses_alone_are_judged_by_what_those_carry() {
    for (answer, class) in [
        (&["::1"][..], ForbiddenAddress::Loopback),
        (&["fe80::1"], ForbiddenAddress::LinkLocal),
        (&["64:ff9b::a9fe:a9fe"], ForbiddenAddress::LinkLocal),
        (&["2002:a9fe:a9fe::1"], ForbiddenAddress::LinkLocal),
        (&["::ffff:169.254.169.254"], ForbiddenAddress::LinkLocal),
        (&["fd00:ec2::254", "::1"], ForbiddenAddress::Metadata),
    ] {
        let client = client_with(&["http://six.test"], Script::of(&[answer]), loopback_allowed(), |_| {});
        let error = client.fetch(get("http://six.test/"), PATIENCE).await.unwrap_err();
        assert!(
            matches!(&error, EgressError::AddressForbidden { class: found, .. } if *found == class),
            "{answer:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_data_and_following_it_is_refused() {
    let metadata = "http://169.254.169.254/latest/meta-data";
    let backend = Backend::plain(move |_| Answer::text("").status(302).header("location", metadata)).await;
    let origin = backend.origin("mq.test");
    let client = client_of(&origin);
    let moved = client.fetch(get(&origin), PATIENCE).await.unwrap();
    assert!(moved.headers.contains(&("location".to_owned(), metadata.to_owned())));
    let error = client.fetch(get(metadata), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::OriginNotAllowed { .. }), "{error}");
    let named = client_with(&[&origin, "http://169.254.169.254"], always_here(), loopback_allowed(), |_| {});
    let error = named.fetch(get(metadata), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { .. }), "{error}");
}

#[tokio::test]
async fn a_pooled_connection_stays_with_the_address_that_was_checked() {
    let backend = Backend::plain(|_| Answer::text("x")).await;
    let origin = backend.origin("rebind.test");
    let resolver = Script::of(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = client_with(&[&origin], resolver, loopback_allowed(), |_| {});
    for _ in 0..3 {
        client.fetch(get(&origin), PATIENCE).await.unwrap();
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn an_api_server_that_moves_is_refused_at_its_new_address() {
    let backend = Backend::plain(|_| Answer::text("x").header("connection", "close")).await;
    let shared = Arc::new(Shared::new(TrustRoots::none(), always_here(), loopback_allowed()).unwrap());
    let origins = std::iter::once(Origin::parse(&backend.origin("mq.test")).unwrap()).collect();
    let config = EgressConfig { origins, response_bytes: 1024, exchanges: 1, ..EgressConfig::default() };
    let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
    let client = Client::new(plugin, config, shared.clone());
    client.fetch(get(backend.origin("mq.test")), PATIENCE).await.unwrap();
    let moved = vec![([127, 0, 0, 1], backend.port()).into()];
    shared.replace_addresses(AddressPolicy { api_server: moved, ..loopback_allowed() });
    let error = client.fetch(get(backend.origin("mq.test")), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { class: ForbiddenAddress::ApiServer, .. }), "{error}");
}

#[tokio::test]
async fn a_tenants_plugin_has_none_of_the_operators_exceptions() {
    let backend = Backend::plain(|_| Answer::text("never")).await;
    let origin = backend.origin("mq.test");
    let client = client_with(&[&origin], always_here(), loopback_allowed(), |config| {
        config.strict_addresses = true;
    });
    let error = client.fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { class: ForbiddenAddress::Loopback, .. }), "{error}");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn sockets_reach_only_what_their_call_has_looked_up() {
    let client = client_with(
        &["tcp://redis.test:6379", "https://redis.test:6380"],
        Script::of(&[&["10.0.0.1", "169.254.169.254"], &["127.0.0.1"], &["169.254.169.254"]]),
        loopback_allowed(),
        |_| {},
    );
    let sockets = client.sockets();
    let reaches = |text: &str| sockets.check(text.parse::<SocketAddr>().unwrap()).is_ok();
    assert!(!reaches("10.0.0.1:6379"), "nothing has been looked up");
    assert_eq!(sockets.resolve("Redis.Test.").await.unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(reaches("10.0.0.1:6379") && reaches("[::ffff:10.0.0.1]:6379"));
    assert!(!reaches("10.0.0.1:6380"), "another port is another origin");
    assert!(!reaches("169.254.169.254:6379"), "dropped from the answer, and not remembered");
    // The name's second answer is judged like the first, and the third, which is forbidden, leads nowhere.
    sockets.resolve("redis.test").await.unwrap();
    assert!(reaches("127.0.0.1:6379"));
    let error = sockets.resolve("redis.test").await.unwrap_err();
    assert!(matches!(error, SocketError::Unreachable(EgressError::AddressForbidden { .. })), "{error}");
    assert!(client.sockets().check("10.0.0.1:6379".parse().unwrap()).is_err(), "another call starts anew");
    for host in ["other.test", "redis.test.evil.test", "169.254.169.254", "::1", ""] {
        let error = sockets.resolve(host).await.unwrap_err();
        assert!(matches!(error, SocketError::HostNotAllowed { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_tcp_origin_is_no_http_origin_and_the_other_way_round() {
    let backend = Backend::plain(|_| Answer::text("never")).await;
    let address = format!("127.0.0.1:{}", backend.port());
    let client = client_of(&format!("tcp://{address}"));
    let error = client.fetch(get(format!("http://{address}/")), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::OriginNotAllowed { .. }), "{error}");
    let error = client.fetch(get(format!("tcp://{address}/")), PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::InvalidRequest(_)), "{error}");
    assert!(!client_of(&format!("http://{address}")).sockets().are_allowed());
    assert_eq!(backend.connections(), 0);
}

/// A name server that answers later than anybody waits.
struct Slow;

#[async_trait]
impl Resolve for Slow {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_slow_name_server_costs_a_timeout_for_sockets_too() {
    let client = client_with(&["tcp://redis.test:6379"], Arc::new(Slow), loopback_allowed(), |_| {});
    tokio::time::pause();
    let error = client.sockets().resolve("redis.test").await.unwrap_err();
    assert!(matches!(error, SocketError::Unreachable(EgressError::Timeout { .. })), "{error}");
}
