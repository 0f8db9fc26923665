//! Gold answers: who reads them, and what is said where a verifier of the user's own gets none.

use std::collections::BTreeSet;

use rewards::rows::{Fields, brief};
use settings::off::OFF;

use super::columns::Mapping;
use crate::config::Columns;
use crate::verifiers::RewardsConfig;

/// Who reads the answers of problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reader {
    Nobody,
    /// A verifier outside this process, which may do without.
    Outside,
    /// A verifier of ours, for messages. Every problem has to have an answer for it.
    Own(String),
}

impl Reader {
    /// The reader among the verifiers of the key `place`.
    pub(super) fn of(rewards: &RewardsConfig, place: &str) -> Self {
        match rewards.reads_answers() {
            Some(kind) => Self::Own(format!("`{kind}` of {place}")),
            None if rewards.reads_columns() => Self::Outside,
            None => Self::Nobody,
        }
    }

    /// The first that needs answers; else one that gets them.
    pub(super) fn first(readers: impl Iterator<Item = Self>) -> Self {
        readers.fold(Self::Nobody, |found, one| match (&found, &one) {
            (Self::Own(_), _) | (Self::Outside, Self::Nobody | Self::Outside) => found,
            _ => one,
        })
    }

    /// The one that needs answers.
    pub(super) fn own(&self) -> Option<&str> {
        match self {
            Self::Own(by) => Some(by),
            Self::Nobody | Self::Outside => None,
        }
    }
}

/// Parts of the names that columns of answers often have.
const LIKELY: [&str; 6] = ["gold", "label", "target", "truth", "result", "answer"];

/// The rows of a source, and those whose answer is empty.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    rows: usize,
    empty: usize,
    /// Place of the first that is empty.
    first: Option<String>,
    /// Files with rows.
    files: Vec<String>,
    /// Columns of empty ones that have no role.
    others: BTreeSet<String>,
    /// The column of the answer, where empty ones have it.
    empty_column: Option<String>,
}

impl Unanswered {
    /// Counts a row of `file`, which is empty if it is given with its place.
    pub(super) fn count(
        &mut self,
        file: &str,
        mapping: &Mapping<'_>,
        empty: Option<(String, &Fields<'_>)>,
    ) {
        self.rows += 1;
        if self.files.last().is_none_or(|last| last != file) {
            self.files.push(file.to_owned());
        }
        let Some((place, row)) = empty else { return };
        self.empty += 1;
        self.first.get_or_insert(place);
        match mapping.answer_column(row) {
            Some(column) => self.empty_column = Some(column.to_owned()),
            None => self.others.extend(mapping.without_role(row).map(str::to_owned)),
        }
    }

    /// The note on them for the source of the key `name`, where there are some and the recipe does
    /// not say that there is no answer.
    pub(super) fn note(&self, name: &str, columns: &Columns) -> Option<String> {
        if self.empty == 0 || columns.answer.as_deref() == Some(OFF) {
            return None;
        }
        let files = match self.files.as_slice() {
            [one] => one.clone(),
            many => format!("{} files", many.len()),
        };
        let rows = match (self.empty, &self.first) {
            (empty, Some(first)) if empty < self.rows => {
                format!("{empty} of {} rows of {files}, the first on {first}", self.rows)
            }
            _ if self.rows == 1 => format!("the row of {files}"),
            _ => format!("all {} rows of {files}", self.rows),
        };
        let columns = match &self.empty_column {
            Some(column) => format!("; the column `{}` is empty there", brief(column)),
            None => self.columns(columns.keep.as_deref()),
        };
        Some(format!("{name}: no answer: `gold` is empty in {rows}{columns}"))
    }

    /// The columns that have no role, and what to do if one of them is the answer.
    fn columns(&self, keep: Option<&[String]>) -> String {
        const SHOWN: usize = 8;
        let is_likely =
            |name: &&String| LIKELY.iter().any(|word| name.to_lowercase().contains(word));
        let likely = self.others.iter().find(is_likely).or_else(|| self.others.first());
        let off = "if the verifier needs no answer: columns = { answer = \"off\" }";
        let Some(likely) = likely else {
            return format!("; there is no other column. {}", capitalised(off));
        };
        let names = |names: &mut dyn Iterator<Item = &String>| {
            let quoted: Vec<_> = names.map(|name| format!("`{}`", brief(name))).collect();
            let more = if quoted.len() > SHOWN { ", ..." } else { "" };
            quoted[..quoted.len().min(SHOWN)].join(", ") + more
        };
        let handed = match keep {
            None => "the verifier gets them in `columns`".to_owned(),
            Some(keep) => match names(&mut self.others.iter().filter(|name| keep.contains(name))) {
                none if none.is_empty() => "columns.keep leaves them out".to_owned(),
                some => format!("the verifier gets {some} in `columns`"),
            },
        };
        format!(
            "; columns without a role: {} ({handed}). If one of them is the answer: columns = {{ \
             answer = {likely:?} }}; {off}",
            names(&mut self.others.iter())
        )
    }
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}
