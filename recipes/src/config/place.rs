//! Where a mistake is, and which of the keys of a name is nearest to it.

use std::cmp::Reverse;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reference::{ANY_NAME, KEYS, keys_of};
use super::spans;
use super::trees::kind_of;
use crate::names::nearest;

/// Where a mistake is.
pub(super) struct Place<'a> {
    tree: &'a DeTable<'a>,
    /// Names and numbers of items.
    pub(super) path: Vec<String>,
}

impl<'a> Place<'a> {
    pub(super) fn of(tree: &'a DeTable<'a>, span: &Range<usize>) -> Self {
        Self { tree, path: spans::path_at(tree, span) }
    }

    /// The table that has the wrong key at `span`.
    pub(super) fn of_key(tree: &'a DeTable<'a>, span: &Range<usize>, wrong: &str) -> Self {
        let mut place = Self::of(tree, span);
        // The table that a dotted key makes has the key's own span.
        if place.entry(wrong).is_none() {
            place.path.pop_if(|last| last == wrong);
        }
        place
    }

    pub(super) fn at(tree: &'a DeTable<'a>, path: Vec<String>) -> Self {
        Self { tree, path }
    }

    /// The path as [`KEYS`] has it.
    pub(super) fn general(&self) -> String {
        let kinds = self.kinds();
        let mut out = String::new();
        for (index, name) in self.path.iter().enumerate() {
            match name.parse::<usize>() {
                Ok(number) if index == 1 && self.path[0] == "stage" => {
                    out.extend([".", kinds.get(number).copied().unwrap_or_default()]);
                }
                Ok(_) => out.push_str("[]"),
                Err(_) if index == 0 => out.push_str(name),
                Err(_) if KEYS.contains_key(&format!("{out}.{ANY_NAME}")) => {
                    out.extend([".", ANY_NAME]);
                }
                Err(_) => out.extend([".", name]),
            }
        }
        out
    }

