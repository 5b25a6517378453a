//! Credentials and authorities that change while a plugin serves: the next connection goes by the new ones, and those of the old
//! ones are gone.

use wasm_metrics_adapter::source::Event;

use crate::{
    backend::{Answer, Backend},
    identities::{Authority, Identity},
    stage::{PATIENCE, Stage, plugin},
};

/// A plugin that asks `to` with a client certificate, by an authority of its own.
fn body(to: &str) -> String {
    format!(
        "egress: ['{to}']\ntls: {{ caFrom: {{ configMap: mq-ca, key: ca.crt }} }}\n\
         credentials: [{{ origin: '{to}', clientCertificate: {{ secret: mq }} }}]"
    )
}

fn files(identity: &Identity) -> [(&str, &str); 2] {
    [("tls.crt", &identity.chain), ("tls.key", &identity.key)]
}

async fn until_answered(stage: &Stage) {
    stage.until("depth", |answer| answer.as_ref().is_ok_and(|values| values.contains("200"))).await;
}

#[tokio::test]
async fn a_new_client_certificate_and_a_new_authority_are_taken_up_and_old_connections_end() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let tls = servers.identity("127.0.0.1").server(true, Some(&clients));
    let backend = Backend::secured(tls, |_| Answer::text("ok")).await;
    let to = backend.origin("127.0.0.1");
    let mut stage = Stage::new().await;
    stage.objects.add_secret_of("mq", &to, &files(&clients.identity("one")));
    let authorities = stage.objects.add_config_map("mq-ca", servers.pem.clone());
    let config = format!("behaviour: imports, url: '{to}', metrics: depth");
    stage.load(plugin("queue", &config, &body(&to))).await;
    until_answered(&stage).await;
    let before = backend.connections();
    assert!(before > 0 && backend.open() > 0);

    let secret = stage.objects.add_secret_of("mq", &to, &files(&clients.identity("two")));
    stage.send(Event::Touched(secret)).await;
    stage.until_loaded("queue", 2).await;
    // Nobody asks: what is open are connections of the plugin that is gone.
    tokio::time::timeout(PATIENCE, backend.until_open(0)).await.expect("old connections stay");
    until_answered(&stage).await;
    assert!(backend.connections() > before);

    stage.objects.add_config_map("mq-ca", Authority::new().pem);
    stage.send(Event::Touched(authorities)).await;
    stage.until_loaded("queue", 3).await;
    let (asked, answer) = (backend.requests(), stage.ask("depth").await.unwrap());
    assert!(!answer.contains("200") && backend.requests() == asked, "the backend is not trusted any more: {answer}");
}

#[tokio::test]
async fn credentials_and_authorities_that_cannot_work_refuse_the_plugin_and_keep_the_last_good() {
    let mut stage = Stage::new().await;
    let to = "https://mq.example.com";
    let good = || plugin("queue", "value: '7', metrics: depth", "");
    stage.load(good()).await;
    let (one, other) = (Authority::new().identity("one"), Authority::new().identity("other"));
    stage.objects.add_secret_of(
        "token",
        &format!("{to} http://mq.example.com https://login.example.com"),
        &[
            ("token", "hunter2"),
            ("client-id", "me"),
            ("client-secret", "hunter2"),
            ("username", "me"),
            ("password", "hunter2"),
        ],
    );
    stage.objects.add_secret_of("mixed", to, &[("tls.crt", &one.chain), ("tls.key", &other.key)]);
    stage.objects.add_secret_of("plain", "http://mq.example.com", &files(&one));
    stage.objects.add_config_map("no-ca", one.key.clone());
    let credential = |form: &str| format!("egress: ['{to}']\ncredentials: [{{ origin: '{to}', {form} }}]");
    let plain = "http://mq.example.com";
    let two =
        "bearer: { secret: token, key: token } }, { origin: 'https://MQ.example.com:443', basic: { secret: token }";
    for (body, expected) in [
        (credential("clientCertificate: { secret: mixed }"), "its key is not the key of its first certificate"),
        (
            format!(
                "egress: ['{plain}']\ncredentials: [{{ origin: '{plain}', clientCertificate: {{ secret: plain }} }}]"
            ),
            "a client certificate is for TLS",
        ),
        (credential(two), "go to the same place, the header authorization"),
        (
            credential("oauth2ClientCredentials: { secret: token, tokenUrl: 'https://login.example.com/t' }"),
            "the token endpoint https://login.example.com:443 is not in `egress`",
        ),
        (
            credential("oauth2ClientCredentials: { secret: token, tokenUrl: 'https://evil.example.com/t' }"),
            "does not consent to be sent to https://evil.example.com",
        ),
        (
            credential("serviceAccountToken: { serviceAccount: reader, audience: mq }"),
            "ServiceAccount plugins/reader can't be had without a cluster",
        ),
        (
            "tls: { caFrom: { configMap: no-ca, key: ca.crt } }".to_owned(),
            "tls.caFrom: key `ca.crt` of ConfigMap plugins/no-ca holds no certificate",
        ),
    ] {
        stage.put(plugin("queue", "", &body)).await;
        let report = stage.report().await;
        assert_eq!((report.good, report.reason), (false, "Rejected"), "{}", report.message);
        assert!(report.message.contains(expected), "{expected}: {}", report.message);
        assert!(!report.message.contains("hunter2"), "{}", report.message);
        assert_eq!(stage.ask("depth").await.unwrap(), "7");
        stage.load(good()).await;
    }
}
