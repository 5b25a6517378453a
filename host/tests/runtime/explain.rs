//! What a plugin tells of its own call when it is to be explained, and what it never tells.

use axum::{Router, http::HeaderMap};
use tokio::net::TcpListener;
use wasm_metrics_adapter::{
    model::{
        BackendOutcome, Detail, Explanation, ExternalQuery, FetchError, MetricAnswer, MetricQuery, PluginCall,
        Provider as _, Reason, Selector,
    },
    runtime::Plugin,
};

use crate::{Duration, custom_query, external, label, name, probe, selected, support};

const SECRET: &str = "s3cr3t-t0ken/+";

async fn explained(plugin: &Plugin, series: &str, detail: Detail) -> Result<Explanation, FetchError> {
    let series = Selector::parse(series).unwrap();
    let query = ExternalQuery { namespace: "shop".to_owned(), metric: name("probe"), series };
    plugin.explain(&MetricQuery::External(query), detail).await
}

fn call(explanation: &Explanation) -> &PluginCall {
    explanation.call.as_ref().unwrap()
}

/// A backend that answers with the headers it was sent.
async fn mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let answer = |headers: HeaderMap| async move {
        format!("{:?}", headers.get("authorization").map(|value| value.as_bytes().escape_ascii().to_string()))
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

#[tokio::test]
async fn a_good_answer_is_told_step_by_step() {
    let origin = mirror().await;
    let url = format!("{origin}/path?query=1");
    let plugin = probe("told").config("behaviour", "imports").config("url", &url).origin(&origin).load().await;
    let explanation = explained(&plugin, "queue in (b,a)", Detail::Summary).await.unwrap();
    let call = call(&explanation);
    assert_eq!(call.function, "external-metrics.get");
    let arguments = [("namespace", "shop"), ("metric", "probe"), ("series", "queue in (a,b)")];
    assert_eq!(call.arguments, arguments.map(|(name, value)| (name, value.to_owned())));
    let backends = &call.backend_calls.items;
    assert_eq!(backends.len(), 3, "one alone, two at once: {backends:?}");
    for backend in backends {
        assert_eq!((backend.method.as_str(), backend.origin.as_deref()), ("GET", Some(origin.as_str())));
        assert!(matches!(backend.outcome, BackendOutcome::Response { status: 200, bytes: 4 }), "{backend:?}");
        assert!(backend.duration.is_some() && backend.raw.is_none(), "{backend:?}");
    }
    let lookups: Vec<_> = call.lookups.items.iter().map(|lookup| (lookup.function, lookup.found.clone())).collect();
    assert_eq!(lookups, [("objects.names", Ok(2)), ("objects.endpoints", Ok(2))]);
    assert_eq!((call.log_lines, call.log.items.len()), (4, 0), "what it logged takes more than a summary");
    let values = &call.values.items;
    assert!(values.iter().any(|value| value.of.contains("import=log") && value.number == "4 (integer)"), "{values:?}");
    assert!(call.cpu > Duration::ZERO && call.memory_bytes.is_some_and(|bytes| bytes >= 64 << 10), "{call:?}");
    assert_eq!((call.limits.memory_bytes, call.limits.list_items), (64 << 20, 1000));
}

#[tokio::test]
async fn raw_has_urls_bodies_and_log_lines() {
    let origin = mirror().await;
    let url = format!("{origin}/path?query=1");
    let plugin = probe("raw").config("behaviour", "imports").config("url", &url).origin(&origin).load().await;
    let explanation = explained(&plugin, "", Detail::Raw).await.unwrap();
    let call = call(&explanation);
    let raw = call.backend_calls.items[0].raw.as_ref().unwrap();
    assert_eq!((raw.url.as_str(), raw.response_body.as_str()), (url.as_str(), "None"));
    assert!(raw.response_headers.items.iter().any(|(name, _)| name == "content-type"), "{raw:?}");
    let lines: Vec<_> = call.log.items.iter().map(|line| (line.level, line.text.as_str())).collect();
    assert!(lines.contains(&("warn", "a warning of the probe")), "{lines:?}");
}

/// The backend sends the token back, and the guest puts it into a label.
#[tokio::test]
async fn a_token_that_the_backend_echoes_never_shows() {
    let origin = mirror().await;
    let probe = probe("echo").config("behaviour", "imports").config("url", &origin).origin(&origin);
    let plugin = probe.bearer(&origin, SECRET).load().await;
    for detail in [Detail::Summary, Detail::Raw] {
        let explanation = explained(&plugin, "", detail).await.unwrap();
        let text = format!("{explanation:?}");
        assert!(!text.contains(SECRET), "{text}");
        let Ok(MetricAnswer::External(answer)) = &explanation.answer else { panic!("{explanation:?}") };
        let fetched = answer.samples.iter().find(|sample| label(sample, "import") == "http.fetch").unwrap();
        assert_eq!(label(fetched, "detail"), "Some(\"[secret]\")");
        let sent = call(&explanation).backend_calls.items[0].raw.as_ref();
        if let Some(raw) = sent {
            assert!(raw.request_headers.items.iter().all(|(name, _)| name != "authorization"), "{raw:?}");
        }
    }
    let usual = external(&plugin, "shop").await.unwrap();
    assert!(format!("{usual:?}").contains(SECRET), "the test would see the token if it were there");
}

#[tokio::test]
async fn a_secret_in_a_failures_message_never_shows() {
    let probe =
        probe("tattles").config("behaviour", "fails").config("message", format!("the token {SECRET} is refused"));
    let origin = "http://127.0.0.1:1";
    let plugin = probe.origin(origin).bearer(origin, SECRET).load().await;
    let explanation = explained(&plugin, "", Detail::Raw).await.unwrap();
    assert_eq!(explanation.answer.unwrap_err().message, "the token [secret] is refused");
}

#[tokio::test]
async fn a_dead_backend_is_told_with_its_origin_and_not_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let url = format!("{origin}/path?token=in-the-url");
    let plugin = probe("dead").config("behaviour", "imports").config("url", &url).origin(&origin).load().await;
    let explanation = explained(&plugin, "", Detail::Summary).await.unwrap();
    let text = format!("{:?}", call(&explanation).backend_calls);
    assert!(text.contains(&format!("request to {origin} failed: ")), "{text}");
    assert!(!format!("{explanation:?}").contains("in-the-url"), "{explanation:?}");
}

