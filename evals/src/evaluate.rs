//! Held-out evaluation: how well a policy does on problems it never trains on.

mod by_source;

use rewards::{Outcome, Problem};
use rollout::{Finish, Key, OnProgress, Purpose};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attempt::{AttemptConfig, Completion, Draw, GradedGroup, Sampler, attempt_each};
use crate::pass::{pass_at, pass_sizes};
use crate::run::FORMAT;
use crate::{Estimate, Log, Metrics, Result, Warning, health};

pub use by_source::SourceAccuracy;
use by_source::by_source;

/// Name of the held-out set in metric keys and files.
pub const HELD_OUT: &str = "held-out";

/// The name of the greedy evaluation of a set.
pub fn greedy(set: &str) -> String {
    format!("{set}-greedy")
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// Version of this file.
    pub format: u32,
    /// Name of the set of problems.
    pub set: String,
    /// What the outcomes depend on: the verifier, its policy and marker; nothing in files from
    /// before it was written.
    #[serde(default)]
    pub criterion: String,
    /// Steps that the policy was trained for.
    pub step: u64,
    /// Problems judged; the others are left out of every figure.
    pub problems: usize,
    /// Problems left out: their gold answer cannot be read, or a verifier failed on a completion.
    pub unjudged: usize,
    /// Completions for each problem.
    pub samples: usize,
    /// Temperature; 0 is greedy.
    pub temperature: f64,
    /// Share of completions that are correct.
    pub accuracy: f64,
    /// Lower end of the accuracy's 95 % interval over problems.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Chance that one of k completions is correct, for k = 1, 2, 4 and so on up to `samples`; none
    /// in files from before it was measured.
    #[serde(default)]
    pub pass: Vec<PassAt>,
    /// Correct completions of a problem with different texts; none in files from before it was
    /// measured.
    #[serde(default)]
    pub distinct_correct: Option<Estimate>,
    /// Mean reward, all verifiers weighted.
    pub reward: f64,
    /// Mean length of completions, in tokens.
    pub length: f64,
    /// Share of completions cut at the limit.
    pub truncated: f64,
    /// Share of completions with each outcome that occurred.
    pub outcomes: Vec<(Outcome, f64)>,
    /// The accuracy by source, where the set has problems of 2 to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceAccuracy>,
    /// A few completions, the first of the first problems.
    pub shown: Vec<Excerpt>,
}

/// pass@k of a set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PassAt {
    /// Completions of which one has to be correct.
    pub k: usize,
    /// The chance that one is.
    #[serde(flatten)]
    pub rate: Estimate,
}

/// A completion for people to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Excerpt {
    /// The problem.
    pub problem: String,
    /// Its answer.
    pub gold: String,
    /// The completion.
    pub text: String,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The problems of an evaluation, and its name.
#[derive(Debug, Clone, Copy)]
pub struct HeldOut<'a> {
    /// Name of the set, in metric keys and file names.
    pub set: &'a str,
    /// The problems.
    pub problems: &'a [Problem],
    /// Completions for each of them.
    pub samples: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Steps that the policy was trained for.
    pub step: u64,
}

/// Completions kept in an [`Evaluation`].
const SHOWN: usize = 8;

/// Evaluates on a held-out set. Returns the result and warnings.
///
/// Intervals are over problems ([`Estimate::over_problems`]). `judged` gets each problem's
/// completions as soon as they are judged, with the problem's index in the set, so that they can be
/// recorded before the set is complete.
///
/// # Errors
///
/// Fails where [`attempt_each`] does, and with what `judged` returns.
pub fn evaluate(
    sampler: &Sampler<'_>,
    held_out: HeldOut<'_>,
    progress: &mut OnProgress<'_>,
    judged: &mut (dyn FnMut(usize, &GradedGroup) -> Result<()> + Send),
) -> Result<(Evaluation, Vec<Warning>)> {
    let HeldOut { set, problems, samples, seed, step } = held_out;
    let draws: Vec<_> =
        (0..).zip(problems).map(|(number, problem)| Draw { number, problem }).collect();
    // The same draws at every step, so that two evaluations differ by their policies alone.
    let key = Key { seed, purpose: Purpose::Eval, step: 0 };
    let mut groups: Vec<Option<GradedGroup>> = problems.iter().map(|_| None).collect();
    let config = AttemptConfig { samples, greedy: false, key };
    attempt_each(sampler, &draws, config, progress, &mut |index, group| {
        judged(index, &group)?;
        groups[index] = Some(group);
        Ok(())
    })?;
    let groups: Vec<_> = groups.into_iter().flatten().collect();
    let evaluation = Evaluation {
        set: set.to_owned(),
        criterion: sampler.rubric.criterion(),
        step,
        samples,
        temperature: sampler.sampling.temperature,
        ..Evaluation::of(&groups)
    };
    Ok((evaluation, health::check_held_out(&groups)))
}

