//! Guests that misbehave: each fault has its own words and reason, and while it lasts another plugin answers.

use std::time::Duration;

use axum::Router;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wasm_metrics_adapter::{
    model::{FetchError, Provider as _, Reason},
    runtime::Plugin,
    telemetry::CallLabels,
};

use crate::{METRICS, Probe, custom_query, external, logs::logs, named, probe, selected};

/// A healthy plugin that is asked again and again while another misbehaves.
pub(crate) struct Neighbour {
    stop: CancellationToken,
    asking: JoinHandle<usize>,
}

impl Neighbour {
    pub(crate) async fn of(name: &str) -> Self {
        let plugin = probe(&format!("neighbour-of-{name}")).load().await;
        let stop = CancellationToken::new();
        let (stopped, mut answers) = (stop.clone(), 0);
        let asking = tokio::spawn(async move {
            // At least once, and as often as there is time.
            loop {
                external(&plugin, "shop").await.unwrap();
                answers += 1;
                if stopped.is_cancelled() {
                    return answers;
                }
            }
        });
        Self { stop, asking }
    }

    pub(crate) async fn was_undisturbed(self) {
        self.stop.cancel();
        assert!(self.asking.await.unwrap() > 0);
    }
}

/// The error of a probe that misbehaves, with its neighbour undisturbed.
pub(crate) async fn fault(name: &str, probe: Probe) -> FetchError {
    fault_of(name, probe.config("behaviour", name).load().await).await
}

/// The error of a plugin that misbehaves, with its neighbour undisturbed.
pub(crate) async fn fault_of(name: &str, plugin: Plugin) -> FetchError {
    let neighbour = Neighbour::of(name).await;
    let error = external(&plugin, "shop").await.unwrap_err();
    neighbour.was_undisturbed().await;
    assert_eq!(error.plugin.as_ref(), Some(plugin.id()), "the Status names the plugin");
    let labels = CallLabels { plugin: plugin.id().to_string(), outcome: error.reason.as_str() };
    assert_eq!(METRICS.calls.get_or_create(&labels).get(), 1, "it is counted");
    error
}

pub(crate) fn internal(error: &FetchError) -> &str {
    assert_eq!(error.reason, Reason::Internal);
    &error.message
}

#[tokio::test]
async fn a_trap_is_told_and_its_cause_is_logged() {
    let logs = logs();
    let error = fault("traps", probe("traps")).await;
    assert_eq!(
        internal(&error),
        "the plugin stopped with a trap (wasm trap: wasm `unreachable` instruction executed); its log has the cause"
    );
    let lines = logs.of("plugins/traps");
    assert!(lines.iter().any(|line| line.contains("the probe traps on purpose")), "{lines:?}");
}

#[tokio::test]
async fn a_recursion_without_end_meets_the_stack_limit() {
    let error = fault("recurses", probe("recurses")).await;
    assert_eq!(
        internal(&error),
        "the plugin needs more than 512 KiB of stack, the adapter's limit; make it recurse less"
    );
}

#[tokio::test]
async fn a_guest_that_spins_meets_its_cpu_limit() {
    let error = fault("spins", probe("spins").limits(|limits| limits.cpu = Duration::from_millis(50))).await;
    assert_eq!(
        internal(&error),
        "the plugin used more than 50ms of CPU time for one request; make it do less, or raise limits.cpu"
    );
}

#[tokio::test]
async fn spinning_guests_on_every_thread_leave_time_for_others() {
    let spinner =
        probe("spinners").config("behaviour", "spins").limits(|limits| limits.timeout = Duration::from_secs(1));
    let spinner = spinner.load().await;
    let neighbour = Neighbour::of("spinners").await;
    let calls = (0..8).map(|_| external(&spinner, "shop"));
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.unwrap_err().reason, Reason::Timeout);
    }
    neighbour.was_undisturbed().await;
}

#[tokio::test]
async fn a_guest_that_sleeps_meets_its_timeout() {
    let error = fault("sleeps", probe("sleeps").limits(|limits| limits.timeout = Duration::from_millis(300))).await;
    assert_eq!(error.reason, Reason::Timeout);
    assert_eq!(
        error.message,
        "the plugin did not answer within 300ms; its backend may be slow: make it ask for less, or raise limits.timeout"
    );
}

#[tokio::test]
async fn a_hog_meets_its_memory_limit() {
    let error = fault("hogs", probe("hogs").limits(|limits| limits.memory_bytes = 16 << 20)).await;
    assert_eq!(
        internal(&error),
        "the plugin needs more than 16 MiB of memory; make it use less, or raise limits.memory"
    );
}

