//! Models on a Hugging Face hub: `hf://org/name` and `hf://org/name@revision`.
//!
//! Files go to the cache that `huggingface_hub` has as well (`HF_HOME`); `HF_ENDPOINT` names another
//! hub, `HF_TOKEN` opens gated models. A model that is in the cache loads without a network.

use std::path::PathBuf;

use crate::{Error, Result};

/// What every model on a hub begins with.
pub const SCHEME: &str = "hf://";

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
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(known) && !part.starts_with('.')
        };
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
}

#[cfg(feature = "hub")]
mod fetch;
