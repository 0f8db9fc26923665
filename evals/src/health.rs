//! Warnings: what looks wrong with a step, why, and the key to change.
//!
//! This file has the warnings from a single step; [`Watch`] has those from several.

mod watch;

use std::borrow::Cow;
use std::fmt;

use rewards::Outcome;

pub use watch::{Agreement, Watch};

use crate::attempt::{Completion, GradedGroup};
use crate::run::ProblemLine;

/// One warning.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// Name, as in the metric `health/<name>`.
    pub name: &'static str,
    /// What was observed.
    pub cause: String,
    /// What to change. Keys of the stage that the step is of begin with `stage.rl`, until
    /// [`Warning::in_stage`] gives them its number.
    pub act: Cow<'static, str>,
    /// The value of the metric from which on it is given, where there is one.
    pub limit: Option<f64>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}: {}\n  {}", self.name, self.cause, self.act)
    }
}

/// Checks everything sampled in one step, including groups that could not be judged.
pub fn check_groups<'a>(groups: impl IntoIterator<Item = &'a GradedGroup>) -> Vec<Warning> {
    let groups: Vec<_> = groups.into_iter().collect();
    let seen: Vec<_> = groups.iter().map(|group| Seen::from(*group)).collect();
    let found = [
        all_truncated(&seen),
        no_answer(&seen),
        no_spread(&groups),
        gold_unparseable(&seen),
        failed(&seen),
    ];
    found.into_iter().flatten().collect()
}

/// Checks what became of held-out problems.
pub fn check_held_out(lines: &[ProblemLine]) -> Vec<Warning> {
    let seen: Vec<_> = lines.iter().map(Seen::from).collect();
    let unparseable = gold_unparseable(&seen).map(|warning| Warning {
        name: "held_out_unparseable",
        cause: warning.cause.replace("groups were dropped", "held-out problems are left out"),
        act:
            "repair these rows of the held-out file, or choose a verifier that reads their answers"
                .into(),
        limit: None,
    });
    let truncated = all_truncated(&seen).map(|_| Warning {
        name: "held_out_truncated",
        cause: "every held-out completion was cut at the token limit".into(),
        act: "raise `eval.sampling.max_new_tokens`, or check the prompt style and the stop tokens"
            .into(),
        limit: None,
    });
    let failed = failed(&seen).map(|warning| Warning {
        name: "held_out_verifier_failed",
        cause: warning.cause.replace("groups were dropped", "held-out problems are left out"),
        act: warning.act,
        limit: None,
    });
    let no_answer =
        no_answer(&seen).map(|warning| Warning { name: "held_out_no_answer", ..warning });
    truncated.into_iter().chain(no_answer).chain(unparseable).chain(failed).collect()
}

/// What is checked of a problem, whether it was just sampled or is recorded.
struct Seen<'a> {
    id: &'a str,
    /// The outcome of each completion that was drawn, and whether it was cut at the limit.
    each: Vec<(Outcome, bool)>,
    /// The outcome of the likeliest one.
    greedy: Option<Outcome>,
}

impl<'a> From<&'a GradedGroup> for Seen<'a> {
    fn from(group: &'a GradedGroup) -> Self {
        let each = |one: &Completion| (one.judged.outcome, one.is_truncated());
        Self {
            id: &group.problem.id,
            each: group.completions.iter().map(each).collect(),
            greedy: group.greedy.as_ref().map(|one| one.judged.outcome),
        }
    }
}

impl<'a> From<&'a ProblemLine> for Seen<'a> {
    fn from(line: &'a ProblemLine) -> Self {
        let truncated = line.truncated.iter().copied();
        Self {
            id: &line.id,
            each: line.outcomes.iter().copied().zip(truncated).collect(),
            greedy: line.greedy.as_ref().map(|one| one.outcome),
        }
    }
}

impl Seen<'_> {
    fn gold_unparseable(&self) -> bool {
        self.each.iter().any(|(outcome, _)| *outcome == Outcome::GoldUnparseable)
    }

    fn verifier_failed(&self) -> bool {
        self.each.iter().any(|(outcome, _)| *outcome == Outcome::Error)
            || self.greedy == Some(Outcome::Error)
    }
}