impl Evaluation {
    fn of(groups: &[GradedGroup]) -> Self {
        let kept: Vec<_> = groups.iter().filter(|group| !group.unjudged()).collect();
        let all: Vec<_> = kept.iter().flat_map(|group| &group.completions).collect();
        let mean = |value: &dyn Fn(&Completion) -> f64| {
            // Not `sum`, which is -0 of none.
            let sum = all.iter().fold(0.0, |sum, completion| sum + value(completion));
            sum / all.len().max(1) as f64
        };
        let share = |outcome| mean(&|one| f64::from(u8::from(one.judged.outcome == outcome)));
        let over = |top: f64, value: &dyn Fn(&GradedGroup) -> f64| {
            let values: Vec<_> = kept.iter().map(|group| value(group)).collect();
            Estimate::over_problems(&values, top)
        };
        let samples = kept.iter().map(|group| group.completions.len()).min().unwrap_or(0);
        let pass = |k| PassAt {
            k,
            rate: over(1.0, &|group| pass_at(group.completions.len(), group.num_correct(), k)),
        };
        let Estimate { low, high, .. } = over(1.0, &share_correct);
        Self {
            format: FORMAT,
            set: String::new(),
            criterion: String::new(),
            step: 0,
            problems: kept.len(),
            unjudged: groups.len() - kept.len(),
            samples: 0,
            temperature: 0.0,
            accuracy: share(Outcome::Correct),
            low,
            high,
            pass: pass_sizes(samples).map(pass).collect(),
            distinct_correct: Some(over(samples as f64, &|group| {
                group.num_distinct_correct() as f64
            })),
            reward: mean(&|one| one.judged.reward),
            length: mean(&|one| one.trajectory.completion.len() as f64),
            truncated: mean(&|one| f64::from(u8::from(one.trajectory.finish == Finish::Length))),
            outcomes: Outcome::ALL
                .into_iter()
                .map(|outcome| (outcome, share(outcome)))
                .filter(|(_, share)| *share > 0.0)
                .collect(),
            sources: by_source(groups),
            shown: kept.iter().take(SHOWN).filter_map(|group| Excerpt::of(group)).collect(),
        }
    }

    /// The evaluation as metrics of its step; nothing where no problem could be judged.
    ///
    /// # Errors
    ///
    /// Fails when the set's name holds a slash, so that its keys are not declared.
    pub fn metrics(&self) -> Result<Metrics> {
        let mut metrics = Metrics::new(Log::Metrics);
        if self.problems == 0 {
            return Ok(metrics);
        }
        let (set, samples) = (&self.set, self.samples);
        metrics.set(format!("val-core/{set}/acc/mean@{samples}"), self.accuracy)?;
        metrics.set(format!("val-aux/{set}/acc/low"), self.low)?;
        metrics.set(format!("val-aux/{set}/acc/high"), self.high)?;
        let passes = self.pass.iter().map(|pass| (format!("pass@{}", pass.k), pass.rate));
        let distinct = self.distinct_correct.map(|distinct| ("distinct_correct".into(), distinct));
        for (name, Estimate { mean, low, high }) in passes.chain(distinct) {
            metrics.set(format!("val-aux/{set}/{name}"), mean)?;
            metrics.set(format!("val-aux/{set}/{name}/low"), low)?;
            metrics.set(format!("val-aux/{set}/{name}/high"), high)?;
        }
        metrics.set(format!("val-aux/{set}/reward/mean"), self.reward)?;
        metrics.set(format!("val-aux/{set}/response_length/mean"), self.length)?;
        metrics.set(format!("val-aux/{set}/response_length/clip_ratio"), self.truncated)?;
        for SourceAccuracy { key, problems, accuracy, low, high, .. } in &self.sources {
            metrics.set(format!("val-aux/{set}/{key}/problems"), *problems as f64)?;
            if *problems > 0 {
                metrics.set(format!("val-core/{set}/{key}/acc/mean@{samples}"), *accuracy)?;
                metrics.set(format!("val-aux/{set}/{key}/acc/low"), *low)?;
                metrics.set(format!("val-aux/{set}/{key}/acc/high"), *high)?;
            }
        }
        for (outcome, share) in &self.outcomes {
            metrics.set(format!("val-aux/{set}/outcome/{outcome}"), *share)?;
        }
        Ok(metrics)
    }
}

