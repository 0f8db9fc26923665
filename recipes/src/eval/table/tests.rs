use std::path::PathBuf;

use super::*;
use crate::eval::compare;
use crate::eval::settings::tests::settings;

fn line(number: u64, correct: usize) -> ProblemLine {
    let outcome = |at| if at < correct { Outcome::Correct } else { Outcome::Wrong };
    ProblemLine {
        number,
        id: format!("p{number}"),
        source: "here".into(),
        level: Some((number % 2 + 1).to_string()),
        problem: format!("{number}+1"),
        gold: "2".into(),
        n: 2,
        correct,
        distinct_correct: correct.min(1),
        rewards: vec![0.0; 2],
        outcomes: (0..2).map(outcome).collect(),
        lengths: vec![3, 5],
        truncated: vec![false, true],
        classes: Vec::new(),
        votes: vec![None; 2],
        greedy: None,
        texts: Vec::new(),
    }
}

pub(in crate::eval) fn found(name: &str, correct: [usize; 4]) -> Found {
    let lines: Vec<_> = (0..).zip(correct).map(|(number, c)| line(number, c)).collect();
    let summary = Summary {
        set: "sums".into(),
        samples: 2,
        asked: 4,
        data_sha256: "a".into(),
        ..Summary::default()
    };
    Found {
        root: PathBuf::from(name),
        settings: settings(),
        facts: None,
        summaries: vec![summary.with_figures(&lines)],
        lines: [("sums".to_owned(), lines)].into(),
    }
}

#[test]
fn a_table_has_every_figure_and_the_comparison() {
    let (now, base) = (found("now", [2, 2, 1, 0]), found("base", [0, 1, 1, 0]));
    let mut against = compare(std::slice::from_ref(&now), &base).unwrap();
    against[0].differs.push("seed: 1 there, 2 here".into());
    let text = markdown(&Shown { found: vec![now], against });
    let mut lines = text.lines();
    let head = lines.next().unwrap();
    for column in ["avg@2", "pass@2", "maj@2", "truncated", "no answer", "tokens", "against"] {
        assert!(head.contains(column), "{head}");
    }
    assert!(!head.contains("greedy"), "no set has it: {head}");
    let row = lines.nth(1).unwrap();
    for cell in ["| sums", "| 4 ", "| 62.5 ", "| 75.0 ", "| 50.0 % ", "| 4 ", "2 better, 0 worse"] {
        assert!(row.contains(cell), "{row}");
    }
    assert!(row.contains("+37.5 (") && row.contains("p 0.500"), "{row}");
    assert!(text.contains("sums by level:") && !text.contains("by source"), "{text}");
    let end = "sums: better: p0 0.00 → 1.00, p1 0.50 → 1.00\n\
               settings that differ besides the model: seed: 1 there, 2 here\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn the_share_without_an_answer_stands_after_that_of_the_truncated() {
    let mut one = found("now", [1; 4]);
    let mut lines = one.lines["sums"].clone();
    lines[0].outcomes = vec![Outcome::Correct, Outcome::NoAnswer];
    one.summaries[0] = one.summaries[0].clone().with_figures(&lines);
    let text = markdown(&Shown { found: vec![one], against: Vec::new() });
    assert!(text.lines().next().unwrap().contains("| truncated | no answer | tokens"), "{text}");
    assert!(text.contains("| 50.0 %    | 12.5 %    | 4 "), "{text}");
}

#[test]
fn every_run_is_compared() {
    let (one, two) = (found("one", [2, 2, 1, 0]), found("two", [0, 0, 1, 2]));
    let base = found("base", [0, 1, 1, 0]);
    let against = compare(&[one.clone(), two.clone()], &base).unwrap();
    let shown = Shown { found: vec![one, two], against };
    let text = markdown(&shown);
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("| one").contains("2 better, 0 worse"), "{text}");
    assert!(row("| two").contains("1 better, 1 worse"), "{text}");
    for line in [
        "one, sums: better: p0 0.00 → 1.00, p1 0.50 → 1.00",
        "two, sums: better: p3 0.00 → 1.00",
        "two, sums: worse: p1 0.50 → 0.00",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&json(&shown)).unwrap();
    let worse = &json["runs"][1]["against"]["problems"]["sums"]["worse"];
    let expected = json!([{"number": 1, "id": "p1", "there": 0.5, "here": 0.0}]);
    assert_eq!(*worse, expected);
}