fn all_truncated(seen: &[Seen<'_>]) -> Option<Warning> {
    let mut completions = seen.iter().flat_map(|one| &one.each).peekable();
    completions.peek()?;
    completions.all(|(_, is_truncated)| *is_truncated).then(|| Warning {
        name: "all_truncated",
        cause: "every completion was cut at the token limit".into(),
        act:
            "raise `stage.rl.rollout.max_new_tokens`, or check the prompt style and the stop tokens"
                .into(),
        limit: None,
    })
}

/// Truncated completions do not count: the answer may have come later.
fn no_answer(seen: &[Seen<'_>]) -> Option<Warning> {
    let judged = seen.iter().filter(|one| !one.gold_unparseable() && !one.verifier_failed());
    let completions: Vec<_> = judged.flat_map(|one| &one.each).collect();
    let silent = completions.iter().filter(|one| ***one == (Outcome::NoAnswer, false)).count();
    let all = completions.len();
    (2 * silent > all).then(|| Warning {
        name: "no_answer",
        cause: format!(
            "{silent} of {all} completions ended without an answer where the verifier looks for \
             one: the prompt may not ask for it, or ask for another form"
        ),
        act: "ask for the form that the verifier reads in `prompt.suffix`, or set the verifier's \
              `marker` to the form that the prompt asks for; a policy that cannot keep to it yet \
              needs a supervised stage first"
            .into(),
        limit: None,
    })
}

fn no_spread(groups: &[&GradedGroup]) -> Option<Warning> {
    // A group of one never has spread, so a warning would say nothing.
    let mut kept =
        groups.iter().filter(|group| group.completions.len() > 1 && !group.unjudged()).peekable();
    kept.peek()?;
    kept.all(|group| !group.has_spread()).then(|| Warning {
        name: "no_spread",
        cause: "in every group all rewards are equal, so no token has an advantage".into(),
        act: "choose problems that the policy solves sometimes, raise `stage.rl.group_size`, or \
              begin with a supervised stage"
            .into(),
        limit: None,
    })
}

fn gold_unparseable(seen: &[Seen<'_>]) -> Option<Warning> {
    dropped(seen, Seen::gold_unparseable).map(|(dropped, ids)| Warning {
        name: "gold_unparseable",
        cause: format!("{dropped}, their gold answers cannot be parsed: {ids}"),
        act: "repair these rows of the data file, or choose a verifier that reads their answers"
            .into(),
        limit: None,
    })
}

fn failed(seen: &[Seen<'_>]) -> Option<Warning> {
    let failed = |one: &Seen<'_>| one.verifier_failed() && !one.gold_unparseable();
    dropped(seen, failed).map(|(dropped, ids)| Warning {
        name: "verifier_failed",
        cause: format!("{dropped}, a verifier failed on one of their completions: {ids}"),
        act: "see why in the line \"verifier ... failed on\" of log.txt, and repair the verifier, or raise its \
              time limit (`deadline_s` of a process, `timeout_s` of a server)"
            .into(),
        limit: None,
    })
}

/// How many of the problems are `unjudged`, in words, and their ids; `None` if none is.
fn dropped<'a>(
    seen: &[Seen<'a>],
    unjudged: impl Fn(&Seen<'a>) -> bool,
) -> Option<(String, String)> {
    let ids: Vec<_> = seen.iter().filter(|one| unjudged(one)).map(|one| one.id).collect();
    let said = format!("{} of {} groups were dropped", ids.len(), seen.len());
    (!ids.is_empty()).then(|| (said, named(&ids)))
}

/// The first few of `ids`, and how many more there are.
fn named(ids: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    match ids.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

impl GradedGroup {
    /// Whether the problem's own answer could not be read, so that no completion can be judged.
    pub fn gold_unparseable(&self) -> bool {
        self.completions.iter().any(|one| one.judged.outcome == Outcome::GoldUnparseable)
    }

    /// Whether a verifier failed on one of its completions, so that nothing is known about that
    /// one.
    pub fn verifier_failed(&self) -> bool {
        self.completions.iter().chain(&self.greedy).any(|one| one.judged.outcome == Outcome::Error)
    }

    /// Whether siblings cannot be compared, because a gold answer or a verdict is missing.
    pub fn unjudged(&self) -> bool {
        self.gold_unparseable() || self.verifier_failed()
    }

    /// Whether not all rewards are equal.
    pub fn has_spread(&self) -> bool {
        rewards::group::has_spread(&self.rewards())
    }

    /// The rewards of its completions.
    pub fn rewards(&self) -> Vec<f64> {
        self.completions.iter().map(|one| one.judged.reward).collect()
    }
}

#[cfg(test)]
mod tests {
    use rewards::Outcome::{Correct, Error, GoldUnparseable, NoAnswer, Wrong};
    use rollout::Finish;

    use super::*;
    use crate::evaluate::tests::{group, lines};

    #[track_caller]
    fn assert_warnings(groups: &[GradedGroup], expected: &[&str]) {
        let names: Vec<_> = check_groups(groups).iter().map(|warning| warning.name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn warnings_come_when_nothing_can_be_learnt() {
        let fine = group(Finish::Stop, &[Correct, Wrong]);
        assert_warnings(&[], &[]);
        assert_warnings(&[fine.clone(), group(Finish::Length, &[Wrong, Wrong])], &[]);
        assert_warnings(&[group(Finish::Stop, &[Wrong, Wrong])], &["no_spread"]);
        assert_warnings(&[group(Finish::Stop, &[Wrong])], &[]);
        assert_warnings(&[group(Finish::Length, &[Wrong, Wrong])], &["all_truncated", "no_spread"]);
        let unparseable = group(Finish::Stop, &[GoldUnparseable; 2]);
        assert_warnings(&[fine.clone(), unparseable.clone()], &["gold_unparseable"]);
        let failed = group(Finish::Stop, &[Correct, Error]);
        assert_warnings(&[fine.clone(), failed.clone()], &["verifier_failed"]);
        assert_warnings(&[fine, failed, unparseable], &["gold_unparseable", "verifier_failed"]);
        assert_warnings(&[group(Finish::Stop, &[Error, GoldUnparseable])], &["gold_unparseable"]);
    }

    #[test]
    fn completions_without_an_answer_are_warned_of_unless_they_were_cut() {
        let silent = group(Finish::Stop, &[NoAnswer, NoAnswer, Wrong, Correct]);
        assert_warnings(std::slice::from_ref(&silent), &[]);
        let mostly = group(Finish::Stop, &[NoAnswer, NoAnswer, NoAnswer, Correct]);
        assert_warnings(&[silent, mostly.clone()], &["no_answer"]);
        let warning = check_groups(std::slice::from_ref(&mostly)).remove(0);
        assert!(warning.cause.starts_with("3 of 4 completions ended without an answer"));
        assert!(warning.act.contains("`prompt.suffix`") && warning.act.contains("`marker`"));
        assert_warnings(
            &[group(Finish::Length, &[NoAnswer, NoAnswer, NoAnswer, Correct])],
            &["all_truncated"],
        );
        assert_warnings(&[group(Finish::Stop, &[NoAnswer, Error])], &["verifier_failed"]);
        let names: Vec<_> = check_held_out(&lines(&[mostly])).iter().map(|one| one.name).collect();
        assert_eq!(names, ["held_out_no_answer"]);
    }

    #[test]
    fn held_out_problems_have_warnings_of_their_own() {
        let groups =
            [Wrong, GoldUnparseable, Error].map(|outcome| group(Finish::Length, &[outcome]));
        let warnings = check_held_out(&lines(&groups));
        let names: Vec<_> = warnings.iter().map(|warning| warning.name).collect();
        let expected = ["held_out_truncated", "held_out_unparseable", "held_out_verifier_failed"];
        assert_eq!(names, expected);
        for warning in &warnings[1..] {
            assert!(warning.cause.starts_with("1 of 3 held-out problems are left out, "));
        }
        assert!(check_held_out(&lines(&[group(Finish::Stop, &[Wrong, Wrong])])).is_empty());
    }

    #[test]
    fn a_warning_names_a_few_of_many() {
        let groups = vec![group(Finish::Stop, &[GoldUnparseable; 2]); 7];
        let warning = check_groups(&groups).pop().unwrap();
        assert_eq!(
            warning.cause,
            "7 of 7 groups were dropped, their gold answers cannot be parsed: \
             a, a, a, a, a and 2 more"
        );
    }
}
