//! Our own table of comparisons: each line pins one decision.

use rewards::{Equivalence, Strictness, equivalent};
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

fn cases() -> Vec<Case> {
    let tables = [
        include_str!("../../testdata/comparisons.toml"),
        include_str!("../../testdata/formulas.toml"),
        include_str!("../../testdata/names.toml"),
    ];
    tables.into_iter().flat_map(|table| toml::from_str::<Table>(table).unwrap().case).collect()
}

#[test]
fn comparisons_follow_the_table() {
    let mut wrong = Vec::new();
    for case in &cases() {
        for (strictness, said) in
            [(Strictness::Rl, case.rl), (Strictness::Eval, case.eval.unwrap_or(case.rl))]
        {
            let wanted = Equivalence::from(said);
            let got = equivalent(&case.gold, &case.answer, strictness);
            if got != wanted {
                wrong.push(format!(
                    "{strictness:?}: {:?} against {:?} is {got:?}, wanted {wanted:?}: {}",
                    case.gold, case.answer, case.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_comparison_has_its_own_reason() {
    let cases = cases();
    let mut pairs: Vec<_> = cases.iter().map(|case| (&case.gold, &case.answer)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), cases.len(), "a pair occurs twice");
    assert!(cases.iter().all(|case| !case.why.is_empty()));
    assert!(cases.len() >= 150);
}
