//! Strings made to hang a grader: tens of megabytes, and everything is read once.

use std::time::{Duration, Instant};

use rewards::verifier::Countdown;
use rewards::{Equivalence, Marker, Outcome, Problem, Strictness, Verifier, equivalent, extract};

const BYTES: usize = 10_000_000;

fn filled(unit: &str) -> String {
    unit.repeat(BYTES / unit.len())
}

/// A bound that a quadratic scan passes by far and a loaded machine does not.
#[track_caller]
fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(20), "{what}: {taken:?}");
    result
}

#[test]
fn ten_megabytes_are_read_once() {
    for unit in [
        r"\boxed{",
        r"\boxed",
        r"\boxed{1}",
        r"\boxed{1}\boxed{",
        r"\fbox{}",
        "{",
        "}",
        "{}",
        "\\",
        r"\{",
        "$",
        "$1$",
        "<think>",
        "</think>",
        "<think></think>",
        "1",
        " ",
        r"\boxed ",
        "é",
        "\u{0}",
        r"\frac",
        r"\boxed{\boxed{1}}",
        "\\boxed{\u{1F600}",
        "<answer>",
    ] {
        let text = filled(unit);
        let found = bounded(unit, || extract(&text, Strictness::Rl, Marker::Boxed));
        if let rewards::Extracted::Answer(answer) = found {
            assert!(answer.len() <= Strictness::Rl.max_answer_bytes());
        }
        let wrapped = format!(r"\boxed{{{text}}}");
        bounded(unit, || extract(&wrapped, Strictness::Rl, Marker::Boxed));
        let outcome = bounded(unit, || crate::outcome("204", &wrapped));
        assert_ne!(outcome, Outcome::Correct, "{unit}");
    }
}

#[test]
fn an_answer_after_ten_megabytes_is_found() {
    for unit in ["so ", r"\boxed{1}", "{", "}", "é", "$1$", r"\frac12"] {
        let response = filled(unit) + r" \boxed{204}";
        assert_eq!(bounded(unit, || crate::outcome("204", &response)), Outcome::Correct, "{unit}");
    }
}

#[test]
fn ten_million_digits_are_a_limit() {
    let digits = filled("7");
    let response = format!(r"\boxed{{{digits}}}");
    assert_eq!(bounded("digits", || crate::outcome("7", &response)), Outcome::Limit);
    let same = bounded("pair", || equivalent("7", &digits, Strictness::Rl));
    assert_eq!(same, Equivalence::Limit);
    let same = bounded("gold", || equivalent(&digits, &digits, Strictness::Rl));
    assert_eq!(same, Equivalence::GoldUnparseable);
}

#[test]
fn the_largest_pairs_within_the_limit_are_fast() {
    let max = Strictness::Rl.max_answer_bytes();
    let half = "7".repeat(max / 2 - 20);
    let places = format!("0.{}1", "0".repeat(max - 3));
    let braces = format!("{}1{}", "{".repeat(max / 2 - 1), "}".repeat(max / 2 - 1));
    let hard = [
        "7".repeat(max),
        format!(r"\frac{{{half}}}{{{half}1}}"),
        format!("{half}/{half}3"),
        places,
        braces,
        r"\,".repeat(max / 2),
        "$".repeat(max),
        r"\text".repeat(max / 5),
        format!("1{}", r",\! ".repeat(max / 4 - 1)),
        format!("1{}", ",000".repeat(max / 4 - 1)),
    ];
    bounded("all pairs, twenty times", || {
        for _ in 0..20 {
            for gold in &hard {
                for answer in &hard {
                    let same = equivalent(gold, answer, Strictness::Rl);
                    assert!(
                        gold == answer || same != Equivalence::Equal,
                        "{gold:.60} is not {answer:.60}"
                    );
                    assert_ne!(same, Equivalence::Limit);
                }
            }
        }
    });
}

#[test]
fn ten_megabytes_of_steps_are_read_once() {
    let judged = |problem: &Problem, text: &str| {
        Countdown.verify(&[crate::attempt(problem, text)]).unwrap()[0].outcome
    };
    let given = |problem: String| Problem { problem, ..crate::problem("12") };
    let problem = given("3 5 7> 12".into());
    for unit in ["R", "1", " ", "=", "5+7=12", "5-5 0,", " 5+ 7 12R", "é", "+", ";", "\u{0}"] {
        let text = filled(unit);
        let outcome = bounded(unit, || judged(&problem, &text));
        assert_ne!(outcome, Some(Outcome::Correct), "{unit}");
        let outcome = bounded(unit, || judged(&problem, &format!("{text}R5+7=12")));
        assert_eq!(outcome, Some(Outcome::Correct), "{unit}");
        for problem in [format!("{text}> 12"), format!("3 5 7>{text}"), text.clone()] {
            let problem = given(problem);
            let outcome = bounded(unit, || judged(&problem, "5+7=12"));
            assert_eq!(outcome, Some(Outcome::GoldUnparseable), "{unit}");
        }
    }
}
