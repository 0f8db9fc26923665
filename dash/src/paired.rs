//! Two runs compared on the problems that both evaluated.

use std::collections::BTreeMap;

use evals::Paired;
use evals::run::{ProblemLine, Summary, paired_figures, pairs_by_id, pairs_by_number};
use serde::Serialize;

use crate::watched::Watched;

/// A held-out set of two runs, what the first has more than the second.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Compared {
    set: String,
    /// Of which evaluations.
    steps: [u64; 2],
    /// Why they cannot be compared; there are no figures then.
    error: Option<String>,
    figures: Vec<Named>,
}

/// The difference of a figure.
#[derive(Debug, PartialEq, Serialize)]
struct Named {
    figure: String,
    #[serde(flatten)]
    paired: Paired,
}

/// The last evaluation of a set.
#[derive(Debug)]
pub(crate) struct Evaluated {
    step: u64,
    /// SHA-256 of the rows; none where that was not recorded.
    rows: Option<String>,
    lines: Vec<ProblemLine>,
}

/// The last evaluation of each set of a run; those that cannot be read are left out.
pub(crate) fn last(run: &Watched) -> BTreeMap<String, Evaluated> {
    let last = |(set, steps): (String, Vec<u64>)| {
        let step = *steps.last()?;
        let (summary, lines) = run.evaluation(&set, step).ok()?;
        let rows = summary.map(|Summary { data_sha256, .. }| data_sha256);
        let rows = rows.filter(|sum| !sum.is_empty());
        Some((set, Evaluated { step, rows, lines }))
    };
    run.evaluations().into_iter().filter_map(last).collect()
}

/// The sets that both have.
pub(crate) fn compared(
    here: &BTreeMap<String, Evaluated>,
    there: &BTreeMap<String, Evaluated>,
) -> Vec<Compared> {
    let both = here.iter().filter_map(|(set, own)| Some((set, own, there.get(set)?)));
    both.map(|(set, own, other)| {
        let figures = figures(own, other);
        let steps = [own.step, other.step];
        match figures {
            Ok(figures) => Compared { set: set.clone(), steps, error: None, figures },
            Err(error) => Compared { set: set.clone(), steps, error: Some(error), figures: vec![] },
        }
    })
    .collect()
}

fn figures(own: &Evaluated, other: &Evaluated) -> Result<Vec<Named>, String> {
    let pairs = match (&own.rows, &other.rows) {
        (Some(here), Some(there)) if here != there => {
            return Err(format!(
                "the rows are not the same: SHA-256 {here:.12} here, {there:.12} there"
            ));
        }
        (Some(_), Some(_)) => pairs_by_number(&own.lines, &other.lines),
        _ => pairs_by_id(&own.lines, &other.lines),
    };
    let figures = paired_figures(&pairs);
    if figures.is_empty() {
        return Err("there is no problem that both judged".into());
    }
    let named = |(figure, paired): (evals::run::Figure, Paired)| Named {
        figure: figure.to_string(),
        paired,
    };
    Ok(figures.into_iter().map(named).collect())
}
