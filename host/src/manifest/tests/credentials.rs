//! `credentials` and `tls` of plugin.yaml.

use super::*;

fn read(form: &str) -> CredentialForm {
    let configuration = parse(&format!("credentials: [{{origin: 'https://a', {form}}}]")).unwrap();
    configuration.credentials[0].form.clone()
}

#[test]
fn every_form_is_read_with_its_defaults() {
    let own = |text: &str| text.to_owned();
    let key = || own("k");
    assert_eq!(read("bearer: {secret: mq, key: k}"), of_secret("mq", SecretForm::Bearer { key: key() }));
    let basic = |username: &str, password: &str| {
        of_secret("mq", SecretForm::Basic { username_key: own(username), password_key: own(password) })
    };
    assert_eq!(read("basic: {secret: mq}"), basic("username", "password"));
    assert_eq!(read("basic: {secret: mq, usernameKey: user, passwordKey: pass}"), basic("user", "pass"));
    assert_eq!(
        read("query: {name: api_key, secret: mq, key: k}"),
        of_secret("mq", SecretForm::Query { name: own("api_key"), key: key() })
    );
    assert_eq!(
        read("header: {name: X-Key, secret: mq, key: k}"),
        of_secret("mq", SecretForm::Header { name: HeaderName::from_static("x-key"), key: key() })
    );
    assert_eq!(read("clientCertificate: {secret: mq}"), of_secret("mq", SecretForm::ClientCertificate));
    assert_eq!(
        read("serviceAccountToken: {serviceAccount: reader, audience: mq}"),
        CredentialForm::ServiceAccountToken {
            service_account: own("reader"),
            audience: own("mq"),
            expiration: Duration::from_secs(3600)
        }
    );
    let client = ClientCredentials {
        token_url: own("https://login.test/token"),
        client_id_key: own("client-id"),
        client_secret_key: own("client-secret"),
        scopes: Vec::new(),
        audience: None,
        method: ClientAuthentication::Basic,
    };
    let url = "tokenUrl: 'https://login.test/token', secret: mq";
    assert_eq!(
        read(&format!("oauth2ClientCredentials: {{{url}}}")),
        of_secret("mq", SecretForm::ClientCredentials(client.clone()))
    );
    let all = format!(
        "oauth2ClientCredentials: {{{url}, clientIdKey: i, clientSecretKey: s, scopes: [a, 'b:c'], audience: aud, authMethod: client_secret_post}}"
    );
    let full = ClientCredentials {
        client_id_key: own("i"),
        client_secret_key: own("s"),
        scopes: vec![own("a"), own("b:c")],
        audience: Some(own("aud")),
        method: ClientAuthentication::Post,
        ..client
    };
    assert_eq!(read(&all), of_secret("mq", SecretForm::ClientCredentials(full)));
}

#[test]
fn a_form_is_called_what_plugin_yaml_calls_it() {
    for (name, body) in [
        ("bearer", "{secret: mq, key: k}"),
        ("basic", "{secret: mq}"),
        ("header", "{name: x, secret: mq, key: k}"),
        ("query", "{name: x, secret: mq, key: k}"),
        ("clientCertificate", "{secret: mq}"),
        ("oauth2ClientCredentials", "{tokenUrl: 'https://a/t', secret: mq}"),
        ("serviceAccountToken", "{serviceAccount: mq, audience: a}"),
    ] {
        assert_eq!(read(&format!("{name}: {body}")).name(), name);
    }
}

#[test]
fn credentials_that_make_no_sense_are_refused_by_field() {
    let oauth = |fields: &str| format!("oauth2ClientCredentials: {{secret: a, {fields}}}");
    let account = |fields: &str| format!("serviceAccountToken: {{serviceAccount: a, {fields}}}");
    for (form, expected) in [
        ("bearer: {key: b}".to_owned(), "lacks `credentials[0].bearer.secret`"),
        ("bearer: {secret: a}".to_owned(), "lacks `credentials[0].bearer.key`"),
        ("bearer: {secret: a, key: b}, basic: {secret: a}".to_owned(), "`bearer` and `basic` at `credentials[0]`"),
        ("bearer: null".to_owned(), "no form of credential at `credentials[0]`; write exactly one of bearer, basic"),
        ("basic: {secret: a, key: b}".to_owned(), "unknown field `credentials[0].basic.key`"),
        ("basic: {secret: a, usernameKey: 1}".to_owned(), "`credentials[0].basic.usernameKey`"),
        ("header: {name: Host, secret: a, key: b}".to_owned(), "a header's name"),
        ("header: {name: 'x y', secret: a, key: b}".to_owned(), "a header's name"),
        ("header: {name: Proxy-Authorization, secret: a, key: b}".to_owned(), "a header's name"),
        ("query: {name: '', secret: a, key: b}".to_owned(), "a query parameter's name"),
        ("query: {name: 'a&b', secret: a, key: b}".to_owned(), "a query parameter's name"),
        ("query: {name: 'a%26', secret: a, key: b}".to_owned(), "a query parameter's name"),
        ("clientCertificate: {secret: a, key: b}".to_owned(), "unknown field `credentials[0].clientCertificate.key`"),
        ("clientCertificate: {}".to_owned(), "lacks `credentials[0].clientCertificate.secret`"),
        (oauth("scopes: []"), "lacks `credentials[0].oauth2ClientCredentials.tokenUrl`"),
        (oauth("tokenUrl: 'ftp://a/t'"), "the token endpoint's URL"),
        (oauth("tokenUrl: 'https://u:p@a/t'"), "the token endpoint's URL"),
        (oauth("tokenUrl: 'https://a/t#x'"), "the token endpoint's URL"),
        (oauth("tokenUrl: '/t'"), "the token endpoint's URL"),
        (oauth("tokenUrl: 'https://a/t', scopes: ['a b']"), "each one word"),
        (oauth("tokenUrl: 'https://a/t', scopes: [a, a]"), "2 scopes, 1 of them different"),
        (oauth("tokenUrl: 'https://a/t', audience: 'a b'"), "an audience"),
        (oauth("tokenUrl: 'https://a/t', authMethod: private_key_jwt"), "`client_secret_basic` or"),
        (account("audience: ''"), "an audience"),
        (account("expirationSeconds: 3600"), "lacks `credentials[0].serviceAccountToken.audience`"),
        (account("audience: a, expirationSeconds: 60"), "from 600 to 86400"),
        ("serviceAccountToken: {audience: a}".to_owned(), "lacks `credentials[0].serviceAccountToken.serviceAccount`"),
        ("serviceAccountToken: {serviceAccount: '../x', audience: a}".to_owned(), "an object's name"),
    ] {
        let error = refused(&format!("credentials: [{{origin: 'https://a', {form}}}]"));
        assert!(error.contains(expected), "{form}: {error}");
    }
    let error = refused("credentials: [{bearer: {secret: a, key: b}}]");
    assert!(error.contains("lacks `credentials[0].origin`"), "{error}");
}

#[test]
fn more_authorities_come_from_one_key_of_a_config_map() {
    for (body, expected) in [
        ("tls: {}", "lacks `tls.caFrom`"),
        ("tls: {caFrom: {configMap: a}}", "lacks `tls.caFrom.key`"),
        ("tls: {caFrom: {key: a}}", "lacks `tls.caFrom.configMap`"),
        ("tls: {caFrom: {configMap: a/b, key: a}}", "an object's name"),
    ] {
        let error = refused(body);
        assert!(error.contains(expected), "{body}: {error}");
    }
}
