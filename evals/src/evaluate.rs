//! Held-out evaluation: how well a policy does on problems it never trains on.

use std::collections::BTreeMap;

use rewards::Problem;
use rollout::{Key, OnProgress, Purpose, Sampling};

use crate::attempt::{AskedSet, Draw, GradedGroup, Sampler, attempt_each};
use crate::run::{FORMAT, ProblemLine, Summary};
use crate::{Result, Warning, health};

/// Name of the held-out set in metric keys and files.
pub const HELD_OUT: &str = "held-out";

/// The name of the greedy evaluation of a set.
pub fn greedy(set: &str) -> String {
    format!("{set}-greedy")
}

/// A set of problems, and how it is attempted and judged.
#[derive(Debug, Clone, Copy)]
pub struct HeldOut<'a> {
    /// Its name, in metric keys and file names.
    pub set: &'a str,
    /// What attempts and judges the problems.
    pub sampler: Sampler<'a>,
    /// The problems.
    pub problems: &'a [Problem],
    /// SHA-256 of their rows.
    pub sha256: &'a str,
    /// Completions that are drawn of each.
    pub samples: usize,
    /// Whether the likeliest completion is judged besides.
    pub greedy: bool,
    /// Problems whose completions are kept with their tokens, the first so many.
    pub tokens: usize,
}

/// What an evaluation found on a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The figures.
    pub summary: Summary,
    /// What became of each problem, in the order of the set.
    pub lines: Vec<ProblemLine>,
    /// What looks wrong.
    pub warnings: Vec<Warning>,
    /// The first problems with the tokens of their completions, as many as were asked for.
    pub groups: Vec<GradedGroup>,
}

/// Receives what became of a problem, with the index of its set.
pub type OnLine<'a> = dyn FnMut(usize, &ProblemLine) -> Result<()> + Send + 'a;

