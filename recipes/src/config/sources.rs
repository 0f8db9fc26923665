//! The texts that a recipe is read from.
//!
//! Each source is parsed after as many blanks as all earlier ones are long, so that a span says
//! which source it points into, and an error finds its file, line and column, or its `--set`.

use std::ops::Range;

use anyhow::{Result, bail};
use toml::de::DeTable;

use super::algorithm::PRESETS;

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

impl Source {
    pub(super) fn here(&self) -> Range<usize> {
        self.start..self.start
    }
}
