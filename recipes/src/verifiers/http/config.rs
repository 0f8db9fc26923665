//! Settings of a verifier that is a server.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use rewards::rubric::Described;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{crowd, problem};
use super::headers;

/// A verifier that is asked by HTTP: batches of attempts as one JSON object, by POST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Name of its part of the reward, in records and metrics.
    #[serde(default = "default_name")]
    pub name: String,
    /// Factor of its reward.
    ///
    /// Names: TRL `reward_weights`.
    #[serde(default = "crate::verifiers::default_weight")]
    pub weight: f64,
    /// The address that requests are sent to.
    pub url: String,
    /// Headers of every request. Values have the form `"env:NAME"` or `"Bearer env:NAME"`: they are
    /// read from the environment and stored nowhere. Left out: none.
    ///
    /// Names: prime-rl `headers_from_env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A PEM file with the certificates that may sign the server's. Left out: Mozilla's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether its verdicts say if the answer is correct. Exactly one verifier of a recipe has to.
    #[serde(default = "crate::verifiers::default_judges")]
    pub judges_answers: bool,
    /// Attempts of one request.
    #[serde(default = "default_batch")]
    pub batch: NonZeroUsize,
    /// Requests that are open at the same time.
    ///
    /// Names: verl `sandbox_fusion.max_concurrent`.
    #[serde(default = "default_concurrency")]
    pub concurrency: NonZeroUsize,
    /// Longest time for one request, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: f64,
    /// Longest time that the run waits for a server that cannot be reached, in seconds, or `"off"`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub give_up_after_s: Option<f64>,
}

fn default_name() -> String {
    "http".to_owned()
}

fn default_batch() -> NonZeroUsize {
    NonZeroUsize::new(64).expect("64 is not zero")
}

fn default_concurrency() -> NonZeroUsize {
    NonZeroUsize::new(8).expect("8 is not zero")
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
        let is_whole = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        if !is_whole || url.parse::<ureq::http::Uri>().is_err() {
            let url = without_secrets(url);
            return Some(format!("url: expected http:// or https:// and a host, got `{url}`"));
        }
        if authority(url).contains('@') {
            return Some(
                "url: expected no user or password in it, since recipes are stored with their runs: \
                 set headers = { Authorization = \"Basic env:NAME\" }"
                    .into(),
            );
        }
        if url.starts_with("https") && cfg!(not(feature = "hub")) {
            return Some("url: https needs a build with the feature `hub`".into());
        }
        if self.ca.is_some() && !url.starts_with("https") {
            let url = without_secrets(url);
            return Some(format!("ca: expected an https:// url to use it for, got `{url}`"));
        }
        headers::problem(&self.headers)
            .or_else(|| problem(&[("timeout_s", self.timeout_s)]))
            .or_else(|| crowd("concurrency", self.concurrency))
            .or_else(|| {
                self.give_up_after_s.and_then(|limit| problem(&[("give_up_after_s", limit)]))
            })
    }
}

/// The part of an address between the scheme and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// An address for messages: without user, password and query, which may be secrets.
pub(super) fn without_secrets(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    let authority = authority(url);
    match authority.rsplit_once('@') {
        Some((_, host)) => place.replacen(authority, host, 1),
        None => place.to_owned(),
    }
}
