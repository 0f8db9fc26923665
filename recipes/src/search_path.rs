//! The folders in which files that a recipe names are searched for.

use std::path::{Path, PathBuf};

use crate::names::is_hub_name;

/// The folders in which files that a recipe names are searched for, in order.
#[derive(Debug, Clone)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// The recipe's folder, the working directory, and the folder in `STEARIN_DATA`.
    pub fn of_recipe(folder: &Path) -> Self {
        let data = std::env::var_os("STEARIN_DATA").map(PathBuf::from);
        let mut folders = vec![folder.to_owned(), PathBuf::new()];
        folders.extend(data);
        Self(folders)
    }

    /// The working directory, and the folder in `STEARIN_DATA`.
    pub fn of_command() -> Self {
        Self::of_recipe(Path::new(""))
    }

    /// The first folder that has `path`, joined with it.
    pub fn find(&self, path: &str) -> Option<PathBuf> {
        self.find_all(path).next()
    }

    /// Where `path` is in each folder that has it.
    pub fn find_all(&self, path: &str) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(move |folder| folder.join(path)).filter(|path| path.exists())
    }

    /// Whether `name`, which none of them has, may be that of a repository on Hugging Face: not
    /// where its first part is a folder here.
    pub(crate) fn may_be_on_hub(&self, name: &str) -> bool {
        let owner = name.split('/').next().unwrap_or(name);
        is_hub_name(name) && !self.find_all(owner).any(|path| path.is_dir())
    }

    /// The folders, for a message.
    pub fn describe(&self) -> String {
        let name = |folder: &PathBuf| {
            if folder.as_os_str().is_empty() {
                "the working directory".to_owned()
            } else {
                folder.display().to_string()
            }
        };
        let mut names: Vec<_> = self.0.iter().map(name).collect();
        names.dedup();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_a_folder_that_is_here_is_none_on_the_hub() {
        let temp = tempfile::tempdir().unwrap();
        let search_path = SearchPath::of_recipe(temp.path());
        std::fs::create_dir(temp.path().join("models")).unwrap();
        std::fs::write(temp.path().join("Qwen"), "").unwrap();
        assert!(search_path.may_be_on_hub("Qwen/Qwen3-0.6B"));
        assert!(!search_path.may_be_on_hub("models/qwen"));
        assert!(!search_path.may_be_on_hub("other/model.gguf"));
    }
}
