use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use rewards::rows::Fields;
use rewards::rubric::Described;
use rewards::{Attempt, Unavailable, Verdict, Verifier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::Agent;

use super::problem;
use super::protocol::{Reply, Request, failed, shortened};

/// A verifier that is asked by HTTP: batches of attempts as one JSON object, by POST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Name of its part of the reward.
    #[serde(default = "default_name")]
    pub name: String,
    /// Factor of its reward.
    #[serde(default = "super::default_weight")]
    pub weight: f64,
    /// Where it is asked.
    pub url: String,
    /// A PEM file with the certificates that may sign the server's, in place of Mozilla's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether its verdicts carry the outcome; one verifier of a recipe has to.
    #[serde(default = "super::default_judges")]
    pub judges_answers: bool,
    /// Attempts of a request.
    #[serde(default = "default_batch")]
    pub batch: NonZeroUsize,
    /// Longest time for one request, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: f64,
}

fn default_name() -> String {
    "http".to_owned()
}

fn default_batch() -> NonZeroUsize {
    NonZeroUsize::new(64).expect("64 is not zero")
}

fn default_timeout() -> f64 {
    60.0
}

impl HttpConfig {
    pub(crate) fn described(&self) -> Described<'_> {
        let Self { name, weight, judges_answers, .. } = self;
        Described { name, weight: *weight, judges_answers: *judges_answers, outside: true }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        let url = &self.url;
        let host = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            return Some(format!("url: expected http:// or https:// and a host, got `{url}`"));
        }
        if url.starts_with("https") && cfg!(not(feature = "hub")) {
            return Some("url: https needs a build with the feature `hub`".into());
        }
        if self.ca.is_some() && !url.starts_with("https") {
            return Some(format!("ca: expected an https:// url to use it for, got `{url}`"));
        }
        problem(&[("timeout_s", self.timeout_s)])
    }
}

/// A verifier that is asked by HTTP.
///
/// A server that cannot be reached, is late, refuses or breaks the protocol is [`Unavailable`]. One
/// that says 500 is asked for each attempt by itself, and what it then says 500 to is an
/// [`Outcome::Error`](rewards::Outcome::Error).
#[derive(Debug)]
pub struct Http {
    config: HttpConfig,
    agent: Agent,
}

/// Longest reply, in bytes.
const MAX_REPLY: u64 = 64 << 20;
/// Status of a server that failed on what it was sent.
const FAILED: u16 = 500;

/// Why there are no verdicts.
enum Refused {
    /// The server failed on these attempts.
    Failed,
    /// Nothing is known about them.
    Away(String),
}

impl Http {
    /// A verifier that is first asked when there is something to judge.
    ///
    /// # Errors
    ///
    /// Fails where the file `ca` cannot be read or holds no certificate.
    pub fn new(config: HttpConfig) -> Result<Self> {
        // The address of the recipe is the one that is asked: no proxy, no redirection.
        let settings = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_s)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None);
        #[cfg(feature = "hub")]
        let settings = match &config.ca {
            Some(path) => settings.tls_config(signed_by(path)?),
            None => settings,
        };
        Ok(Self { agent: settings.build().new_agent(), config })
    }

    fn ask(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Refused> {
        #[derive(Serialize)]
        struct Requests<'a> {
            attempts: Vec<Request<'a>>,
        }
        let requests =
            attempts.iter().enumerate().map(|(id, attempt)| Request::new(id, attempt)).collect();
        let body = serde_json::to_vec(&Requests { attempts: requests });
        let body = body.expect("a request has a JSON form");
        let away = |error: ureq::Error| Refused::Away(format!("{}: {error}", self.config.url));
        let request = self.agent.post(&self.config.url).content_type("application/json");
        let mut response = request.send(&body[..]).map_err(away)?;
        let status = response.status();
        if status.as_u16() == FAILED {
            return Err(Refused::Failed);
        }
        let text = response.body_mut().with_config().limit(MAX_REPLY).read_to_string();
        let text = text.map_err(away)?;
        let broken = |what: String| {
            Refused::Away(format!("{}: {what}, got `{}`", self.config.url, shortened(&text)))
        };
        if !status.is_success() {
            return Err(broken(format!("expected status 200, got {}", status.as_u16())));
        }
        let replies = replies(&text)
            .map_err(|error| broken(format!("expected {{\"verdicts\": [...]}} ({error})")))?;
        let mut verdicts: Vec<_> = attempts.iter().map(|_| None).collect();
        for reply in replies {
            let id = reply.id;
            match verdicts.get_mut(id) {
                Some(place @ None) => {
                    let verdict = reply.verdict(self.config.judges_answers);
                    *place = Some(verdict.unwrap_or_else(|_| failed()));
                }
                _ => return Err(broken(format!("a verdict on {id} that nobody asked for"))),
            }
        }
        let all: Option<Vec<_>> = verdicts.into_iter().collect();
        all.ok_or_else(|| broken(format!("expected {} verdicts", attempts.len())))
    }
}