    /// The words that the value there may be.
    pub(super) fn words(&self) -> &'static [String] {
        KEYS.get(&self.general()).map_or(&[], |known| &known.words)
    }

    /// The path as `--set` takes it, with numbers of items: `stage.1.rewards.0`.
    pub(super) fn written(&self) -> String {
        self.path.join(".")
    }

    /// The value at the place.
    pub(super) fn value(&self) -> Option<&'a DeValue<'a>> {
        spans::value_at(self.tree, &self.path).map(Spanned::get_ref)
    }

    /// The value of a key of the table at the place.
    pub(super) fn entry(&self, key: &str) -> Option<&'a DeValue<'a>> {
        let table = match &self.path[..] {
            [] => self.tree,
            _ => self.value()?.as_table()?,
        };
        table.get(key).map(Spanned::get_ref)
    }

    /// The named adapters of the recipe.
    pub(super) fn adapters(&self) -> Option<&'a DeTable<'a>> {
        let model = self.tree.get("model")?.get_ref().as_table()?;
        model.get("adapters")?.get_ref().as_table()
    }

    /// A path of [`KEYS`] with the stage and the items that are meant: those of the place, else the
    /// last stage that has such a key.
    pub(super) fn addressed(&self, path: &str) -> String {
        let general = self.general();
        if let Some(rest) = path.strip_prefix(&general).filter(|_| general.contains("[]")) {
            return format!("{}{rest}", self.written());
        }
        let Some((kind, key)) = path.strip_prefix("stage.").and_then(|rest| rest.split_once('.'))
        else {
            return path.to_owned();
        };
        let kinds = self.kinds();
        let fits = |index: &usize| kinds.get(*index) == Some(&kind);
        let own = self.stage().filter(fits);
        let found = own.or_else(|| (0..kinds.len()).rev().find(fits));
        let is_only = kinds.iter().filter(|other| **other == kind).count() < 2;
        match found {
            Some(index) if !is_only => format!("stage.{index}.{key}"),
            _ => path.to_owned(),
        }
    }

    /// The number of the stage that it is in.
    fn stage(&self) -> Option<usize> {
        match &self.path[..] {
            [stage, index, ..] if stage == "stage" => index.parse().ok(),
            _ => None,
        }
    }

    /// The kinds of all stages, guessed where one is missing or wrong.
    fn kinds(&self) -> Vec<&'static str> {
        let stages = self.tree.get("stage").and_then(|stages| stages.get_ref().as_array());
        let stages = stages.into_iter().flat_map(|all| all.iter());
        stages.map(|stage| stage_kind(stage.get_ref()).unwrap_or_default()).collect()
    }

    /// Of keys with one meaning the one that is nearest to the place. Of others those that are in
    /// the same table, below it or in the same stage, else all. Of a table and its key only the
    /// key.
    pub(super) fn nearest(&self, paths: &[&'static str]) -> Vec<&'static str> {
        let mut found: Vec<(&str, &'static str)> = Vec::new();
        for &path in paths {
            let meaning = KEYS.get(path).map_or("", |known| &known.meaning);
            match found.iter_mut().find(|(known, _)| *known == meaning) {
                Some((_, best)) if self.distance(path) < self.distance(best) => *best = path,
                Some(_) => {}
                None => found.push((meaning, path)),
            }
        }
        let mut kept: Vec<_> = found.into_iter().map(|(_, path)| path).collect();
        let least = kept.iter().map(|path| self.class(path)).min().unwrap_or(ELSEWHERE);
        kept.retain(|path| least >= ELSEWHERE || self.class(path) == least);
        let all = kept.clone();
        kept.retain(|path| !all.iter().any(|other| other.starts_with(&format!("{path}."))));
        kept
    }

    /// How far a path is from the place; less is nearer.
    fn distance(&self, path: &str) -> impl Ord + use<> {
        let kind = stage_of(path);
        let last = kind.and_then(|kind| self.kinds().iter().rposition(|other| *other == kind));
        // Where there is no such stage, one that samples.
        let known = (Reverse(last), Reverse(kind.is_some_and(super::Stage::samples)));
        (self.class(path), path.contains("[]"), known, path.len())
    }

    /// Whether a path is in another stage or table than the place.
    pub(super) fn is_elsewhere(&self, path: &str) -> bool {
        self.class(path) >= ELSEWHERE
    }

    /// Whether a path is in the same table, below it, in the same stage, or from [`ELSEWHERE`] on
    /// in another stage or table.
    fn class(&self, path: &str) -> u8 {
        let here = self.general();
        let own = self.stage().and_then(|index| self.kinds().get(index).copied());
        match stage_of(path) {
            _ if parent(path) == here => 0,
            _ if !here.is_empty() && path.starts_with(&format!("{here}.")) => 1,
            Some(kind) if own == Some(kind) => 2,
            Some(_) => ELSEWHERE,
            None if path.starts_with("stage.") => 7,
            None if path.starts_with("data.train") => 4,
            None if path.starts_with("data.") => 5,
            None => 6,
        }
    }
}

/// What is in another stage or table than the place.
const ELSEWHERE: u8 = 3;

/// The kind of the stage that has the key, but for what is of its data.
fn stage_of(path: &str) -> Option<&str> {
    let (kind, key) = path.strip_prefix("stage.")?.split_once('.')?;
    (!key.starts_with("data.")).then_some(kind)
}

/// The path of the table that has the key.
fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The kind of a stage; a guess where it is missing or wrong: by an algorithm in its place, or by
/// the keys that only one kind has.
pub(super) fn stage_kind(stage: &DeValue<'_>) -> Option<&'static str> {
    let known = stage_kinds();
    let is_sure = |kind: &&&str| kind_of(stage) == Some(**kind);
    if let Some(kind) = known.iter().find(is_sure) {
        return Some(kind);
    }
    let table = stage.as_table()?;
    let written = kind_of(stage).unwrap_or_default();
    if let Some(kind) = nearest(written, known.iter().copied()) {
        return Some(kind);
    }
    let by_algorithm = known.iter().find(|kind| algorithm(kind, written).is_some());
    let has = |kind: &&&str| {
        let keys: Vec<_> = keys_of(&format!("stage.{kind}")).collect();
        let has = table.iter().filter(|(key, _)| keys.contains(&key.get_ref().as_ref())).count();
        // The kind without keys of its own where all keys are shared.
        (has, Reverse(keys.len()))
    };
    by_algorithm.or_else(|| known.iter().max_by_key(has)).copied()
}

/// Whether the value of the key at the top of a recipe is a table.
pub(super) fn has_keys(name: &str) -> bool {
    keys_of(name).next().is_some()
}

/// The kinds of stages.
pub(super) fn stage_kinds() -> Vec<&'static str> {
    let kind = |path: &'static String| path.strip_prefix("stage.")?.strip_suffix(".kind");
    KEYS.keys().filter_map(kind).filter(|kind| !kind.contains('.')).collect()
}

/// The algorithm of a kind of stage that a word names, as it is spelt there.
pub(super) fn algorithm(kind: &str, word: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let known = KEYS.get(&format!("stage.{kind}.algorithm"))?;
    known.words.iter().find(|one| plain(one) == plain(word)).map(String::as_str)
}
