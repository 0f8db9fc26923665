//! Models and data sets on a Hugging Face hub: `hf://org/name`, `hf://org/name@revision` and
//! `hf://datasets/org/name[@revision][/path]`.
//!
//! Files go to the cache that `huggingface_hub` has as well (`HF_HOME`); `HF_ENDPOINT` names
//! another hub, `HF_TOKEN` opens gated models. A model that is in the cache loads without a
//! network.

use std::path::PathBuf;

use crate::{Error, Result};

/// What every address on a hub begins with.
pub const SCHEME: &str = "hf://";

/// What the address of a data set begins with.
pub const DATASETS: &str = "hf://datasets/";

/// A hub and the place where its files are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Address of the hub, as `https://huggingface.co`.
    pub endpoint: String,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// What opens gated models.
    pub token: Option<String>,
    /// Whether to draw a bar for each file on a terminal.
    pub progress: bool,
}

/// The local path of `model`: itself, or the folder that an `hf://` address is fetched into.
///
/// # Errors
///
/// As [`Hub::fetch`] for an address; a path is handed on unseen.
pub fn resolve(model: &str) -> Result<PathBuf> {
    if model.starts_with(SCHEME) { Hub::from_env()?.fetch(model) } else { Ok(PathBuf::from(model)) }
}

/// An address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    repo: String,
    revision: String,
}

impl Address {
    fn parse(address: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::Input(format!(
                "\"{address}\": {what}\nexpected hf://org/name or hf://org/name@revision"
            ))
        };
        let rest = address.strip_prefix(SCHEME).ok_or_else(|| wrong("no hf:// in front"))?;
        let (repo, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        match repo.split_once('/') {
            Some((org, name)) if plain(org) && plain(name) => {}
            _ => return Err(wrong("not an organisation and a name")),
        }
        // Branches may have slashes; what would leave the cache may not be there.
        if !revision.split('/').all(plain) {
            return Err(wrong("the revision is not one"));
        }
        Ok(Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }
}

/// A part of an address that cannot leave its folder.
fn plain(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !part.is_empty() && part.chars().all(known) && !part.starts_with('.')
}

/// The address of a data set, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    repo: String,
    revision: String,
    /// A file, a folder or a pattern; empty for all of it.
    path: String,
}

impl Location {
    fn parse(address: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::Input(format!(
                "\"{address}\": {what}\nexpected {DATASETS}owner/name, with @revision and /path behind \
                 it where needed"
            ))
        };
        let rest = address.strip_prefix(DATASETS).ok_or_else(|| wrong("no data set"))?;
        let mut parts = rest.split('/');
        let owner = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        if !plain(owner) || !plain(name) {
            return Err(wrong("not an owner and a name"));
        }
        let mut revision = revision.to_owned();
        if revision == "refs" {
            // The revisions of pull requests and of the hub's own Parquet files.
            for part in parts.by_ref().take(2) {
                revision = format!("{revision}/{part}");
            }
        }
        if !revision.split('/').all(plain) {
            return Err(wrong("the revision is not one"));
        }
        let path: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if path.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(wrong("the path leaves the data set"));
        }
        Ok(Self { repo: format!("{owner}/{name}"), revision, path: path.join("/") })
    }
}

#[cfg(not(feature = "hub"))]
impl Hub {
    /// The hub and the cache that the environment names.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn from_env() -> Result<Self> {
        Err(Error::Input(
            "this build cannot load from a hub\nbuild it with the feature `hub`, or give a folder"
                .into(),
        ))
    }

    /// Fetches a model.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn fetch(&self, address: &str) -> Result<PathBuf> {
        Address::parse(address)?;
        Self::from_env().map(|hub| hub.cache)
    }

    /// Looks for a model in the cache.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn find(&self, address: &str) -> Result<Option<PathBuf>> {
        self.fetch(address).map(Some)
    }

    /// The files of a data set.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn dataset(&self, address: &str) -> Result<Dataset> {
        let Location { repo, revision, path } = Location::parse(address)?;
        Self::from_env().map(|_| Dataset {
            address: repo,
            commit: revision,
            files: Vec::new(),
            path,
            is_offline: true,
        })
    }

    /// Looks for a data set in the cache.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn dataset_in_cache(&self, address: &str) -> Result<Option<Dataset>> {
        self.dataset(address).map(Some)
    }

    /// Fetches files of a data set.
    ///
    /// # Errors
    ///
    /// Always: this build has no hub.
    pub fn fetch_files(&self, _: &Dataset, _: &[&str]) -> Result<Vec<PathBuf>> {
        Self::from_env().map(|_| Vec::new())
    }
}

/// A data set at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The address as it was given.
    pub address: String,
    /// The commit.
    pub commit: String,
    /// Names of the files, sorted; of one that is read from the cache, those that are in it.
    pub files: Vec<String>,
    /// What the address names in it: a file, a folder or a pattern; empty for all of it.
    pub path: String,
    /// Whether the hub could not be asked, so that the cache alone counts.
    pub is_offline: bool,
}

#[cfg(feature = "hub")]
mod dataset;
#[cfg(feature = "hub")]
mod fetch;
