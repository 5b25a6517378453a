//! `/healthz`, `/livez`, `/readyz` and the checks below them, as k8s.io/apiserver `pkg/server/healthz` answers: `ok`, each check by
//! name where `verbose` asks for it or something failed, and without those that `exclude` names. What readiness only takes notice
//! of is a check of its own path, and a line of the detail that never fails the whole.

use axum::response::Response;
use http::StatusCode;

use super::filters::plain;
use crate::telemetry::{Notice, Readiness};

/// Whether the process answers. A restart mends neither plugins nor backends, so nothing else counts for being alive.
const PING: (&str, bool) = ("ping", true);

/// The paths; below each there is a path for each of its checks.
pub(super) const PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// The names below one of [`PATHS`], each a path of its own.
pub(super) fn names(path: &str, readiness: &Readiness) -> Vec<&'static str> {
    let checks = checks(path, readiness).into_iter().map(|(name, _)| name);
    checks.chain(notices(path, readiness).iter().map(Notice::name)).collect()
}

fn notices(path: &str, readiness: &Readiness) -> Vec<Notice> {
    if path == "/readyz" { readiness.notices() } else { Vec::new() }
}

/// The checks of one of [`PATHS`] by name, with what they find.
fn checks(path: &str, readiness: &Readiness) -> Vec<(&'static str, bool)> {
    let mut checks = vec![PING];
    if path == "/readyz" {
        checks.extend(readiness.facts());
    }
    checks
}

/// Answers one of [`PATHS`], or a path below one; none where there is no such check.
pub(super) fn answer(path: &str, query: &str, readiness: &Readiness) -> Option<Response> {
    if PATHS.contains(&path) {
        let (checks, notices) = (checks(path, readiness), notices(path, readiness));
        return Some(all(path.trim_start_matches('/'), &checks, &notices, query));
    }
    let (parent, name) = path.rsplit_once('/').filter(|(parent, _)| PATHS.contains(parent))?;
    let notices = notices(parent, readiness).into_iter().map(|notice| (notice.name(), notice.holds()));
    let (_, holds) = checks(parent, readiness).into_iter().chain(notices).find(|(known, _)| *known == name)?;
    Some(match holds {
        true => plain(StatusCode::OK, "ok".to_owned()),
        false => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: not yet\n".to_owned()),
    })
}

fn all(name: &str, checks: &[(&str, bool)], notices: &[Notice], query: &str) -> Response {
    let parameters: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let mut unknown: Vec<&str> =
        parameters.iter().filter(|(parameter, _)| parameter == "exclude").map(|(_, check)| &**check).collect();
    let excluded = unknown.clone();
    unknown.retain(|check| !checks.iter().any(|(known, _)| known == check));
    let mut lines = String::new();
    let mut healthy = true;
    for (check, holds) in checks {
        let outcome = match holds {
            _ if excluded.contains(check) => "[+]CHECK excluded: ok\n",
            true => "[+]CHECK ok\n",
            false => "[-]CHECK failed: not yet\n",
        };
        healthy &= *holds || excluded.contains(check);
        lines.push_str(&outcome.replace("CHECK", check));
    }
    for notice in notices {
        let state = if notice.holds() { "ok" } else { "failed: not needed to be ready" };
        lines.push_str(&format!("[+]{} {state}\n", notice.name()));
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {}\n", names.join(",")));
    }
    match (healthy, parameters.iter().any(|(parameter, _)| parameter == "verbose")) {
        (true, false) => plain(StatusCode::OK, "ok".to_owned()),
        (true, true) => plain(StatusCode::OK, format!("{lines}{name} check passed\n")),
        (false, _) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{name} check failed\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, query: &str, readiness: &Readiness) -> (u16, String) {
        let Some(response) = answer(path, query, readiness) else { return (404, String::new()) };
        let code = response.status().as_u16();
        let body = futures::executor::block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn checks_are_told_as_go_tells_them() {
        let readiness = Readiness::default();
        let plugins = readiness.latch("plugins");
        for (path, query, code, text) in [
            ("/livez", "", 200, "ok"),
            ("/livez", "verbose", 200, "[+]ping ok\nlivez check passed\n"),
            ("/healthz/ping", "", 200, "ok"),
            ("/healthz/plugins", "", 404, ""),
            ("/readyz", "", 500, "[+]ping ok\n[-]plugins failed: not yet\n[+]shutdown ok\nreadyz check failed\n"),
            ("/readyz", "exclude=plugins", 200, "ok"),
            (
                "/readyz",
                "exclude=plugins&verbose=1&exclude=odd%0A",
                200,
                "[+]ping ok\n[+]plugins excluded: ok\n[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"odd\\n\"\nreadyz check passed\n",
            ),
            ("/readyz/plugins", "", 500, "internal server error: not yet\n"),
            ("/readyz/other", "", 404, ""),
            ("/readyz/plugins/more", "", 404, ""),
        ] {
            assert_eq!(told(path, query, &readiness), (code, text.to_owned()), "{path}?{query}");
        }
        plugins.open();
        let missing = "[+]api-server failed: not needed to be ready\n";
        readiness.notice("api-server").set(false);
        let detail = format!("[+]ping ok\n[+]plugins ok\n[+]shutdown ok\n{missing}readyz check passed\n");
        assert_eq!(told("/readyz", "verbose", &readiness), (200, detail));
        assert_eq!(told("/readyz", "", &readiness), (200, "ok".to_owned()));
        assert_eq!(told("/readyz/api-server", "", &readiness).0, 500);
        assert_eq!(told("/livez/api-server", "", &readiness).0, 404);
        assert_eq!(told("/readyz", "", &readiness), (200, "ok".to_owned()));
        assert_eq!(told("/readyz/plugins", "", &readiness), (200, "ok".to_owned()));
        readiness.drain();
        assert_eq!(told("/readyz/shutdown", "", &readiness).0, 500);
        assert_eq!(told("/livez", "", &readiness).0, 200);
    }
}