/// The replies of an answer `{"verdicts": [...]}`.
fn replies(text: &str) -> Result<Vec<Reply>, String> {
    let verdicts = Fields::read(text.as_bytes())?.list("verdicts")?;
    verdicts.into_iter().map(|verdict| Reply::read(verdict.as_bytes())).collect()
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

impl Verifier for Http {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn judges_answers(&self) -> bool {
        self.config.judges_answers
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let away = |reason| Unavailable { verifier: self.config.name.clone(), reason };
        let mut verdicts = Vec::with_capacity(attempts.len());
        for batch in attempts.chunks(self.config.batch.get()) {
            match self.ask(batch) {
                Ok(said) => verdicts.extend(said),
                Err(Refused::Away(reason)) => return Err(away(reason)),
                Err(Refused::Failed) if batch.len() == 1 => verdicts.push(failed()),
                Err(Refused::Failed) => {
                    for attempt in batch {
                        match self.ask(std::slice::from_ref(attempt)) {
                            Ok(said) => verdicts.extend(said),
                            Err(Refused::Failed) => verdicts.push(failed()),
                            Err(Refused::Away(reason)) => return Err(away(reason)),
                        }
                    }
                }
            }
        }
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use rewards::Outcome::{Correct, Error, Wrong};
    use rewards::Problem;
    use serde_json::{Value, json};

    use super::*;

    /// A server that answers by `says`.
    fn serve(says: impl Fn(&Value) -> (u16, String) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    let header = line.to_ascii_lowercase();
                    if let Some(value) = header.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let (status, text) = says(&serde_json::from_slice(&body).unwrap());
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
                let length = text.len();
                let _ = write!(stream.get_mut(), "{head}content-length: {length}\r\n\r\n{text}");
            }
        });
        format!("http://{address}/judge")
    }

    fn ask(url: &str, change: &str, texts: &[&str]) -> Result<Vec<Verdict>, Unavailable> {
        let config: HttpConfig = toml::from_str(&format!("url = \"{url}\"\n{change}")).unwrap();
        assert_eq!(config.problem(), None);
        let problem = Problem {
            id: "p".into(),
            problem: "1+1".into(),
            answer: "2".into(),
            source: String::new(),
            ..Problem::default()
        };
        let attempt = |&text| Attempt {
            problem: &problem,
            text,
            num_tokens: 3,
            max_tokens: 8,
            truncated: false,
        };
        Http::new(config).unwrap().verify(&texts.iter().map(attempt).collect::<Vec<_>>())
    }

    /// Verdicts in reverse: the length of the completion, an error for "refuse".
    fn lengths(request: &Value) -> (u16, String) {
        let attempts = request["attempts"].as_array().unwrap();
        let verdict = |attempt: &Value| {
            assert_eq!((&attempt["gold"], &attempt["problem_id"]), (&json!("2"), &json!("p")));
            match attempt["completion"].as_str().unwrap() {
                "refuse" => json!({ "id": attempt["id"], "error": "not mine" }),
                text => json!({ "id": attempt["id"], "reward": text.len(), "answer": text }),
            }
        };
        let verdicts: Vec<_> = attempts.iter().rev().map(verdict).collect();
        (200, json!({ "verdicts": verdicts }).to_string())
    }

    fn away(url: &str, words: &str) {
        let error = ask(url, "timeout_s = 0.5", &["a", "b"]).unwrap_err();
        assert!(error.reason.contains(words), "{}", error.reason);
        assert!(error.reason.contains(url), "{}", error.reason);
    }

    #[cfg(feature = "hub")]
    #[test]
    fn certificates_are_looked_at_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = || {
            let config: HttpConfig = toml::from_str("url = 'https://localhost/judge'").unwrap();
            let config = HttpConfig { ca: Some(path.clone()), ..config };
            assert_eq!(config.problem(), None);
            let error = format!("{:#}", Http::new(config).unwrap_err());
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            error
        };
        assert!(refused().contains("No such file"), "{}", refused());
        std::fs::write(&path, "no certificate\n").unwrap();
        assert!(refused().contains("there is no certificate in it"), "{}", refused());
    }

    #[test]
    fn batches_come_back_in_order() {
        let url = serve(lengths);
        for batch in 1..5 {
            let said = ask(&url, &format!("batch = {batch}"), &["", "a", "refuse", "abc"]).unwrap();
            let rewards: Vec<_> = said.iter().map(|one| one.reward).collect();
            assert_eq!(rewards, [0.0, 1.0, 0.0, 3.0]);
            let outcomes: Vec<_> = said.iter().filter_map(|one| one.outcome).collect();
            assert_eq!(outcomes, [Wrong, Correct, Error, Correct]);
            assert_eq!(said[3].answer.as_deref(), Some("abc"));
        }
    }

    #[test]
    fn the_attempt_that_breaks_the_server_is_an_error() {
        let url = serve(|request| {
            let broken = request.to_string().contains("poison");
            if broken { (500, "oh".into()) } else { lengths(request) }
        });
        let said = ask(&url, "", &["a", "poison", "b"]).unwrap();
        let outcomes: Vec<_> = said.iter().filter_map(|one| one.outcome).collect();
        assert_eq!(outcomes, [Correct, Error, Correct]);
    }

    #[test]
    fn a_server_that_is_no_judge_is_away() {
        for status in [404, 429, 502, 503] {
            let url = serve(move |_| (status, "busy".into()));
            away(&url, &format!("got {status}, got `busy`"));
        }
        let says = |text: &'static str| serve(move |_| (200, text.to_owned()));
        away(&says("hello"), "expected {\"verdicts\": [...]}");
        away(&says(r#"{"verdicts":[]}"#), "expected 2 verdicts");
        away(&says(r#"{"verdicts":[{"id":2,"reward":1}]}"#), "a verdict on 2");
        let twice = r#"{"verdicts":[{"id":0,"reward":1},{"id":0,"reward":1}]}"#;
        away(&says(twice), "a verdict on 0");
        let late = serve(|request| {
            thread::sleep(Duration::from_secs(2));
            lengths(request)
        });
        away(&late, "timeout");
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        away(&format!("http://{nobody}/"), "refused");
    }
}
