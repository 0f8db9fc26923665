//! The table of extracted answers.

use rewards::{Extracted, Marker, Strictness, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    strictness: Strictness,
    #[serde(default)]
    marker: Marker,
    response: String,
    /// The answer, or else what became of it.
    answer: Option<String>,
    none: Option<String>,
    why: String,
}

fn cases() -> Vec<Case> {
    toml::from_str::<Table>(include_str!("../../testdata/extraction.toml")).unwrap().case
}

#[test]
fn every_response_has_its_answer() {
    let mut mistakes = Vec::new();
    for Case { strictness, marker, response, answer, none, why } in cases() {
        let found = extract(&response, strictness, marker);
        let right = match found {
            Extracted::Answer(found) => answer.as_deref() == Some(found),
            Extracted::NoAnswer => none.as_deref() == Some("no-answer"),
            Extracted::Unclosed => none.as_deref() == Some("unclosed"),
            Extracted::Limit => none.as_deref() == Some("limit"),
        };
        if !right {
            mistakes.push(format!("{strictness:?} {marker:?} {response} ({why}): {found:?}"));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_case_has_a_reason_and_stands_once() {
    let mut seen = std::collections::HashSet::new();
    for Case { strictness, marker, response, answer, none, why } in cases() {
        assert!(!why.is_empty(), "no reason: {response}");
        assert_eq!(answer.is_some(), none.is_none(), "one of both: {response}");
        assert!(seen.insert((strictness, marker, response.clone())), "twice: {response}");
    }
}
