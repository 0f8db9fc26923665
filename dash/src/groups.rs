//! Recorded groups: lists of them, and the columns of their tokens.

use std::ops::Range;

use evals::run::{GroupEntry, Samples, TokenFile};
use serde::{Deserialize, Serialize};

use crate::binary::encode;
use crate::trouble::Trouble;

/// Lines of an answer, at most.
pub(crate) const PAGE: usize = 200;

/// Some lines, and where the next ones are.
#[derive(Debug, Serialize)]
pub(crate) struct Page<'a, T> {
    /// The number of the first line that is not here; none where these are the last.
    pub(crate) next: Option<usize>,
    pub(crate) lines: &'a [T],
}

impl<'a, T> Page<'a, T> {
    /// The lines of `all` from number `after` on.
    pub(crate) fn of(all: &'a [T], after: usize) -> Self {
        let from = after.min(all.len());
        let to = (from + PAGE).min(all.len());
        Self { next: (to < all.len()).then_some(to), lines: &all[from..to] }
    }
}

/// Which groups are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    step: Option<u64>,
    id: Option<String>,
    source: Option<String>,
    kept: Option<bool>,
    outcome: Option<String>,
    /// `low..high`, shares of correct completions.
    solved: Option<String>,
    /// A part of the problem's name or source, in any case.
    q: Option<String>,
    /// `step`, `solved`, `entropy` or `length`, with `-` before it in falling order.
    sort: Option<String>,
    pub(crate) after: usize,
}

impl Filter {
    /// The groups of `index` that fit.
    pub(crate) fn choose<'a>(
        &self,
        index: &'a [GroupEntry],
    ) -> Result<Vec<&'a GroupEntry>, Trouble> {
        let [low, high] = self.solved()?;
        let part = self.q.as_ref().map(|part| part.to_lowercase());
        let has = |text: &str, part: &str| text.to_lowercase().contains(part);
        let fits = |entry: &&GroupEntry| {
            let share = share(entry);
            let outcomes = || entry.outcomes.iter().map(serde_json::to_value);
            self.step.is_none_or(|step| entry.step == step)
                && self.id.as_ref().is_none_or(|id| entry.id == *id)
                && self.source.as_ref().is_none_or(|source| entry.source == *source)
                && self.kept.is_none_or(|kept| entry.kept == kept)
                && self.outcome.as_ref().is_none_or(|outcome| {
                    outcomes().any(|own| own.is_ok_and(|own| own == outcome.as_str()))
                })
                && (low..=high).contains(&share)
                && part.as_ref().is_none_or(|part| has(&entry.id, part) || has(&entry.source, part))
        };
        let mut chosen: Vec<_> = index.iter().filter(fits).collect();
        self.sort(&mut chosen)?;
        Ok(chosen)
    }

    fn solved(&self) -> Result<[f64; 2], Trouble> {
        let Some(text) = &self.solved else { return Ok([0.0, 1.0]) };
        let bounds = text.split_once("..");
        let bounds = bounds.and_then(|(low, high)| Some([low.parse().ok()?, high.parse().ok()?]));
        bounds.ok_or_else(|| Trouble::bad(format!("solved: expected `0.25..0.75`, got `{text}`")))
    }

    fn sort(&self, chosen: &mut [&GroupEntry]) -> Result<(), Trouble> {
        let Some(sort) = &self.sort else { return Ok(()) };
        let (name, falls) =
            sort.strip_prefix('-').map_or((sort.as_str(), false), |name| (name, true));
        let by: fn(&GroupEntry) -> f64 = match name {
            "step" => |one| one.step as f64,
            "solved" => share,
            "entropy" => |one| one.entropy.unwrap_or(-1.0),
            "length" => |one| one.lengths.iter().sum::<usize>() as f64 / one.n.max(1) as f64,
            _ => {
                let error = format!("groups cannot be sorted by {sort}");
                return Err(Trouble::bad(error).act("use one of step, solved, entropy, length"));
            }
        };
        chosen.sort_by(|a, b| {
            let order = by(a).total_cmp(&by(b));
            if falls { order.reverse() } else { order }
        });
        Ok(())
    }
}

fn share(entry: &GroupEntry) -> f64 {
    entry.correct as f64 / entry.n.max(1) as f64
}

/// What the columns of some completions are of.
#[derive(Debug, Serialize)]
struct Header {
    generation: u64,
    step: u64,
    group: usize,
    /// Rows.
    n: usize,
    columns: Vec<String>,
    siblings: Vec<Place>,
    temperature: f64,
    threshold_plus: Option<f64>,
    threshold_minus: Option<f64>,
}

