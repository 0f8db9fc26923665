//! Who set a key: the recipe or the preset of an algorithm.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Who set a key that is not at its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The preset of the stage's algorithm.
    Preset,
    /// A file of the recipe, or `--set`.
    Recipe,
}

/// Who set the keys of a recipe, by path, such as `stage.0.loss.kl`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Of a tree of which the presets are before `start`.
    pub(super) fn of(tree: &DeTable<'_>, start: usize) -> Self {
        let mut found = BTreeMap::new();
        for (key, value) in tree {
            gather(key.get_ref(), value, start, &mut found);
        }
        Self(found)
    }

    /// Who set the key at `path`, or the kind of the table there; `None` where it has its default.
    pub fn origin(&self, path: &str) -> Option<Origin> {
        let kind = || self.0.get(&format!("{path}.kind"));
        self.0.get(path).or_else(kind).copied()
    }
}

fn gather(
    path: &str,
    value: &Spanned<DeValue<'_>>,
    start: usize,
    into: &mut BTreeMap<String, Origin>,
) {
    let below = |name: &str| format!("{path}.{name}");
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                gather(&below(key.get_ref()), value, start, into);
            }
        }
        DeValue::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                gather(&below(&index.to_string()), value, start, into);
            }
        }
        _ => {
            let is_preset = value.span().start < start;
            into.insert(path.to_owned(), if is_preset { Origin::Preset } else { Origin::Recipe });
        }
    }
}
