//! Fresh near misses: every accepted answer of our own tables is changed into another answer, in many ways
//! drawn from a seed, and none of the changed ones may earn a reward.
//!
//! A change counts only where it is certain to give another answer; where its conditions do not hold, it
//! makes none.
#![expect(clippy::unnecessary_wraps, reason = "all changes have one type")]

use std::collections::{BTreeMap, BTreeSet};

use rand_philox::philox4x32_10;
use rewards::{Equivalence, Extracted, Marker, Policy, equivalent, extract};
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
    match extract(response, Policy::Rl, Marker::Boxed) {
        Extracted::Answer(answer) => Some(answer.to_owned()),
        _ => None,
    }
}

/// What a response earns under `rl`.
fn accepted(gold: &str, response: &str) -> bool {
    boxed_answer(response)
        .is_some_and(|answer| equivalent(gold, &answer, Policy::Rl) == Equivalence::Equal)
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

/// Whether a text is one value, written with numbers, letters, the usual operators and functions: no list,
/// relation, words, unit, percent sign, open sign or infinity.
fn is_value(text: &str) -> bool {
    const COMMANDS: [&str; 15] = [
        "frac", "dfrac", "tfrac", "sqrt", "pi", "cdot", "times", "left", "right", "sin", "cos",
        "tan", "ln", "log", "binom",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || " +-*/^{}().\\".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.ends_with('.') {
        return false;
    }
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '\\' || c.is_ascii_alphabetic()) {
        let command = rest[at..].starts_with('\\');
        let name = &rest[at + usize::from(command)..];
        let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
        if command != COMMANDS.contains(&&name[..letters]) || !command && letters > 1 {
            return false;
        }
        rest = &name[letters..];
    }
    // a capital letter alone may be that of a choice, and a constant may be any
    !text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_zero(gold: &str) -> bool {
    equivalent(gold, "0", Policy::Rl) != Equivalence::Different
}

/// A value other than zero beside a gold without marks that allow for another value.
fn is_nonzero(pair: &Pair) -> bool {
    is_value(&pair.answer) && !is_zero(&pair.gold)
}

fn is_marked(pair: &Pair) -> bool {
    [&pair.gold, &pair.answer].iter().any(|text| {
        text.contains('%') || text.contains("per") || text.contains("circ") || text.contains('°')
    })
}

/// A whole number above one, as digits.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|value| digits && *value > 1)
}

/// The parts of a text in brackets, as numbers, with its brackets.
fn numbers(text: &str) -> Option<(char, Vec<i64>, char)> {
    let open = text.chars().next().filter(|c| "([".contains(*c))?;
    let close = text.chars().next_back().filter(|c| ")]".contains(*c))?;
    let parts = text.get(1..text.len() - 1)?.split(',');
    Some((open, parts.map(|part| part.trim().parse().ok()).collect::<Option<_>>()?, close))
}

fn joined(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Changes an answer into another; `None` where that is not certain.
type Change = fn(&Pair, &mut Draw) -> Option<String>;

/// The kinds of changes, each with the number of rows that it has to make at least.
const CHANGES: [(&str, Change, usize); 20] = [
    ("another value by a sum", a_sum, 600),
    ("another value by a product", a_product, 300),
    ("another digit", a_digit, 250),
    ("another sign", a_sign, 60),
    ("an inverse", an_inverse, 7),
    ("a power", a_power, 35),
    ("a factorial", a_factorial, 7),
    ("another base", a_base, 35),
    ("a scale", a_scale, 450),
    ("a doubt", a_doubt, 600),
    ("a denial", a_denial, 600),
    ("a condition", a_condition, 600),
    ("an approximation", an_approximation, 300),
    ("an alternative", an_alternative, 450),
    ("an equation in an unknown", an_equation, 60),
    ("another unit", a_unit, 4),
    ("another order", an_order, 2),
    ("another bracket", a_bracket, 4),
    ("another part", a_part, 15),
    ("another place", a_place, 600),
];

fn a_sum(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let sign = draw.of(&["+", "-", "+ \\frac{1}{7} +"]);
    let value = is_value(&pair.answer) && !is_marked(pair);
    value.then(|| format!("{} {sign} {}", pair.answer, 1 + draw.below(999)))
}

fn a_product(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let factor = draw.of(&[r"2 \cdot ", "3", r"\frac{1}{2}", r"\sqrt{2} \cdot ", "1.01", "x"]);
    is_nonzero(pair).then(|| format!(r"{factor} \left( {} \right)", pair.answer))
}

fn a_digit(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let answer = &pair.answer;
    let digits: Vec<_> = answer.bytes().enumerate().filter(|at| at.1.is_ascii_digit()).collect();
    let number = answer.trim_start_matches('-');
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.matches('.').count() < 2
        && !number.ends_with('.');
    if !plain || digits.is_empty() {
        return None;
    }
    let (at, old) = draw.of(&digits);
    let new = (old - b'0' + 1 + draw.below(9) as u8) % 10;
    Some(format!("{}{new}{}", &answer[..at], &answer[at + 1..]))
}

fn a_sign(pair: &Pair, _: &mut Draw) -> Option<String> {
    is_nonzero(pair).then(|| format!("-({})", pair.answer))
}

fn an_inverse(pair: &Pair, _: &mut Draw) -> Option<String> {
    whole(&pair.answer).filter(|_| !is_marked(pair))?;
    Some(format!(r"\frac{{1}}{{{}}}", pair.answer))
}

fn a_power(pair: &Pair, draw: &mut Draw) -> Option<String> {
    whole(&pair.answer)?;
    let power = draw.of(&["^2", "^{3}", r"^{\frac{1}{2}}", "^{-1}", "^0"]);
    (!is_marked(pair)).then(|| format!("{}{power}", pair.answer))
}

fn a_factorial(pair: &Pair, _: &mut Draw) -> Option<String> {
    whole(&pair.answer).filter(|value| (3..1000).contains(value)).map(|value| format!("{value}!"))
}

fn a_base(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let value = whole(&pair.answer).filter(|value| *value > 9)?;
    let base = draw.of(&[
        "_7",
        "_{8}",
        "_{16}",
        r" \text{ in base 7}",
        r" \text{ (octal)}",
        r"_{\text{nine}}",
    ]);
    Some(format!("{value}{base}"))
}

fn a_scale(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const SCALES: [&str; 14] = [
        r"\%",
        r" \text{ percent}",
        r" \text{ per cent}",
        r" \text{ thousand}",
        r" \text{ thousands}",
        r" \text{ million}",
        r" \text{ billion}",
        r" \text{ dozen}",
        r" \text{ dozens}",
        r" \text{ hundred}",
        r" \text{ lakh}",
        r" \text{ crore}",
        r" \text{ basis points}",
        r" \times 10^{3}",
    ];
    let scale = draw.of(&SCALES);
    (is_nonzero(pair) && !is_marked(pair)).then(|| format!("{}{scale}", pair.answer))
}

fn a_doubt(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const DOUBTS: [&str; 12] = [
        "maybe",
        "perhaps",
        "or so",
        "I think",
        "possibly",
        "more or less",
        "give or take",
        "roughly",
        "presumably",
        "if I am not mistaken",
        "or thereabouts",
        "as a guess",
    ];
    Some(format!(r"{} \text{{ {}}}", pair.answer, draw.of(&DOUBTS)))
}

fn a_denial(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const BEFORE: [&str; 4] = ["not ", "anything but ", "never ", "other than "];
    const BEHIND: [&str; 8] = [
        "is wrong",
        "(wrong)",
        "is not the answer",
        "rejected",
        "is refuted",
        "discarded",
        "is excluded",
        "fails",
    ];
    let answer = &pair.answer;
    Some(if draw.below(2) == 0 {
        format!(r"\text{{{}}} {answer}", draw.of(&BEFORE))
    } else {
        format!(r"{answer} \text{{ {}}}", draw.of(&BEHIND))
    })
}

fn a_condition(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const CONDITIONS: [&str; 8] = [
        r"\text{ if } n = 1",
        r"\text{ for even } n",
        r"\text{ unless } n = 0",
        r"\text{ when it rains}",
        r"\text{ provided that } n > 3",
        r"\text{ only for odd n}",
        r"\text{ except at } 0",
        r"\text{ at most}",
    ];
    Some(format!("{} {}", pair.answer, draw.of(&CONDITIONS)))
}

fn an_approximation(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let sign = draw.of(&[
        r"\approx ",
        r"\text{about } ",
        r"\text{approximately } ",
        r"\sim ",
        r"\text{nearly } ",
    ]);
    is_value(&pair.answer).then(|| format!("{sign}{}", pair.answer))
}

fn an_alternative(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let joint = draw.of(&[r" \text{ or } ", " or ", r" \text{ OR } ", ", ", " / ", r" \lor "]);
    // a list may be one beside which another value is easily passed over, but never another list
    is_nonzero(pair).then(|| match draw.below(2) {
        0 => format!("{}{joint}{STRANGER}", pair.answer),
        _ => format!("{STRANGER}{joint}{}", pair.answer),
    })
}

fn an_equation(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let left =
        draw.of(&["2x", "-x", "x^2", "x + x", r"\frac{x}{2}", "x + 1", r"\sqrt{x}", "3 - x"]);
    let value = whole(&pair.answer)?;
    // both 1 and 3 - 1.5 may solve an equation by themselves
    (value > 3).then(|| format!("{left} = {value}"))
}

fn a_unit(pair: &Pair, draw: &mut Draw) -> Option<String> {
    const UNITS: [(&str, [&str; 3]); 10] = [
        ("cm", ["mm", "m", "kg"]),
        ("m", ["km", "cm", "s"]),
        ("km", ["m", "cm", "h"]),
        ("kg", ["g", "mg", "m"]),
        ("g", ["kg", "mg", "cm"]),
        ("hours", ["minutes", "seconds", "meters"]),
        ("minutes", ["hours", "seconds", "feet"]),
        ("feet", ["inches", "miles", "pounds"]),
        ("inches", ["feet", "yards", "seconds"]),
        ("dollars", ["cents", "euros", "hours"]),
    ];
    let stands = |text: &str, unit: &str| {
        text.contains(r"\text")
            && text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == unit)
    };
    let fits = |unit: &str| stands(&pair.gold, unit) && stands(&pair.answer, unit);
    let known: Vec<_> = UNITS.iter().filter(|(unit, _)| fits(unit)).collect();
    if known.is_empty() || is_zero(&pair.gold) {
        return None;
    }
    let (unit, others) = draw.of(&known);
    let place = [format!(" {unit}}}"), format!("{{{unit}}}")];
    let place = place.iter().find(|place| pair.answer.matches(&***place).count() == 1)?;
    // one unit only, so that no other makes up for it
    let other = place.replace(unit, draw.of(others));
    let once =
        pair.answer.matches(r"\text").count() == 1 && pair.gold.matches(r"\text").count() == 1;
    once.then(|| pair.answer.replace(&**place, &other))
}

fn an_order(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let (open, mut parts, close) = numbers(&pair.answer)?;
    let one = draw.below(parts.len());
    let other = draw.below(parts.len());
    let ordered = pair.gold.contains(['(', '[']) && parts[one] != parts[other];
    parts.swap(one, other);
    ordered.then(|| format!("{open}{}{close}", joined(&parts)))
}

fn a_bracket(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let (open, parts, close) = numbers(&pair.answer)?;
    let interval = parts.len() == 2 && parts[0] < parts[1] && (open, close) != ('(', ')');
    if !interval {
        return None;
    }
    let other = |bracket: char| "([)]".find(bracket).map(|at| &"[(])"[at..=at]).unwrap_or_default();
    let inner = joined(&parts);
    Some(match draw.below(2) {
        0 => format!("{}{inner}{close}", other(open)),
        _ => format!("{open}{inner}{}", other(close)),
    })
}

fn a_part(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let inner = pair.answer.trim_matches(['$', ' ']);
    let (left, inner, right) = match inner.strip_prefix(r"\{").and_then(|it| it.strip_suffix(r"\}"))
    {
        Some(inner) => (r"\{", inner, r"\}"),
        None => ("", inner, ""),
    };
    let parts = inner.split(", ").map(|part| part.trim().parse().ok());
    let mut parts = parts.collect::<Option<Vec<i64>>>()?;
    let known: BTreeSet<_> = parts.iter().copied().collect();
    if known.len() != parts.len() || parts.len() < 2 {
        return None;
    }
    let at = draw.below(parts.len());
    match draw.below(3) {
        0 => drop(parts.remove(at)),
        1 => parts.push(7919),
        _ => parts[at] = 7919,
    }
    Some(format!("{left}{}{right}", joined(&parts)))
}

/// The right answer where it does not count.
fn a_place(pair: &Pair, draw: &mut Draw) -> Option<String> {
    let answer = &pair.answer;
    let at_end = format!(r"\boxed{{{STRANGER}}}");
    let right = format!(r"\boxed{{{answer}}}");
    let mark = draw.of(&[
        "<end_of_turn>",
        "<|im_end|>",
        "<|eot_id|>",
        "</s>",
        "<eos>",
        "[/INST]",
        "<|end|>",
    ]);
    let tag = draw.of(&["think", "THINK", "Thinking", "reasoning", "Thought", "scratchpad"]);
    Some(match draw.below(6) {
        0 => format!("{right}, so {at_end}"),
        1 => format!("{at_end}{mark}\n{right}"),
        2 => format!("<{tag}>{right}</{tag}> so {at_end}"),
        3 => format!("<{tag}>{right}</{tag}>"),
        4 => format!("{right} and then \\boxed{{{STRANGER}"),
        _ => format!("so {right} OR {at_end}"),
    })
}

/// What a broken grader does to a response before it is graded.
type Breaks<'a> = &'a dyn Fn(&str) -> String;

/// A changed answer.
struct NearMiss {
    kind: &'static str,
    gold: String,
    response: String,
}

fn near_misses() -> Vec<NearMiss> {
    let pairs: Vec<_> = pairs().into_iter().collect();
    assert!(pairs.len() >= 400, "only {} accepted pairs", pairs.len());
    let (mut rows, mut seen) = (Vec::with_capacity(ROWS), BTreeSet::new());
    for row in 0.. {
        if rows.len() == ROWS {
            break;
        }
        assert!(row < 10 * ROWS as u32, "only {} rows", rows.len());
        let mut draw = Draw { row, count: 0 };
        let (kind, change, _) = draw.of(&CHANGES);
        let drawn = (0..TRIES).find_map(|_| {
            let pair = &pairs[draw.below(pairs.len())];
            change(pair, &mut draw).map(|changed| (pair, changed))
        });
        let Some((pair, changed)) = drawn else { continue };
        assert_ne!(changed, pair.answer, "{kind} changes nothing");
        let response =
            if kind == "another place" { changed } else { format!(r"\boxed{{{changed}}}") };
        if seen.insert((&pair.gold, response.clone())) {
            rows.push(NearMiss { kind, gold: pair.gold.clone(), response });
        }
    }
    rows
}

#[test]
fn no_near_miss_of_an_accepted_answer_earns() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut earned = Vec::new();
    for NearMiss { kind, gold, response } in near_misses() {
        *counts.entry(kind).or_default() += 1;
        if accepted(&gold, &response) {
            earned.push(format!("{kind}: {gold} <- {response}"));
        }
    }
    for (kind, count) in &counts {
        println!("{count:5} {kind}");
    }
    assert!(earned.is_empty(), "{} near misses earn\n{}", earned.len(), earned.join("\n"));
    for (kind, _, least) in CHANGES {
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
        let verdict = equivalent(&gold, &answer, Policy::Rl);
        assert_eq!(verdict, Equivalence::Equal, "{gold} <- {answer}");
    }
}
