//! Who may ask, and what every answer says of itself.
//!
//! The server listens on the loopback address. A page elsewhere could still reach it through the
//! browser of its reader: by a name that it lets point here (DNS rebinding), which the check of
//! `Host` ends, or by requests across origins, which the check of the origin ends. A page elsewhere
//! may only link to this one. Other users of this machine can reach it.

use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::trouble::Trouble;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Refuses what comes from elsewhere, and adds the headers to every answer.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.method(), request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(trouble) => trouble.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let caching = response.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-cache"));
    response
}

fn check(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Trouble> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let forbidden = |error: &str| Trouble::new(axum::http::StatusCode::FORBIDDEN, error);
    if !is_here(host) {
        return Err(forbidden("this Host is not this machine").act("open http://127.0.0.1"));
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if [Method::GET, Method::HEAD].contains(method) {
        // `none` is an address that a person typed. A link from elsewhere opens the page itself.
        let is_own = site.is_none_or(|site| ["same-origin", "none"].contains(&site));
        if path.starts_with("/api/") && !is_own {
            return Err(forbidden("this request comes from another page"));
        }
        return Ok(());
    }
    if ![Method::POST, Method::DELETE].contains(method) {
        return Err(Trouble::bad(format!("there is no {method} here")));
    }
    let origin = || text(header::ORIGIN) == Some(&*format!("http://{host}"));
    if !site.map_or_else(origin, |site| site == "same-origin") {
        return Err(forbidden("this request comes from another page"));
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Trouble::bad("expected application/json"));
    }
    Ok(())
}

/// Whether a `Host` names this machine, at whatever port: it may be the end of a tunnel.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost", "localhost:7117", "127.0.0.1:1", "[::1]", "[::1]:80"] {
            assert!(is_here(host), "{host}");
        }
        for host in
            ["", "evil.test", "127.0.0.1.evil.test", "localhost.evil.test:80", "[::1", "::1"]
        {
            assert!(!is_here(host), "{host}");
        }
    }

    #[test]
    fn changes_are_taken_from_the_page_alone() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("localhost:7117"));
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let json = ("content-type", "application/json; charset=utf-8");
        for (headers, expected) in [
            (vec![json, ("sec-fetch-site", "same-origin")], None),
            (vec![json, ("origin", "http://localhost:7117")], None),
            (vec![json, ("sec-fetch-site", "cross-site")], Some(403)),
            (
                vec![json, ("sec-fetch-site", "cross-site"), ("origin", "http://localhost:7117")],
                Some(403),
            ),
            (vec![json, ("origin", "http://evil.test")], Some(403)),
            (vec![json], Some(403)),
            (vec![("sec-fetch-site", "same-origin")], Some(400)),
            (vec![("content-type", "text/plain"), ("sec-fetch-site", "same-origin")], Some(400)),
        ] {
            let found = check(&Method::POST, "/api/v1/fork", &with(&headers)).err();
            assert_eq!(found.map(|trouble| trouble.status.as_u16()), expected, "{headers:?}");
        }
        let get = |path: &str, site: &'static str| {
            check(&Method::GET, path, &with(&[("sec-fetch-site", site)])).is_ok()
        };
        assert_eq!(check(&Method::GET, "/api/v1/runs", &with(&[])), Ok(()));
        assert!(get("/api/v1/runs", "same-origin") && get("/api/v1/runs", "none"));
        assert!(!get("/api/v1/runs", "cross-site") && !get("/api/v1/runs", "same-site"));
        assert!(get("/", "cross-site"), "a link to the page");
        assert!(check(&Method::PUT, "/", &with(&[json])).is_err());
    }
}
