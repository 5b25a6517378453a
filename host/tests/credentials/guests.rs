//! Credentials and guests: the `http` import and `wasi:http` go the same way, and neither shows what the host puts on.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use wasm_metrics_adapter::{
    egress::{Client, Credential, EgressConfig},
    model::{ExternalQuery, ExternalSample, MetricName, PluginId, Provider as _, Selector},
    runtime::{Plugin, PluginSettings},
    telemetry::Metrics,
};

use crate::{
    SECRET,
    backend::{Answer, Backend},
    limits::limits,
    origin, support,
};

static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(Arc::default);

/// A plugin of `component` with every credential that a request can show.
async fn plugin(component: Bytes, to: &str, config: &[(&str, &str)]) -> Plugin {
    let world = support::world(&METRICS).await;
    let id = PluginId { namespace: "plugins".to_owned(), name: "guest".to_owned() };
    let credentials = vec![
        Credential::bearer(origin(to), SECRET).unwrap(),
        Credential::header(origin(to), "X-Api-Key", SECRET).unwrap(),
        Credential::query(origin(to), "api_key", SECRET).unwrap(),
    ];
    let origins = [origin(to)].into_iter().collect();
    let egress =
        EgressConfig { origins, credentials, response_bytes: 1 << 20, exchanges: 8, ..EgressConfig::default() };
    let mut config: Vec<_> = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    config.sort();
    let http = Client::new(id.clone(), egress, world.egress.clone());
    let code = world.runtime.compiler().compile(component).await.unwrap();
    world.runtime.load(&code, PluginSettings { id, config, secrets: Vec::new(), http, limits: limits() }).unwrap()
}

async fn answers(plugin: &Plugin) -> Vec<ExternalSample> {
    let metric = MetricName::new("probe").unwrap();
    let query = ExternalQuery { namespace: "shop".to_owned(), metric, series: Selector::everything() };
    plugin.external(&query).await.unwrap().samples.to_vec()
}

/// A backend that redirects, and repeats in its redirect what it was asked for.
async fn redirecting() -> Backend {
    Backend::plain(|seen| Answer::text("moved").status(302).header("location", &seen.target)).await
}

fn assert_whole(backend: &Backend) {
    let seen = backend.last();
    assert_eq!(seen.headers.get_all("authorization").iter().collect::<Vec<_>>(), [&format!("Bearer {SECRET}")]);
    assert_eq!(seen.headers.get_all("x-api-key").iter().collect::<Vec<_>>(), [SECRET]);
    assert_eq!(seen.target.matches("api_key=").count(), 1, "{}", seen.target);
    assert!(seen.target.ends_with(&format!("api_key={SECRET}")), "{}", seen.target);
}

#[tokio::test]
async fn the_http_import_carries_credentials_that_the_guest_does_not_see() {
    let backend = redirecting().await;
    let to = format!("http://127.0.0.1:{}", backend.port());
    let url = format!("{to}/queue?api_key=forged");
    let plugin = plugin(support::guest("probe"), &to, &[("behaviour", "imports"), ("url", &url)]).await;
    let samples = answers(&plugin).await;
    assert_eq!(backend.requests(), 3, "one alone and two at once");
    assert_whole(&backend);
    assert!(!format!("{samples:?}").contains(SECRET), "{samples:?}");
}

#[tokio::test]
async fn wasi_http_carries_credentials_in_place_of_the_guests_own() {
    let backend = redirecting().await;
    let to = format!("http://127.0.0.1:{}", backend.port());
    let authority = format!("127.0.0.1:{}", backend.port());
    let headers = "Authorization: forged\nAUTHORIZATION: again\nx-API-key: forged";
    let config = [("authority", authority.as_str()), ("path", "/q?api_key=forged&API_KEY=x"), ("headers", headers)];
    let plugin = plugin(support::guest("wasi-http"), &to, &config).await;
    let samples = answers(&plugin).await;
    assert_eq!(samples[0].value.units(), 302, "{samples:?}");
    assert_whole(&backend);
    assert!(format!("{samples:?}").contains("api_key=redacted"), "it sees the redirect: {samples:?}");
    assert!(!format!("{samples:?}").contains(SECRET), "{samples:?}");
}

#[tokio::test]
async fn wasi_http_refuses_methods_that_would_show_credentials() {
    let backend = redirecting().await;
    let to = format!("http://127.0.0.1:{}", backend.port());
    let authority = format!("127.0.0.1:{}", backend.port());
    for method in ["TRACE", "CONNECT", "TRACK"] {
        let config = [("authority", authority.as_str()), ("method", method)];
        let samples = answers(&plugin(support::guest("wasi-http"), &to, &config).await).await;
        assert_eq!(samples[0].value.units(), -1, "{method}: {samples:?}");
    }
    assert_eq!(backend.requests(), 0);
}