/// The rows of a completion.
#[derive(Debug, Serialize)]
struct Place {
    sibling: usize,
    from: usize,
    to: usize,
    advantage: Option<f32>,
}

/// The token columns of completions of a group, of all of them where none is named: in binary, one
/// f64 a token and column. The k likeliest tokens of a position are k columns of ids and k of
/// log-probs, numbered from the likeliest on.
pub(crate) fn tokens(
    samples: &Samples,
    generation: u64,
    entry: &GroupEntry,
    wanted: Option<&[usize]>,
) -> Result<Vec<u8>, Trouble> {
    let mut file = samples.tokens(entry.step)?;
    let places = places(&mut file, entry)?;
    let all: Vec<_> = (0..places.len()).collect();
    let wanted = wanted.unwrap_or(&all);
    if let Some(none) = wanted.iter().find(|sibling| **sibling >= places.len()) {
        let count = places.len();
        return Err(Trouble::bad(format!("there is no completion {none}: the group has {count}")));
    }
    if let Some(twice) = wanted.iter().enumerate().find(|(at, one)| wanted[..*at].contains(one)) {
        return Err(Trouble::bad(format!("completion {} is named twice", twice.1)));
    }
    let mut names = file.token_columns();
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let (mut siblings, mut at) = (Vec::new(), 0);
    let (mut ids, mut log_probs) = (Vec::new(), Vec::new());
    for &sibling in wanted {
        let (rows, advantage) = &places[sibling];
        for (name, column) in names.iter().zip(&mut columns) {
            column.extend(file.values_of(name, rows.clone())?);
        }
        if let Some(likeliest) = file.alternatives(rows.clone())? {
            ids.extend(likeliest.0);
            log_probs.extend(likeliest.1);
        }
        let advantage = Some(*advantage).filter(|advantage| !advantage.is_nan());
        siblings.push(Place { sibling, from: at, to: at + rows.len(), advantage });
        at += rows.len();
    }
    let blocks = [by_place("alt_token", &ids, at), by_place("alt_log_prob", &log_probs, at)];
    for (name, column) in blocks.into_iter().flatten() {
        names.push(name);
        columns.push(column);
    }
    let about = file.about().clone();
    let header = Header {
        generation,
        step: entry.step,
        group: entry.group,
        n: at,
        columns: names,
        siblings,
        temperature: about.temperature,
        threshold_plus: about.threshold_plus,
        threshold_minus: about.threshold_minus,
    };
    Ok(encode(&header, columns.iter().map(Vec::as_slice)))
}

/// A column for each of the values that a row has.
fn by_place<T: Copy + Into<f64>>(name: &str, values: &[T], rows: usize) -> Vec<(String, Vec<f64>)> {
    let places = values.len().checked_div(rows).unwrap_or(0);
    let column = |place| values.iter().skip(place).step_by(places).copied().map(Into::into);
    (0..places).map(|place| (format!("{name}/{place}"), column(place).collect())).collect()
}

/// The ids of a completion of a group.
pub(crate) fn completion(
    file: &mut TokenFile,
    entry: &GroupEntry,
    sibling: usize,
) -> Result<Vec<u32>, Trouble> {
    let places = places(file, entry)?;
    let (rows, _) = places.get(sibling).ok_or_else(beyond)?;
    Ok(file.ids("token", rows.clone())?)
}

/// The ids of a group's prompt.
pub(crate) fn prompt(file: &mut TokenFile, entry: &GroupEntry) -> Result<Vec<u32>, Trouble> {
    let end = entry.group.checked_add(2).ok_or_else(beyond)?;
    let starts = file.places("prompt_start", entry.group..end)?;
    Ok(file.ids("prompt", starts[0] as usize..starts[1] as usize)?)
}

fn beyond() -> Trouble {
    Trouble::new(axum::http::StatusCode::GONE, "the index points beyond its file")
}

/// The rows and the advantage of each completion of a group.
fn places(file: &mut TokenFile, entry: &GroupEntry) -> Result<Vec<(Range<usize>, f32)>, Trouble> {
    let [first, last] = entry.completions.map(|at| at as usize);
    let end = last.checked_add(1).ok_or_else(beyond)?;
    let starts = file.places("completion_start", first..end)?;
    let advantages = file.numbers("completion_advantage", first..last)?;
    let within = |bounds: &[u64]| {
        let [from, to] = [bounds[0], bounds[1]];
        let is_within = from <= to && from >= entry.rows[0] && to <= entry.rows[1];
        is_within.then_some(from as usize..to as usize)
    };
    let rows: Option<Vec<_>> = starts.windows(2).map(within).collect();
    Ok(rows.ok_or_else(beyond)?.into_iter().zip(advantages).collect())
}
