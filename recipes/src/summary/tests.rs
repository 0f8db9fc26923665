use evals::run::Excerpt;
use serde_json::json;

use super::*;
use crate::run_dir::{Heartbeat, of_this_process};

#[test]
fn a_sparkline_is_of_means_and_no_longer_than_its_width() {
    assert_eq!(sparkline(&[0.0, 0.5, 1.0], 0.0, 1.0), "▁▅█");
    assert_eq!(sparkline(&[1.0; 1000], 1.0, 1.0).chars().count(), CURVE);
    assert_eq!(sparkline(&[], 0.0, 1.0), "");
}

fn at(step: u64, accuracy: f64) -> Summary {
    let (low, high, problems) = (accuracy, accuracy, 10);
    let set = "held-out".to_owned();
    Summary { set, step, problems, samples: 1, accuracy, low, high, ..Summary::default() }
}

/// A log of these lines, a step and further fields each.
fn table(lines: &[(u64, serde_json::Value)]) -> MetricTable {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("metrics.jsonl");
    let line = |(step, fields): &(u64, serde_json::Value)| {
        let mut line = fields.clone();
        line.as_object_mut().unwrap().insert("step".into(), (*step).into());
        format!("{line}\n")
    };
    std::fs::write(&path, lines.iter().map(line).collect::<String>()).unwrap();
    let table = MetricTable::read(&path).unwrap();
    assert_eq!((table.len(), table.problems()), (lines.len(), Vec::new()));
    table
}

#[test]
fn a_run_stopped_before_its_first_step_says_how_to_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let run = RunDir::create(&temp.path().join("a"), "", &of_this_process(1)).unwrap();
    Heartbeat::new(run.root(), 2, 0).set(State::Interrupted, 0, 0).unwrap();
    let text = summary(&run).unwrap();
    assert!(text.contains("steps  0 of 2 in 0.0 s\n"), "{text}");
    assert!(text.contains("next  the same command with --resume goes on, from the"), "{text}");
}

#[test]
fn accuracy_is_told_at_the_end_of_every_stage() {
    let line = |step: u64, stage: &str| (step, json!({"stage": stage}));
    let metrics = table(&[line(0, "start"), line(1, "sft"), line(2, "sft"), line(3, "rl")]);
    let mut text = String::new();
    accuracy(&mut text, &[at(0, 0.0), at(1, 0.3), at(2, 0.5), at(3, 0.9)], &metrics);
    assert_eq!(
        text,
        "      before  0.0 % (95 %: 0.0 to 0.0) on 10 held-out problems\n   \
         after sft  50.0 % (95 %: 50.0 to 50.0)\n    \
         after rl  90.0 % (95 %: 90.0 to 90.0)\n    \
         accuracy  ▁▃▅█\n"
    );
}

#[test]
fn what_was_not_judged_is_unknown_everywhere() {
    let none = |step| Summary { problems: 0, samples: 8, ..at(step, 0.0) };
    let pass = |step: u64| Summary {
        samples: 8,
        pass: [(8, Estimate { mean: 0.5, low: 0.4, high: 0.6 })].into(),
        ..at(step, 0.3)
    };
    let mut text = String::new();
    besides(&mut text, &[none(0), pass(9)], &[none(0), at(9, 0.25)]);
    other_sets(
        &mut text,
        &[("a", none(4)), ("a", at(9, 0.5)), ("b", at(0, 0.5)), ("b", none(9))]
            .map(|(set, found)| Summary { set: set.into(), ..found }),
    );
    assert_eq!(
        text,
        "      greedy  unknown before, 25.0 % (95 %: 25.0 to 25.0) after: \
         the likeliest completion is right\n      \
         pass@8  unknown before, 50.0 % (95 %: 40.0 to 60.0) after: \
         one of 8 completions is right\n    \
         distinct  unknown before, 0.00 (95 %: 0.00 to 0.00) after: \
         right completions that differ, of 8 a problem\n           \
         a  unknown after step 4, 50.0 % (95 %: 50.0 to 50.0) after, on 10 problems\n           \
         b  50.0 % before, unknown after, on 0 problems\n"
    );
}

