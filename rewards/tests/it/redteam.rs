//! Our own table of attacks: what looks right and is not, and the other way round.

use rewards::{Equivalence, Extracted, Marker, Strictness, equivalent, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    gold: String,
    answer: Option<String>,
    response: Option<String>,
    rl: Said,
    /// As `rl` where it is left out.
    eval: Option<Said>,
    why: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Equal,
    /// Whatever earns nothing.
    Refused,
}

impl Case {
    fn text(&self) -> &str {
        match (&self.answer, &self.response) {
            (Some(text), None) | (None, Some(text)) => text,
            _ => panic!("an answer or a response, not both: {}", self.why),
        }
    }

    fn said(&self, strictness: Strictness) -> Said {
        let text = self.text();
        let answer = match extract(text, strictness, Marker::Boxed) {
            _ if self.answer.is_some() => text,
            Extracted::Answer(answer) => answer,
            _ => return Said::Refused,
        };
        match equivalent(&self.gold, answer, strictness) {
            Equivalence::Equal => Said::Equal,
            Equivalence::GoldUnparseable => panic!("a gold that cannot be read: {}", self.gold),
            _ => Said::Refused,
        }
    }
}

const ATTACKS: &str = include_str!("../../testdata/redteam.toml");
const UNITS: &str = include_str!("../../testdata/units.toml");
const LABELS: &str = include_str!("../../testdata/labels.toml");

fn table(text: &str) -> Vec<Case> {
    toml::from_str::<Table>(text).unwrap().case
}

#[track_caller]
fn follows(text: &str) {
    let mut wrong = Vec::new();
    for case in table(text) {
        for (strictness, wanted) in
            [(Strictness::Rl, case.rl), (Strictness::Eval, case.eval.unwrap_or(case.rl))]
        {
            let got = case.said(strictness);
            if got != wanted {
                wrong.push(format!(
                    "{strictness:?}: {:?} against {:?} is {got:?}, wanted {wanted:?}: {}",
                    case.gold,
                    case.text(),
                    case.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn attacks_follow_the_table() {
    follows(ATTACKS);
}

#[test]
fn words_after_a_number_follow_the_table() {
    follows(UNITS);
}

#[test]
fn labels_and_words_follow_the_table() {
    follows(LABELS);
}

#[test]
fn labels_and_words_have_cases_of_both_kinds() {
    let table = table(LABELS);
    let equal = table.iter().filter(|case| case.eval == Some(Said::Equal)).count();
    assert!(equal >= 20 && table.len() - equal >= 30);
    assert!(table.iter().all(|case| case.rl == Said::Refused));
    let mut pairs: Vec<_> = table.iter().map(|case| (&case.gold, &case.response)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), table.len(), "a pair occurs twice");
}

#[test]
fn every_attack_has_its_own_reason() {
    let table = table(ATTACKS);
    let mut pairs: Vec<_> =
        table.iter().map(|case| (&case.gold, &case.answer, &case.response)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), table.len(), "a pair occurs twice");
    let mut reasons: Vec<_> = table.iter().map(|case| &case.why).collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), table.len(), "a reason occurs twice");
    assert!(table.len() >= 150);
}
