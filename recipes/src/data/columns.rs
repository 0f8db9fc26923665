//! From the columns of a row to a problem.

mod messages;

use std::collections::{BTreeMap, BTreeSet};

use evals::run::evaluation::LEVELS;
use rewards::rows::{Fields, brief};
use rewards::{Problem, Turn};
use serde_json::{Map, Value};
use settings::off::OFF;

use super::roles::{CHATS, Role};
use super::{answer, chat};
use crate::config::{AnswerFrom, Columns, Names, Rows};
use messages::{has, missing, several, unlike};

/// Longest other columns of a row that are kept without being named, in bytes of JSON.
const MAX_KEPT: usize = 1 << 20;

/// Between the names of two columns that make one text.
const BOTH: &str = "` + `";

/// A column that has a value.
#[derive(Debug, Clone)]
struct Found<'r> {
    column: String,
    /// As JSON.
    value: &'r str,
}

/// How the rows of one file become problems.
#[derive(Debug)]
pub(super) struct Mapping<'a> {
    rows: &'a Rows,
    /// The file's name.
    file: &'a str,
    /// Whether numbers of rows are ids by themselves; else the file's name stands before them.
    is_only_file: bool,
    /// Whether verifiers may read the other columns.
    keep: bool,
    used: BTreeMap<Role, BTreeSet<String>>,
}

impl<'a> Mapping<'a> {
    pub(super) fn new(rows: &'a Rows, file: &'a str, is_only_file: bool) -> Self {
        Self { rows, file, is_only_file, keep: false, used: BTreeMap::new() }
    }

    /// The same, with the columns that have no role kept or not.
    pub(super) fn keeping(self, keep: bool) -> Self {
        Self { keep, ..self }
    }

