//! Evaluations compared with another one, problem by problem.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use evals::Paired;
use evals::run::{Facts, Figure, Pair, paired_figures, pairs_by_number};
use serde::Serialize;

use super::Found;
use super::settings::Change;
use crate::printable::excerpt;

/// An evaluation compared with another, set by set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Where the other is.
    pub root: String,
    /// By set and figure; sets that only one has are not among them.
    pub sets: BTreeMap<String, BTreeMap<String, Paired>>,
    /// By set, the problems whose avg differs.
    pub problems: BTreeMap<String, Flipped>,
    /// What differs besides the model, one line each.
    pub differs: Vec<String>,
}

/// Problems whose share of correct completions differs, the largest differences first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Flipped {
    /// Problems that this evaluation solves more often than the other.
    pub better: Vec<Flip>,
    /// Problems that it solves less often.
    pub worse: Vec<Flip>,
}

/// A problem whose share of correct completions differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// Its row.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// The share in the other evaluation.
    pub there: f64,
    /// The share in this one.
    pub here: f64,
}

/// Compares evaluations with another one, each on the problems that both have.
///
/// # Errors
///
/// Fails when none of them has a set of the other, and when the rows of a set are not the same.
pub fn compare(found: &[Found], other: &Found) -> Result<Vec<Compared>> {
    let compared: Vec<_> =
        found.iter().map(|found| compare_one(found, other)).collect::<Result<_>>()?;
    if compared.iter().all(|compared| compared.sets.is_empty()) {
        let of = |found: &Found| {
            let names: Vec<_> =
                found.summaries.iter().map(|summary| summary.set.as_str()).collect();
            names.join(", ")
        };
        let here: Vec<_> = found.iter().map(of).collect();
        bail!(
            "--against: {} has no set of this evaluation: it has {}, and here are {}",
            other.root.display(),
            of(other),
            here.join(", ")
        );
    }
    Ok(compared)
}

fn compare_one(found: &Found, other: &Found) -> Result<Compared> {
    let (mut sets, mut problems) = (BTreeMap::new(), BTreeMap::new());
    for summary in &found.summaries {
        let name = &summary.set;
        let Some(theirs) = other.summaries.iter().find(|one| one.set == *name) else { continue };
        if theirs.data_sha256 != summary.data_sha256 {
            bail!(
                "{name} of {}: its rows are not those of {}: sha256 {:.12} there, {:.12} here",
                found.root.display(),
                other.root.display(),
                theirs.data_sha256,
                summary.data_sha256
            );
        }
        let pairs = pairs_by_number(&found.lines[name], &other.lines[name]);
        let figures = paired_figures(&pairs).into_iter();
        let figures = figures.map(|(figure, paired)| (figure.to_string(), paired));
        sets.insert(name.clone(), figures.collect());
        problems.insert(name.clone(), Flipped::of(&pairs));
    }
    let changes = found.settings.changes(&other.settings)?;
    let builds = [&other.facts, &found.facts].map(|facts| facts.as_ref().map(build));
    let builds = match builds {
        [Some(there), Some(here)] if there != here => {
            Some(format!("build, and so perhaps the grader: {there} there, {here} here"))
        }
        _ => None,
    };
    let differs = changes.iter().filter_map(in_words).chain(builds).collect();
    Ok(Compared { root: other.root.display().to_string(), sets, problems, differs })
}

/// The build that judged an evaluation, and those that went on with it.
fn build(facts: &Facts) -> String {
    let Facts { stearin, commit, dirty, accepted, .. } = facts;
    let changed = if *dirty { ", changed" } else { "" };
    let others = if accepted.is_empty() { "" } else { " and another one" };
    format!("{stearin} ({commit:.9}{changed}){others}")
}

