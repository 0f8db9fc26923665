//! Data sets on a hub: which files there are, and those that are asked for.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};

use super::{Dataset, Hub, Location};
use crate::{Error, Result, file};

impl Hub {
    /// The files of `hf://datasets/owner/name[@revision][/path]`, by the hub, or by the cache where
    /// the hub cannot be reached.
    ///
    /// # Errors
    ///
    /// Fails when the address is malformed, when the hub has no such data set or refuses it, and
    /// without a network when nothing of it is in the cache.
    pub fn dataset(&self, address: &str) -> Result<Dataset> {
        let location = Location::parse(address)?;
        let failed = |what: &str, error| self.failure(address, "data set", what, &error);
        let api = self.api().map_err(|error| failed("no connection", error))?;
        match api.repo(location.repo(&location.revision)).info() {
            Ok(info) => {
                let mut files: Vec<_> =
                    info.siblings.into_iter().map(|file| file.rfilename).collect();
                // A name that leaves the folder of the cache is none of a file.
                files.retain(|name| name.split('/').all(|part| !matches!(part, "" | "." | "..")));
                files.sort_unstable();
                Ok(location.dataset(address, info.sha, files, false))
            }
            Err(error) => self.dataset_in_cache(address)?.ok_or_else(|| failed("not found", error)),
        }
    }

    /// What is in the cache of a data set; asks no network.
    ///
    /// # Errors
    ///
    /// Fails when the address is malformed.
    pub fn dataset_in_cache(&self, address: &str) -> Result<Option<Dataset>> {
        let location = Location::parse(address)?;
        let folder = self.cache.join(location.repo(&location.revision).folder_name());
        let read = file::read_to_string(&folder.join("refs").join(&location.revision));
        let commit = read.map_or_else(|_| location.revision.clone(), |text| text.trim().to_owned());
        let snapshot = folder.join("snapshots").join(&commit);
        let mut files = Vec::new();
        collect(&snapshot, "", &mut files);
        files.sort_unstable();
        let found = !files.is_empty();
        Ok(found.then(|| location.dataset(address, commit, files, true)))
    }

    /// Local paths of files of a data set, fetched unless the cache has them.
    ///
    /// # Errors
    ///
    /// Fails when one is not there, and when the network or the disk fails.
    pub fn fetch_files(&self, dataset: &Dataset, names: &[&str]) -> Result<Vec<PathBuf>> {
        let Dataset { address, commit, is_offline, .. } = dataset;
        let location = Location::parse(address)?;
        let repo = location.repo(commit);
        if *is_offline {
            let folder = self.cache.join(repo.folder_name()).join("snapshots").join(commit);
            return Ok(names.iter().map(|name| folder.join(name)).collect());
        }
        let failed = |what: &str, error| self.failure(address, "data set", what, &error);
        let api = self.api().map_err(|error| failed("no connection", error))?.repo(repo);
        let get = |name: &&str| api.get(name).map_err(|error| failed(name, error));
        let paths = names.iter().map(get).collect::<Result<Vec<_>>>()?;
        Cache::new(self.cache.clone())
            .repo(location.repo(&location.revision))
            .create_ref(commit)
            .map_err(|source| Error::Io { path: self.cache.clone(), source })?;
        Ok(paths)
    }
}

impl Location {
    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Dataset, revision.to_owned())
    }

    fn dataset(
        self,
        address: &str,
        commit: String,
        files: Vec<String>,
        is_offline: bool,
    ) -> Dataset {
        Dataset { address: address.to_owned(), commit, files, path: self.path, is_offline }
    }
}

/// Names of the files below a folder, with `/` between.
fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            collect(&path, &format!("{name}/"), names);
        } else if path.is_file() {
            names.push(name);
        }
    }
}