/// Share of the group's completions that are correct.
fn share_correct(group: &GradedGroup) -> f64 {
    group.num_correct() as f64 / group.completions.len() as f64
}

impl Excerpt {
    fn of(group: &GradedGroup) -> Option<Self> {
        let first = group.completions.first()?;
        Some(Self {
            problem: group.problem.problem.clone(),
            gold: group.problem.answer.clone(),
            text: first.text.clone(),
            outcome: first.judged.outcome,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rewards::Judged;
    use rollout::Trajectory;

    use super::*;
    use crate::interval::wilson;

    fn completion(outcome: Outcome, finish: Finish) -> Completion {
        let trajectory = Trajectory {
            completion: vec![1, 2, 3, 4],
            log_probs: vec![-0.5; 4],
            entropies: vec![0.5; 4],
            phi_sums: vec![0.0; 4],
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

    #[test]
    fn problems_that_cannot_be_judged_are_in_no_figure() {
        let found = Evaluation::of(&[
            group(Finish::Stop, &[Outcome::Correct, Outcome::Wrong]),
            group(Finish::Stop, &[Outcome::Correct, Outcome::Correct]),
            group(Finish::Stop, &[Outcome::GoldUnparseable; 2]),
            group(Finish::Stop, &[Outcome::Correct, Outcome::Error]),
        ]);
        assert_eq!((found.problems, found.unjudged), (2, 2));
        assert!((found.accuracy - 0.75).abs() < 1e-12);
        let accuracy = Estimate::over_problems(&[0.5, 1.0], 1.0);
        assert_eq!((found.low, found.high), (accuracy.low, accuracy.high));
        assert_eq!(found.pass[0], PassAt { k: 1, rate: accuracy });
        assert_eq!(found.pass[1].rate, Estimate::over_problems(&[1.0, 1.0], 1.0));
        let one = Estimate::over_problems(&[1.0, 1.0], 2.0);
        assert_eq!(found.distinct_correct, Some(one));
        assert_eq!(found.outcomes, [(Outcome::Correct, 0.75), (Outcome::Wrong, 0.25)]);
    }

    #[test]
    fn one_sample_a_problem_has_wilsons_interval() {
        let all = [[Outcome::Correct], [Outcome::Wrong], [Outcome::Wrong]];
        let found = Evaluation::of(&all.map(|outcome| group(Finish::Stop, &outcome)));
        assert_eq!((found.low, found.high), wilson(found.accuracy, 3));
    }

    #[test]
    fn files_from_before_pass_at_k_are_read() {
        let found = Evaluation::of(&[group(Finish::Stop, &[Outcome::Correct; 2])]);
        let mut file = serde_json::to_value(&found).unwrap();
        assert_eq!(file["pass"][1]["k"], 2);
        assert_eq!(serde_json::from_value::<Evaluation>(file.clone()).unwrap(), found);
        let fields = file.as_object_mut().unwrap();
        fields.remove("pass").unwrap();
        fields.remove("distinct_correct").unwrap();
        let read: Evaluation = serde_json::from_value(file).unwrap();
        assert_eq!((read.pass, read.distinct_correct), (Vec::new(), None));
    }

    #[test]
    fn a_set_of_which_nothing_is_known_has_no_figure() {
        let none = group(Finish::Stop, &[Outcome::GoldUnparseable]);
        for groups in [&[][..], &[none]] {
            let found = Evaluation::of(groups);
            assert_eq!((found.problems, found.unjudged), (0, groups.len()));
            for figure in [found.accuracy, found.reward, found.length, found.truncated] {
                assert!(figure.to_bits() == 0, "it is 0, and not -0: {figure:?}");
            }
            assert_eq!(found.metrics().unwrap().entries(), []);
        }
    }

    #[test]
    fn every_metric_of_an_evaluation_is_declared() {
        for outcome in Outcome::ALL {
            let mut found = Evaluation::of(&[group(Finish::Stop, &[outcome])]);
            found.set = "held-out".into();
            found.metrics().unwrap();
        }
    }
}
