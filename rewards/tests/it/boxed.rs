//! The table of graded answers, and broken graders that it must catch.

use rewards::{Extracted, Marker, Outcome, Strictness, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    gold: String,
    response: String,
    outcome: Outcome,
    why: String,
}

fn cases() -> Vec<Case> {
    toml::from_str::<Table>(include_str!("../../testdata/boxed.toml")).unwrap().case
}

/// What a grader gets wrong, one line a case.
fn mistakes(grade: impl Fn(&str, &str) -> Outcome) -> Vec<String> {
    let mut mistakes = Vec::new();
    for Case { gold, response, outcome, why } in cases() {
        let said = grade(&gold, &response);
        if said != outcome {
            mistakes.push(format!("{response} for {gold} ({why}): {said}"));
        }
    }
    mistakes
}

#[test]
fn every_case_has_its_outcome() {
    let mistakes = mistakes(crate::outcome);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn the_table_is_large_has_reasons_and_repeats_nothing() {
    let cases = cases();
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let mut seen = std::collections::HashSet::new();
    for Case { gold, response, why, .. } in &cases {
        assert!(!why.is_empty(), "no reason: {response}");
        assert!(seen.insert((gold, response)), "twice: {response} for {gold}");
    }
    for outcome in Outcome::ALL {
        let stands = cases.iter().any(|case| case.outcome == outcome);
        // limits are tested where long strings are; errors this verifier never has
        let elsewhere = matches!(outcome, Outcome::Limit | Outcome::Error);
        assert_eq!(stands, !elsewhere, "{outcome}");
    }
}

#[test]
fn only_a_correct_answer_earns_and_the_answer_is_kept() {
    for Case { gold, response, outcome, .. } in cases() {
        let verdict = crate::boxed(&gold, &response);
        assert_eq!(verdict.reward, f64::from(u8::from(outcome == Outcome::Correct)));
        assert!(outcome != Outcome::Correct || verdict.answer.is_some());
    }
}

#[test]
fn the_table_catches_broken_graders() {
    let answer = |response: &str| match extract(response, Strictness::Rl, Marker::Boxed) {
        Extracted::Answer(answer) => answer.to_owned(),
        _ => String::new(),
    };
    let on = |response: String, gold: &str| crate::outcome(gold, &response);
    let first = |gold: &str, response: &str| match response.match_indices(r"\boxed").nth(1) {
        Some((second, _)) => crate::outcome(gold, &response[..second]),
        None => crate::outcome(gold, response),
    };
    let close_to =
        |gold: &str, response: &str| match (gold.parse::<f64>(), answer(response).parse::<f64>()) {
            (Ok(a), Ok(b)) if (a - b).abs() <= 1e-4 * a.abs() => Outcome::Correct,
            _ => crate::outcome(gold, response),
        };
    let broken = [
        ("takes the first box", mistakes(first)),
        ("closes an open box", mistakes(|gold, text| on(format!("{text}}}}}"), gold))),
        ("drops all commas", mistakes(|gold, text| on(text.replace(',', ""), gold))),
        ("drops all spaces", mistakes(|gold, text| on(text.replace(' ', ""), gold))),
        ("drops percent signs", mistakes(|gold, text| on(text.replace(r"\%", ""), gold))),
        ("drops the base", mistakes(|gold, text| on(text.replace("_8", ""), gold))),
        ("looks into the reasoning", mistakes(|gold, text| on(text.replace("think>", ""), gold))),
        ("has a tolerance", mistakes(close_to)),
    ];
    for (how, mistakes) in broken {
        assert!(!mistakes.is_empty(), "a grader that {how} passes");
    }
}
