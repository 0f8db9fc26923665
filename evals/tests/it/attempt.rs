//! From problems to graded completions, through a real if foolish policy.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evals::attempt::{AskedSet, Draw, GradedGroup, Place, Sampler, attempt, attempt_each};
use evals::evaluate::{HeldOut, evaluate};
use evals::run::results::read;
use evals::run::{Credit, Folder, ProblemLine, TokensLine, read_health};
use evals::{PromptStyle, Record, Template, health};
use rewards::{Outcome, Problem, RubricConfig, VerifierConfig};
use rollout::{Finish, Key, Progress, Purpose, Sampling};

use crate::toy;

fn problem(id: &str, problem: &str, answer: &str) -> Problem {
    Problem {
        id: id.into(),
        problem: problem.into(),
        answer: answer.into(),
        source: String::new(),
        ..Problem::default()
    }
}

fn problems() -> Vec<Problem> {
    vec![problem("a", "1+1", "2"), problem("b", "12+3", "15"), problem("c", "0+0", "?")]
}

fn style() -> PromptStyle {
    PromptStyle {
        template: Template::Plain { text: "{problem}=".into() },
        stop: vec!["00".into(), "11".into()],
        ..PromptStyle::default()
    }
}

const KEY: Key = Key { seed: 5, purpose: Purpose::Train, step: 2 };

pub(crate) fn graded(slots: usize) -> Vec<GradedGroup> {
    let text = toy::text();
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(12).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(&text),
        text: &text,
        style: &style(),
        sampling: &sampling,
        slots,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problems = problems();
    let draws: Vec<_> =
        (0..).zip(&problems).map(|(number, problem)| Draw { number, problem }).collect();
    attempt(&sampler, &draws, 8, KEY, &mut rollout::to_the_end).unwrap()
}

#[test]
fn every_problem_has_its_group_in_order_with_text_and_verdict() {
    let (text, groups) = (toy::text(), graded(4));
    assert_eq!(groups.len(), 3);
    for (group, problem) in groups.iter().zip(problems()) {
        assert_eq!(group.problem, problem);
        assert_eq!(group.prompt, text.encode(&format!("{}=", problem.problem)).unwrap());
        assert_eq!(group.completions.len(), 8);
        for one in &group.completions {
            assert_eq!(one.text, text.decode(&one.trajectory.completion).unwrap());
            assert_eq!(one.judged.parts.len(), 1);
            let stopped = one.text.ends_with("00") || one.text.ends_with("11");
            assert_eq!(one.trajectory.finish == Finish::StopString, stopped, "{}", one.text);
        }
    }
    // The gold of the last problem is no number: nothing can be said about its completions.
    let unparseable: Vec<_> = groups.iter().map(GradedGroup::gold_unparseable).collect();
    assert_eq!(unparseable, [false, false, true]);
    assert!(health::check_groups(&groups).iter().any(|warning| warning.name == "gold_unparseable"));
}

#[test]
fn completions_do_not_depend_on_the_slots() {
    let one = graded(1);
    assert_eq!(one, graded(3));
    assert_eq!(one, graded(24));
}

#[test]
fn an_evaluation_leaves_the_unreadable_out_and_is_the_same_at_every_step() {
    let text = toy::text();
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(12).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(&text),
        text: &text,
        style: &style(),
        sampling: &sampling,
        slots: 4,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problems = problems();
    let held_out = HeldOut { greedy: true, ..held_out(sampler, &problems) };
    let at = |step| {
        let sets = [held_out, HeldOut { set: "other", problems: &problems[..1], ..held_out }];
        let mut found =
            evaluate(&sets, 5, step, &mut rollout::to_the_end, &mut |_, _| Ok(())).unwrap();
        assert_eq!((found.len(), found[1].summary.set.as_str()), (2, "other"));
        assert_eq!(found[1].lines[0], found[0].lines[0], "the same draws");
        found.remove(0)
    };
    let (found, later) = (at(0), at(9));
    assert_eq!(found.warnings.last().unwrap().name, "held_out_unparseable");
    assert_eq!(found.likeliest().unwrap().lines.len(), 3);
    let (first, mut later) = (found.summary, later.summary);
    assert!(first.greedy.is_some());
    assert_eq!((first.problems, first.unjudged, first.samples), (2, 1, 4));
    assert_eq!(first.shown.len(), 2);
    assert_eq!((first.step, later.step), (0, 9));
    later.step = 0;
    assert_eq!(first, later);
    first.metrics().unwrap();
}

