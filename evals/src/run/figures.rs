//! The figures of an evaluation, from its lines.

use std::collections::BTreeMap;

use rewards::Outcome;

use super::summary::SHOWN;
use super::{Excerpt, Figure, Part, ProblemLine, Summary};
use crate::Estimate;
use crate::pass::pass_sizes;
use crate::student;

impl Summary {
    /// The same, with the figures of these lines, in whatever order they are.
    #[must_use]
    pub fn with_figures(self, lines: &[ProblemLine]) -> Self {
        // Sums depend on their order.
        let mut all: Vec<_> = lines.iter().collect();
        all.sort_by_key(|line| line.number);
        let kept: Vec<_> = all.iter().copied().filter(|line| !line.unjudged()).collect();
        let samples = kept.iter().map(|line| line.n).min().unwrap_or(0);
        let completions = kept.iter().map(|line| line.n).sum::<usize>().max(1) as f64;
        let mean = |value: &dyn Fn(&ProblemLine) -> f64| {
            // Not `sum`, which is -0 of none.
            kept.iter().fold(0.0, |sum, line| sum + value(line)) / completions
        };
        let share = |outcome| {
            mean(&|line| line.outcomes.iter().filter(|one| **one == outcome).count() as f64)
        };
        let Estimate { low, high, .. } = Figure::Average.over(&kept);
        let sizes = || pass_sizes(samples);
        let distinct: Vec<_> = kept.iter().map(|line| line.distinct_correct as f64).collect();
        let around = |figure: Figure| {
            student::interval(&kept.iter().filter_map(|line| figure.of(line)).collect::<Vec<_>>())
        };
        Self {
            problems: kept.len(),
            unjudged: lines.len() - kept.len(),
            accuracy: mean(&|line| line.correct as f64),
            low,
            high,
            pass: sizes().map(|k| (k, Figure::Pass(k).over(&kept))).collect(),
            maj: sizes().skip(1).map(|k| (k, Figure::Majority(k).over(&kept))).collect(),
            greedy: kept
                .iter()
                .any(|line| line.greedy.is_some())
                .then(|| Figure::Greedy.over(&kept)),
            distinct_correct: Estimate::over_problems(&distinct, samples as f64),
            reward: mean(&ProblemLine::total_reward),
            reward_interval: around(Figure::Reward),
            length: mean(&ProblemLine::total_length),
            length_interval: around(Figure::Length),
            truncated: mean(&|line| line.truncated.iter().filter(|cut| **cut).count() as f64),
            outcomes: Outcome::ALL
                .into_iter()
                .map(|outcome| (outcome, share(outcome)))
                .filter(|(_, share)| *share > 0.0)
                .collect(),
            by_source: parts(&all, 2, |line| Some(&line.source)),
            by_level: parts(&all, 1, |line| line.level.as_ref()),
            shown: kept.iter().filter_map(|line| Excerpt::of(line)).take(SHOWN).collect(),
            ..self
        }
    }
}

impl Excerpt {
    fn of(line: &ProblemLine) -> Option<Self> {
        Some(Self {
            problem: line.problem.clone(),
            gold: line.gold.clone(),
            text: line.texts.first()?.clone(),
            outcome: *line.outcomes.first()?,
        })
    }
}

/// Most parts of a set that are told apart: more are names of single problems.
const MOST_PARTS: usize = 32;

