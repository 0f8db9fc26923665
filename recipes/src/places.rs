//! Where files that a recipe names are looked for.

use std::path::{Path, PathBuf};

/// Where files that a recipe names are looked for, in this order.
#[derive(Debug, Clone)]
pub struct Places(Vec<PathBuf>);

impl Places {
    /// The recipe's folder, the working directory, and the folder in `STEARIN_DATA`.
    pub fn of_recipe(folder: &Path) -> Self {
        let data = std::env::var_os("STEARIN_DATA").map(PathBuf::from);
        let mut places = vec![folder.to_owned(), PathBuf::new()];
        places.extend(data);
        Self(places)
    }

    /// The first place that has `path`.
    pub fn find(&self, path: &str) -> Option<PathBuf> {
        self.0.iter().map(|place| place.join(path)).find(|path| path.exists())
    }

    /// The places, for a message.
    pub fn listed(&self) -> String {
        let name = |place: &PathBuf| {
            if place.as_os_str().is_empty() {
                "the working directory".to_owned()
            } else {
                place.display().to_string()
            }
        };
        let mut names: Vec<_> = self.0.iter().map(name).collect();
        names.dedup();
        names.join(", ")
    }
}