fn held_out<'a>(sampler: Sampler<'a>, problems: &'a [Problem]) -> HeldOut<'a> {
    HeldOut { set: "toy", sampler, problems, sha256: "", samples: 4, greedy: false, tokens: 0 }
}

/// What an evaluation of these sets passes on.
fn each(sets: &[AskedSet<'_>]) -> Vec<(Place, GradedGroup)> {
    let mut groups = Vec::new();
    let mut keep = |place, group| {
        groups.push((place, group));
        Ok(())
    };
    attempt_each(sets, KEY, &mut rollout::to_the_end, &mut keep).unwrap();
    groups
}

#[test]
fn slots_that_a_set_leaves_free_go_to_the_next() {
    let text = toy::text();
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(12).unwrap(), ..Sampling::default() };
    let countdown = VerifierConfig::Countdown { weight: 2.0 };
    let [math, other] = [RubricConfig::default(), RubricConfig(vec![countdown])]
        .map(|rewards| rewards.build().unwrap());
    let stop = ["0", "1", "2", "3", "4"].map(str::to_owned).to_vec();
    let (model, style) = (toy::model(&text), PromptStyle { stop, ..style() });
    let (text, style, sampling) = (&text, &style, &sampling);
    let sampler =
        Sampler { model: &model, text, style, sampling, slots: 16, alternatives: 0, rubric: &math };
    let problems = problems();
    let draws: Vec<_> =
        (0..).zip(&problems).map(|(number, problem)| Draw { number, problem }).collect();
    let first = AskedSet { sampler, problems: &draws[..1], samples: 8, greedy: true };
    let second = AskedSet {
        sampler: Sampler { rubric: &other, ..sampler },
        problems: &draws,
        samples: 1,
        greedy: false,
    };
    let sorted = |mut groups: Vec<(Place, GradedGroup)>| {
        groups.sort_by_key(|(place, _)| (place.set, place.problem));
        groups.into_iter().map(|(_, group)| group).collect::<Vec<_>>()
    };
    let stream = each(&[first, second]);
    let order: Vec<_> = stream.iter().map(|(place, _)| place.set).collect();
    assert!(!order.is_sorted(), "the second set began before the first was complete: {order:?}");
    let apart = [sorted(each(&[first])), sorted(each(&[second]))].concat();
    assert_eq!(sorted(stream), apart, "each set by its own rubric, samples and draws");
    // Other sampling cannot be decoded together.
    let likeliest = Sampling { temperature: 0.0, ..sampling.clone() };
    let other = AskedSet { sampler: Sampler { sampling: &likeliest, ..second.sampler }, ..second };
    let order: Vec<_> = each(&[first, other]).iter().map(|(place, _)| place.set).collect();
    assert_eq!(order, [0, 1, 1, 1]);
}

#[test]
fn what_is_complete_when_sampling_stops_is_judged() {
    let text = toy::text();
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(12).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(&text),
        text: &text,
        style: &style(),
        sampling: &sampling,
        slots: 4,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problems: Vec<_> = problems().into_iter().cycle().take(24).collect();
    let draws: Vec<_> =
        (0..).zip(&problems).map(|(number, problem)| Draw { number, problem }).collect();
    let asked = [AskedSet { sampler, problems: &draws, samples: 3, greedy: true }];
    let whole = each(&asked);
    assert_eq!(whole.len(), 24);
    let (mut kept, mut complete) = (Vec::new(), 0);
    let mut stop = |progress: Progress| {
        complete = progress.finished;
        if complete >= 40 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut keep = |index, group: GradedGroup| {
        assert_eq!((group.completions.len(), group.greedy.is_some()), (3, true));
        kept.push((index, group));
        Ok(())
    };
    let stopped = attempt_each(&asked, KEY, &mut stop, &mut keep).unwrap_err();
    assert!(matches!(stopped, evals::Error::Rollout(rollout::Error::Stopped)), "{stopped}");
    // Four slots hold at most four groups that are not complete.
    assert!(kept.len() < 24 && kept.len() >= complete / 4 - 4, "{} of {complete}", kept.len());
    assert!(kept.iter().all(|one| whole.contains(one)));
    // What the receiver fails with ends the call.
    let mut fails = |_, _| Err(evals::Error::Prompt("full".into()));
    let failed = attempt_each(&asked, KEY, &mut rollout::to_the_end, &mut fails);
    assert_eq!(failed.unwrap_err().to_string(), "prompt style: full");
}

/// Holds sampling up until a problem is judged: forever, if judging begins only after it.
fn wait_for_a_judged_problem(judged: &AtomicUsize) {
    let began = Instant::now();
    while judged.load(Ordering::SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "nothing is judged while it samples");
        std::thread::yield_now();
    }
}

