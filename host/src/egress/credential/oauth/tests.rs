use super::*;

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn client(proof: ClientProof, token_url: &str) -> Result<OAuth2Client, InvalidCredential> {
    let origins = [origin("https://login.test")].into_iter().collect();
    let identity = ("my client", "s&cret:", proof);
    OAuth2Client::new(
        &origin("https://mq.test"),
        &origins,
        token_url,
        identity,
        &["read".to_owned(), "b:c".to_owned()],
        Some("mq"),
    )
}

#[tokio::test]
async fn the_question_is_that_of_the_rfc() {
    let request = client(ClientProof::Header, "https://LOGIN.test:443/token?tenant=1").unwrap().request().unwrap();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "https://login.test/token?tenant=1")
    );
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    // my+client:s%26cret%3A
    assert_eq!(request.headers()["authorization"], "Basic bXkrY2xpZW50OnMlMjZjcmV0JTNB");
    assert!(request.headers()["authorization"].is_sensitive());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "grant_type=client_credentials&scope=read+b%3Ac&audience=mq");

    let request = client(ClientProof::Body, "https://login.test/token").unwrap().request().unwrap();
    assert!(!request.headers().contains_key("authorization"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"&client_id=my+client&client_secret=s%26cret%3A"), "{body:?}");
}

#[test]
fn a_token_endpoint_outside_of_egress_is_refused() {
    let refused = |url: &str| client(ClientProof::Header, url).err().unwrap();
    assert_eq!(refused("https://evil.test/token"), InvalidCredential::TokenOrigin(origin("https://evil.test")));
    assert_eq!(refused("http://login.test/token"), InvalidCredential::TokenOrigin(origin("http://login.test")));
    for url in ["/token", "ftp://login.test/", "https://me:hunter2@login.test/"] {
        let error = refused(url);
        assert!(matches!(error, InvalidCredential::TokenUrl { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn answers_are_read_as_servers_write_them() {
    for (body, seconds) in [
        (r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#, 60),
        (r#"{"access_token":"t","token_type":"bearer","expires_in":"60","scope":"x"}"#, 60),
        (r#"{"access_token":"t","token_type":"BEARER"}"#, 300),
        (r#"{"access_token":"t","token_type":"Bearer","expires_in":1e300}"#, 86_400),
        (r#"{"access_token":"t","token_type":"Bearer","expires_in":-5}"#, 0),
        (r#"{"access_token":"t","token_type":"Bearer","expires_in":59.9}"#, 59),
    ] {
        let token = read(body.as_bytes()).unwrap();
        assert_eq!((token.value.as_str(), token.lifetime.as_secs()), ("t", seconds), "{body}");
    }
    for (body, expected) in [
        ("", "something else than JSON"),
        ("<html>hunter2</html>", "something else than JSON"),
        (r#"{"token_type":"Bearer"}"#, "something else than JSON"),
        (r#"{"access_token":5,"token_type":"Bearer"}"#, "something else than JSON"),
        (r#"{"access_token":"hunter2"}"#, "something else than JSON"),
        (r#"{"access_token":"hunter2","token_type":"mac"}"#, "a type other than Bearer"),
        (r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":"soon"}"#, "no number of seconds"),
        (r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":"nan"}"#, "no number of seconds"),
    ] {
        let error = read(body.as_bytes()).unwrap_err();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{body}: {error}");
    }
}

#[test]
fn refusals_name_the_standard_error_and_repeat_nothing_else() {
    let said = |status: u16, body: &str| refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
    let invalid = r#"{"error":"invalid_client","error_description":"secret hunter2 is wrong"}"#;
    assert_eq!(said(401, invalid), "answered 401 (invalid_client); correct the client's id and secret, or its scopes");
    assert_eq!(said(503, r#"{"error":"hunter2"}"#), "answered 503");
    assert!(said(302, "").contains("redirects are not followed"));
}
