//! The texts that a recipe is read from.
//!
//! Each source is parsed after as many blanks as all earlier ones are long, so that a span says
//! which source it points into, and an error finds its file, line and column, or its `--set`.

use std::ops::Range;

use anyhow::{Result, bail};
use toml::de::DeTable;

use super::algorithm::PRESETS;
use super::brief::shortened;

/// What is wrong with a key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// What serde says about it.
    pub(super) text: String,
}

/// One source of settings.
#[derive(Debug)]
pub(super) struct Source {
    /// File name, or the override as it was given.
    pub(super) name: String,
    /// Its text, after `start` blanks.
    pub(super) padded: String,
    pub(super) start: usize,
    /// Overrides have no lines to speak of.
    pub(super) is_override: bool,
}

/// The presets of the algorithms, then all sources in the order in which they are merged.
#[derive(Debug)]
pub(super) struct Sources(pub(super) Vec<Source>);

impl Sources {
    /// No sources yet.
    pub(super) fn new() -> Self {
        let mut sources = Self(Vec::new());
        sources.push_file("presets.toml", PRESETS);
        sources
    }

    /// Adds a file.
    pub(super) fn push_file(&mut self, name: &str, text: &str) {
        self.push(name, text, false);
    }

    /// Adds an override `key.path=value`, which is TOML already, except that a value that is not
    /// TOML is taken as a bare string: paths and names need no second pair of quotes.
    pub(super) fn push_override(&mut self, text: &str) -> Result<()> {
        let Some((path, value)) = text.split_once('=') else {
            bail!("--set {text}: expected key.path=value");
        };
        if text.contains('\n') {
            bail!("--set {text}: expected one line");
        }
        if let Some((list, item)) = item_of_list(path.trim()) {
            bail!(
                "--set {}: `{item}` is an item of a list, and a list can only be set whole: \
                 --set '{list}=[...]'",
                shortened(text)
            );
        }
        if DeTable::parse(text).is_ok() {
            self.push(text, text, true);
        } else {
            let quoted = toml::Value::String(value.trim().to_owned());
            self.push(text, &format!("{path}={quoted}"), true);
        }
        Ok(())
    }

    fn push(&mut self, name: &str, text: &str, is_override: bool) {
        // One past the end, so that an error at the end of a file stays in that file.
        let start = self.0.last().map_or(0, |s| s.padded.len() + 1);
        let padded = format!("{:start$}{text}", "");
        self.0.push(Source { name: name.to_owned(), padded, start, is_override });
    }
}

/// The list that a path reaches into, and the item with it; none where it reaches into none. Stages
/// are a list that can be reached into.
fn item_of_list(path: &str) -> Option<(&str, &str)> {
    if let Some((list, rest)) = path.split_once('[') {
        return Some((
            list,
            &path[..list.len() + 1 + rest.find(']').map_or(rest.len(), |at| at + 1)],
        ));
    }
    let mut end = 0;
    for (index, name) in path.split('.').enumerate() {
        let start = end;
        end = start + usize::from(index > 0) + name.len();
        let is_stage = index == 1 && path.starts_with("stage.");
        if index > 0 && !is_stage && !name.is_empty() && name.bytes().all(|c| c.is_ascii_digit()) {
            return Some((&path[..start], &path[..end]));
        }
    }
    None
}

impl Source {
    pub(super) fn here(&self) -> Range<usize> {
        self.start..self.start
    }
}

#[cfg(test)]
mod tests {
    use super::item_of_list;

    #[test]
    fn what_reaches_into_a_list_is_found() {
        for (path, found) in [
            ("stage.rl.rewards.0.weight", Some(("stage.rl.rewards", "stage.rl.rewards.0"))),
            ("stage.0.rewards.10", Some(("stage.0.rewards", "stage.0.rewards.10"))),
            ("stage.rl.rewards[0].weight", Some(("stage.rl.rewards", "stage.rl.rewards[0]"))),
            ("eval.set.1.samples", Some(("eval.set", "eval.set.1"))),
            ("stage.0.steps", None),
            ("seed", None),
        ] {
            assert_eq!(item_of_list(path), found, "{path}");
        }
    }
}
