//! All that is wrong with a recipe, in one error, each with its key and its place.

use std::ops::Range;

use toml::de::DeTable;

use super::brief::{brief_quotes, shortened};
use super::mistakes::Reading;
use super::place::Place;
use super::reference::{ANY_NAME, KEYS};
use super::sources::{Mistake, Sources};
use super::{check, hints, message, spans};

/// What is wrong with a recipe.
pub(super) struct Told<'a> {
    sources: &'a Sources,
    tree: &'a DeTable<'a>,
    /// What is said, with where it stands: first what has a place.
    said: Vec<(Option<usize>, String)>,
}

impl<'a> Told<'a> {
    pub(super) fn new(sources: &'a Sources, tree: &'a DeTable<'a>) -> Self {
        Self { sources, tree, said: Vec::new() }
    }

    /// Adds what is wrong with how stages are named.
    pub(super) fn naming(&mut self, found: &[Mistake]) {
        for Mistake { span, text } in found {
            self.add(span, None, text);
        }
    }

    /// Adds what is wrong with the shape of the recipe.
    pub(super) fn shapes(&mut self, found: &[Mistake]) {
        for Mistake { span, text } in found {
            let hints::Explained { key, text } = hints::explained(self.tree, span, text);
            self.add(span, key.as_deref(), &text);
        }
    }

    /// Adds what is wrong with values that have the right shape, as far as it does not depend on
    /// what stands in for others.
    pub(super) fn values(&mut self, reading: &Reading) {
        let mut problems = reading.recipes.iter().map(check::problems);
        let (first, second) = (problems.next().unwrap_or_default(), problems.next());
        let is_sure = |problem: &&String| {
            let mut words = problem.split(|c: char| !c.is_alphanumeric() && c != '_');
            second.as_ref().is_none_or(|other| other.contains(problem))
                && !reading.guessed.iter().any(|path| problem.starts_with(path))
                && !words.any(|word| reading.doubtful.iter().any(|name| name == word))
        };
        // A stage that could not be read is told of where it stands.
        let stages = self.tree.get("stage").map(toml::Spanned::get_ref);
        let has_stage =
            stages.is_some_and(|stages| stages.as_array().is_some_and(|it| !it.is_empty()));
        let is_sure = |problem: &&String| {
            is_sure(problem) && !(has_stage && problem.starts_with("stage: there is none"))
        };
        let located: Vec<_> = first.iter().filter(is_sure).map(|one| self.locate(one)).collect();
        for (at, Located { key, text, span }) in located.iter().enumerate() {
            // What an evaluation has from a stage is told there.
            let is_same = |other: &Located| (&other.text, &other.span) == (text, span);
            let is_eval = key.as_ref().is_some_and(|key| key.starts_with("eval"));
            let others = located.iter().enumerate().filter(|(other, _)| *other != at);
            if is_eval && span.is_some() && others.into_iter().any(|(_, other)| is_same(other)) {
                continue;
            }
            let text = key.as_ref().map_or_else(|| text.clone(), |key| format!("{key}: {text}"));
            match span {
                Some(span) => self.add(span, None, &text),
                None => self.said.push((None, text)),
            }
        }
    }

    /// One error of all; none where nothing is wrong. `name` is that of the recipe, and `left` says
    /// whether there are more than were looked for.
    pub(super) fn error(mut self, name: &str, left: bool) -> Option<anyhow::Error> {
        /// Mistakes that are shown, at most.
        const SHOWN: usize = 20;
        // What has no place comes last.
        self.said.sort_by_key(|(start, _)| start.unwrap_or(usize::MAX));
        let told = self.said.iter().map(|(start, text)| match start {
            Some(_) => text.clone(),
            None => format!("recipe {}: {}", shortened(name), brief_quotes(text)),
        });
        let mut told: Vec<_> = told.collect();
        told.dedup();
        match &told[..] {
            [] => None,
            [only] => Some(anyhow::anyhow!("{only}")),
            many => {
                let (count, more) = (many.len(), many.len().saturating_sub(SHOWN));
                let least = if left { "at least " } else { "" };
                let cut = match more {
                    0 if !left => String::new(),
                    _ => format!("\n\nand {least}{more} more that are not shown"),
                };
                let shown = many[..count - more].join("\n\n");
                Some(anyhow::anyhow!("{least}{count} mistakes in the recipe\n\n{shown}{cut}"))
            }
        }
    }

    fn add(&mut self, span: &Range<usize>, key: Option<&str>, text: &str) {
        let said = message::said(self.sources, span, key, text);
        self.said.push((Some(span.start), said));
    }

    /// Where the key of a problem stands, of the form `key: text`, where the text may begin with
    /// the rest of the key.
    fn locate(&self, problem: &str) -> Located {
        let is_key = |c: char| c.is_alphanumeric() || "._-".contains(c);
        let Some((head, text)) =
            problem.split_once(": ").filter(|(head, _)| head.chars().all(is_key))
        else {
            return Located { key: None, text: problem.to_owned(), span: None };
        };
        let end = text.find([' ', ':']).unwrap_or(text.len());
        let (first, rest) = text.split_at(end);
        let longer = format!("{head}.{}", first.trim_matches('`'));
        // A number begins a sentence, but `0:` and `0.key` are an item.
        let is_item = first.contains('.') || rest.starts_with(':');
        let is_number = first.starts_with(|c: char| c.is_ascii_digit()) && !is_item;
        if is_number || !self.is_key(&longer) {
            let (key, text) = (Some(head.to_owned()), text.to_owned());
            return Located { key, text, span: self.span(head) };
        }
        let span = self.span(&longer);
        // A name in backticks is part of a sentence.
        let (key, text) = if first.starts_with('`') {
            (head.to_owned(), text.to_owned())
        } else {
            (longer, got_last(rest.trim_start_matches([':', ' '])))
        };
        Located { key: Some(key), text, span }
    }

    fn is_key(&self, path: &str) -> bool {
        let names = names(path);
        let general = || Place::at(self.tree, names.clone()).general();
        // A word is no name by being where one may be.
        let is_known = |path: &str| KEYS.contains_key(path) && !path.ends_with(ANY_NAME);
        spans::value_at(self.tree, &names).is_some() || is_known(&general())
    }

    /// The span of the value, else of the nearest table around it that the user has written.
    fn span(&self, path: &str) -> Option<Range<usize>> {
        let names = names(path);
        let around = (1..=names.len()).rev().map(|length| &names[..length]);
        let mut spans =
            around.filter_map(|path| spans::value_at(self.tree, path)).map(toml::Spanned::span);
        // The presets are no file of the user, and an `[eval]` that was left out has no place.
        let start = self.sources.0[1].start;
        spans.find(|span| span.start >= start)
    }
}

/// A problem with its place.
struct Located {
    /// None where the text names none.
    key: Option<String>,
    text: String,
    span: Option<Range<usize>>,
}

/// "is V, expected X" in the order of all other complaints: "expected X, got V".
fn got_last(text: &str) -> String {
    let Some(value) = text.strip_prefix("is ") else { return text.to_owned() };
    match value.split_once(", expected ") {
        Some((got, expected)) => format!("expected {expected}, got {got}"),
        None => format!("got {value}"),
    }
}

/// The names and numbers of items in a key such as `rewards.0.name`.
fn names(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}
