//! What the routes answer, as elements of a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::runs::Runs;
use crate::{App, routes};

/// Asks the routes within the process.
pub(super) struct Asker {
    runtime: Runtime,
    router: Router,
}

/// An answer.
pub(super) struct Answer {
    status: u16,
    is_json: bool,
    body: Vec<u8>,
}

impl Asker {
    pub(super) fn new(runs: &Arc<Runs>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { runtime, router: routes::router(App::new(Arc::clone(runs), None)) })
    }

    /// The answer of a route, given without `/api/v1`.
    pub(super) fn ask(&self, path: &str) -> Answer {
        let request = Request::get(format!("/api/v1{path}")).header("host", "localhost");
        let request = request.body(Body::empty()).expect("the parts of a path are escaped");
        self.runtime.block_on(async {
            let Ok(answer) = self.router.clone().oneshot(request).await;
            let kind = answer.headers().get("content-type");
            let is_json = kind.is_some_and(|kind| kind == "application/json");
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), usize::MAX).await;
            let body = body.expect("the body is in memory").into();
            Answer { status, is_json, body }
        })
    }
}

impl Answer {
    /// The JSON of an answer without trouble.
    pub(super) fn value(&self) -> Option<Value> {
        let is_good = self.status == 200 && self.is_json;
        is_good.then(|| serde_json::from_slice(&self.body).ok())?
    }
}

/// Elements of data by the routes that they answer.
#[derive(Debug, Default)]
pub(super) struct Elements(BTreeMap<String, String>);

impl Elements {
    /// Adds JSON as the answer to `path`.
    pub(super) fn json(&mut self, path: &str, value: &impl Serialize) {
        let body = serde_json::to_vec(value).expect("plain fields become JSON");
        self.answer(path, &Answer { status: 200, is_json: true, body });
    }

    /// Adds columns as the answer to `path`: header and f64, as the routes send them.
    pub(super) fn columns(&mut self, path: &str, body: Vec<u8>) {
        self.answer(path, &Answer { status: 200, is_json: false, body });
    }

    /// Adds the answer to `path`.
    pub(super) fn answer(&mut self, path: &str, answer: &Answer) {
        let (kind, body) = if answer.is_json {
            ("application/json", String::from_utf8_lossy(&answer.body).replace('<', "\\u003c"))
        } else {
            ("application/gzip", packed(&answer.body))
        };
        let path_of = attribute(path);
        let mut html = format!("<script type=\"{kind}\" data-path=\"{path_of}\"");
        if answer.status != 200 {
            write!(html, " data-status=\"{}\"", answer.status).expect("a string takes it");
        }
        writeln!(html, ">{body}</script>").expect("a string takes it");
        self.0.insert(path.to_owned(), html);
    }

    /// Bytes that these add to `others`.
    pub(super) fn size_beside(&self, others: &Self) -> usize {
        let new = self.0.iter().filter(|(path, _)| !others.0.contains_key(*path));
        new.map(|(_, html)| html.len()).sum()
    }

    /// Adds others; of two answers to one route the first stays.
    pub(super) fn extend(&mut self, others: Self) {
        for (path, html) in others.0 {
            self.0.entry(path).or_insert(html);
        }
    }

    /// In the order of their routes.
    pub(super) fn html(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// Header and f64 columns with the columns as f32, packed by gzip, in base64.
fn packed(bytes: &[u8]) -> String {
    let length = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    let start = (4 + length).next_multiple_of(8);
    let mut small = bytes[..start].to_vec();
    for value in bytes[start..].chunks_exact(8) {
        let value = f64::from_le_bytes(value.try_into().expect("eight bytes"));
        // Infinity says that a number was not finite: one that is only large must not become that.
        let most = f64::from(f32::MAX);
        let finite = if value.is_finite() { value.clamp(-most, most) } else { value };
        small.extend((finite as f32).to_le_bytes());
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&small).expect("memory takes all that is written");
    STANDARD.encode(gzip.finish().expect("memory takes all that is written"))
}

/// A part of a path as `encodeURIComponent` writes it.
pub(super) fn escaped(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    path
}

/// Text as the value of an attribute in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::binary::encode;

    #[test]
    fn json_cannot_end_its_element() {
        let mut elements = Elements::default();
        elements.json("/a?b=%22", &["</script><script>x<!--", "\u{2028}\0"]);
        let expected = "<script type=\"application/json\" data-path=\"/a?b=%22\">[\"\\u003c/script>\
                        \\u003cscript>x\\u003c!--\",\"\u{2028}\\u0000\"]</script>\n";
        assert_eq!(elements.html().collect::<String>(), expected);
        assert_eq!(elements.size_beside(&Elements::default()), expected.len());
    }

    #[test]
    fn columns_are_packed_as_f32_and_large_ones_stay_finite() {
        let values = [1.5, f64::NAN, f64::INFINITY, 1e300, -1e300];
        let text = packed(&encode(&["x"], [&values[..]]));
        let bytes = STANDARD.decode(text).unwrap();
        let mut all = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut all).unwrap();
        assert_eq!(&all[4..9], b"[\"x\"]");
        let found: Vec<_> = all[16..]
            .chunks_exact(4)
            .map(|own| f32::from_le_bytes(own.try_into().unwrap()))
            .collect();
        assert!(found[1].is_nan());
        assert_eq!((found[0], found[2]), (1.5, f32::INFINITY));
        assert_eq!(found[3..], [f32::MAX, f32::MIN]);
        // Nothing of the time is in it.
        assert_eq!(bytes[4..8], [0; 4]);
    }

    #[test]
    fn parts_of_paths_are_escaped_as_the_page_does() {
        assert_eq!(escaped("a b/ü'\"&<"), "a%20b%2F%C3%BC'%22%26%3C");
        assert_eq!(attribute("'\"&<"), "'&quot;&amp;&lt;");
    }
}
