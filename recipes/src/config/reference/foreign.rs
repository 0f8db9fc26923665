//! Names of other libraries that no single key here stands for: `foreign.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// A name that no single key stands for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Foreign {
    /// The library that has it.
    pub(in crate::config) library: String,
    /// Paths of keys here, where `stage.` has no kind.
    #[serde(default)]
    pub(in crate::config) keys: Vec<String>,
    /// What to know about it, with `{1}` for the first of the keys. Without it the keys are what
    /// the name is here.
    #[serde(default)]
    pub(in crate::config) note: Option<String>,
}

static FOREIGN: LazyLock<BTreeMap<String, Foreign>> = LazyLock::new(|| {
    toml::from_str(include_str!("../foreign.toml")).expect("foreign.toml is read")
});

/// All names that no single key stands for.
pub(in crate::config) fn all() -> impl Iterator<Item = (&'static str, &'static Foreign)> {
    FOREIGN.iter().map(|(name, foreign)| (name.as_str(), foreign))
}

/// What is noted about a name, of which only the last part counts.
pub(in crate::config) fn noted(name: &str) -> Option<&'static Foreign> {
    FOREIGN.get(name.rsplit('.').next().unwrap_or(name))
}

impl Foreign {
    /// The list that its note offers as the value of its key.
    pub(in crate::config) fn list(&self) -> Option<&str> {
        let (_, list) = self.note.as_deref()?.split_once("{1} = ")?;
        list.starts_with('[').then(|| &list[..=list.rfind(']').unwrap_or(0)])
    }

    /// The note with its keys as `path` has them; none where the keys are what the name is here.
    pub(in crate::config) fn said(&self, path: impl Fn(&str) -> String) -> Option<String> {
        let mut note = self.note.clone()?;
        for (index, key) in self.keys.iter().enumerate() {
            note = note.replace(&format!("{{{}}}", index + 1), &path(key));
        }
        Some(note)
    }
}
