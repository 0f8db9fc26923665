//! Conformance rows from elsewhere, which lie beside the project and not in it: the folder that
//! `STEARIN_DATA` names. A strict verifier may miss answers; it may not accept a false one.
#![expect(clippy::print_stdout, reason = "what was skipped, and how many answers are found")]

use std::path::PathBuf;

use rewards::{Equivalence, Extracted, Marker, Policy, equivalent, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    id: String,
    gold: Option<String>,
    prediction: Option<String>,
    expected: bool,
    mode: String,
    #[serde(default)]
    policy: Option<String>,
}

impl Row {
    fn accepted(&self) -> Option<bool> {
        let (gold, prediction) = (self.gold.as_ref()?, self.prediction.as_ref()?);
        let answer = match self.mode.as_str() {
            "answer" => prediction,
            _ => match extract(prediction, Policy::Rl, Marker::Boxed) {
                Extracted::Answer(answer) => answer,
                _ => return Some(false),
            },
        };
        Some(equivalent(gold, answer, Policy::Rl) == Equivalence::Equal)
    }
}

/// Rows accepted, of those that are true.
fn check(file: &str) {
    let Some(path) = std::env::var_os("STEARIN_DATA").map(|data| PathBuf::from(data).join(file))
    else {
        println!("skipped: STEARIN_DATA is not set");
        return;
    };
    if !path.exists() {
        println!("skipped: {} does not exist", path.display());
        return;
    }
    let (mut accepted, mut correct) = (0, 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        // suites differ here: for us a fraction and its value are one number
        if row.policy.as_deref() == Some("unsimplified") {
            continue;
        }
        let Some(said) = row.accepted() else { continue };
        assert!(row.expected || !said, "{file}: false positive in row {}", row.id);
        accepted += usize::from(said);
        correct += usize::from(row.expected);
    }
    println!("{file}: accepted {accepted} of {correct} correct answers, and no other");
    assert!(accepted > 0);
}

#[test]
fn no_false_positive_in_cases() {
    check("grader/cases.jsonl");
}

#[test]
fn no_false_positive_in_variants() {
    check("grader/variants.jsonl");
}

#[test]
fn no_false_positive_in_adversarial() {
    check("grader/adversarial.jsonl");
}

#[test]
fn no_false_positive_in_bulk() {
    check("grader/bulk.jsonl");
}
