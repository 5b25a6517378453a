//! What a stranger writes into a request: the path with its query, and `Accept`. Quantities and selectors are read on the way.
//!
//! The first line is the path, the second the `Accept` header, the third a quantity.

#![no_main]

use http::{HeaderValue, Method, Request, Uri, header::ACCEPT};
use libfuzzer_sys::fuzz_target;
use wasm_metrics_adapter::{
    api::{Status, path},
    model::{Quantity, Selector},
};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    if let Some(target) = lines.next().and_then(|line| Uri::try_from(line).ok()) {
        read(&target);
    }
    if let Some(accept) = lines.next().and_then(|line| HeaderValue::from_bytes(line).ok()) {
        answer(accept);
    }
    if let Some(text) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) {
        quantity(text);
    }
});

/// What is authorized has no segment that another server could split.
fn read(uri: &Uri) {
    let Ok(target) = path::parse(&Method::GET, uri) else { return };
    let _ = target.attributes();
    let parameters = &target.parameters;
    for selector in [parameters.labels(), parameters.metric_labels()].into_iter().flatten() {
        let printed = selector.to_string();
        assert_eq!(Selector::parse(&printed).as_ref(), Ok(&selector), "{printed:?} is read as another selector");
    }
    let _ = parameters.fields();
}

/// Whatever is accepted, a refusal is an answer.
fn answer(accept: HeaderValue) {
    let mut request = Request::new(());
    request.headers_mut().insert(ACCEPT, accept);
    let (head, ()) = request.into_parts();
    let response = Status::not_found().respond(&head);
    assert!(matches!(response.status().as_u16(), 404 | 406), "{}", response.status());
}

/// What is printed is read as the same number, and printed alike.
fn quantity(text: &str) {
    let Ok(quantity) = text.parse::<Quantity>() else { return };
    let printed = quantity.to_string();
    let again: Quantity = printed.parse().expect("what is printed can be read");
    assert_eq!(again.to_string(), printed);
}
