//! The texts that a recipe is read from.
//!
//! Each source is parsed after as many blanks as all earlier ones are long, so that a span says
//! which source it points into, and an error finds its file, line and column, or its `--set`.

use std::ops::Range;

use anyhow::{Result, bail};
use toml::de::DeTable;

use super::algorithm::PRESETS;
use super::brief::shortened;
use super::place::stage_kinds;
use super::reference::KEYS;
use super::trees::{general, item_number};

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
    /// Where a span begins: a file and its line, or an override.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let source = self.0.iter().rev().find(|source| source.start <= span.start);
        source.map(|source| source.place(span)).unwrap_or_default()
    }

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
        let dotted = dotted(path.trim());
        if let Some((path, list)) = &dotted {
            match is_list(list) {
                Some(true) => bail!(
                    "--set {}: expected a dot before the number of an item: `{}`",
                    shortened(text),
                    shortened(path)
                ),
                Some(false) => {
                    bail!("--set {}: `{}` is not a list", shortened(text), shortened(list))
                }
                // What is wrong is said of its key.
                None => {}
            }
        }
        let path = dotted.as_ref().map_or(path, |(path, _)| path);
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

/// A path such as `rewards[0].weight` with dots, and the list that it begins with; none where it
/// has no brackets.
fn dotted(path: &str) -> Option<(String, &str)> {
    let (list, _) = path.split_once('[').filter(|_| !path.contains(['"', '\'']))?;
    (!list.is_empty()).then(|| (path.replace('[', ".").replace(']', ""), list))
}

/// Whether the value of a key is a list; none where there is no such key.
fn is_list(path: &str) -> Option<bool> {
    let known = |path: &str| Some(KEYS.get(&general(path))?.types.contains("list of"));
    match path.strip_prefix("stage.").and_then(|rest| rest.split_once('.')) {
        Some((number, key)) if item_number(number).is_some() => {
            stage_kinds().iter().find_map(|kind| known(&format!("stage.{kind}.{key}")))
        }
        _ => known(path),
    }
}

impl Source {
    pub(super) fn here(&self) -> Range<usize> {
        self.start..self.start
    }

    /// The line that a span begins in, and how many bytes of it come before.
    pub(super) fn line_of(&self, span: &Range<usize>) -> (&str, usize) {
        let body = &self.padded[self.start..];
        let at = span.start.saturating_sub(self.start).min(body.len());
        let start = body[..at].rfind('\n').map_or(0, |newline| newline + 1);
        (body[start..].lines().next().unwrap_or_default(), at - start)
    }

    /// Where a span begins: the file and its line, or the override.
    fn place(&self, span: &Range<usize>) -> String {
        if self.is_override {
            return format!("--set {}", shortened(&self.name));
        }
        let before = &self.padded[self.start..span.start.max(self.start)];
        format!("{}:{}", self.name, before.matches('\n').count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::is_list;

    #[test]
    fn lists_are_told_from_other_keys() {
        for (path, found) in [
            ("stage.rl.rewards", Some(true)),
            ("stage.0.rewards", Some(true)),
            ("eval.set", Some(true)),
            ("data.train", Some(true)),
            ("eval.set.1.rewards", Some(true)),
            ("data.train.0.columns.keep", Some(true)),
            ("stage.0.steps", Some(false)),
            ("model.path", Some(false)),
            ("optim.betas", None),
        ] {
            assert_eq!(is_list(path), found, "{path}");
        }
    }
}