/// The accuracy of each part of the problems, where there are `least` to [`MOST_PARTS`] parts.
fn parts<'a>(
    lines: &[&'a ProblemLine],
    least: usize,
    part: impl Fn(&'a ProblemLine) -> Option<&'a String>,
) -> BTreeMap<String, Part> {
    let mut parts: BTreeMap<&String, Vec<&ProblemLine>> = BTreeMap::new();
    for &line in lines {
        if let Some(part) = part(line) {
            parts.entry(part).or_default().push(line);
        }
    }
    if !(least..=MOST_PARTS).contains(&parts.len()) {
        return BTreeMap::new();
    }
    let accuracy = |(part, lines): (&String, Vec<&ProblemLine>)| {
        let kept: Vec<_> = lines.into_iter().filter(|line| !line.unjudged()).collect();
        let accuracy = Figure::Average.over(&kept);
        (part.clone(), Part { problems: kept.len(), accuracy })
    };
    parts.into_iter().map(accuracy).collect()
}

#[cfg(test)]
mod tests {
    use rewards::RubricConfig;
    use rollout::Finish;

    use super::*;
    use crate::compare::Paired;
    use crate::evaluate::tests::group;
    use crate::run::results::read;

    /// A line with these answers of a problem whose answer is 4.
    fn line(number: u64, answers: &[Option<&str>], greedy: Option<&str>) -> ProblemLine {
        let rubric = RubricConfig::default().build().unwrap();
        let outcome = |answer: Option<&str>| match answer {
            Some("4" | "04") => Outcome::Correct,
            Some(_) => Outcome::Wrong,
            None => Outcome::NoAnswer,
        };
        let outcomes: Vec<_> = answers.iter().copied().map(outcome).collect();
        let mut graded = group(Finish::Stop, &outcomes);
        graded.problem.id = format!("p{number}");
        for (one, answer) in graded.completions.iter_mut().zip(answers) {
            one.judged.answer = answer.map(str::to_owned);
        }
        graded.greedy = greedy.map(|answer| {
            let mut one = group(Finish::Length, &[outcome(Some(answer))]).completions.remove(0);
            one.judged.answer = Some(answer.to_owned());
            one
        });
        ProblemLine::of(number, &graded, &rubric, true)
    }

    fn lines() -> Vec<ProblemLine> {
        vec![
            line(0, &[Some("4"), Some("04"), Some("5"), None], Some("4")),
            line(1, &[Some("5"), Some("5"), Some("4"), Some("4")], Some("5")),
            line(2, &[None, None, None, Some("7")], Some("7")),
        ]
    }

    #[test]
    fn answers_that_the_grader_calls_equal_are_one_class() {
        let one = line(0, &[Some("4"), None, Some("04"), Some("5")], None);
        assert_eq!(one.votes, [Some(0), None, Some(0), Some(1)]);
        let classes: Vec<_> =
            one.classes.iter().map(|c| (c.answer.as_str(), c.votes, c.correct)).collect();
        assert_eq!(classes, [("4", 2, true), ("5", 1, false)]);
    }

    #[test]
    fn every_figure_is_the_mean_of_its_problems() {
        let found = Summary::default().with_figures(&lines());
        assert_eq!((found.problems, found.unjudged), (3, 0));
        assert!((found.accuracy - 4.0 / 12.0).abs() < 1e-12);
        assert!((found.pass[&1].mean - found.accuracy).abs() < 1e-12);
        assert!((found.pass[&4].mean - 2.0 / 3.0).abs() < 1e-12);
        // Blocks of two: right, wrong; wrong, right; silent, wrong.
        assert!((found.maj[&2].mean - (0.5 + 0.5) / 3.0).abs() < 1e-12, "{:?}", found.maj);
        // Blocks of four: right by two to one; a tie; wrong.
        assert!((found.maj[&4].mean - (1.0 + 0.5) / 3.0).abs() < 1e-12, "{:?}", found.maj);
        assert!((found.greedy.unwrap().mean - 1.0 / 3.0).abs() < 1e-12);
        assert!(found.truncated.abs() < 1e-12);
        let mut shuffled = lines();
        shuffled.rotate_left(1);
        assert_eq!(Summary::default().with_figures(&shuffled), found);
    }

    #[test]
    fn what_cannot_be_judged_is_in_no_figure() {
        let mut all = lines();
        all[1].outcomes[0] = Outcome::GoldUnparseable;
        all[2].greedy.as_mut().unwrap().outcome = Outcome::Error;
        let found = Summary::default().with_figures(&all);
        assert_eq!((found.problems, found.unjudged), (1, 2));
        assert!((found.pass[&4].mean - 1.0).abs() < 1e-12);
        for figure in Figure::all(4) {
            assert_eq!(figure.of(&all[1]), None, "{figure}");
        }
        let none = Summary::default().with_figures(&all[1..]);
        assert_eq!((none.problems, none.low, none.high), (0, 0.0, 1.0));
        assert!(none.pass.is_empty() && none.maj.is_empty() && none.accuracy == 0.0);
    }

    #[test]
    fn parts_are_told_apart_where_there_are_several() {
        let mut all = lines();
        assert!(Summary::default().with_figures(&all).by_source.is_empty());
        all[2].source = "other".into();
        all[0].level = Some("1".into());
        let found = Summary::default().with_figures(&all);
        assert!(found.by_source["other"].accuracy.mean.abs() < 1e-12);
        assert!((found.by_source[""].accuracy.mean - 0.5).abs() < 1e-12);
        assert_eq!(found.by_source[""].problems, 2);
        assert_eq!(found.by_level.len(), 1);
        let named = |of: u64| {
            let each = (0..of).map(|number| ProblemLine {
                source: number.to_string(),
                ..line(number, &[None], None)
            });
            Summary::default().with_figures(&each.collect::<Vec<_>>()).by_source.len()
        };
        assert_eq!([named(32), named(33)], [32, 0]);
    }

    #[test]
    fn an_evaluation_is_read_back_and_a_torn_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.jsonl");
        assert_eq!(read(&path).unwrap(), (Vec::new(), 0));
        let written: Vec<_> =
            lines().iter().rev().map(|one| serde_json::to_string(one).unwrap() + "\n").collect();
        let whole = written.concat();
        for end in 0..=whole.len() {
            if !whole.is_char_boundary(end) {
                continue;
            }
            std::fs::write(&path, &whole[..end]).unwrap();
            let (read, bytes) = read(&path).unwrap();
            assert_eq!(read.len(), whole[..end].matches('\n').count());
            assert!(whole[..bytes as usize].is_empty() || whole[..bytes as usize].ends_with('\n'));
        }
        assert_eq!(read(&path).unwrap(), (lines(), whole.len() as u64));
        // Figures and comparisons need no texts.
        for most in [2, 0] {
            let few: Vec<_> = lines().into_iter().map(|one| one.with_texts(most)).collect();
            let text: String =
                few.iter().map(|one| serde_json::to_string(one).unwrap() + "\n").collect();
            std::fs::write(&path, text).unwrap();
            let read = read(&path).unwrap().0;
            assert!(read == few && read.iter().all(|one| one.texts.len() == most));
            let [all, few] = [&lines(), &read].map(|of| Summary::default().with_figures(of));
            assert_eq!(Summary { shown: Vec::new(), ..all }, Summary { shown: Vec::new(), ..few });
        }
        let mut many = lines();
        many[0].texts.push("one more".into());
        std::fs::write(&path, serde_json::to_string(&many[0]).unwrap() + "\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("texts has 5 values, expected at most n = 4"), "{error}");
        std::fs::write(&path, "{}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: expected what became of a problem: missing"), "{error}");
        let summary = Summary::default().with_figures(&lines());
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }

    #[test]
    fn pairs_differ_by_their_figures() {
        let (before, mut after) = (lines(), lines());
        after[2] = line(2, &[Some("4"); 4], Some("4"));
        let differences: Vec<_> = before
            .iter()
            .zip(&after)
            .map(|(b, a)| Figure::Average.of(a).unwrap() - Figure::Average.of(b).unwrap())
            .collect();
        let found = Paired::of(&differences, Some(1.0));
        assert_eq!((found.higher, found.lower, found.equal), (1, 0, 2));
        assert!((found.mean - 1.0 / 3.0).abs() < 1e-12);
    }
}