    fn columns(&self) -> &'a Columns {
        &self.rows.columns
    }

    /// The problem in row `number`, counted from 1.
    pub(super) fn problem(&mut self, number: usize, row: &Fields<'_>) -> Result<Problem, String> {
        let Question { history, problem, reply } = self.question(row)?;
        let solution = self.solution(row, reply)?;
        let (answer, worked) = self.answer(row, solution.as_deref())?;
        let id = match self.one(Role::Id, self.columns().id.as_deref(), row)? {
            Some(found) => scalar(&found)?,
            None if self.is_only_file => number.to_string(),
            None => format!("{}:{number}", self.file),
        };
        let columns = self.kept(row)?;
        let problem = Problem {
            id,
            history,
            problem,
            answer: answer.unwrap_or_default(),
            source: self.source(row)?,
            solution: solution.or(worked),
            columns,
        };
        for (role, text) in [("problem", &problem.problem), ("id", &problem.id)] {
            if text.trim().is_empty() {
                return Err(format!("the {role} is empty: expected text"));
            }
        }
        Ok(problem)
    }

    /// Why a row whose answer `by` reads has none.
    pub(super) fn lacks_answer(&self, by: &str, row: &Fields<'_>) -> String {
        match self.answer_column(row) {
            Some(name) => {
                format!("column `{}` is empty: expected an answer, which {by} reads", brief(name))
            }
            None => super::no_answer(by, Some(&has(row))),
        }
    }

    /// The column of the answer, where a row has it, with a value or not.
    pub(super) fn answer_column<'r>(&self, row: &'r Fields<'_>) -> Option<&'r str> {
        let is_answer = |name: &str| match self.columns().answer.as_deref() {
            Some(set) => set == name,
            None => Role::Answer.known().iter().any(|known| known.eq_ignore_ascii_case(name)),
        };
        row.all().map(|(name, _)| name).find(|name| is_answer(name))
    }

    /// The columns of a row that have no role.
    pub(super) fn without_role<'r>(&self, row: &'r Fields<'_>) -> impl Iterator<Item = &'r str> {
        let used = self.used.values().flatten();
        let roles: BTreeSet<_> = used.flat_map(|names| names.split(BOTH)).collect();
        row.all().map(|(name, _)| name).filter(move |name| !roles.contains(name))
    }

    /// What was read where it is not what a row of ours has: for people.
    pub(super) fn report(&self) -> Option<String> {
        let own =
            |role: &Role, names: &BTreeSet<String>| names.len() == 1 && names.contains(role.name());
        if self.used.iter().all(|(role, names)| own(role, names)) {
            return None;
        }
        let said = Role::ALL.into_iter().filter_map(|role| {
            let names: Vec<_> = self.used.get(&role)?.iter().map(String::as_str).collect();
            Some(format!("{} from `{}`", role.name(), names.join("`, `")))
        });
        Some(said.collect::<Vec<_>>().join(", "))
    }

    fn question(&mut self, row: &Fields<'_>) -> Result<Question, String> {
        let found = match &self.columns().problem {
            Some(names) => {
                let named = names.all().map(|name| set(Role::Problem, name, row));
                named.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
            }
            None => Self::known_problem(row)?,
        };
        let names: Vec<_> = found.iter().map(|one| one.column.as_str()).collect();
        self.used.entry(Role::Problem).or_default().insert(names.join(BOTH));
        match found.as_slice() {
            [] if self.columns().problem.is_some() => {
                Err(format!("column `{}` is empty: expected a problem", self.named_problem()))
            }
            [] => Err(match empty_problem(row) {
                Some(name) => format!("column `{name}` is empty: expected a problem"),
                None => format!(
                    "no problem: expected a column `problem`, {}\nname the row's own by \
                     columns.problem",
                    has(row)
                ),
            }),
            [one] if one.value.starts_with('[') => {
                let turns = chat::turns(one.value)
                    .map_err(|problem| format!("column `{}`: {problem}", one.column))?;
                let chat::Split { history, asked, reply } = chat::split(turns)
                    .map_err(|problem| format!("column `{}`: {problem}", one.column))?;
                Ok(Question {
                    history,
                    problem: asked,
                    reply: reply.map(|r| (one.column.clone(), r)),
                })
            }
            many => {
                let texts = many.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                let full: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
                Ok(Question { history: Vec::new(), problem: full.join("\n\n"), reply: None })
            }
        }
    }

    /// The names that the recipe has for the problem's columns.
    fn named_problem(&self) -> String {
        let names = self.columns().problem.iter().flat_map(Names::all);
        names.collect::<Vec<_>>().join("`, `")
    }

    /// The problem's column, or columns, where the recipe names none.
    fn known_problem<'r>(row: &Fields<'r>) -> Result<Vec<Found<'r>>, String> {
        let mut found = known(Role::Problem, row)?;
        for name in CHATS {
            found.extend(lookup(row, name)?);
        }
        match found.as_slice() {
            [one] if one.column.eq_ignore_ascii_case("instruction") => {
                // Alpaca's rows hold what the instruction is about in a second column.
                let input = lookup(row, "input")?;
                Ok(found.into_iter().chain(input).collect())
            }
            [] | [_] => Ok(found),
            many => Err(several(Role::Problem, many)),
        }
    }

    fn solution(
        &mut self,
        row: &Fields<'_>,
        reply: Option<(String, String)>,
    ) -> Result<Option<String>, String> {
        let set = self.columns().solution.as_deref();
        if let (None, Some((column, reply))) = (set, reply) {
            self.used.entry(Role::Solution).or_default().insert(format!("{column} (last turn)"));
            return Ok(Some(reply));
        }
        let Some(found) = self.one(Role::Solution, set, row)? else { return Ok(None) };
        let solution = if found.value.starts_with('[') {
            chat::turns(found.value)
                .and_then(chat::only_reply)
                .map_err(|problem| format!("column `{}`: {problem}", found.column))?
        } else {
            text(&found)?
        };
        Ok((!solution.trim().is_empty()).then_some(solution))
    }

    /// The answer, and the worked text that it stands in, if it does.
    fn answer(
        &mut self,
        row: &Fields<'_>,
        solution: Option<&str>,
    ) -> Result<(Option<String>, Option<String>), String> {
        let from = self.rows.answer_from.as_ref();
        let set = self.columns().answer.as_deref();
        if let Some(found) = self.one(Role::Answer, set, row)? {
            let own = scalar(&found)?;
            let taken = match from {
                None => answer::after_hashes(&own),
                Some(AnswerFrom::Text) => None,
                Some(_) if !found.value.starts_with('"') => None,
                Some(from) => Some(from.taken(&own).ok_or_else(|| {
                    format!("column `{}`: no {from} in it (answer_from)", found.column)
                })?),
            };
            return Ok(match taken {
                Some(answer) => (Some(answer), Some(own)),
                None => ((!own.trim().is_empty()).then_some(own), None),
            });
        }
        let Some(solution) = solution.filter(|_| set != Some(OFF)) else { return Ok((None, None)) };
        let answer = match from {
            Some(from) => Some(
                from.taken(solution)
                    .ok_or_else(|| format!("no {from} in the solution (answer_from)"))?,
            ),
            None => answer::recognised(solution)?,
        };
        if answer.is_some() {
            self.used.entry(Role::Answer).or_default().insert("the solution".into());
        }
        Ok((answer, None))
    }

    fn source(&mut self, row: &Fields<'_>) -> Result<String, String> {
        match self.one(Role::Source, self.columns().source.as_deref(), row)? {
            Some(found) => text(&found),
            None => Ok(self.file.to_owned()),
        }
    }

    /// The column of a role, where it has a value.
    fn one<'r>(
        &mut self,
        role: Role,
        set_to: Option<&str>,
        row: &Fields<'r>,
    ) -> Result<Option<Found<'r>>, String> {
        let found = if let Some(name) = set_to {
            set(role, name, row)?
        } else {
            let found = known(role, row)?;
            if found.len() > 1 {
                return Err(several(role, &found));
            }
            found.into_iter().next()
        };
        if let Some(found) = &found {
            self.used.entry(role).or_default().insert(found.column.clone());
        }
        Ok(found)
    }

    /// The columns that have no role: those that say how hard a problem is, for the figures of an
    /// evaluation, and for verifiers that may read them all or those that are named.
    fn kept(&self, row: &Fields<'_>) -> Result<Map<String, Value>, String> {
        // Where no verifier reads columns, none is named.
        let named = if self.keep { self.columns().keep.as_deref() } else { Some(&[][..]) };
        let without_role: BTreeSet<_> = self.without_role(row).collect();
        let mut kept = Map::new();
        let mut size = 0;
        for name in named.into_iter().flatten() {
            if row.raw(name).is_none() {
                return Err(missing(name, "columns.keep", row));
            }
        }
        for (name, value) in row.all() {
            let has_no_role = without_role.contains(name);
            let named_or_all = named.map_or(has_no_role, |named| named.iter().any(|n| n == name));
            let wanted = named_or_all || (has_no_role && LEVELS.contains(&name));
            if !wanted {
                continue;
            }
            size += value.len();
            if named.is_none() && size > MAX_KEPT {
                return Err(format!(
                    "the columns for verifiers have more than {} KiB, up to `{}`\nname those that \
                     verifiers read in columns.keep, or none by `keep = []`",
                    MAX_KEPT >> 10,
                    brief(name)
                ));
            }
            let value = serde_json::from_str(value).map_err(|_| {
                format!("column `{}`: nested too deep, or a number beyond f64", brief(name))
            })?;
            kept.insert(name.to_owned(), value);
        }
        Ok(kept)
    }
}