/// Evaluates on held-out sets, as one stream of completions, a policy that was trained for `step`
/// steps. Returns what was found on each set.
///
/// `judged` gets what became of each problem as soon as it is judged, so that it can be recorded
/// before its set is complete. The draws are the same at every step, so that two evaluations differ
/// by their policies alone.
///
/// # Errors
///
/// Fails where [`attempt_each`] does, and with what `judged` returns.
pub fn evaluate(
    sets: &[HeldOut<'_>],
    seed: u64,
    step: u64,
    progress: &mut OnProgress<'_>,
    judged: &mut OnLine<'_>,
) -> Result<Vec<Evaluated>> {
    let draw = |(number, problem)| Draw { number, problem };
    let draws = sets.iter().map(|set| (0..).zip(set.problems).map(draw).collect());
    let draws: Vec<Vec<Draw<'_>>> = draws.collect();
    let asked = sets.iter().zip(&draws).map(|(set, problems)| {
        let HeldOut { sampler, samples, greedy, .. } = *set;
        AskedSet { sampler, problems, samples, greedy }
    });
    let asked: Vec<_> = asked.collect();
    let key = Key { seed, purpose: Purpose::Eval, step: 0 };
    let mut lines: Vec<Vec<ProblemLine>> = vec![Vec::new(); sets.len()];
    let mut kept: Vec<BTreeMap<usize, GradedGroup>> = vec![BTreeMap::new(); sets.len()];
    attempt_each(&asked, key, progress, &mut |place, group| {
        let rubric = asked[place.set].sampler.rubric;
        let line = ProblemLine::of(place.problem as u64, &group, rubric, true);
        judged(place.set, &line)?;
        lines[place.set].push(line);
        if place.problem < sets[place.set].tokens {
            kept[place.set].insert(place.problem, group);
        }
        Ok(())
    })?;
    let found = sets.iter().zip(lines).zip(kept).map(|((set, lines), kept)| {
        let groups = kept.into_values().collect();
        Evaluated { groups, ..Evaluated::of(set, step, lines) }
    });
    Ok(found.collect())
}

impl Evaluated {
    fn of(set: &HeldOut<'_>, step: u64, mut lines: Vec<ProblemLine>) -> Self {
        lines.sort_by_key(|line| line.number);
        let summary = Summary {
            format: FORMAT,
            set: set.set.to_owned(),
            step,
            protocol: RECIPE.to_owned(),
            prompt: RECIPE.to_owned(),
            criterion: set.sampler.rubric.criterion(),
            sampling: set.sampler.sampling.clone(),
            samples: set.samples,
            data_sha256: set.sha256.to_owned(),
            asked: set.problems.len(),
            ..Summary::default()
        };
        let warnings = health::check_held_out(&lines);
        let groups = Vec::new();
        Self { summary: summary.with_figures(&lines), lines, warnings, groups }
    }

    /// The likeliest completions as an evaluation by themselves, where there are some.
    pub fn likeliest(&self) -> Option<Self> {
        let lines: Vec<_> = self.lines.iter().filter_map(ProblemLine::likeliest).collect();
        if lines.is_empty() {
            return None;
        }
        let head = self.summary.clone();
        let sampling = Sampling { temperature: 0.0, ..head.sampling.clone() };
        let summary = Summary { set: greedy(&head.set), sampling, samples: 1, ..head };
        let warnings = health::check_held_out(&lines);
        let groups = Vec::new();
        Some(Self { summary: summary.with_figures(&lines), lines, warnings, groups })
    }
}

/// Name of the protocol and of the prompt style of an evaluation in a run: its recipe has both.
const RECIPE: &str = "recipe";

#[cfg(test)]
pub(crate) mod tests {
    use rewards::{Judged, Outcome, RubricConfig};
    use rollout::{Finish, Trajectory};

    use super::*;
    use crate::attempt::{Completion, GradedGroup};

    fn completion(outcome: Outcome, finish: Finish) -> Completion {
        let trajectory = Trajectory {
            completion: vec![1, 2, 3, 4],
            log_probs: vec![-0.5; 4],
            entropies: vec![0.5; 4],
            phi_sums: vec![0.0; 4],
            alternatives: Vec::new(),
            finish,
        };
        let reward = f64::from(u8::from(outcome == Outcome::Correct));
        let parts = vec![("math".into(), reward)];
        let (answer, metrics) = (Some("4".into()), Vec::new());
        let judged = Judged { reward, outcome, by_sign: false, answer, parts, metrics };
        Completion { text: "4".into(), trajectory, judged }
    }

    pub(crate) fn group(finish: Finish, outcomes: &[Outcome]) -> GradedGroup {
        let problem = Problem {
            id: "a".into(),
            problem: "2+2".into(),
            answer: "4".into(),
            source: String::new(),
            ..Problem::default()
        };
        let completions = outcomes.iter().map(|&outcome| completion(outcome, finish)).collect();
        GradedGroup { problem, prompt: vec![0], completions, greedy: None }
    }

    /// What became of these groups.
    pub(crate) fn lines(groups: &[GradedGroup]) -> Vec<ProblemLine> {
        let rubric = RubricConfig::default().build().unwrap();
        let line = |(number, group)| ProblemLine::of(number, group, &rubric, true);
        (0..).zip(groups).map(line).collect()
    }

    #[test]
    fn the_likeliest_completions_are_an_evaluation_by_themselves() {
        use Outcome::{Correct, Wrong};
        let mut groups =
            [Correct, Wrong, Correct].map(|outcome| group(Finish::Stop, &[Wrong, outcome]));
        for (group, outcome) in groups.iter_mut().zip([Correct, Correct, Wrong]) {
            group.greedy = Some(completion(outcome, Finish::Length));
        }
        let lines = lines(&groups);
        let head = Summary { set: "toy".into(), samples: 2, ..Summary::default() };
        let summary = head.with_figures(&lines);
        let (warnings, groups) = Default::default();
        let found = Evaluated { summary, lines, warnings, groups };
        let likeliest = found.likeliest().unwrap();
        let Summary { set, samples, accuracy, truncated, reward, .. } = &likeliest.summary;
        assert_eq!((set.as_str(), *samples), ("toy-greedy", 1));
        assert_eq!((*accuracy, *truncated, *reward), (2.0 / 3.0, 1.0, 2.0 / 3.0));
        assert_eq!(found.summary.greedy.map(|greedy| greedy.mean), Some(*accuracy));
        assert_eq!(likeliest.summary.greedy, None);
        assert_eq!(likeliest.warnings[0].name, "held_out_truncated");
        assert_eq!(likeliest.likeliest(), None);
    }
}
