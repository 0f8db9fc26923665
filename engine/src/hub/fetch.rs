//! Fetching through hf-hub.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::{Address, Hub};
use crate::checkpoint::shard_names;
use crate::{Error, Result, file};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// Files besides the weights; those without which no model loads first.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
const WELCOME: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

impl Hub {
    /// The hub and the cache that the environment names: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`.
    ///
    /// # Errors
    ///
    /// Fails when there is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = set("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache").join("huggingface")));
        let home = home.ok_or_else(|| {
            Error::Input("no place for fetched models: set HF_HOME to a folder".to_owned())
        })?;
        let cache = Cache::new(home.join("hub"));
        let token = set("HF_TOKEN").or_else(|| cache.token());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Ok(Self { endpoint, cache: cache.path().clone(), token, progress: true })
    }

    /// The folder of a model, fetched unless the cache holds the hub's current version of it.
    ///
    /// # Errors
    ///
    /// Fails when the address is malformed, the hub has no such model or refuses it, a file that
    /// the model needs is not there, or the network or the disk fails; without a network, when the
    /// model is not in the cache.
    pub fn fetch(&self, address: &str) -> Result<PathBuf> {
        let Address { repo, revision } = Address::parse(address)?;
        let failed = |what: &str, error: &ApiError| self.failure(address, "model", what, error);
        let api = self.api().map_err(|e| failed("no connection", &e))?;
        let named = Repo::with_revision(repo.clone(), RepoType::Model, revision);
        let info = match api.repo(named.clone()).info() {
            Ok(info) => info,
            Err(error) => {
                return self.cached(&named).ok_or_else(|| failed("not found", &error));
            }
        };
        // By its commit, so that all files are of one version whatever is pushed meanwhile.
        let commit = Repo::with_revision(repo, RepoType::Model, info.sha.clone());
        let files: Vec<_> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let folder =
            Download { hub: self, address, files: &files, repo: api.repo(commit) }.all()?;
        Cache::new(self.cache.clone())
            .repo(named)
            .create_ref(&info.sha)
            .map_err(|source| Error::Io { path: self.cache.clone(), source })?;
        Ok(folder)
    }

    /// The folder of a model in the cache, where its configuration at least is; asks no network.
    ///
    /// # Errors
    ///
    /// Fails when the address is malformed.
    pub fn find(&self, address: &str) -> Result<Option<PathBuf>> {
        let Address { repo, revision } = Address::parse(address)?;
        let named = Repo::with_revision(repo, RepoType::Model, revision);
        let config = Cache::new(self.cache.clone()).repo(named).get("config.json");
        Ok(config.and_then(|config| config.parent().map(Path::to_owned)))
    }

    pub(super) fn api(&self) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .with_progress(self.progress)
            .with_retries(2)
            .build()
    }

    /// The folder of a model that is whole in the cache.
    fn cached(&self, repo: &Repo) -> Option<PathBuf> {
        let cached = Cache::new(self.cache.clone()).repo(repo.clone());
        let folder = cached.get("config.json")?.parent()?.to_owned();
        cached.get("tokenizer.json")?;
        if cached.get(SINGLE).is_none() {
            let index = file::read(&cached.get(INDEX)?).ok()?;
            let shards = shard_names(&index).ok()?;
            shards.iter().all(|name| folder.join(name).exists()).then_some(())?;
        }
        Some(folder)
    }

    pub(super) fn failure(&self, address: &str, noun: &str, what: &str, error: &ApiError) -> Error {
        let problem = match error {
            ApiError::RequestError(request) => match **request {
                ureq::Error::StatusCode(404) => {
                    format!("{what} at {}: no such {noun} or revision", self.endpoint)
                }
                ureq::Error::StatusCode(401 | 403) => format!(
                    "{} refuses it: a private or gated {noun}, or none of that name\nset HF_TOKEN \
                     to a token that may read it",
                    self.endpoint
                ),
                _ => format!(
                    "cannot fetch from {}: {request}\ncheck the network or HF_ENDPOINT, or give a \
                     local folder",
                    self.endpoint
                ),
            },
            other => format!("fetching from {}: {other}", self.endpoint),
        };
        Error::Input(format!("{address}: {problem}"))
    }
}

struct Download<'a> {
    hub: &'a Hub,
    address: &'a str,
    files: &'a [&'a str],
    repo: ApiRepo,
}

impl Download<'_> {
    fn all(&self) -> Result<PathBuf> {
        let missing = |what: &str| {
            Error::Input(format!(
                "{}: has no {what}, so it is no model in Hugging Face layout\nit has: {}",
                self.address,
                self.files.join(", ")
            ))
        };
        let has = |name: &str| self.files.contains(&name);
        if let Some(name) = NEEDED.iter().find(|name| !has(name)) {
            return Err(missing(name));
        }
        if !has(SINGLE) && !has(INDEX) {
            return Err(missing("safetensors"));
        }
        let config = self.one("config.json")?;
        for name in NEEDED.iter().chain(&WELCOME).filter(|name| has(name)) {
            self.one(name)?;
        }
        if has(SINGLE) {
            self.one(SINGLE)?;
        } else {
            let index = self.one(INDEX)?;
            let bytes =
                file::read(&index).map_err(|source| Error::Io { path: index.clone(), source })?;
            let names =
                shard_names(&bytes).map_err(|problem| Error::File { path: index, problem })?;
            for name in names {
                self.one(&name)?;
            }
        }
        Ok(config.parent().unwrap_or(Path::new(".")).to_owned())
    }

    fn one(&self, name: &str) -> Result<PathBuf> {
        self.repo.get(name).map_err(|error| self.hub.failure(self.address, "model", name, &error))
    }
}
