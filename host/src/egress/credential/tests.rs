use super::*;

fn origin() -> Origin {
    Origin::parse("https://mq.example.com").unwrap()
}

fn header_value(credential: &Credential) -> HeaderValue {
    match credential.form() {
        Form::Header(_, value) => hidden(value).unwrap(),
        _ => panic!("{credential:?}"),
    }
}

#[test]
fn a_secrets_value_is_trimmed_checked_and_never_printed() {
    let credential = Credential::bearer(origin(), "hunter2\n").unwrap();
    assert_eq!(header_value(&credential), "Bearer hunter2");
    assert!(header_value(&credential).is_sensitive());
    let query = Credential::query(origin(), "key", "hunter2").unwrap();
    assert!(!format!("{credential:?} {query:?}").contains("hunter2"));
    for refused in ["", " \n", "two\nlines", "nul\0"] {
        let error = Credential::bearer(origin(), refused).unwrap_err();
        assert_eq!(error, InvalidCredential::Value { origin: origin() }, "{refused:?}");
        assert!(Credential::header(origin(), "x-api-key", refused).is_err(), "{refused:?}");
    }
    assert!(Credential::query(origin(), "key", "").is_err());
}

#[test]
fn headers_of_the_connection_carry_no_credentials() {
    for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "", "x y"] {
        assert_eq!(Credential::header(origin(), name, "v").unwrap_err(), InvalidCredential::Header(name.to_owned()));
    }
    assert_eq!(Credential::header(origin(), "X-Api-Key", "v").unwrap().place(), "the header x-api-key");
}

#[test]
fn two_credentials_of_one_place_collide_and_others_do_not() {
    let bearer = || Credential::bearer(origin(), "a").unwrap();
    let header = |name: &str| Credential::header(origin(), name, "v").unwrap();
    let query = |name: &str| Credential::query(origin(), name, "v").unwrap();
    let elsewhere = Credential::bearer(Origin::parse("https://other.example.com").unwrap(), "a").unwrap();
    for (one, other, collide) in [
        (bearer(), header("Authorization"), true),
        (query("key"), query("KEY"), true),
        (bearer(), header("x-api-key"), false),
        (query("key"), header("key"), false),
        (bearer(), elsewhere, false),
    ] {
        assert_eq!(one.collides_with(&other), collide, "{one:?} {other:?}");
    }
}

#[test]
fn a_client_certificate_is_a_chain_with_its_own_key_for_tls() {
    let pair = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((chain, key), (_, other_key)) = (pair(), pair());
    Credential::client_certificate(origin(), &chain, &key).unwrap();
    let plain = Origin::parse("http://mq.example.com").unwrap();
    assert!(matches!(Credential::client_certificate(plain, &chain, &key).unwrap_err(), InvalidCredential::NotTls(_)));
    let broken = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
    for (chain, key, expected) in [
        ("", key.as_str(), "its chain holds no certificate"),
        (key.as_str(), key.as_str(), "its chain holds no certificate"),
        (chain.as_str(), "", "its key is no PEM of a private key"),
        (chain.as_str(), broken, "its key"),
        (chain.as_str(), other_key.as_str(), "its key is not the key of its first certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", key.as_str(), "its chain is no PEM"),
    ] {
        let error = Credential::client_certificate(origin(), chain, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