#[test]
fn problems_are_on_disk_before_their_evaluation_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("evals/step-000002/toy.jsonl");
    let text = toy::text();
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(12).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(&text),
        text: &text,
        style: &style(),
        sampling: &sampling,
        slots: 4,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problems: Vec<_> = problems().into_iter().cycle().take(24).collect();
    let mut record = Record::new(Box::new(Folder::new(root.path())));
    let (mut results, judged_so_far) = (Vec::new(), AtomicUsize::new(0));
    let mut judged = |_, line: &ProblemLine| {
        record.problem(2, "toy", line)?;
        results.push(line.clone());
        assert_eq!(read(&path).unwrap().0.len(), results.len());
        judged_so_far.store(results.len(), Ordering::SeqCst);
        Ok(())
    };
    let mut progress = |progress: Progress| {
        // Half of the completions are there.
        if progress.finished >= 48 {
            wait_for_a_judged_problem(&judged_so_far);
        }
        ControlFlow::Continue(())
    };
    let sets = [held_out(sampler, &problems)];
    let evaluation = evaluate(&sets, 5, 2, &mut progress, &mut judged).unwrap().remove(0).summary;
    results.sort_by_key(|result| result.number);
    assert_eq!(read(&path).unwrap().0, results);
    let numbers: Vec<_> = results.iter().map(|result| result.number).collect();
    assert_eq!(numbers, (0..24).collect::<Vec<_>>());
    // What a kill tears is left out, a broken line in the middle is not.
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert_eq!(read(&path).unwrap().0.len(), 23);
    std::fs::write(&path, format!("{{}}\n{whole}")).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("line 1: expected what became of a problem: missing field"), "{error}");
    // The complete evaluation replaces what was kept on the way, in the order of the problems.
    record.evaluation(&evaluation, &results).unwrap();
    let lines = std::fs::read_to_string(&path).unwrap();
    let in_order = lines.lines().zip(0..).all(|(line, at)| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["number"] == at
    });
    assert!(in_order);
    let correct: usize = results
        .iter()
        .filter(|one| !one.outcomes.contains(&Outcome::GoldUnparseable))
        .map(|one| one.correct)
        .sum();
    let share = correct as f64 / (evaluation.problems * 4) as f64;
    assert!((share - evaluation.accuracy).abs() < 1e-12);
}

#[test]
fn where_it_is_asked_for_a_group_is_a_line_of_columns() {
    let root = tempfile::tempdir().unwrap();
    let groups = graded(4);
    let completions = groups.iter().flat_map(|group| &group.completions);
    let weights: Vec<_> =
        completions.map(|one| vec![1.0; one.trajectory.completion.len()]).collect();
    let credits: Vec<_> =
        weights.iter().map(|weights| Credit { advantage: 0.5, weights }).collect();
    let mut record = Record::new(Box::new(Folder::new(root.path())));
    record.tokens(3, &groups, &credits).unwrap();
    record.warnings(3, &health::check_groups(&groups), None).unwrap();
    record.sync().unwrap();
    let text = std::fs::read_to_string(root.path().join("tokens/step-000003.jsonl")).unwrap();
    let lines: Vec<TokensLine> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for (line, group) in lines.iter().zip(&groups) {
        assert_eq!((&line.id, &line.prompt), (&group.problem.id, &group.prompt));
        for (columns, completion) in line.completions.iter().zip(&group.completions) {
            let own = &completion.trajectory;
            assert_eq!((&columns.tokens, columns.advantage), (&own.completion, 0.5));
            assert_eq!((&columns.log_probs, &columns.entropies), (&own.log_probs, &own.entropies));
            assert_eq!(columns.weights.len(), own.phi_sums.len());
        }
    }
    let warnings = read_health(&root.path().join("health.jsonl")).unwrap();
    assert!(!warnings.lines.is_empty() && warnings.problems.is_empty());
    assert!(warnings.lines.iter().all(|line| line.step == 3));
}
