//! The base of an adapter, as the checkpoints of its run name it.

use std::path::{Path, PathBuf};

use engine::hub;
use evals::run::Files;
use serde::{Deserialize, Serialize};

use crate::identity::sha256;

/// The model that an adapter was trained on. A checkpoint names it and has no copy of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// As the recipe names it.
    pub name: String,
    /// Where it was; none of an address on a hub and of a builtin policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What the weights of a builtin policy are drawn by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Length of its files together.
    pub bytes: u64,
    /// SHA-256 of its file; of a folder, of the lines that `sha256sum` prints for its files in the
    /// order of their names. Empty of a builtin policy, which has no file.
    pub sha256: String,
}

impl Base {
    /// The model `name` of a recipe, found at `path` with these files; `seed` is that of a builtin
    /// policy.
    pub fn of(name: &str, path: Option<&Path>, seed: Option<u64>, files: &Files) -> Self {
        let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let (bytes, sha256) = together(&files.model());
        Self { name: name.to_owned(), path, seed, bytes, sha256 }
    }

    /// Whether the model of these files is this one. A builtin policy has no files.
    pub fn has_files(&self, files: &Files) -> bool {
        self.sha256 == together(&files.model()).1
    }

    /// What other programs are told: the repository of an address, else the last part of a path.
    /// Never where it is on this machine.
    pub fn public_name(&self) -> String {
        if self.seed.is_some() {
            return self.name.clone();
        }
        Self::public(&self.name, self.path.as_deref())
    }

    /// [`Self::public_name`] of a model that is called `name` and was found at `path`.
    pub fn public(name: &str, path: Option<&Path>) -> String {
        if let Some(address) = name.strip_prefix(hub::SCHEME) {
            return address.split('@').next().unwrap_or(address).to_owned();
        }
        let last = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let known = last(Path::new(name)).or_else(|| path.and_then(last));
        known.unwrap_or_else(|| "base".to_owned())
    }
}

/// Bytes and digest of the files of a model or an adapter together.
pub(super) fn together(Files(files): &Files) -> (u64, String) {
    let bytes = files.values().map(|file| file.bytes).sum();
    // A file by itself has the key of what it is, one of a folder that and its name.
    let lines: Option<Vec<_>> = files
        .iter()
        .map(|(key, file)| {
            let (_, name) = key.split_once('/')?;
            Some(format!("{}  {name}\n", file.sha256))
        })
        .collect();
    let digest = match lines {
        Some(lines) if lines.is_empty() => String::new(),
        Some(lines) => sha256(lines.concat().as_bytes()),
        None => files.values().next().map(|file| file.sha256.clone()).unwrap_or_default(),
    };
    (bytes, digest)
}

#[cfg(test)]
mod tests {
    use evals::run::Digest;

    use super::*;

    fn files(named: &[(&str, &str)]) -> Files {
        let digest = |(name, sha256): &(&str, &str)| {
            let path = format!("/models/{name}");
            ((*name).to_owned(), Digest { path, bytes: 3, sha256: (*sha256).to_owned() })
        };
        Files(named.iter().map(digest).collect())
    }

    fn base(name: &str, files: &Files) -> Base {
        Base::of(name, Some(Path::new("models/qwen")), None, files)
    }

    #[test]
    fn a_file_has_its_own_digest_and_a_folder_that_of_all_its_files() {
        let file = files(&[("model", "ab"), ("data.train", "cd")]);
        let one = base("models/qwen", &file);
        assert_eq!((one.bytes, one.sha256.as_str()), (3, "ab"));
        assert!(one.path.as_ref().unwrap().is_absolute());
        assert!(one.has_files(&files(&[("model", "ab")])));
        assert!(!one.has_files(&files(&[("model", "ac")])));
        let folder = files(&[("model/config.json", "ab"), ("model/model.safetensors", "cd")]);
        let one = base("models/qwen", &folder);
        // printf 'ab  config.json\ncd  model.safetensors\n' | sha256sum
        let expected = "9015b2f530526f77b11987cd23892ebd751ecdaecf905637a191c7633c03a2f3";
        assert_eq!((one.bytes, one.sha256.as_str()), (6, expected));
    }

    #[test]
    fn other_programs_are_not_told_where_it_is() {
        let none = Files::default();
        for (name, public) in [
            ("hf://Qwen/Qwen2.5-0.5B@main", "Qwen/Qwen2.5-0.5B"),
            ("/home/me/models/qwen/", "qwen"),
            ("models/smollm2.gguf", "smollm2.gguf"),
            ("..", "qwen"),
        ] {
            assert_eq!(base(name, &none).public_name(), public, "{name}");
        }
        let base = Base::of("builtin:atom", None, Some(7), &none);
        assert_eq!(base.public_name(), "builtin:atom");
    }
}
