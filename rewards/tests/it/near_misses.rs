//! Fresh near misses: accepted answers, those of our own tables and larger ones built of them, are
//! changed into other answers in many ways drawn from a seed, and none of the changed ones may earn
//! a reward.
//!
//! A change counts only where it is certain to give another answer; where its conditions do not
//! hold, it makes none.

mod built;
mod parts;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use rand_philox::philox4x32_10;
use rewards::{Equivalence, Extracted, Marker, Strictness, equivalent, extract};
use serde::Deserialize;

const SEED: [u32; 2] = [0x6e65_6172, 0x6d69_7373];

const ROWS: usize = 10_000;

/// How many pairs are tried for one change.
const TRIES: usize = 100;

/// A number that stands in no table.
const STRANGER: &str = "7919";

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    gold: Option<String>,
    answer: Option<String>,
    response: Option<String>,
    rl: Option<String>,
    outcome: Option<String>,
}

/// A gold answer and one that is accepted for it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    gold: String,
    answer: String,
}

/// All accepted pairs of the tables, each once.
fn pairs() -> BTreeSet<Pair> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let mut pairs = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let table: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for case in table.case {
            let accepted =
                case.rl.as_deref() == Some("equal") || case.outcome.as_deref() == Some("correct");
            let answer = case.answer.or_else(|| boxed_answer(case.response.as_deref()?));
            if let (Some(gold), Some(answer), true) = (case.gold, answer, accepted) {
                pairs.insert(Pair { gold, answer });
            }
        }
    }
    pairs
}

fn boxed_answer(response: &str) -> Option<String> {
    match extract(response, Strictness::Rl, Marker::Boxed) {
        Extracted::Answer(answer) => Some(answer.to_owned()),
        _ => None,
    }
}

/// What a response earns under `rl`.
fn accepted(gold: &str, response: &str) -> bool {
    boxed_answer(response)
        .is_some_and(|answer| equivalent(gold, &answer, Strictness::Rl) == Equivalence::Equal)
}

/// Random numbers: a function of where they are drawn.
struct Draw {
    row: u32,
    count: u32,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.count += 1;
        let [word, ..] = philox4x32_10([self.row, self.count, 0, 0], SEED);
        word as usize % bound
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// What a broken grader does to a response before it is graded.
type Breaks<'a> = &'a dyn Fn(&str) -> String;

/// A changed answer.
struct NearMiss {
    kind: &'static str,
    gold: String,
    /// What is accepted for the gold.
    answer: String,
    response: String,
}

/// One of three rows changes an answer of the tables, the others change one that is built.
fn near_miss(pairs: &[Pair], numbers: &[built::Number], draw: &mut Draw) -> Option<NearMiss> {
    if draw.below(3) > 0 {
        let (kind, change, _) = draw.of(&parts::CHANGES);
        let parts::Changed { gold, answer, wrong } =
            (0..TRIES).find_map(|_| parts::changed(change, numbers, draw))?;
        return Some(NearMiss { kind, gold, answer, response: format!(r"\boxed{{{wrong}}}") });
    }
    let (kind, change, _) = draw.of(&tables::CHANGES);
    let (Pair { gold, answer }, changed) = (0..TRIES).find_map(|_| {
        let pair = &pairs[draw.below(pairs.len())];
        change(pair, draw).map(|changed| (pair, changed))
    })?;
    assert_ne!(changed, *answer, "{kind} changes nothing");
    let response = if kind == "another place" { changed } else { format!(r"\boxed{{{changed}}}") };
    Some(NearMiss { kind, gold: gold.clone(), answer: answer.clone(), response })
}

fn near_misses() -> Vec<NearMiss> {
    let pairs: Vec<_> = pairs().into_iter().collect();
    assert!(pairs.len() >= 400, "only {} accepted pairs", pairs.len());
    let numbers = built::numbers(&pairs);
    assert!(numbers.len() >= 25, "only {} pairs of numbers", numbers.len());
    let (mut rows, mut seen, mut refused) = (Vec::with_capacity(ROWS), BTreeSet::new(), Vec::new());
    for row in 0.. {
        if rows.len() == ROWS {
            break;
        }
        assert!(row < 10 * ROWS as u32, "only {} rows", rows.len());
        let Some(row) = near_miss(&pairs, &numbers, &mut Draw { row, count: 0 }) else { continue };
        if equivalent(&row.gold, &row.answer, Strictness::Rl) != Equivalence::Equal {
            refused.push(format!("{} <- {}", row.gold, row.answer));
            continue;
        }
        if seen.insert((row.gold.clone(), row.response.clone())) {
            rows.push(row);
        }
    }
    // how a number is written does not go with every unit and bracket
    assert!(refused.len() < ROWS / 5, "unchanged but not accepted\n{}", refused.join("\n"));
    rows
}

#[test]
fn no_near_miss_of_an_accepted_answer_earns() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut earned = Vec::new();
    for NearMiss { kind, gold, response, .. } in near_misses() {
        *counts.entry(kind).or_default() += 1;
        if accepted(&gold, &response) {
            earned.push(format!("{kind}: {gold} <- {response}"));
        }
    }
    for (kind, count) in &counts {
        println!("{count:5} {kind}");
    }
    assert!(earned.is_empty(), "{} near misses earn\n{}", earned.len(), earned.join("\n"));
    let leasts = tables::CHANGES.map(|(kind, _, least)| (kind, least));
    for (kind, least) in leasts.into_iter().chain(parts::CHANGES.map(|it| (it.0, it.2))) {
        let count = counts.get(kind).copied().unwrap_or(0);
        assert!(count >= least, "{kind}: only {count} rows");
    }
}

#[test]
fn near_misses_catch_broken_graders() {
    let without_words = |text: &str| {
        let mut kept = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(r"\text{") {
            kept.push_str(before);
            rest = behind.split_once('}').map_or("", |split| split.1);
        }
        kept + rest
    };
    let broken: [(&str, Breaks<'_>); 5] = [
        ("drops words", &without_words),
        ("drops signs", &|text| text.replace("{-", "{")),
        ("drops percent signs", &|text| text.replace(r"\%", "")),
        ("takes the first box", &|text| {
            let second = text.match_indices(r"\boxed").nth(1).map_or(text.len(), |found| found.0);
            text[..second].to_owned()
        }),
        ("looks into the reasoning", &|text| text.replace('<', "")),
    ];
    let rows = near_misses();
    for (how, change) in broken {
        let earns = rows.iter().any(|row| accepted(&row.gold, &change(&row.response)));
        assert!(earns, "a grader that {how} is not caught");
    }
}

#[test]
fn what_is_changed_was_accepted() {
    for Pair { gold, answer } in pairs() {
        assert!(!gold.contains(STRANGER) && !answer.contains(STRANGER));
        let verdict = equivalent(&gold, &answer, Strictness::Rl);
        assert_eq!(verdict, Equivalence::Equal, "{gold} <- {answer}");
    }
}
