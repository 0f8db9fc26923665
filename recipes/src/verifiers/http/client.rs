//! One request to a server, and what its answer means.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use ureq::{Agent, Timeout};

use super::super::fault::Fault;
use super::super::protocol::misread;
use super::config::{HttpConfig, without_secrets};
use super::headers::Headers;
use crate::printable::escaped;

/// Longest reply, in bytes.
const MAX_REPLY: u64 = 64 << 20;
/// Longest time until a connection stands, in seconds.
const MAX_CONNECT: f64 = 10.0;
/// Characters of the body of a reply in a message.
const SHOWN: usize = 200;
/// Statuses of a server that failed on what it was sent, or does not take it.
const FAILED: [u16; 4] = [400, 413, 422, 500];
/// Statuses of a server, or of one before it, that needed too long.
const LATE: [u16; 2] = [408, 504];

/// Why a request has no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The server failed on these attempts, or does not take them.
    Failed(Fault),
    /// The server did not answer in time.
    Late(Fault),
    /// Nothing is known about them.
    Unreachable(Fault),
}

/// Sends requests to one address.
#[derive(Debug)]
pub(super) struct HttpClient {
    agent: Agent,
    url: String,
    headers: Headers,
    timeout_s: f64,
    connect_s: f64,
    /// Requests that are open.
    open: AtomicUsize,
}

impl HttpClient {
    pub(super) fn new(config: &HttpConfig, headers: Headers) -> Result<Self> {
        let timeout = |seconds| Some(Duration::from_secs_f64(seconds));
        // By itself, so that a server that is not there is told from one that is slow.
        let connect_s = (0.5 * config.timeout_s).min(MAX_CONNECT);
        // The address of the recipe is the one that is asked: no proxy, no redirection.
        let settings = Agent::config_builder()
            .timeout_global(timeout(config.timeout_s))
            .timeout_connect(timeout(connect_s))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None);
        #[cfg(feature = "hub")]
        let settings = match &config.ca {
            Some(path) => settings.tls_config(signed_by(path)?),
            None => settings,
        };
        let (url, timeout_s) = (config.url.clone(), config.timeout_s);
        let (agent, open) = (settings.build().new_agent(), AtomicUsize::new(0));
        Ok(Self { agent, url, headers, timeout_s, connect_s, open })
    }

    /// The text of the reply to one body.
    pub(super) fn post(&self, body: &[u8]) -> Result<String, NoReply> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let reply = self.reply(body);
        self.open.fetch_sub(1, Ordering::Relaxed);
        reply
    }

    fn reply(&self, body: &[u8]) -> Result<String, NoReply> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        for (name, value) in &self.headers.pairs {
            request = request.header(name, value);
        }
        let mut response = request.send(body).map_err(|error| self.unreached(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MAX_REPLY).read_to_string();
        if (200..300).contains(&status) {
            return text.map_err(|error| self.unreached(&error));
        }
        let text = text.unwrap_or_default();
        let reason = format!(
            "{}: expected status 200, got {status}, with the body `{}`{}",
            without_secrets(&self.url),
            self.excerpt(&text),
            act(status)
        );
        let is_transient = status == 408 || status == 429 || status >= 500;
        let fault = if is_transient { Fault::transient(reason) } else { Fault::permanent(reason) };
        Err(match status {
            _ if FAILED.contains(&status) => NoReply::Failed(fault),
            _ if LATE.contains(&status) => NoReply::Late(fault),
            _ => NoReply::Unreachable(fault),
        })
    }

    /// A reply that breaks the protocol.
    pub(super) fn broken(&self, problem: &str, text: &str) -> Fault {
        let (url, reply) = (without_secrets(&self.url), self.headers.redact(text));
        let said = misread(&reply, &self.headers.redact(problem));
        Fault::protocol(format!(
            "{url}: it replied {said}; a reply is {{\"verdicts\": [...]}} (docs/verifiers.md)"
        ))
    }

    fn unreached(&self, error: &ureq::Error) -> NoReply {
        use std::io::ErrorKind::{InvalidData, InvalidInput};

        let url = without_secrets(&self.url);
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                NoReply::Unreachable(Fault::transient(format!("{url}: {}", self.unconnected())))
            }
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                NoReply::Unreachable(Fault::transient(format!("{url}: {error}")))
            }
            ureq::Error::BodyExceedsLimit(_) => NoReply::Failed(Fault::permanent(format!(
                "{url}: a reply of more than {MAX_REPLY} bytes"
            ))),
            ureq::Error::Timeout(_) => NoReply::Late(Fault::transient(format!(
                "{url}: it was connected, and there was no reply within {} s: raise `timeout_s` if \
                 the server needs longer",
                self.timeout_s
            ))),
            // Certificates among them.
            ureq::Error::Io(io) if matches!(io.kind(), InvalidData | InvalidInput) => {
                NoReply::Unreachable(Fault::permanent(format!(
                    "{url}: {}",
                    self.excerpt(&error.to_string())
                )))
            }
            ureq::Error::Io(_) => NoReply::Unreachable(Fault::transient(format!("{url}: {error}"))),
            _ => NoReply::Unreachable(Fault::permanent(format!(
                "{url}: {}",
                self.excerpt(&error.to_string())
            ))),
        }
    }

    /// What is said where no connection is made in time. A server that takes one request at a time
    /// does not accept the others while it is busy.
    fn unconnected(&self) -> String {
        let limit = format!(
            "no connection within {} s (half of `timeout_s`, at most {MAX_CONNECT} s)",
            self.connect_s
        );
        match self.open.load(Ordering::Relaxed).saturating_sub(1) {
            0 => format!("{limit}: check that the server runs, and the host and port in `url`"),
            others => format!(
                "{limit}, while requests to it were open ({others} besides this one): lower \
                 `concurrency` if the server takes few at a time, or raise `timeout_s`"
            ),
        }
    }

    fn excerpt(&self, text: &str) -> String {
        escaped(self.headers.redact(text).trim(), SHOWN)
    }
}

/// The next act after a status, where there is one.
fn act(status: u16) -> &'static str {
    match status {
        300..=399 => ": redirections are not followed; set `url` to the address that is meant",
        400 | 422 => ": the server does not take these requests; docs/verifiers.md has their form",
        401 | 403 => ": set `headers` in the recipe, and check the variables that they name",
        404 | 405 => ": check the path in `url`, and that the server takes POST there",
        _ => "",
    }
}

/// Trust in the certificates of a PEM file, and in no others.
#[cfg(feature = "hub")]
fn signed_by(path: &std::path::Path) -> Result<ureq::tls::TlsConfig> {
    use anyhow::Context;
    use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

    let named = || format!("ca: {}", path.display());
    let pem = std::fs::read(path).with_context(named)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.with_context(named)? {
            certificates.push(certificate);
        }
    }
    anyhow::ensure!(!certificates.is_empty(), "{}: there is no certificate in it", named());
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}