#[test]
fn many_flips_are_counted_and_a_hostile_id_is_excerpted() {
    let flip = |number| Flip { number, id: format!("p{number}"), there: 0.25, here: 1.0 };
    let mut flips: Vec<_> = (0..23).map(flip).collect();
    flips[0].id = "a\u{1b}[2J\nb".into();
    let mut text = String::new();
    flipped(&mut text, "sums: better", &flips);
    assert!(text.starts_with("sums: better: a�[2J ⏎ b 0.25 → 1.00, p1 0.25"), "{text}");
    assert!(text.ends_with("p19 0.25 → 1.00, and 3 more\n"), "{text}");
    text.clear();
    flipped(&mut text, "sums: better", &flips[..20]);
    assert!(text.ends_with("p19 0.25 → 1.00\n"), "{text}");
}

#[test]
fn what_is_unfinished_or_left_out_is_said() {
    let mut one = found("now", [1; 4]);
    one.summaries[0].asked = 9;
    let shown = |one: Found| markdown(&Shown { found: vec![one], against: Vec::new() });
    assert!(shown(one.clone()).contains("| 4 of 9 "), "{}", shown(one));
    let none = Summary { set: "sums".into(), asked: 4, ..Summary::default() };
    let empty = Found { summaries: vec![none], ..found("now", [0; 4]) };
    assert!(shown(empty.clone()).contains("| 0 of 4 "), "{}", shown(empty));
    let mut known = found("now", [1; 4]);
    known.summaries[0].contaminated = Some(vec!["p1".into(), "p3".into()]);
    assert!(shown(known.clone()).contains("2 of 4 problems are in the training data: p1, p3\n"));
}

#[test]
fn a_name_cannot_break_the_table() {
    let text = aligned(&[vec!["a".into(), "b".into()], vec!["x|y\nz".into(), "1".into()]]);
    assert_eq!(text, "| a      | b   |\n|--------|-----|\n| x\\|y z | 1   |\n");
}

#[test]
fn problems_that_are_there_twice_are_said_and_long_names_are_cut() {
    let mut evaluation = found("now", [2, 2, 1, 0]);
    let text = markdown(&Shown { found: vec![evaluation.clone()], against: Vec::new() });
    assert!(!text.contains("repeat another"), "{text}");
    let lines = evaluation.lines.get_mut("sums").unwrap();
    lines[1].problem = format!(" {} ", lines[0].problem);
    // Another answer: another problem, as of two chats that end in the same words.
    let same = lines[2].problem.clone();
    lines[3].problem = same;
    lines[3].gold = "3".into();
    lines[0].source = "z".repeat(3000);
    evaluation.summaries[0] = evaluation.summaries[0].clone().with_figures(lines);
    let text = markdown(&Shown { found: vec![evaluation], against: Vec::new() });
    assert!(text.contains("sums: 1 of 4 problems repeat another one"), "{text}");
    assert!(
        text.contains("more characters") && text.lines().all(|line| line.len() < 200),
        "{text}"
    );
}

#[test]
fn models_are_named_and_levels_are_in_the_order_of_their_numbers() {
    let mut one = found("one", [2, 2, 1, 0]);
    let lines = one.lines.get_mut("sums").unwrap();
    for (line, level) in lines.iter_mut().zip(["10", "9", "hard", "1.5"]) {
        line.level = Some(level.into());
    }
    one.summaries[0] = one.summaries[0].clone().with_figures(lines);
    let shown = |found| markdown(&Shown { found, against: Vec::new() });
    let text = shown(vec![one.clone()]);
    assert!(text.contains(&format!("\nmodel: {}\n", one.settings.model)), "{text}");
    let at = |level: &str| text.find(&format!("\n| {level} ")).unwrap();
    let places = ["1.5", "9", "10", "hard"].map(at);
    assert!(places.is_sorted(), "{text}");
    let text = shown(vec![one, found("two", [0; 4])]);
    assert!(text.contains("\nmodel of one: ") && text.contains("\nmodel of two: "), "{text}");
}

#[test]
fn a_comparison_on_fewer_problems_says_on_how_many() {
    let (now, mut base) = (found("now", [2, 2, 1, 0]), found("base", [0, 1, 1, 0]));
    let cell = |base: &Found| {
        let against = compare(std::slice::from_ref(&now), base).unwrap();
        markdown(&Shown { found: vec![now.clone()], against })
    };
    assert!(!cell(&base).contains(" worse on "), "{}", cell(&base));
    base.lines.get_mut("sums").unwrap().truncate(3);
    assert!(cell(&base).contains("2 better, 0 worse on 3 problems"), "{}", cell(&base));
}