/// What a row asks.
struct Question {
    history: Vec<Turn>,
    problem: String,
    /// A chat's last turn, with the column that it is in.
    reply: Option<(String, String)>,
}

/// The column that the recipe names for a role; none where its value is null.
fn set<'r>(role: Role, name: &str, row: &Fields<'r>) -> Result<Option<Found<'r>>, String> {
    if name == OFF {
        return Ok(None);
    }
    match row.at(name)? {
        Some("null") => Ok(None),
        Some(value) => Ok(Some(Found { column: name.to_owned(), value })),
        None => {
            let key = format!("columns.{}", role.name());
            Err(missing(name, &key, row))
        }
    }
}

/// The columns with the known names of a role; only ours where the row has it.
fn known<'r>(role: Role, row: &Fields<'r>) -> Result<Vec<Found<'r>>, String> {
    let mut all = Vec::new();
    for (at, name) in role.known().iter().enumerate() {
        let found = lookup(row, name)?;
        if at == 0 && !found.is_empty() {
            return Ok(found);
        }
        all.extend(found);
    }
    Ok(all)
}

/// The columns of a name in any case of letters that have a value.
fn lookup<'r>(row: &Fields<'r>, name: &str) -> Result<Vec<Found<'r>>, String> {
    let of = |column: &str, value: &'r str| Found { column: column.to_owned(), value };
    let exact = row.at(name)?.map(|value| of(name, value));
    let others = row.all().filter(|(own, _)| *own != name && own.eq_ignore_ascii_case(name));
    let found = exact.into_iter().chain(others.map(|(own, value)| of(own, value)));
    Ok(found.filter(|found| found.value != "null").collect())
}

/// A column with a known name for the problem that has no value.
fn empty_problem<'r>(row: &'r Fields<'_>) -> Option<&'r str> {
    let is_known = |name: &str| {
        let mut all = Role::Problem.known().iter().chain(&CHATS);
        all.any(|known| known.eq_ignore_ascii_case(name))
    };
    row.all().map(|(name, _)| name).find(|name| is_known(name))
}

fn text(found: &Found<'_>) -> Result<String, String> {
    if !found.value.starts_with('"') {
        return Err(unlike(found, "text"));
    }
    string(found)
}

/// Text, or a number or a boolean as it is written.
fn scalar(found: &Found<'_>) -> Result<String, String> {
    match found.value.as_bytes()[0] {
        b'"' => string(found),
        b'[' | b'{' => Err(unlike(found, "text, a number or a boolean")),
        _ => Ok(found.value.to_owned()),
    }
}

fn string(found: &Found<'_>) -> Result<String, String> {
    serde_json::from_str(found.value)
        .map_err(|_| format!("column `{}`: half of a surrogate pair in it", brief(&found.column)))
}