#[tokio::test]
async fn a_backend_that_never_answers_is_told_though_the_call_was_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let probe = probe("silent").config("behaviour", "imports").config("url", &origin).origin(&origin);
    let plugin = probe.limits(|limits| limits.timeout = Duration::from_secs(1)).load().await;
    let explanation = explained(&plugin, "", Detail::Summary).await.unwrap();
    let backends = &call(&explanation).backend_calls.items;
    assert!(!backends.is_empty(), "{explanation:?}");
    for backend in backends {
        let told = match &backend.outcome {
            BackendOutcome::Unanswered => true,
            BackendOutcome::Failed(error) => error.contains("no complete response from"),
            BackendOutcome::Response { .. } => false,
        };
        assert!(told, "{backend:?}");
    }
    drop(listener);
}

#[tokio::test]
async fn a_number_that_kubernetes_cannot_carry_is_told_as_the_guest_gave_it() {
    let plugin = probe("nan-told").config("behaviour", "nan").load().await;
    let explanation = explained(&plugin, "", Detail::Summary).await.unwrap();
    assert_eq!(explanation.answer.as_ref().unwrap_err().reason, Reason::Internal);
    let [value] = call(&explanation).values.items.as_slice() else { panic!("{explanation:?}") };
    assert_eq!(value.number, "NaN (float)");
    assert!(value.quantity.as_ref().is_err_and(|error| error.contains("NaN")), "{value:?}");
}

#[tokio::test]
async fn a_trap_and_a_huge_answer_are_told_and_bounded() {
    let traps = probe("traps-told").config("behaviour", "traps").load().await;
    let explanation = explained(&traps, "", Detail::Raw).await.unwrap();
    assert!(explanation.answer.as_ref().unwrap_err().message.contains("trap"), "{explanation:?}");
    let log = &call(&explanation).log.items;
    assert!(log.iter().any(|line| line.text.contains("the probe traps on purpose")), "{log:?}");

    let huge = probe("huge-told").config("behaviour", "huge").limits(|limits| limits.memory_bytes = 512 << 20);
    let explanation = explained(&huge.load().await, "", Detail::Summary).await.unwrap();
    assert!(explanation.answer.is_err());
    let text = format!("{explanation:?}");
    assert!(text.len() < 64 << 10, "{} bytes", text.len());

    let flood = probe("flood-told").config("behaviour", "floods").load().await;
    let explanation = explained(&flood, "", Detail::Raw).await.unwrap();
    let call = call(&explanation);
    assert_eq!((call.log_lines, call.log.items.len(), call.log.left_out), (100_000, 50, 99_950));
}

#[tokio::test]
async fn a_lookup_that_fails_and_an_empty_selection_are_told() {
    let plugin = probe("lookups").load().await;
    let query = MetricQuery::Custom(custom_query("pods", Some("shop"), selected("app=nobody")));
    let explanation = plugin.explain(&query, Detail::Summary).await.unwrap();
    let [lookup] = call(&explanation).lookups.items.as_slice() else { panic!("{explanation:?}") };
    assert_eq!((lookup.resource.as_str(), lookup.selector.as_str(), &lookup.found), ("pods", "app=nobody", &Ok(0)));
    let query = MetricQuery::Custom(custom_query("unheard-of", Some("shop"), selected("")));
    let explanation = plugin.explain(&query, Detail::Summary).await.unwrap();
    let [lookup] = call(&explanation).lookups.items.as_slice() else { panic!("{explanation:?}") };
    assert!(lookup.found.as_ref().is_err_and(|error| error.contains("no resource unheard-of")), "{lookup:?}");
}

#[tokio::test]
async fn wasi_http_is_told_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(async || "told");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let probe = probe("wasi-told").config("authority", &authority).config("body", "question");
    let plugin = probe.origin(&format!("http://{authority}")).load_of(support::guest("wasi-http")).await;
    let explanation = explained(&plugin, "", Detail::Raw).await.unwrap();
    let [backend] = call(&explanation).backend_calls.items.as_slice() else { panic!("{explanation:?}") };
    let raw = backend.raw.as_ref().unwrap();
    assert_eq!((raw.request_body.as_str(), raw.response_body.as_str()), ("question", "told"));
}

#[tokio::test]
async fn explanations_that_crowd_are_refused_and_others_are_served() {
    let origin = mirror().await;
    let plugin = probe("crowd").config("behaviour", "imports").config("url", &origin).origin(&origin).load().await;
    // Polled one after the other: the first one has its turn before the others ask.
    let (first, second, usual) = tokio::join!(
        explained(&plugin, "", Detail::Summary),
        explained(&plugin, "", Detail::Summary),
        external(&plugin, "shop"),
    );
    assert!(first.is_ok() && usual.is_ok());
    let refused = second.unwrap_err();
    assert_eq!((refused.reason, refused.plugin.as_ref()), (Reason::Overloaded, Some(plugin.id())));
}
