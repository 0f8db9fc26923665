//! Our own table of comparisons: each line pins one decision.

use rewards::{Equivalence, Policy, equivalent};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    gold: String,
    answer: String,
    rl: Said,
    /// As `rl` where it is left out.
    eval: Option<Said>,
    why: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Equal,
    Different,
    Undecided,
}

impl From<Said> for Equivalence {
    fn from(said: Said) -> Self {
        match said {
            Said::Equal => Self::Equal,
            Said::Different => Self::Different,
            Said::Undecided => Self::Undecided,
        }
    }
}

#[test]
fn comparisons_follow_the_table() {
    let table: Table = toml::from_str(include_str!("../../testdata/comparisons.toml")).unwrap();
    let mut wrong = Vec::new();
    for case in &table.case {
        for (policy, said) in [(Policy::Rl, case.rl), (Policy::Eval, case.eval.unwrap_or(case.rl))]
        {
            let wanted = Equivalence::from(said);
            let got = equivalent(&case.gold, &case.answer, policy);
            if got != wanted {
                wrong.push(format!(
                    "{policy:?}: {:?} against {:?} is {got:?}, wanted {wanted:?}: {}",
                    case.gold, case.answer, case.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_comparison_has_its_own_reason() {
    let table: Table = toml::from_str(include_str!("../../testdata/comparisons.toml")).unwrap();
    let mut pairs: Vec<_> = table.case.iter().map(|case| (&case.gold, &case.answer)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), table.case.len(), "a pair stands twice");
    assert!(table.case.iter().all(|case| !case.why.is_empty()));
    assert!(table.case.len() >= 150);
}