#[test]
fn a_stage_without_an_evaluation_has_no_accuracy() {
    let line = |step: u64, stage: &str| (step, json!({"stage": stage}));
    let metrics = table(&[line(1, "sft"), line(2, "sft"), line(3, "rl")]);
    let mut text = String::new();
    accuracy(&mut text, &[at(1, 0.0), at(2, 0.5)], &metrics);
    assert_eq!(
        text,
        "after step 1  0.0 % (95 %: 0.0 to 0.0) on 10 held-out problems\n   \
         after sft  50.0 % (95 %: 50.0 to 50.0)\n"
    );
}

#[test]
fn several_completions_are_told_of_where_there_are_some() {
    let told = |sampled: &[Summary], greedy: &[Summary]| {
        let mut text = String::new();
        besides(&mut text, sampled, greedy);
        text
    };
    assert_eq!(told(&[at(0, 0.0), at(9, 0.5)], &[]), "");
    let pass = |step: u64, mean: f64| Summary {
        samples: 8,
        pass: [(8, Estimate { mean, low: 0.5, high: 0.9 })].into(),
        maj: [(8, Estimate { mean: mean / 3.0, low: 0.1, high: 0.3 })].into(),
        distinct_correct: Estimate { mean: 2.0 * mean, low: 1.0, high: 2.0 },
        ..at(step, 0.3)
    };
    assert_eq!(
        told(&[pass(0, 0.6), pass(1, 0.0), pass(2, 0.75)], &[at(0, 0.25), at(2, 0.5)]),
        "      greedy  25.0 % before, 50.0 % (95 %: 50.0 to 50.0) after: \
         the likeliest completion is right\n      \
         pass@8  60.0 % before, 75.0 % (95 %: 50.0 to 90.0) after: \
         one of 8 completions is right\n       \
         maj@8  20.0 % before, 25.0 % (95 %: 10.0 to 30.0) after: \
         the majority of 8 completions is right\n    \
         distinct  1.20 before, 1.50 (95 %: 1.00 to 2.00) after: \
         right completions that differ, of 8 a problem\n"
    );
}

#[test]
fn the_entropy_is_that_of_all_that_was_sampled_and_the_gate_is_told_of() {
    let entropy =
        |step: u64, all: f64| (step, json!({"actor/entropy": 0.4, "unfiltered/entropy": all}));
    let mut text = String::new();
    curves(&mut text, &table(&[entropy(1, 0.5), entropy(2, 0.1)]));
    assert_eq!(text, "     entropy  █▁  0.500 to 0.100 nats a token\n");
    let open = |step: u64, open: f64| {
        let fields = json!({
            "stare/gate_on": open, "stare/target_entropy": 0.3, "stare/reweight_w": 4.0
        });
        (step, fields)
    };
    let mut text = String::new();
    gate(&mut text, &table(&[open(1, 0.0), open(2, 1.0), open(3, 0.0), open(4, 0.0)]));
    let expected = "open in 25 % of 4 steps, for an entropy of 0.300 nats, weight 4.000 at the end";
    assert_eq!(text, format!("        gate  {expected}\n"));
    gate(&mut text, &table(&[entropy(1, 0.5)]));
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn completions_are_short_and_reach_the_terminal_as_text() {
    let shown = Excerpt {
        problem: "why?\n".repeat(500),
        gold: "\u{1b}]0;title\u{7}".repeat(100),
        text: "\u{1b}[2J\n".repeat(5000),
        outcome: rewards::Outcome::NoAnswer,
    };
    let found = Summary { shown: vec![shown; 8], ..at(0, 0.0) };
    let mut text = String::new();
    completions(&mut text, &found);
    assert_eq!(text.lines().count(), 2 * SHOWN);
    assert!(text.lines().all(|line| line.chars().count() < 300), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn a_warning_says_when_why_and_what_to_change() {
    let warning = |step: u64, name: &str| {
        let (name, cause, act) = (name.into(), "it is low".into(), "raise `lr`".into());
        let (metric, value) = (None, None);
        let (key, level) = (None, evals::run::Level::Advice);
        HealthLine { step, name, level, cause, act, key, metric, value, limit: None }
    };
    let mut text = String::new();
    warnings(&mut text, &[warning(3, "a"), warning(4, "b"), warning(9, "a")]);
    assert_eq!(
        text,
        "     warning  a, 2 times, in steps 3 to 9: it is low\n   to change  raise `lr`\n     \
         warning  b, in step 4: it is low\n   to change  raise `lr`\n"
    );
}