impl Flipped {
    fn of(pairs: &[Pair<'_>]) -> Self {
        let flip = |(line, other): &Pair<'_>| {
            let (here, there) = (Figure::Average.of(line)?, Figure::Average.of(other)?);
            Some(Flip { number: line.number, id: line.id.clone(), there, here })
        };
        let mut all: Vec<_> = pairs.iter().filter_map(flip).collect();
        let size = |flip: &Flip| (flip.here - flip.there).abs();
        // Stable: equal differences stay in the order of their rows.
        all.sort_by(|one, other| size(other).total_cmp(&size(one)));
        let (better, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|flip| flip.here > flip.there);
        Self { better, worse: rest.into_iter().filter(|flip| flip.here < flip.there).collect() }
    }
}

/// A setting that differs, for people; none of the model, whose name the table has.
fn in_words(change: &Change) -> Option<String> {
    let path: Vec<_> = change.path.iter().map(String::as_str).collect();
    let what = match path.as_slice() {
        ["model" | "adapter"] | ["files", ..] => return None,
        ["set", name] => {
            let place = if change.was.is_some() { "there" } else { "here" };
            return Some(format!("{name}: only {place}"));
        }
        ["set", name, "problems"] => format!("problems of {name}"),
        ["set", name, "samples"] => format!("completions per problem of {name}"),
        ["set", name, "criterion"] => format!("grading of {name}"),
        ["style"] => "prompt style".to_owned(),
        ["greedy"] => "greedy decoding".to_owned(),
        ["sampling", "max_new_tokens"] => "longest completion, in tokens".to_owned(),
        ["sampling", key] => key.replace('_', " "),
        other => other.join(" ").replace('_', " "),
    };
    let value = |value: &Option<toml::Value>| match value {
        None => "nothing".to_owned(),
        Some(toml::Value::Boolean(on)) => if *on { "on" } else { "off" }.to_owned(),
        Some(toml::Value::String(text)) if text.is_empty() => "nothing".to_owned(),
        Some(toml::Value::String(text)) => excerpt(text, 60),
        Some(other) => other.to_string(),
    };
    Some(format!("{what}: {} there, {} here", value(&change.was), value(&change.is)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::table::tests::found;
    use crate::run_dir::of_this_process;
    use rewards::Outcome;

    fn one(found: &Found, other: &Found) -> Result<Compared> {
        Ok(compare(std::slice::from_ref(found), other)?.remove(0))
    }

    #[test]
    fn other_rows_are_refused_and_other_sets_left_out() {
        let (now, mut base) = (found("now", [2; 4]), found("base", [0; 4]));
        base.summaries[0].data_sha256 = "b".into();
        let error = one(&now, &base).unwrap_err().to_string();
        assert!(
            error.contains("sums of now: its rows are not those of base: sha256 b there, a here"),
            "{error}"
        );
        base.summaries[0].set = "other".into();
        base.lines = [("other".to_owned(), base.lines["sums"].clone())].into();
        let error = one(&now, &base).unwrap_err().to_string();
        assert!(
            error.contains("no set of this evaluation: it has other, and here are sums"),
            "{error}"
        );
        // One of several may have none of its sets.
        let of_base = Found { root: "copy".into(), ..base.clone() };
        let both = compare(&[now, of_base], &base).unwrap();
        assert!(both[0].sets.is_empty() && both[0].problems.is_empty());
        assert_eq!(both[1].sets.len(), 1);
    }

    #[test]
    fn only_problems_that_both_have_are_compared() {
        let (now, mut base) = (found("now", [2; 4]), found("base", [1; 4]));
        let lines = base.lines.get_mut("sums").unwrap();
        lines[0].number = 99;
        lines[1].outcomes[0] = Outcome::Error;
        let compared = one(&now, &base).unwrap();
        let paired = &compared.sets["sums"]["avg"];
        assert_eq!((paired.problems, paired.higher, paired.mean), (2, 2, 0.5));
        assert_eq!(compared.problems["sums"].better.len(), 2);
    }

    #[test]
    fn problems_of_two_files_with_the_same_ids_are_told_apart() {
        let mut evaluation = found("now", [2, 1, 2, 0]);
        for line in evaluation.lines.get_mut("sums").unwrap() {
            line.id = format!("p{}", line.number % 2);
        }
        let compared = one(&evaluation, &evaluation.clone()).unwrap();
        let paired = &compared.sets["sums"]["avg"];
        assert_eq!((paired.problems, paired.higher, paired.lower, paired.equal), (4, 0, 0, 4));
        assert_eq!(compared.problems["sums"], Flipped::default());
    }

    #[test]
    fn problems_that_flipped_are_named_with_both_shares() {
        let compared = one(&found("now", [1, 2, 0, 1]), &found("base", [0, 0, 1, 1])).unwrap();
        let Flipped { better, worse } = &compared.problems["sums"];
        let said = |flips: &[Flip]| -> Vec<_> {
            flips.iter().map(|flip| (flip.id.clone(), flip.there, flip.here)).collect()
        };
        assert_eq!(said(better), [("p1".into(), 0.0, 1.0), ("p0".into(), 0.0, 0.5)]);
        assert_eq!(said(worse), [("p2".into(), 0.5, 0.0)]);
        let paired = &compared.sets["sums"]["avg"];
        assert_eq!((paired.higher, paired.lower), (better.len(), worse.len()));
    }

    #[test]
    fn more_truncation_is_higher_and_not_better() {
        let (mut now, base) = (found("now", [1; 4]), found("base", [1; 4]));
        now.lines.get_mut("sums").unwrap()[0].truncated = vec![true, true];
        let compared = one(&now, &base).unwrap();
        let json = serde_json::to_value(&compared.sets["sums"]["truncated"]).unwrap();
        assert_eq!((&json["higher"], &json["lower"]), (&1.into(), &0.into()));
        assert!(json.get("better").is_none() && json.get("worse").is_none(), "{json}");
    }

    #[test]
    fn another_build_is_said() {
        let (mut now, mut base) = (found("now", [1; 4]), found("base", [1; 4]));
        let facts = |commit: &str| Facts { commit: commit.into(), ..of_this_process(1) };
        (now.facts, base.facts) =
            (Some(facts("0123456789abcdef")), Some(facts("fedcba9876543210")));
        let differs = |now: &Found, base: &Found| one(now, base).unwrap().differs;
        let [line] = &differs(&now, &base)[..] else { panic!("one line") };
        let [there, here] = ["(fedcba987", "(012345678"].map(|commit| line.find(commit).unwrap());
        assert!(line.contains("grader") && there < here, "{line}");
        base.facts.clone_from(&now.facts);
        assert!(differs(&now, &base).is_empty());
        base.facts = None;
        assert!(differs(&now, &base).is_empty(), "it is not known");
    }

    #[test]
    fn what_differs_is_said_in_words() {
        let (mut now, mut base) = (found("now", [1; 4]), found("base", [1; 4]));
        now.settings.sets[0].asked = 6;
        now.settings.sets[0].samples = 8;
        now.settings.greedy = false;
        now.settings.seed = 2;
        now.settings.model = "another".into();
        now.settings.sampling.top_p = 0.5;
        now.settings.prompt.suffix = Some("x".repeat(70));
        base.settings.style = "a\u{1b}b".into();
        base.settings.sets.push(base.settings.sets[0].clone());
        base.settings.sets[1].name = "more".into();
        let differs = one(&now, &base).unwrap().differs;
        let prompt =
            format!("prompt suffix: off there, {} … (10 more characters) here", "x".repeat(60));
        for line in [
            "problems of arithmetic: 4 there, 6 here",
            "completions per problem of arithmetic: 4 there, 8 here",
            "greedy decoding: on there, off here",
            "seed: 1 there, 2 here",
            "top p: 1.0 there, 0.5 here",
            "more: only there",
            "prompt style: a�b there, plain here",
            &prompt,
        ] {
            assert!(differs.iter().any(|one| one == line), "{line}: {differs:#?}");
        }
        assert_eq!(differs.len(), 8, "{differs:#?}");
    }
}