#[tokio::test]
async fn an_exit_is_no_answer() {
    let error = fault("exits", probe("exits")).await;
    assert_eq!(internal(&error), "the plugin ended itself instead of answering (exit); answer with a failure instead");
}

#[tokio::test]
async fn what_is_no_number_is_refused_with_the_metrics_name() {
    for (behaviour, text) in [("nan", "NaN"), ("infinite", "inf")] {
        let error = fault(behaviour, probe(behaviour)).await;
        assert_eq!(
            internal(&error),
            format!(
                "the plugin's answer makes no sense: a value of probe: {text} is not a number that Kubernetes can carry; answer `unavailable` where there is no value"
            )
        );
    }
}

#[tokio::test]
async fn answers_beyond_all_bounds_are_refused() {
    let roomy = |probe: Probe| probe.limits(|limits| limits.memory_bytes = 512 << 20);
    let error = fault("huge", roomy(probe("huge"))).await;
    assert_eq!(
        internal(&error),
        "the plugin handed more than 4194304 bytes to the adapter in one go; make it answer with less, or raise limits.answerBytes"
    );
    let listing = probe("long-list").config("metrics", "a,b,c").limits(|limits| limits.list_items = 2).load().await;
    let error = listing.list().await.unwrap_err();
    assert_eq!(
        internal(&error),
        "the plugin answered with more than 2 items; make it answer with fewer, or raise limits.listItems"
    );
    let values = probe("long-answer").limits(|limits| limits.list_items = 1).load().await;
    let error = values.custom(&custom_query("pods", Some("shop"), selected(""))).await.unwrap_err();
    assert_eq!(
        internal(&error),
        "the plugin answered with more than 1 items; make it answer with fewer, or raise limits.listItems"
    );
}

#[tokio::test]
async fn a_value_of_another_object_is_refused() {
    let plugin = probe("liar").config("behaviour", "wrong-object").load().await;
    let one = plugin.custom(&custom_query("pods", Some("shop"), named("web-1"))).await.unwrap_err();
    assert_eq!(internal(&one), "the plugin's answer makes no sense: it is about another object than the one asked for");
    let all = plugin.custom(&custom_query("pods", Some("shop"), selected(""))).await.unwrap_err();
    assert_eq!(internal(&all), "the plugin's answer makes no sense: it has two values for one object");
}

#[tokio::test]
async fn a_failure_of_the_guest_is_passed_on() {
    for (name, reason) in [
        ("metric-not-found", Reason::MetricNotFound),
        ("object-not-found", Reason::ObjectNotFound),
        ("bad-request", Reason::BadRequest),
        ("rate-limited", Reason::RateLimited),
        ("unavailable", Reason::Unavailable),
        ("unauthorized", Reason::Unauthorized),
        ("timeout", Reason::Timeout),
        ("internal", Reason::Internal),
    ] {
        let probe = probe(name).config("reason", name).config("message", "no\nluck").config("retryAfter", "1500");
        let error = fault("fails", probe).await;
        assert_eq!((error.reason, error.message.as_str()), (reason, "no\\nluck"));
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_the_answer_comes() {
    let logs = logs();
    let plugin = probe("floods").config("behaviour", "floods").load().await;
    external(&plugin, "shop").await.unwrap();
    let lines = logs.of(plugin.id()).len();
    // The burst, and ten for each second that the flood took.
    assert!((50..500).contains(&lines), "{lines} of 100000 lines were logged");
}

#[tokio::test]
async fn a_plugin_whose_calls_all_hang_is_overloaded_alone() {
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move || {
        arrive.send(()).unwrap();
        std::future::pending::<()>()
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let hangs = probe("hangs").config("behaviour", "imports").config("url", &origin).origin(&origin).limits(|limits| {
        limits.concurrency = 2;
        // Half of it is far more than the third call needs to begin while the first two hang.
        limits.timeout = Duration::from_secs(8);
    });
    let hangs = std::sync::Arc::new(hangs.load().await);
    let neighbour = Neighbour::of("hangs").await;
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let hangs = hangs.clone();
            tokio::spawn(async move { external(&hangs, "shop").await })
        })
        .collect();
    for _ in &hanging {
        arrived.recv().await.unwrap();
    }
    let error = external(&hangs, "shop").await.unwrap_err();
    assert_eq!(error.reason, Reason::Overloaded);
    assert_eq!(
        error.message,
        "2 requests of this plugin are under way and none ended in half its timeout; its backend may be slow, or raise limits.concurrency"
    );
    neighbour.was_undisturbed().await;
    hanging.iter().for_each(JoinHandle::abort);
}
